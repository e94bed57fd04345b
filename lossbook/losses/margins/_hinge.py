"""Hinge loss: linear until the margin is 1, then zero. Chapter: surrogates."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import relu

from lossbook.card import Formula, LossCard, Properties
from lossbook.ops import margin_loss
from lossbook.shapes import NpPerExample, NpScores, NpSigns, PerExample, Scores, Signs


def hinge(scores: Scores, signs: Signs) -> PerExample:
    """Return max(0, 1 - m) per example, with the margin m = sign * score.

    The 1 is a unit of the score, no parameter: max(0, c - m) is c times this loss at
    the score divided by c. At the kink, m = 1, the slope used is 0.

    Args:
        scores: (...), one real number an example.
        signs: (...), the true class, -1 or +1.

    Returns:
        (...), never less than the 0/1 loss.

    Raises:
        ValueError: for signs other than -1 and +1, or scores that are nan.

    >>> import torch
    >>> hinge(torch.tensor([2.0, 0.5, -2.0]), torch.tensor([1, 1, 1]))
    tensor([0.0000, 0.5000, 3.0000])
    """
    return margin_loss(scores, signs, value, at_once)


def value(margin: Tensor) -> Tensor:
    """Return max(0, 1 - m)."""
    return relu(1 - margin)


def at_once(wrong: Tensor, out: Tensor, scale: float) -> None:
    """Write max(0, 1 + wrong) to `out`, its slope over `wrong`, which is -m."""
    torch.add(wrong, 1, out=out).relu_()
    torch.gt(out, 0, out=wrong).mul_(scale)


def hinge_ref(scores: NpScores, signs: NpSigns) -> tuple[NpPerExample, NpScores]:
    """Loss and gradient: -s where the margin falls short of 1, else 0."""
    margin = signs * scores
    return np.maximum(1 - margin, 0), np.where(margin < 1, -signs, 0.0)


def hinge_link(eta: np.ndarray) -> np.ndarray:
    """Return sign(2 eta - 1): the cheapest score tells the class, not how likely it is.

    >>> hinge_link(np.array([0.1, 0.6, 0.9]))
    array([-1.,  1.,  1.])
    """
    return np.sign(2 * eta - 1)


def hinge_transform(theta: np.ndarray) -> np.ndarray:
    """Return |theta|: excess hinge risk bounds excess 0/1 risk one to one.

    >>> hinge_transform(np.array([-0.5, 1.0]))
    array([0.5, 1. ])
    """
    return np.abs(theta)


CARD = LossCard(
    name="Hinge loss",
    family="margins",
    kind="margin",
    fn=hinge,
    ref=hinge_ref,
    summary="Linear in the margin up to 1, then zero; of support vector machines.",
    cite="cortes1995support",
    formula=Formula(
        expr="Max(1 - m, 0)",
        variable="m",
        domain=(-4.0, 4.0),
        derivative="Piecewise((-1, m < 1), (0, True))",
    ),
    link=hinge_link,
    transform=hinge_transform,
    properties=Properties(
        convex=True,
        strictly_proper=False,
        calibrated=True,
        symmetric=False,
        monotone=True,
        upper=math.inf,
        lipschitz=1.0,
    ),
    peers={
        "keras.losses.Hinge": (
            "It takes classes 0 and 1 as well, and returns the mean over the last axis."
        ),
        "optax.losses.hinge_loss": "",
        "sklearn.metrics.hinge_loss": "It returns the mean over the examples.",
        "torch.nn.functional.hinge_embedding_loss": (
            "A loss of distances: it is the distance itself at sign +1, and what the "
            "distance lacks to 1 at sign -1."
        ),
    },
)
