"""Generalized cross-entropy: a road from cross-entropy to MAE. Chapter: robust."""

import math

import numpy as np
from torch import Tensor

from lossbook.card import Formula, LossCard, Param, Properties, SpecialCase
from lossbook.ops import expm1, psi_loss
from lossbook.shapes import (
    Labels,
    Logits,
    NpLabels,
    NpLogits,
    NpPerExample,
    Parameter,
    PerExample,
)


def gce(logits: Logits, labels: Labels, *, q: Parameter = 0.7) -> PerExample:
    """Return (1 - p_y^q) / q per example, with p = softmax(logits).

    Args:
        logits: (..., C), unnormalized log-probabilities.
        labels: (...), the true class, 0 to C - 1.
        q: above 0, at most 1. Near 0 this is cross-entropy, at 1 half of MAE.

    Returns:
        (...), between 0 and 1 / q.

    Raises:
        ValueError: for labels outside of the classes, or logits that are nan.

    >>> import torch
    >>> gce(torch.tensor([[2.0, 0.0]]), torch.tensor([0]))
    tensor([0.1215])
    """
    return psi_loss(logits, labels, psi, factor, q=q)


def psi(log_p: Tensor, log_not_p: Tensor, *, q: Parameter) -> Tensor:
    """Return (1 - p^q) / q."""
    return -expm1(q * log_p) / q


def factor(log_p: Tensor, log_not_p: Tensor, *, q: Parameter) -> Tensor:
    """Return g(p) = p^q."""
    return (q * log_p).exp()


def gce_ref(
    logits: NpLogits, labels: NpLabels, *, q: float = 0.7
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: the gradient of cross-entropy, weighted by p_y^q."""
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    e_y = np.eye(logits.shape[-1])[labels]
    p_y = (p * e_y).sum(-1, keepdims=True)
    return (1 - p_y[..., 0] ** q) / q, p_y**q * (p - e_y)


def recovered(logits: NpLogits, *, q: float = 0.7) -> NpLogits:
    """Return the posterior at which these logits are optimal: in ratio p_i^(1 - q)."""
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    odds = p ** (1 - q)
    return odds / odds.sum(-1, keepdims=True)


CARD = LossCard(
    name="Generalized cross-entropy",
    family="noise",
    kind="labels",
    fn=gce,
    ref=gce_ref,
    summary="Between cross-entropy and MAE: bounded, and still able to learn.",
    cite="zhang2018generalized",
    formula=Formula(
        expr="(1 - p**q) / q",
        limits={"q": {0.0: "-log(p)"}},
    ),
    recovery=recovered,
    params={
        "q": Param(default=0.7, low=0.0, high=1.0, open_low=True, meaning="robustness")
    },
    special_cases=(SpecialCase(of="mae", params={"q": 1.0}, factor=0.5),),
    properties=Properties(
        convex=False,
        strictly_proper=False,
        calibrated=True,
        symmetric=lambda q: q == 1,
        monotone=True,
        shift_invariant=True,
        upper=lambda q: 1 / q,
        lipschitz=lambda q: math.sqrt(2) * (q / (1 + q)) ** q / (1 + q),
    ),
)
