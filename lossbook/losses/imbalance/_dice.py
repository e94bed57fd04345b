"""Dice loss: one minus the overlap of prediction and mask. Chapter: overlap."""

import numpy as np
import torch

from lossbook import validate
from lossbook.card import LossCard, Param, Properties
from lossbook.losses.imbalance._masks import draw
from lossbook.ops import soft_counts, upcast
from lossbook.shapes import Masks, NpMasks, NpPerExample, Parameter, PerExample, Pixels


def dice(scores: Pixels, targets: Masks, *, smooth: Parameter = 1.0) -> PerExample:
    """Return 1 - (2 TP + smooth) / (2 TP + FP + FN + smooth), p = sigmoid(scores).

    TP is the sum of p t over the last axis, FP that of p (1 - t), FN that of
    (1 - p) t. So 2 TP + FP + FN is the sum of p plus that of t. The article squares
    both in its denominator; this is the linear form.

    An empty mask costs P / (P + smooth), P being the sum of p: nothing predicted is
    free. Without smoothing it costs 1, whatever is predicted, and has no gradient.

    Args:
        scores: (..., pixels), the log-odds of the foreground. One loss an image needs
            `scores.flatten(1)`, one loss a batch `scores.flatten()`.
        targets: the same shape, 0 or 1, or probabilities of the foreground.
        smooth: added to numerator and denominator, in pixels; 0 or more.

    Returns:
        (...), between 0 and 1; 0 for a perfect mask.

    Raises:
        ValueError: for targets outside of 0 to 1, scores that are nan, or no pixels.

    >>> import torch
    >>> dice(torch.tensor([[2.0, 2.0, -2.0, -2.0]]), torch.tensor([[1.0, 1, 0, 0]]))
    tensor([0.0954])
    """
    validate.overlap(scores, targets)
    z = upcast(scores)
    hit, false_yes, false_no = soft_counts(z, targets)
    errors = false_yes + false_no
    whole = 2 * hit + errors + smooth
    # 0 / 0, where no mask is and none is predicted: no error.
    whole = whole.clamp(min=torch.finfo(z.dtype).tiny ** 0.5)
    return validate.explain_nan("scores", scores, errors / whole)


def dice_ref(
    scores: NpMasks, targets: NpMasks, *, smooth: float = 1.0
) -> tuple[NpPerExample, NpMasks]:
    """Loss and gradient: the quotient rule in each p, then dp / df = p (1 - p)."""
    p, t = 1 / (1 + np.exp(-scores)), targets
    overlap = 2 * (p * t).sum(-1, keepdims=True) + smooth
    whole = (p + t).sum(-1, keepdims=True) + smooth
    slope = -(2 * t * whole - overlap) / whole**2
    return 1 - (overlap / whole)[..., 0], slope * p * (1 - p)


CARD = LossCard(
    name="Dice loss",
    family="imbalance",
    kind="batch",
    fn=dice,
    ref=dice_ref,
    summary="One minus the overlap of the predicted and the true mask.",
    cite="milletari2016vnet",
    draw=draw,
    params={
        "smooth": Param(default=1.0, low=0.0, high=10.0, meaning="smoothing, in pixels")
    },
    peers={
        "keras.losses.dice": (
            "Takes probabilities, pools the whole batch by default, and adds 1e-7 to "
            "the denominator alone."
        ),
        "kornia.losses.dice_loss": (
            "Its macro form is the mean of both classes' losses, smoothed in the "
            "denominator alone; its default pools the classes, which leaves the mean "
            "of 1 - p_y."
        ),
        "optax.losses.binary_dice_loss": (
            "Equal at half the smoothing, as both parts of its fraction are halved."
        ),
    },
    # Bounds of 0 and 1 and the lack of convexity are shown in the tests: no refuter
    # walks over masks.
    properties=Properties(lower=None),
)
