"""Spherical score: the cosine between probabilities and label. Chapter: proper."""

import math

import numpy as np
from torch import Tensor

from lossbook import validate
from lossbook.card import LossCard, Properties
from lossbook.ops import psi_loss, upcast
from lossbook.shapes import Labels, Logits, NpLabels, NpLogits, NpPerExample, PerExample


def spherical_score(logits: Logits, labels: Labels) -> PerExample:
    """Return -p_y / ||p|| per example: p = softmax(logits), the norm is Euclidean.

    This is minus the square root of the true class's probability under
    softmax(2 logits), since p_k^2 / ||p||^2 is that softmax. No norm is computed.

    Args:
        logits: (..., C), unnormalized log-probabilities.
        labels: (...), the true class, 0 to C - 1.

    Returns:
        (...), from -1 (certain and right) to 0 (certain and wrong).

    Raises:
        ValueError: for labels outside of the classes, or logits that are nan.

    >>> import torch
    >>> spherical_score(torch.tensor([[2.0, 0.0]]), torch.tensor([0]))
    tensor([-0.9910])
    """
    validate.logits_and_labels(logits, labels)
    return psi_loss(2 * upcast(logits), labels, psi, factor)


def psi(log_p: Tensor, log_not_p: Tensor) -> Tensor:
    """Return -sqrt(p), p being the true class's probability at twice the logits."""
    return -(log_p / 2).exp()


def factor(log_p: Tensor, log_not_p: Tensor) -> Tensor:
    """Return g(p) = sqrt(p) / 2."""
    return (log_p / 2).exp() / 2


def spherical_score_ref(
    logits: NpLogits, labels: NpLabels
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: the quotient rule, through the Jacobian of softmax."""
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    e_y = np.eye(logits.shape[-1])[labels]
    p_y = (p * e_y).sum(-1, keepdims=True)
    norm = np.sqrt((p**2).sum(-1, keepdims=True))
    u = -e_y / norm + p_y * p / norm**3
    return (-p_y / norm)[..., 0], p * (u - (p * u).sum(-1, keepdims=True))


def recovered(logits: NpLogits) -> NpLogits:
    """Return the posterior at which these logits are optimal: their softmax."""
    return np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)


CARD = LossCard(
    name="Spherical score",
    family="proper",
    kind="labels",
    fn=spherical_score,
    ref=spherical_score_ref,
    summary="Minus the cosine between probabilities and label; proper and bounded.",
    cite="gneiting2007strictly",
    recovery=recovered,
    properties=Properties(
        convex=False,
        strictly_proper=True,
        calibrated=True,
        symmetric=False,
        monotone=True,
        shift_invariant=True,
        lower=-1.0,
        upper=0.0,
        # One rival, p_y^2 = 1/3 of ||p||^2: the largest sqrt(2) s (1 - s^2), s = -loss.
        lipschitz=2 * math.sqrt(6) / 9,
    ),
)
