"""Brier score: squared distance of the probabilities to the label. Chapter: proper."""

import math

import numpy as np
import torch
from torch import Tensor

from lossbook.card import LossCard, Properties
from lossbook.ops import label_surplus_loss
from lossbook.shapes import Labels, Logits, NpLabels, NpLogits, NpPerExample, PerExample


def brier(logits: Logits, labels: Labels) -> PerExample:
    """Return sum_k (p_k - e_k)^2 per example: p = softmax(logits), e the one-hot label.

    The sum is over all classes, as in Brier's article; for two classes it is twice the
    square (1 - p_y)^2 that is also called by this name.

    Args:
        logits: (..., C), unnormalized log-probabilities.
        labels: (...), the true class, 0 to C - 1.

    Returns:
        (...), from 0 to 2.

    Raises:
        ValueError: for labels outside of the classes, or logits that are nan.

    >>> import torch
    >>> brier(torch.tensor([[2.0, 0.0]]), torch.tensor([0]))
    tensor([0.0284])
    """
    return label_surplus_loss(logits, labels, torch.square, slope)


def slope(surplus: Tensor) -> Tensor:
    """Write the derivative of the square over the surpluses."""
    return surplus.mul_(2)


def brier_ref(logits: NpLogits, labels: NpLabels) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: 2 (p - e) through the Jacobian diag(p) - p p^T of softmax."""
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    d = p - np.eye(logits.shape[-1])[labels]
    mean = (p * d).sum(-1, keepdims=True)
    return (d**2).sum(-1), 2 * p * (d - mean)


def recovered(logits: NpLogits) -> NpLogits:
    """Return the posterior at which these logits are optimal: their softmax."""
    return np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)


CARD = LossCard(
    name="Brier score",
    family="proper",
    kind="labels",
    fn=brier,
    ref=brier_ref,
    summary="The squared distance between probabilities and label; proper and bounded.",
    cite="brier1950verification",
    recovery=recovered,
    properties=Properties(
        convex=False,
        strictly_proper=True,
        calibrated=True,
        symmetric=False,
        monotone=True,
        shift_invariant=True,
        upper=2.0,
        # One rival, p_y = 1/3: the largest 4 sqrt(2) p_y (1 - p_y)^2.
        lipschitz=16 * math.sqrt(2) / 27,
    ),
    peers={
        "sklearn.metrics.brier_score_loss": (
            "Takes probabilities and returns the mean, for two classes half of it "
            "unless `scale_by_half` is false."
        ),
    },
)
