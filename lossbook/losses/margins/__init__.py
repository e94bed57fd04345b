"""Losses of the margin: two classes (scores, signs), or more (logits, labels)."""

from lossbook.losses.margins._crammer_singer import crammer_singer
from lossbook.losses.margins._exponential import exponential
from lossbook.losses.margins._hinge import hinge
from lossbook.losses.margins._lee_lin_wahba import lee_lin_wahba
from lossbook.losses.margins._logistic import logistic
from lossbook.losses.margins._modified_huber import modified_huber
from lossbook.losses.margins._ramp import ramp
from lossbook.losses.margins._savage import savage
from lossbook.losses.margins._sigmoid_loss import sigmoid_loss
from lossbook.losses.margins._smooth_hinge import smooth_hinge
from lossbook.losses.margins._squared import squared
from lossbook.losses.margins._squared_hinge import squared_hinge
from lossbook.losses.margins._tangent import tangent
from lossbook.losses.margins._unhinged import unhinged
from lossbook.losses.margins._weston_watkins import weston_watkins
from lossbook.losses.margins._zero_one import zero_one

__all__ = [
    "crammer_singer",
    "exponential",
    "hinge",
    "lee_lin_wahba",
    "logistic",
    "modified_huber",
    "ramp",
    "savage",
    "sigmoid_loss",
    "smooth_hinge",
    "squared",
    "squared_hinge",
    "tangent",
    "unhinged",
    "weston_watkins",
    "zero_one",
]
