"""Poly-1: cross-entropy with its first polynomial term reweighted. Chapter: focal."""

import math

import numpy as np
from torch import Tensor

from lossbook.card import Formula, LossCard, Param, Properties, SpecialCase
from lossbook.ops import psi_loss
from lossbook.shapes import (
    Labels,
    Logits,
    NpLabels,
    NpLogits,
    NpPerExample,
    Parameter,
    PerExample,
)


def poly1(logits: Logits, labels: Labels, *, epsilon: Parameter = 2.0) -> PerExample:
    """Return -log p_y + epsilon (1 - p_y) per example, with p = softmax(logits).

    Args:
        logits: (..., C), unnormalized log-probabilities.
        labels: (...), the true class, 0 to C - 1.
        epsilon: the extra weight of the first term of -log p = sum_j (1 - p)^j / j;
            0 gives cross-entropy.

    Returns:
        (...), not negative for epsilon >= -1.

    Raises:
        ValueError: for labels outside of the classes, or logits that are nan.

    >>> import torch
    >>> poly1(torch.tensor([[2.0, 0.0]]), torch.tensor([0]))
    tensor([0.3653])
    """
    return psi_loss(logits, labels, psi, factor, epsilon=epsilon)


def psi(log_p: Tensor, log_not_p: Tensor, *, epsilon: Parameter) -> Tensor:
    """Return -log p + epsilon (1 - p)."""
    return -log_p + epsilon * log_not_p.exp()


def factor(log_p: Tensor, log_not_p: Tensor, *, epsilon: Parameter) -> Tensor:
    """Return g(p) = 1 + epsilon p."""
    return 1 + epsilon * log_p.exp()


def poly1_ref(
    logits: NpLogits, labels: NpLabels, *, epsilon: float = 2.0
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: cross-entropy's, plus epsilon times that of 1 - p_y."""
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    e_y = np.eye(logits.shape[-1])[labels]
    p_y = (p * e_y).sum(-1, keepdims=True)
    loss = -np.log(p_y) + epsilon * (1 - p_y)
    return loss[..., 0], (p - e_y) + epsilon * p_y * (p - e_y)


def _lipschitz(epsilon: float) -> float:
    """Return the largest sqrt(2) (1 - p)(1 + epsilon p)."""
    if epsilon <= 1:
        return math.sqrt(2)
    return math.sqrt(2) * (1 + epsilon) ** 2 / (4 * epsilon)


def recovered(logits: NpLogits, *, epsilon: float = 2.0) -> NpLogits:
    """Return the posterior at which these logits are optimal: in ratio p_i / g(p_i)."""
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    odds = p / (1 + epsilon * p)
    return odds / odds.sum(-1, keepdims=True)


CARD = LossCard(
    name="Poly-1",
    family="imbalance",
    kind="labels",
    fn=poly1,
    ref=poly1_ref,
    summary="Cross-entropy with the weight of 1 - p_y as a free parameter.",
    cite="leng2022polyloss",
    formula=Formula(expr="-log(p) + epsilon * (1 - p)"),
    recovery=recovered,
    params={
        "epsilon": Param(
            default=2.0, low=-1.0, high=5.0, meaning="weight of the first term"
        )
    },
    special_cases=(SpecialCase(of="cross_entropy", params={"epsilon": 0.0}),),
    peers={"optax.losses.poly_loss_cross_entropy": ""},
    properties=Properties(
        convex=lambda epsilon: epsilon <= 1,
        strictly_proper=lambda epsilon: epsilon == 0,
        calibrated=True,
        symmetric=False,
        monotone=True,
        shift_invariant=True,
        upper=math.inf,
        lipschitz=_lipschitz,
    ),
)
