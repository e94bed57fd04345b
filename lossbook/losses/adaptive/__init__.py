"""Weights that follow training: of examples, and of the terms of a sum."""

from lossbook.losses.adaptive._ada_focal import AdaFocal
from lossbook.losses.adaptive._barron import barron
from lossbook.losses.adaptive._dynamic_weight_average import DynamicWeightAverage
from lossbook.losses.adaptive._grad_norm import GradNorm
from lossbook.losses.adaptive._ohem import ohem
from lossbook.losses.adaptive._self_paced import self_paced
from lossbook.losses.adaptive._uncertainty_weighting import UncertaintyWeighting

__all__ = [
    "AdaFocal",
    "DynamicWeightAverage",
    "GradNorm",
    "UncertaintyWeighting",
    "barron",
    "ohem",
    "self_paced",
]
