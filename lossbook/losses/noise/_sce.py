"""Symmetric cross-entropy: cross-entropy plus its reverse."""

import math

import numpy as np
from torch import Tensor

from lossbook.card import Formula, LossCard, Param, Properties, SpecialCase
from lossbook.ops import psi_loss, times_log
from lossbook.shapes import (
    Labels,
    Logits,
    NpLabels,
    NpLogits,
    NpPerExample,
    Parameter,
    PerExample,
)


def sce(
    logits: Logits,
    labels: Labels,
    *,
    alpha: Parameter = 0.1,
    beta: Parameter = 1.0,
    log_zero: Parameter = -4.0,
) -> PerExample:
    """Return -alpha log p_y - beta A (1 - p_y), with p = softmax(logits).

    In spite of its name the loss is not symmetric in the sense of the noise theorem:
    only its second part is.

    Args:
        logits: (..., C), unnormalized log-probabilities.
        labels: (...), the true class, 0 to C - 1.
        alpha: weight of cross-entropy, which learns.
        beta: weight of reverse cross-entropy, which tolerates noise.
        log_zero: A, a negative number in the place of log 0. Only beta * A matters.

    Returns:
        (...), not negative.

    Raises:
        ValueError: for labels outside of the classes, or logits that are nan.

    >>> import torch
    >>> sce(torch.tensor([[2.0, 0.0]]), torch.tensor([0]))
    tensor([0.4895])
    """
    return psi_loss(
        logits, labels, psi, factor, alpha=alpha, beta=beta, log_zero=log_zero
    )


def psi(
    log_p: Tensor,
    log_not_p: Tensor,
    *,
    alpha: Parameter,
    beta: Parameter,
    log_zero: Parameter,
) -> Tensor:
    """Return -alpha log p - beta A (1 - p)."""
    return -times_log(alpha, log_p) - beta * log_zero * log_not_p.exp()


def factor(
    log_p: Tensor,
    log_not_p: Tensor,
    *,
    alpha: Parameter,
    beta: Parameter,
    log_zero: Parameter,
) -> Tensor:
    """Return g(p) = alpha - beta A p."""
    return alpha - beta * log_zero * log_p.exp()


def sce_ref(
    logits: NpLogits,
    labels: NpLabels,
    *,
    alpha: float = 0.1,
    beta: float = 1.0,
    log_zero: float = -4.0,
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: alpha times cross-entropy's plus beta times the reverse's."""
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    e_y = np.eye(logits.shape[-1])[labels]
    p_y = (p * e_y).sum(-1, keepdims=True)
    forward = -np.log(p_y[..., 0])
    reverse = -(p * np.where(e_y == 1, 0.0, log_zero)).sum(-1)
    gradient = alpha * (p - e_y) - beta * log_zero * p_y * (p - e_y)
    return alpha * forward + beta * reverse, gradient


def recovered(
    logits: NpLogits, *, alpha: float = 0.1, beta: float = 1.0, log_zero: float = -4.0
) -> NpLogits:
    """Return the posterior at which these logits are optimal: in ratio p_i / g(p_i)."""
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    odds = p / (alpha - beta * log_zero * p)
    return odds / odds.sum(-1, keepdims=True)


def _upper(alpha: float, beta: float, log_zero: float) -> float:
    return math.inf if alpha else -beta * log_zero


def _lipschitz(alpha: float, beta: float, log_zero: float) -> float:
    """Return the largest sqrt(2) (1 - p)(alpha + b p), with b = -beta A."""
    b = -beta * log_zero
    if b <= alpha:
        return math.sqrt(2) * alpha
    return math.sqrt(2) * (alpha + b) ** 2 / (4 * b)


CARD = LossCard(
    name="Symmetric cross-entropy",
    family="noise",
    kind="labels",
    fn=sce,
    ref=sce_ref,
    summary="Cross-entropy, which learns, plus its reverse, which tolerates noise.",
    cite="wang2019symmetric",
    formula=Formula(expr="-alpha * log(p) - beta * log_zero * (1 - p)"),
    recovery=recovered,
    params={
        "alpha": Param(
            default=0.1, low=0.0, high=6.0, meaning="weight of cross-entropy"
        ),
        "beta": Param(default=1.0, low=0.0, high=2.0, meaning="weight of the reverse"),
        "log_zero": Param(
            default=-4.0, low=-10.0, high=0.0, meaning="stand-in for log 0", tex="A"
        ),
    },
    special_cases=(
        SpecialCase(of="cross_entropy", params={"alpha": 1.0, "beta": 0.0}),
        SpecialCase(of="rce", params={"alpha": 0.0}),
    ),
    properties=Properties(
        convex=lambda alpha, beta, log_zero: -beta * log_zero <= alpha,
        strictly_proper=lambda alpha, beta, log_zero: (
            alpha > 0 and beta * log_zero == 0
        ),
        calibrated=lambda alpha, beta, log_zero: alpha > 0 or beta * log_zero < 0,
        symmetric=lambda alpha, beta, log_zero: alpha == 0,
        monotone=True,
        shift_invariant=True,
        upper=_upper,
        lipschitz=_lipschitz,
    ),
)
