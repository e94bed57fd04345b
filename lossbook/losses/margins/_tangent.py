"""Tangent loss: bounded on both sides. Chapter: surrogates."""

import math

import numpy as np
import torch
from torch import Tensor

from lossbook.card import Formula, LossCard, Properties
from lossbook.ops import margin_loss, quick_
from lossbook.shapes import NpPerExample, NpScores, NpSigns, PerExample, Scores, Signs


def tangent(scores: Scores, signs: Signs) -> PerExample:
    """Return (2 arctan(m) - 1)^2 per example, with the margin m = sign * score.

    It is zero at m = tan(1/2) and rises again beyond: it also costs to be too right.
    It is bounded and not convex.

    Args:
        scores: (...), tan(p - 1/2), with p the probability of +1; a score of more than
            tan(1/2) in size stands for no probability.
        signs: (...), the true class, -1 or +1.

    Returns:
        (...), below (pi + 1)^2, and never less than the 0/1 loss.

    Raises:
        ValueError: for signs other than -1 and +1, or scores that are nan.

    >>> import torch
    >>> tangent(torch.tensor([2.0, 0.0, -2.0]), torch.tensor([1, 1, 1]))
    tensor([ 1.4745,  1.0000, 10.3317])
    """
    return margin_loss(scores, signs, value, at_once)


def value(margin: Tensor) -> Tensor:
    """Return (2 arctan m - 1)^2."""
    return (2 * margin.atan() - 1).square()


def at_once(wrong: Tensor, out: Tensor, scale: float) -> None:
    """Write (2 arctan wrong + 1)^2 to `out`, its slope over `wrong`, which is -m."""
    root = quick_(out.copy_(wrong), "arctan").mul_(2).add_(1)
    torch.div(root, wrong.square_().add_(1), out=wrong).mul_(4 * scale)
    out.square_()


def tangent_ref(scores: NpScores, signs: NpSigns) -> tuple[NpPerExample, NpScores]:
    """Loss and gradient: the chain rule, and 1 / (1 + m^2) for the arctangent."""
    margin = signs * scores
    root = 2 * np.arctan(margin) - 1
    return root**2, signs * 4 * root / (1 + margin**2)


def tangent_link(eta: np.ndarray) -> np.ndarray:
    """Return tan(eta - 1/2).

    >>> tangent_link(np.array([0.5, 1.0])).round(4)
    array([0.    , 0.5463])
    """
    return np.tan(eta - 0.5)


def tangent_transform(theta: np.ndarray) -> np.ndarray:
    """Return theta^2: the least expected loss is 4 eta (1 - eta).

    >>> tangent_transform(np.array([-0.5, 1.0]))
    array([0.25, 1.  ])
    """
    return theta**2


def recovered(scores: NpScores) -> NpScores:
    """Return the posterior of +1 at which these scores are optimal."""
    return np.arctan(scores) + 0.5


def _steepest() -> float:
    """Return the largest slope: 4 (1 + 2 arctan t) / (1 + t^2) at the margin -t.

    Its derivative in t vanishes where t (1 + 2 arctan t) = 1.
    """
    t = 0.5
    for _ in range(60):  # a contraction: each step more than halves the error
        t = 1 / (1 + 2 * math.atan(t))
    return 4 * (1 + 2 * math.atan(t)) / (1 + t**2)


CARD = LossCard(
    name="Tangent loss",
    family="margins",
    kind="margin",
    fn=tangent,
    ref=tangent_ref,
    summary="Bounded for examples that are far wrong, and for those far right.",
    cite="masnadishirazi2010design",
    formula=Formula(expr="(2 * atan(m) - 1)**2", variable="m", domain=(-4.0, 4.0)),
    recovery=recovered,
    link=tangent_link,
    transform=tangent_transform,
    properties=Properties(
        convex=False,
        strictly_proper=False,
        calibrated=True,
        symmetric=False,
        monotone=False,
        upper=(math.pi + 1) ** 2,
        lipschitz=_steepest(),
    ),
)
