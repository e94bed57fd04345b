"""Tversky loss: overlap with a price for each kind of error. Chapter: overlap."""

import numpy as np
import torch

from lossbook import validate
from lossbook.card import LossCard, Param, Properties, SpecialCase
from lossbook.losses.imbalance._masks import draw
from lossbook.ops import soft_counts, upcast
from lossbook.shapes import Masks, NpMasks, NpPerExample, Parameter, PerExample, Pixels


def tversky(
    scores: Pixels,
    targets: Masks,
    *,
    alpha: Parameter = 0.5,
    beta: Parameter = 0.5,
    smooth: Parameter = 1.0,
) -> PerExample:
    """Return 1 - (TP + smooth) / (TP + alpha FP + beta FN + smooth).

    With p = sigmoid(scores), TP is the sum of p t over the last axis, FP that of
    p (1 - t), FN that of (1 - p) t. At alpha = beta = 1/2 this is the Dice loss, of
    twice the smoothing; at 1 it is the Jaccard loss.

    An empty mask costs alpha P / (alpha P + smooth), P being the sum of p: nothing
    predicted is free. Without smoothing it costs 1, whatever is predicted, and has no
    gradient.

    Args:
        scores: (..., pixels), the log-odds of the foreground. One loss an image needs
            `scores.flatten(1)`, one loss a batch `scores.flatten()`.
        targets: the same shape, 0 or 1, or probabilities of the foreground.
        alpha: the price of false positives, 0 or more.
        beta: the price of false negatives, 0 or more.
        smooth: added to numerator and denominator, in pixels; 0 or more.

    Returns:
        (...), between 0 and 1; 0 for a perfect mask.

    Raises:
        ValueError: for targets outside of 0 to 1, scores that are nan, or no pixels.

    >>> import torch
    >>> scores, targets = torch.tensor([[2.0, 2.0]]), torch.tensor([[1.0, 0.0]])
    >>> tversky(scores, targets, alpha=0.3, beta=0.7)
    tensor([0.1560])
    """
    validate.overlap(scores, targets)
    z = upcast(scores)
    hit, false_yes, false_no = soft_counts(z, targets)
    errors = alpha * false_yes + beta * false_no
    whole = hit + errors + smooth
    # 0 / 0, where no mask is and none is predicted: no error.
    whole = whole.clamp(min=torch.finfo(z.dtype).tiny ** 0.5)
    return validate.explain_nan("scores", scores, errors / whole)


def tversky_ref(
    scores: NpMasks,
    targets: NpMasks,
    *,
    alpha: float = 0.5,
    beta: float = 0.5,
    smooth: float = 1.0,
) -> tuple[NpPerExample, NpMasks]:
    """Loss and gradient: the quotient rule in each p, then dp / df = p (1 - p)."""
    p, t = 1 / (1 + np.exp(-scores)), targets
    overlap = (p * t).sum(-1, keepdims=True) + smooth
    errors = (alpha * p * (1 - t) + beta * (1 - p) * t).sum(-1, keepdims=True)
    more_errors = alpha * (1 - t) - beta * t  # their derivative in p
    slope = (more_errors * overlap - errors * t) / (overlap + errors) ** 2
    return (errors / (overlap + errors))[..., 0], slope * p * (1 - p)


CARD = LossCard(
    name="Tversky loss",
    family="imbalance",
    kind="batch",
    fn=tversky,
    ref=tversky_ref,
    summary="One minus an overlap that prices both kinds of error separately.",
    cite="salehi2017tversky",
    draw=draw,
    params={
        "alpha": Param(
            default=0.5, low=0.0, high=1.0, meaning="price of false positives"
        ),
        "beta": Param(
            default=0.5, low=0.0, high=1.0, meaning="price of false negatives"
        ),
        "smooth": Param(
            default=1.0, low=0.0, high=10.0, meaning="smoothing, in pixels"
        ),
    },
    special_cases=(
        SpecialCase(of="dice", params={"alpha": 0.5, "beta": 0.5, "smooth": 0.5}),
    ),
    peers={
        "keras.losses.tversky": (
            "Takes probabilities; its alpha prices false negatives and its beta false "
            "positives, not as its description says."
        ),
        "kornia.losses.tversky_loss": (
            "The mean of both classes' losses, smoothed in the denominator alone."
        ),
        "optax.losses.dice_loss": "",
    },
    # The bounds stand with the Dice loss's in the tests.
    properties=Properties(lower=None),
)
