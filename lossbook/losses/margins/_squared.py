"""Squared loss of the margin: least squares on signs. Chapter: surrogates."""

import math

import numpy as np
import torch
from torch import Tensor

from lossbook.card import Formula, LossCard, Properties
from lossbook.ops import margin_loss
from lossbook.shapes import NpPerExample, NpScores, NpSigns, PerExample, Scores, Signs


def squared(scores: Scores, signs: Signs) -> PerExample:
    """Return (1 - m)^2 per example, with the margin m = sign * score.

    It equals (sign - score)^2: least squares on the signs. So it also pulls back a
    margin above 1, however right the example is.

    Args:
        scores: (...), one real number an example; optimal at 2 eta - 1, with eta the
            probability of +1.
        signs: (...), the true class, -1 or +1.

    Returns:
        (...), never less than the 0/1 loss.

    Raises:
        ValueError: for signs other than -1 and +1, or scores that are nan.

    >>> import torch
    >>> squared(torch.tensor([2.0, 0.5, -2.0]), torch.tensor([1, 1, 1]))
    tensor([1.0000, 0.2500, 9.0000])
    """
    return margin_loss(scores, signs, value, at_once)


def value(margin: Tensor) -> Tensor:
    """Return (1 - m)^2."""
    return (1 - margin).square()


def at_once(wrong: Tensor, out: Tensor, scale: float) -> None:
    """Write (1 + wrong)^2 to `out`, its slope over `wrong`, which is -m."""
    torch.add(wrong, 1, out=out)
    torch.mul(out, 2 * scale, out=wrong)
    out.square_()


def squared_ref(scores: NpScores, signs: NpSigns) -> tuple[NpPerExample, NpScores]:
    """Loss and gradient: -2 s (1 - m)."""
    margin = signs * scores
    return (1 - margin) ** 2, -2 * signs * (1 - margin)


def squared_link(eta: np.ndarray) -> np.ndarray:
    """Return 2 eta - 1, the expected sign.

    >>> squared_link(np.array([0.25, 1.0]))
    array([-0.5,  1. ])
    """
    return 2 * eta - 1


def squared_transform(theta: np.ndarray) -> np.ndarray:
    """Return theta^2.

    >>> squared_transform(np.array([-0.5, 1.0]))
    array([0.25, 1.  ])
    """
    return theta**2


def recovered(scores: NpScores) -> NpScores:
    """Return the posterior of +1 at which these scores are optimal."""
    return (1 + scores) / 2


CARD = LossCard(
    name="Squared loss",
    family="margins",
    kind="margin",
    fn=squared,
    ref=squared_ref,
    summary="Least squares on the signs; it costs to be too right.",
    cite="zhang2004statistical",
    formula=Formula(expr="(1 - m)**2", variable="m", domain=(-4.0, 4.0)),
    recovery=recovered,
    link=squared_link,
    transform=squared_transform,
    properties=Properties(
        convex=True,
        strictly_proper=False,
        calibrated=True,
        symmetric=False,
        monotone=False,
        upper=math.inf,
        lipschitz=math.inf,
    ),
    peers={"torch.nn.functional.mse_loss": ""},
)
