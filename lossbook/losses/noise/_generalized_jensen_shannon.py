"""Generalized Jensen-Shannon divergence between one-hot label and prediction."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from lossbook.card import Formula, LossCard, Param, Properties
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


def generalized_jensen_shannon(
    logits: Logits, labels: Labels, *, pi: Parameter = 0.5
) -> PerExample:
    """Return (pi KL(e_y, m) + (1 - pi) KL(p, m)) / Z, with m = pi e_y + (1 - pi) p.

    Here p = softmax(logits) and Z = -(1 - pi) log(1 - pi). As pi falls to 0 this tends
    to cross-entropy. As pi rises to 1 it tends to 1 - p_y, half of MAE, but no faster
    than 1 / log(1 / (1 - pi)) tends to 0.

    Args:
        logits: (..., C), unnormalized log-probabilities.
        labels: (...), the true class, 0 to C - 1.
        pi: weight of the label in m, between 0 and 1, both excluded.

    Returns:
        (...), between 0 and the entropy of (pi, 1 - pi) over Z.

    Raises:
        ValueError: for labels outside of the classes, or logits that are nan.

    >>> import torch
    >>> generalized_jensen_shannon(torch.tensor([[2.0, 0.0]]), torch.tensor([0]))
    tensor([0.1247])
    """
    return psi_loss(logits, labels, psi, factor, pi=pi)


def psi(log_p: Tensor, log_not_p: Tensor, *, pi: Parameter) -> Tensor:
    """Return c + (p log(m / p) + r log m) / log(1 - pi), with c = 1 - p.

    m = p + pi c is the label's share of the mixture, and r = pi / (1 - pi). Both terms
    are small where pi or c is, so that the division loses nothing.
    """
    log_pi, log_rest = _logs(pi)
    log_p = _finite(log_p)
    p, c, odds = log_p.exp(), log_not_p.exp(), pi / (1 - pi)
    from_model = p * softplus(log_not_p - log_p + log_pi)  # log(1 + pi c / p)
    from_label = torch.log1p(c / (p + odds))  # 1 / m is 1 + c / (p + r)
    return _plus(c, 1 / log_rest, _plus(from_model, -odds, from_label))


def factor(log_p: Tensor, log_not_p: Tensor, *, pi: Parameter) -> Tensor:
    """Return g(p) = -p log(1 + r / p) / log(1 - pi), with r = pi / (1 - pi)."""
    log_pi, log_rest = _logs(pi)
    log_p = _finite(log_p)
    return log_p.exp() * logsigmoid(log_p - (log_pi - log_rest)) / log_rest


def _plus(a: Tensor, factor: Parameter, b: Tensor) -> Tensor:
    """Return a + factor * b, by one call where the factor is a number."""
    if isinstance(factor, Tensor):
        return a + factor * b
    return torch.add(a, b, alpha=factor)


def _logs(pi: Parameter) -> tuple[Parameter, Parameter]:
    """Return log pi and log(1 - pi)."""
    if isinstance(pi, Tensor):
        return pi.log(), torch.log1p(-pi)
    return math.log(pi), math.log1p(-pi)


def _finite(log_p: Tensor) -> Tensor:
    """Return log p, with a number in the place of log 0: 0 times it is 0."""
    return log_p.clamp(min=torch.finfo(log_p.dtype).min / 4)


def generalized_jensen_shannon_ref(
    logits: NpLogits, labels: NpLabels, *, pi: float = 0.5
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: the divergence as defined; log(p_y / m_y) gives its slope."""
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    e_y = np.eye(logits.shape[-1])[labels]
    m = pi * e_y + (1 - pi) * p
    m_y, p_y = ((e_y * a).sum(-1, keepdims=True) for a in (m, p))
    from_label = -np.log(m_y[..., 0])
    from_model = (p * np.log(p / m)).sum(-1)
    scale = -(1 - pi) * np.log(1 - pi)
    slope = (1 - pi) * np.log(p_y / m_y) / scale - 1
    loss = (pi * from_label + (1 - pi) * from_model) / scale
    return loss, slope * p_y * (e_y - p)


def recovered(logits: NpLogits, *, pi: float = 0.5) -> NpLogits:
    """Return the posterior at which these logits are optimal: in ratio p_i / g(p_i)."""
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    odds = 1 / np.log(1 + pi / ((1 - pi) * p))
    return odds / odds.sum(-1, keepdims=True)


CARD = LossCard(
    name="Generalized Jensen-Shannon divergence",
    family="noise",
    kind="labels",
    fn=generalized_jensen_shannon,
    ref=generalized_jensen_shannon_ref,
    summary="A bounded divergence on the road from cross-entropy to MAE.",
    cite="englesson2021generalized",
    formula=Formula(
        expr="1 - p + (pi * log(pi + (1 - pi) * p)"
        " + (1 - pi) * p * log(1 + pi * (1 - p) / p)) / ((1 - pi) * log(1 - pi))",
        derivative="-1 + log(1 + pi * (1 - p) / p) / log(1 - pi)",
    ),
    recovery=recovered,
    params={
        "pi": Param(default=0.5, low=0.1, high=0.9, meaning="weight of the label"),
    },
    properties=Properties(
        convex=False,
        strictly_proper=False,
        calibrated=True,
        symmetric=False,
        monotone=True,
        shift_invariant=True,
        upper=lambda pi: 1 + pi * math.log(pi) / ((1 - pi) * math.log(1 - pi)),
    ),
    peers={
        "scipy.spatial.distance.jensenshannon": "Gives the square root of the "
        "divergence at pi = 0.5, before it is divided by Z = log(2) / 2."
    },
)
