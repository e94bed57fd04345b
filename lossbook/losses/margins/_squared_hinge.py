"""Squared hinge loss: the hinge without its kink. Chapter: surrogates."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import relu

from lossbook.card import Formula, LossCard, Properties
from lossbook.ops import margin_loss
from lossbook.shapes import NpPerExample, NpScores, NpSigns, PerExample, Scores, Signs


def squared_hinge(scores: Scores, signs: Signs) -> PerExample:
    """Return max(0, 1 - m)^2 per example, with the margin m = sign * score.

    Args:
        scores: (...), one real number an example; optimal at 2 eta - 1, with eta the
            probability of +1.
        signs: (...), the true class, -1 or +1.

    Returns:
        (...), never less than the 0/1 loss.

    Raises:
        ValueError: for signs other than -1 and +1, or scores that are nan.

    >>> import torch
    >>> squared_hinge(torch.tensor([2.0, 0.5, -2.0]), torch.tensor([1, 1, 1]))
    tensor([0.0000, 0.2500, 9.0000])
    """
    return margin_loss(scores, signs, value, at_once)


def value(margin: Tensor) -> Tensor:
    """Return max(0, 1 - m)^2."""
    return relu(1 - margin).square()


def at_once(wrong: Tensor, out: Tensor, scale: float) -> None:
    """Write max(0, 1 + wrong)^2 to `out`, its slope over `wrong`, which is -m."""
    torch.add(wrong, 1, out=out).relu_()
    torch.mul(out, 2 * scale, out=wrong)
    out.square_()


def squared_hinge_ref(
    scores: NpScores, signs: NpSigns
) -> tuple[NpPerExample, NpScores]:
    """Loss and gradient: -2 s times what the margin lacks to 1."""
    short = np.maximum(1 - signs * scores, 0)
    return short**2, -2 * signs * short


def squared_hinge_link(eta: np.ndarray) -> np.ndarray:
    """Return 2 eta - 1.

    >>> squared_hinge_link(np.array([0.25, 1.0]))
    array([-0.5,  1. ])
    """
    return 2 * eta - 1


def squared_hinge_transform(theta: np.ndarray) -> np.ndarray:
    """Return theta^2.

    >>> squared_hinge_transform(np.array([-0.5, 1.0]))
    array([0.25, 1.  ])
    """
    return theta**2


def recovered(scores: NpScores) -> NpScores:
    """Return the posterior of +1 at which these scores are optimal."""
    return (1 + np.clip(scores, -1, 1)) / 2


CARD = LossCard(
    name="Squared hinge loss",
    family="margins",
    kind="margin",
    fn=squared_hinge,
    ref=squared_hinge_ref,
    summary="The square of the hinge: smooth, and its scores keep the probabilities.",
    cite="zhang2004statistical",
    formula=Formula(
        expr="Max(1 - m, 0)**2",
        variable="m",
        domain=(-4.0, 4.0),
        derivative="-2 * Max(1 - m, 0)",
    ),
    recovery=recovered,
    link=squared_hinge_link,
    transform=squared_hinge_transform,
    properties=Properties(
        convex=True,
        strictly_proper=False,
        calibrated=True,
        symmetric=False,
        monotone=True,
        upper=math.inf,
        lipschitz=math.inf,
    ),
    peers={
        "keras.losses.SquaredHinge": (
            "It takes classes 0 and 1 as well, and returns the mean over the last axis."
        ),
    },
)
