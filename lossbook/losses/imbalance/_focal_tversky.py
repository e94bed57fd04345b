"""Focal Tversky loss: a root of the Tversky loss. Chapter: overlap."""

import numpy as np
import torch

from lossbook import validate
from lossbook.card import LossCard, Param, Properties, SpecialCase
from lossbook.losses.imbalance._masks import draw
from lossbook.ops import soft_counts, upcast
from lossbook.shapes import Masks, NpMasks, NpPerExample, Parameter, PerExample, Pixels


def focal_tversky(
    scores: Pixels,
    targets: Masks,
    *,
    alpha: Parameter = 0.3,
    beta: Parameter = 0.7,
    gamma: Parameter = 4 / 3,
    smooth: Parameter = 1.0,
) -> PerExample:
    """Return (1 - T)^(1 / gamma), a root of the Tversky loss 1 - T.

    T is (TP + smooth) / (TP + alpha FP + beta FN + smooth). With p = sigmoid(scores),
    TP is the sum of p t over the last axis, FP that of p (1 - t), FN that of
    (1 - p) t.

    The article prices false negatives with its alpha, 0.7, and false positives with
    its beta. Here the names are those of the Tversky loss; the prices are the same.

    The exponent is 1 / gamma, below 1. Against the Tversky loss, a loss 1 - T under
    gamma^(-gamma / (gamma - 1)), which is 0.316 at gamma = 4/3, pulls harder and a
    larger one less: nearly right masks stay in training. That is the opposite of the
    focal loss.

    The root has no derivative in T at T = 1. In the scores the gradient is finite, at
    most 2 / gamma a pixel: no error's slope exceeds the error, so its slope vanishes
    faster than the root's grows. Where the loss is 0, the gradient is 0.

    Args:
        scores: (..., pixels), the log-odds of the foreground. One loss an image needs
            `scores.flatten(1)`, one loss a batch `scores.flatten()`.
        targets: the same shape, 0 or 1, or probabilities of the foreground.
        alpha: the price of false positives, 0 or more.
        beta: the price of false negatives, 0 or more.
        gamma: the root; 1 gives the Tversky loss.
        smooth: added to numerator and denominator, in pixels; 0 or more.

    Returns:
        (...), between 0 and 1; 0 for a perfect mask.

    Raises:
        ValueError: for targets outside of 0 to 1, scores that are nan, or no pixels.

    >>> import torch
    >>> focal_tversky(torch.tensor([[2.0, 2.0]]), torch.tensor([[1.0, 0.0]]))
    tensor([0.2482])
    """
    validate.overlap(scores, targets)
    z = upcast(scores)
    hit, false_yes, false_no = soft_counts(z, targets)
    errors = alpha * false_yes + beta * false_no
    whole = hit + errors + smooth
    # 0 / 0, where no mask is and none is predicted: no error.
    tiny = torch.finfo(z.dtype).tiny
    rest = errors / whole.clamp(min=tiny**0.5)
    # A root's slope at 0 is infinite: below the normal numbers the loss is 0.
    some = ~(rest < tiny)  # a nan stays one
    root = (rest.where(some, 1.0).log() / gamma).exp()
    return validate.explain_nan("scores", scores, torch.where(some, root, 0.0))


def focal_tversky_ref(
    scores: NpMasks,
    targets: NpMasks,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    gamma: float = 4 / 3,
    smooth: float = 1.0,
) -> tuple[NpPerExample, NpMasks]:
    """Loss and gradient: the quotient rule in each p, then the root's chain rule."""
    p, t = 1 / (1 + np.exp(-scores)), targets
    overlap = (p * t).sum(-1, keepdims=True) + smooth
    errors = (alpha * p * (1 - t) + beta * (1 - p) * t).sum(-1, keepdims=True)
    more_errors = alpha * (1 - t) - beta * t  # their derivative in p
    slope = (more_errors * overlap - errors * t) / (overlap + errors) ** 2
    rest = errors / (overlap + errors)  # 1 - T
    some = np.where(rest > 0, rest, 1.0)
    root_slope = np.where(rest > 0, some ** (1 / gamma - 1) / gamma, 0.0)
    return (rest ** (1 / gamma))[..., 0], root_slope * slope * p * (1 - p)


CARD = LossCard(
    name="Focal Tversky loss",
    family="imbalance",
    kind="batch",
    fn=focal_tversky,
    ref=focal_tversky_ref,
    summary="A root of the Tversky loss, which keeps nearly right masks in training.",
    cite="abraham2019focal",
    draw=draw,
    params={
        "alpha": Param(
            default=0.3, low=0.0, high=1.0, meaning="price of false positives"
        ),
        "beta": Param(
            default=0.7, low=0.0, high=1.0, meaning="price of false negatives"
        ),
        "gamma": Param(default=4 / 3, low=1.0, high=3.0, meaning="root"),
        "smooth": Param(
            default=1.0, low=0.0, high=10.0, meaning="smoothing, in pixels"
        ),
    },
    special_cases=(
        SpecialCase(of="tversky", params={"alpha": 0.5, "beta": 0.5, "gamma": 1.0}),
    ),
    # The bounds stand with the Dice loss's in the tests.
    properties=Properties(lower=None),
)
