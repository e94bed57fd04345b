"""SphereFace: the true class's angle, multiplied. Chapter: margins on the sphere."""

import numpy as np

from lossbook.card import Formula, LossCard, Param, Properties, SpecialCase
from lossbook.losses.angular._cosines import (
    annealed_angle,
    annealed_angle_slope,
    check_whole_margin,
    margin_softmax,
)
from lossbook.shapes import (
    Labels,
    Logits,
    NpLabels,
    NpLogits,
    NpPerExample,
    Parameter,
    PerExample,
)


def sphereface(
    cosines: Logits,
    labels: Labels,
    *,
    margin: Parameter = 4.0,
    scale: Parameter = 30.0,
    strength: Parameter = 0.0,
) -> PerExample:
    """Return cross-entropy of scaled cosines, the true class's replaced by psi.

    psi(theta) = (-1)^k cos(m theta) - 2k between k pi / m and (k + 1) pi / m: the
    cosine of the m-fold angle, continued so that it falls from 1 at theta = 0 to
    1 - 2m at pi. It is continuous and never more than cos theta; at its corners the
    slope is 0.

    The article scales by the embedding's length: give `scale` that tensor. It also
    begins with the plain cosine and lets psi in slowly, since psi alone is hard to
    train with: the target is (strength cos theta + psi) / (1 + strength), and the
    strength, its lambda, falls as `schedules.annealed` does. 0, the default here, is
    psi alone.

    Args:
        cosines: (..., C), of the angles between embedding and class vectors.
        labels: (...), the true class, 0 to C - 1.
        margin: what the true class's angle is multiplied with: 1, 2, 3 or 4.
        scale: what cosines are multiplied with, the inverse of a temperature.
        strength: lambda, 0 or more, the weight of the plain cosine beside psi.

    Returns:
        (...), in nats, never less than NormFace.

    Raises:
        ValueError: for labels outside of the classes, cosines beyond -1 and 1, nan, or
            another margin.

    >>> import torch
    >>> sphereface(torch.tensor([[0.0, 0.0]]), torch.tensor([0]), margin=2, scale=1.0)
    tensor([1.3133])
    """
    check_whole_margin(margin)
    return margin_softmax(
        cosines,
        labels,
        annealed_angle,
        annealed_angle_slope,
        scale=scale,
        margin=margin,
        strength=strength,
    )


def sphereface_ref(
    cosines: NpLogits,
    labels: NpLabels,
    *,
    margin: float = 4.0,
    scale: float = 30.0,
    strength: float = 0.0,
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: the chain rule through the angle, at the true class alone."""
    e_y = np.eye(cosines.shape[-1])[labels]
    theta = np.arccos(cosines)
    k = np.floor(margin * theta / np.pi)
    psi = (-1) ** k * np.cos(margin * theta) - 2 * k
    ratio = (-1) ** k * margin * np.sin(margin * theta) / np.sin(theta)
    target = (strength * cosines + psi) / (1 + strength)
    ratio = (strength + ratio) / (1 + strength)
    p = np.exp(scale * np.where(e_y == 1, target, cosines))
    p = p / p.sum(-1, keepdims=True)
    slope = np.where(e_y == 1, ratio, 1.0)
    return -np.log((p * e_y).sum(-1)), scale * slope * (p - e_y)


CARD = LossCard(
    name="SphereFace",
    family="angular",
    kind="cosine",
    fn=sphereface,
    ref=sphereface_ref,
    summary="Cross-entropy of cosines, the true class's angle multiplied.",
    cite="liu2017sphereface",
    formula=Formula(
        expr=(
            "scale * (strength * cos(theta)"
            " + (-1)**floor(margin * theta / pi) * cos(margin * theta)"
            " - 2 * floor(margin * theta / pi)) / (1 + strength)"
        ),
        variable="theta",
        domain=(0.0, 3.14),
        derivative=(
            "-scale * (strength * sin(theta)"
            " + margin * (-1)**floor(margin * theta / pi) * sin(margin * theta))"
            " / (1 + strength)"
        ),
    ),
    params={
        "margin": Param(
            default=4.0, low=1.0, high=4.0, whole=True, meaning="multiple of the angle"
        ),
        "scale": Param(default=30.0, low=4.0, high=64.0, meaning="inverse temperature"),
        "strength": Param(
            default=0.0,
            low=0.0,
            high=1000.0,
            meaning="weight of the plain cosine",
            tex=r"\lambda",
        ),
    },
    special_cases=(SpecialCase(of="normface", params={"margin": 1.0, "scale": 30.0}),),
    peers={
        "pytorch_metric_learning.losses.SphereFaceLoss": (
            "It multiplies the scale, 1 by default, by the length of each embedding."
        ),
    },
    properties=Properties(
        convex=lambda margin, scale, strength: margin == 1,
        strictly_proper=lambda margin, scale, strength: margin == 1,
        symmetric=False,
        monotone=True,
        shift_invariant=lambda margin, scale, strength: margin == 1,
        lower=None,  # the bounds over cosines depend on the number of classes
    ),
)
