"""NormFace: cross-entropy of scaled cosines. Chapter: margins on the sphere."""

import math

import numpy as np
import torch
from torch import Tensor

from lossbook.card import Formula, LossCard, Param, Properties
from lossbook.losses.angular._cosines import margin_softmax
from lossbook.shapes import (
    Labels,
    Logits,
    NpLabels,
    NpLogits,
    NpPerExample,
    Parameter,
    PerExample,
)


def normface(cosines: Logits, labels: Labels, *, scale: Parameter = 30.0) -> PerExample:
    """Return cross-entropy of scale * cosines per example.

    Cosines end at -1 and 1, so the loss cannot reach 0: with C class vectors, its mean
    over the classes is at least log(1 + (C - 1) exp(-scale C / (C - 1))), however good
    the embedding. A small scale cannot fit many classes.

    Args:
        cosines: (..., C), of the angles between embedding and class vectors.
        labels: (...), the true class, 0 to C - 1.
        scale: what cosines are multiplied with, the inverse of a temperature.

    Returns:
        (...), in nats.

    Raises:
        ValueError: for labels outside of the classes, cosines beyond -1 and 1, or nan.

    >>> import torch
    >>> normface(torch.tensor([[1.0, 0.0]]), torch.tensor([0]), scale=2.0)
    tensor([0.1269])
    """
    return margin_softmax(cosines, labels, target, slope, scale=scale)


def target(cosine: Tensor) -> Tensor:
    """Return the cosine: there is no margin."""
    return cosine


def slope(cosine: Tensor) -> Tensor:
    """Return 1."""
    return torch.ones_like(cosine)


def normface_ref(
    cosines: NpLogits, labels: NpLabels, *, scale: float = 30.0
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: cross-entropy's at the scaled cosines, times the scale."""
    e_y = np.eye(cosines.shape[-1])[labels]
    p = np.exp(scale * cosines)
    p = p / p.sum(-1, keepdims=True)
    return -np.log((p * e_y).sum(-1)), scale * (p - e_y)


def recovered(cosines: NpLogits, *, scale: float = 30.0) -> NpLogits:
    """Return the posterior at which these cosines are optimal: softmax when scaled."""
    p = np.exp(scale * cosines)
    return p / p.sum(-1, keepdims=True)


CARD = LossCard(
    name="NormFace",
    family="angular",
    kind="cosine",
    fn=normface,
    ref=normface_ref,
    summary="Cross-entropy of cosines times a scale, with no margin.",
    cite="wang2017normface",
    formula=Formula(expr="scale * cos(theta)", variable="theta", domain=(0.0, 3.14)),
    recovery=recovered,
    params={
        "scale": Param(default=30.0, low=4.0, high=64.0, meaning="inverse temperature")
    },
    properties=Properties(
        convex=True,
        strictly_proper=True,
        calibrated=True,
        symmetric=False,
        monotone=True,
        shift_invariant=True,
        lower=None,  # the bounds over cosines depend on the number of classes
        lipschitz=lambda scale: math.sqrt(2) * scale,
    ),
)
