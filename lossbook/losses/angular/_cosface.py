"""CosFace: the true class's cosine must lead by a margin. Chapter: sphere."""

import math

import numpy as np
import torch
from torch import Tensor

from lossbook.card import Formula, LossCard, Param, Properties, SpecialCase
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


def cosface(
    cosines: Logits,
    labels: Labels,
    *,
    margin: Parameter = 0.35,
    scale: Parameter = 64.0,
) -> PerExample:
    """Return cross-entropy of scale * (cosines - margin e_y) per example.

    The additive margin softmax (AM-Softmax) is the same loss, with a scale of 30.

    Args:
        cosines: (..., C), of the angles between embedding and class vectors.
        labels: (...), the true class, 0 to C - 1.
        margin: what is taken off the true class's cosine; 0 gives NormFace.
        scale: what cosines are multiplied with, the inverse of a temperature.

    Returns:
        (...), in nats, never less than NormFace.

    Raises:
        ValueError: for labels outside of the classes, cosines beyond -1 and 1, or nan.

    >>> import torch
    >>> cosines, labels = torch.tensor([[1.0, 0.0]]), torch.tensor([0])
    >>> cosface(cosines, labels, margin=0.5, scale=2.0)
    tensor([0.3133])
    """
    return margin_softmax(cosines, labels, target, slope, scale=scale, margin=margin)


def target(cosine: Tensor, *, margin: Parameter) -> Tensor:
    """Return cos theta - margin."""
    return cosine - margin


def slope(cosine: Tensor, *, margin: Parameter) -> Tensor:
    """Return 1."""
    return torch.ones_like(cosine)


def cosface_ref(
    cosines: NpLogits, labels: NpLabels, *, margin: float = 0.35, scale: float = 64.0
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: cross-entropy's at the lowered cosines, times the scale."""
    e_y = np.eye(cosines.shape[-1])[labels]
    p = np.exp(scale * (cosines - margin * e_y))
    p = p / p.sum(-1, keepdims=True)
    return -np.log((p * e_y).sum(-1)), scale * (p - e_y)


def recovered(
    cosines: NpLogits, *, margin: float = 0.35, scale: float = 64.0
) -> NpLogits:
    """Return the posterior at which these cosines are optimal.

    In ratio p_k (1 - (1 - kappa) p_k), with p the softmax of the scaled cosines and
    kappa = exp(-scale * margin). A wide margin leaves p_k (1 - p_k): however far a
    class is ahead, less than 1/2 is recovered for it.
    """
    p = np.exp(scale * cosines)
    p = p / p.sum(-1, keepdims=True)
    rest = p @ (1 - np.eye(p.shape[-1]))  # 1 - p, its digits kept near p = 1
    ratio = p * (rest + np.exp(-scale * margin) * p)
    return ratio / ratio.sum(-1, keepdims=True)


CARD = LossCard(
    name="CosFace",
    family="angular",
    kind="cosine",
    fn=cosface,
    ref=cosface_ref,
    summary="Cross-entropy of cosines, the true class's lowered by a margin.",
    cite="wang2018cosface",
    formula=Formula(
        expr="scale * (cos(theta) - margin)", variable="theta", domain=(0.0, 3.14)
    ),
    recovery=recovered,
    params={
        "margin": Param(
            default=0.35, low=0.0, high=1.0, meaning="margin, a difference of cosines"
        ),
        "scale": Param(default=64.0, low=4.0, high=64.0, meaning="inverse temperature"),
    },
    special_cases=(SpecialCase(of="normface", params={"margin": 0.0, "scale": 30.0}),),
    peers={
        "pytorch_metric_learning.losses.CosFaceLoss": "",
    },
    properties=Properties(
        convex=True,
        strictly_proper=lambda margin, scale: margin == 0,
        calibrated=True,
        symmetric=False,
        monotone=True,
        shift_invariant=True,
        lower=None,  # the bounds over cosines depend on the number of classes
        lipschitz=lambda margin, scale: math.sqrt(2) * scale,
    ),
)
