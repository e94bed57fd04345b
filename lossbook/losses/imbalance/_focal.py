"""Focal loss: cross-entropy with the easy examples turned down. Chapter: focal."""

import math

import numpy as np
from torch import Tensor

from lossbook.card import Formula, LossCard, Param, Properties, SpecialCase
from lossbook.losses.imbalance._focused import turned_down
from lossbook.ops import finite, psi_loss
from lossbook.shapes import (
    Labels,
    Logits,
    NpLabels,
    NpLogits,
    NpPerExample,
    Parameter,
    PerExample,
)


def focal(logits: Logits, labels: Labels, *, gamma: Parameter = 2.0) -> PerExample:
    """Return -(1 - p_y)^gamma log p_y per example, with p = softmax(logits).

    Args:
        logits: (..., C), unnormalized log-probabilities.
        labels: (...), the true class, 0 to C - 1.
        gamma: how much easy examples are turned down; 0 gives cross-entropy.

    Returns:
        (...), never more than cross-entropy.

    Raises:
        ValueError: for labels outside of the classes, or logits that are nan.

    >>> import torch
    >>> focal(torch.tensor([[2.0, 0.0]]), torch.tensor([0]))
    tensor([0.0018])
    """
    return psi_loss(logits, labels, psi, factor, gamma=gamma)


def psi(log_p: Tensor, log_not_p: Tensor, *, gamma: Parameter) -> Tensor:
    """Return -(1 - p)^gamma log p."""
    return -turned_down((gamma * log_not_p).exp(), log_p)


def factor(log_p: Tensor, log_not_p: Tensor, *, gamma: Parameter) -> Tensor:
    """Return g(p) = (1 - p)^gamma (1 - gamma p log(p) / (1 - p))."""
    # p log(p) / (1 - p), -1 at p = 1
    ratio = finite(log_p) * (log_p - log_not_p).exp()
    return (gamma * log_not_p).exp() * (1 - gamma * ratio)


def focal_ref(
    logits: NpLogits, labels: NpLabels, *, gamma: float = 2.0
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: the product rule in p_y, then d p_y / d z = p_y (e_y - p)."""
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    e_y = np.eye(logits.shape[-1])[labels]
    p_y = (p * e_y).sum(-1, keepdims=True)
    loss = -((1 - p_y) ** gamma) * np.log(p_y)
    slope = gamma * (1 - p_y) ** (gamma - 1) * np.log(p_y) - (1 - p_y) ** gamma / p_y
    return loss[..., 0], slope * p_y * (e_y - p)


def recovered(logits: NpLogits, *, gamma: float = 2.0) -> NpLogits:
    """Return the posterior at which these logits are optimal: in ratio p_i / g(p_i)."""
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    pull = (1 - p) ** gamma - gamma * p * (1 - p) ** (gamma - 1) * np.log(p)
    return (p / pull) / (p / pull).sum(-1, keepdims=True)


CARD = LossCard(
    name="Focal loss",
    family="imbalance",
    kind="labels",
    fn=focal,
    ref=focal_ref,
    summary="Cross-entropy with the easy examples turned down.",
    cite="lin2017focal",
    formula=Formula(expr="-(1 - p)**gamma * log(p)"),
    recovery=recovered,
    params={"gamma": Param(default=2.0, low=0.0, high=5.0, meaning="focusing")},
    special_cases=(SpecialCase(of="cross_entropy", params={"gamma": 0.0}),),
    peers={
        "keras.losses.categorical_focal_crossentropy": (
            "Multiplies by alpha, the same 0.25 for every class by default, and clips "
            "the probabilities."
        ),
        "kornia.losses.focal_loss": (
            "Returns a map with one entry a class, 0 but at the label, whose mean is "
            "smaller by the number of classes; its alpha weighs class 0 with 1 - alpha "
            "and all others with alpha."
        ),
    },
    properties=Properties(
        convex=lambda gamma: gamma == 0,
        strictly_proper=lambda gamma: gamma == 0,
        calibrated=True,
        symmetric=False,
        monotone=True,
        shift_invariant=True,
        upper=math.inf,
    ),
)
