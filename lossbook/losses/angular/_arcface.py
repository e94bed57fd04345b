"""ArcFace: the true class's angle must be smaller by a margin. Chapter: sphere."""

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


def arcface(
    cosines: Logits,
    labels: Labels,
    *,
    margin: Parameter = 0.5,
    scale: Parameter = 64.0,
) -> PerExample:
    """Return cross-entropy of scaled cosines, theta_y replaced by theta_y + margin.

    Where theta_y + margin passes pi, the cosine would rise again; there the target is
    cos theta_y - margin sin(margin) instead. At the seam it falls from -1 to
    -cos(margin) - margin sin(margin), a jump of -0.117 at the default margin.

    The slope of the target in the cosine is sin(theta + margin) / sin(theta), without
    bound as theta goes to 0; that in the embedding is bounded, since the cosine is flat
    there. At a cosine of 1 or more the slope used is cos(margin).

    Args:
        cosines: (..., C), of the angles between embedding and class vectors.
        labels: (...), the true class, 0 to C - 1.
        margin: what is added to the true class's angle, in radians.
        scale: what cosines are multiplied with, the inverse of a temperature.

    Returns:
        (...), in nats, never less than NormFace.

    Raises:
        ValueError: for labels outside of the classes, cosines beyond -1 and 1, or nan.

    >>> import torch
    >>> arcface(torch.tensor([[1.0, 0.0]]), torch.tensor([0]), scale=2.0)
    tensor([0.1595])
    """
    return margin_softmax(cosines, labels, target, slope, scale=scale, margin=margin)


def target(cosine: Tensor, *, margin: Parameter) -> Tensor:
    """Return cos(theta + m) = cos theta cos m - sin theta sin m, up to the seam."""
    cos_m, sin_m = _cos_sin(margin)
    inside, sine = _sine(cosine)
    added = cosine * cos_m - torch.where(inside, sine, 0.0) * sin_m
    return torch.where(cosine >= -cos_m, added, cosine - margin * sin_m)


def slope(cosine: Tensor, *, margin: Parameter) -> Tensor:
    """Return sin(theta + m) / sin theta = cos m + cos theta sin m / sin theta."""
    cos_m, sin_m = _cos_sin(margin)
    inside, sine = _sine(cosine)
    ratio = cos_m + torch.where(inside, cosine / sine, 0.0) * sin_m
    return torch.where(cosine >= -cos_m, ratio, 1.0)


def _sine(cosine: Tensor) -> tuple[Tensor, Tensor]:
    """Return where sin theta > 0, and sin theta there; 1 elsewhere."""
    square = (1 - cosine) * (1 + cosine)
    inside = square > 0
    return inside, torch.where(inside, square, 1.0).sqrt()


def _cos_sin(angle: Parameter) -> tuple[Parameter, Parameter]:
    if isinstance(angle, Tensor):
        return angle.cos(), angle.sin()
    return math.cos(angle), math.sin(angle)


def arcface_ref(
    cosines: NpLogits, labels: NpLabels, *, margin: float = 0.5, scale: float = 64.0
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: the chain rule through the angle, at the true class alone."""
    e_y = np.eye(cosines.shape[-1])[labels]
    theta = np.arccos(cosines)
    near = theta <= np.pi - margin
    target = np.where(near, np.cos(theta + margin), cosines - margin * np.sin(margin))
    ratio = np.where(near, np.sin(theta + margin) / np.sin(theta), 1.0)
    p = np.exp(scale * np.where(e_y == 1, target, cosines))
    p = p / p.sum(-1, keepdims=True)
    slope = np.where(e_y == 1, ratio, 1.0)
    return -np.log((p * e_y).sum(-1)), scale * slope * (p - e_y)


CARD = LossCard(
    name="ArcFace",
    family="angular",
    kind="cosine",
    fn=arcface,
    ref=arcface_ref,
    summary="Cross-entropy of cosines, the true class's angle widened by a margin.",
    cite="deng2019arcface",
    formula=Formula(
        expr=(
            "scale * Piecewise((cos(theta + margin), theta <= pi - margin), "
            "(cos(theta) - margin * sin(margin), True))"
        ),
        variable="theta",
        domain=(0.0, 3.14),
    ),
    params={
        "margin": Param(default=0.5, low=0.0, high=1.0, meaning="margin, in radians"),
        "scale": Param(default=64.0, low=4.0, high=64.0, meaning="inverse temperature"),
    },
    special_cases=(SpecialCase(of="normface", params={"margin": 0.0, "scale": 30.0}),),
    peers={
        "pytorch_metric_learning.losses.ArcFaceLoss": (
            "Its margin is in degrees, 28.6 by default; an embedding on its class "
            "vector makes the gradient nan."
        ),
    },
    properties=Properties(
        convex=lambda margin, scale: margin == 0,
        strictly_proper=lambda margin, scale: margin == 0,
        symmetric=False,
        monotone=True,
        shift_invariant=lambda margin, scale: margin == 0,
        lower=None,  # the bounds over cosines depend on the number of classes
        lipschitz=lambda margin, scale: math.inf if margin else math.sqrt(2) * scale,
    ),
)
