"""Weston-Watkins loss: one hinge for each rival. Chapter: surrogates."""

import math

import numpy as np
import torch
from torch import Tensor

from lossbook.card import LossCard, Properties
from lossbook.ops import rival_sum
from lossbook.shapes import Labels, Logits, NpLabels, NpLogits, NpPerExample, PerExample


def weston_watkins(logits: Logits, labels: Labels) -> PerExample:
    """Return the sum over k != y of max(0, 1 + z_k - z_y) per example.

    At a kink, where the margin over a rival is 1, the slope used is 0. The steepest
    gradient grows with the number of classes: with all C - 1 rivals too close, its
    Euclidean norm is sqrt(C (C - 1)). The loss is not calibrated for more than two
    classes: with probabilities .48, .36 and .16 the two likelier classes tie.

    Args:
        logits: (..., C), one real number a class.
        labels: (...), the true class, 0 to C - 1.

    Returns:
        (...), never less than the Crammer-Singer loss.

    Raises:
        ValueError: for labels outside of the classes, or logits that are nan.

    >>> import torch
    >>> weston_watkins(torch.tensor([[1.0, 0.5, 2.0]]), torch.tensor([0]))
    tensor([2.5000])
    """
    return rival_sum(logits, labels, torch.relu_, slope, ahead=1.0)


def slope(loss: Tensor) -> Tensor:
    """Write 1 over each loss above 0."""
    return torch.gt(loss, 0, out=loss)


def weston_watkins_ref(
    logits: NpLogits, labels: NpLabels
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: up with each rival that is too close, down with the label."""
    e_y = np.eye(logits.shape[-1])[labels]
    lacking = 1 + logits - (logits * e_y).sum(-1, keepdims=True)
    close = (lacking > 0) & (e_y == 0)
    return (close * lacking).sum(-1), close - e_y * close.sum(-1, keepdims=True)


CARD = LossCard(
    name="Weston-Watkins loss",
    family="margins",
    kind="labels",
    fn=weston_watkins,
    ref=weston_watkins_ref,
    summary="The sum of the hinge losses of the true class against each rival.",
    cite="weston1999support",
    properties=Properties(
        convex=True,
        strictly_proper=False,
        calibrated=False,
        symmetric=False,
        monotone=True,
        shift_invariant=True,
        upper=math.inf,
    ),
    peers={
        "torch.nn.functional.multi_margin_loss": "It divides by the number of classes."
    },
)
