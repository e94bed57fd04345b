"""Reverse cross-entropy: the label as the model's prediction, with log 0 bounded."""

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


def rce(logits: Logits, labels: Labels, *, log_zero: Parameter = -4.0) -> PerExample:
    """Return -sum_j p_j log e_j = -A (1 - p_y), with p = softmax(logits).

    Prediction and one-hot label e have changed their places in cross-entropy; A stands
    in for log 0. MAE is the case A = -2.

    Args:
        logits: (..., C), unnormalized log-probabilities.
        labels: (...), the true class, 0 to C - 1.
        log_zero: A, a negative number in the place of log 0.

    Returns:
        (...), between 0 and -A.

    Raises:
        ValueError: for labels outside of the classes, or logits that are nan.

    >>> import torch
    >>> rce(torch.tensor([[2.0, 0.0]]), torch.tensor([0]))
    tensor([0.4768])
    """
    return psi_loss(logits, labels, psi, factor, log_zero=log_zero)


def psi(log_p: Tensor, log_not_p: Tensor, *, log_zero: Parameter) -> Tensor:
    """Return -A (1 - p)."""
    return -log_zero * log_not_p.exp()


def factor(log_p: Tensor, log_not_p: Tensor, *, log_zero: Parameter) -> Tensor:
    """Return g(p) = -A p."""
    return -log_zero * log_p.exp()


def rce_ref(
    logits: NpLogits, labels: NpLabels, *, log_zero: float = -4.0
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: -A times the mass that is not on the label."""
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    e_y = np.eye(logits.shape[-1])[labels]
    p_y = (p * e_y).sum(-1, keepdims=True)
    log_e = np.where(e_y == 1, 0.0, log_zero)
    return -(p * log_e).sum(-1), -log_zero * p_y * (p - e_y)


CARD = LossCard(
    name="Reverse cross-entropy",
    family="noise",
    kind="labels",
    fn=rce,
    ref=rce_ref,
    summary="Cross-entropy with label and prediction exchanged: a multiple of MAE.",
    cite="wang2019symmetric",
    formula=Formula(expr="-log_zero * (1 - p)"),
    params={
        "log_zero": Param(
            default=-4.0, low=-10.0, high=-1.0, meaning="stand-in for log 0", tex="A"
        )
    },
    special_cases=(SpecialCase(of="mae", params={"log_zero": -2.0}),),
    properties=Properties(
        convex=False,
        strictly_proper=False,
        calibrated=True,
        symmetric=True,
        monotone=True,
        shift_invariant=True,
        upper=lambda log_zero: -log_zero,
        lipschitz=lambda log_zero: -log_zero * math.sqrt(2) / 4,
    ),
)
