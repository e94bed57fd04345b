"""Savage loss: the Brier score as a function of the margin. Chapter: surrogates."""

import numpy as np
import torch
from torch import Tensor

from lossbook.card import Formula, LossCard, Properties
from lossbook.ops import margin_loss, sigmoid
from lossbook.shapes import NpPerExample, NpScores, NpSigns, PerExample, Scores, Signs


def savage(scores: Scores, signs: Signs) -> PerExample:
    """Return sigmoid(-m)^2 per example, with the margin m = sign * score.

    It is the square of the probability that is given to the wrong class: bounded, so
    that no single example can cost more than 1, and no longer convex.

    Args:
        scores: (...), the log-odds of the class +1.
        signs: (...), the true class, -1 or +1.

    Returns:
        (...), between 0 and 1.

    Raises:
        ValueError: for signs other than -1 and +1, or scores that are nan.

    >>> import torch
    >>> savage(torch.tensor([2.0, -2.0]), torch.tensor([1, 1]))
    tensor([0.0142, 0.7758])
    """
    return margin_loss(scores, signs, value, at_once)


def value(margin: Tensor) -> Tensor:
    """Return w^2, w being the probability of the wrong class."""
    return sigmoid(-margin).square()


def at_once(wrong: Tensor, out: Tensor, scale: float) -> None:
    """Write w^2 to `out`, its slope 2 w^2 (1 - w) over `wrong`, the log-odds of w."""
    w = torch.sigmoid(wrong, out=out)
    wrong.neg_().sigmoid_().mul_(w).mul_(w).mul_(2 * scale)
    w.square_()


def savage_ref(scores: NpScores, signs: NpSigns) -> tuple[NpPerExample, NpScores]:
    """Loss and gradient: -2 s w^2 (1 - w), with the wrong class's probability w."""
    wrong = 1 / (1 + np.exp(signs * scores))
    return wrong**2, -2 * signs * wrong**2 * (1 - wrong)


def savage_link(eta: np.ndarray) -> np.ndarray:
    """Return the log-odds; infinite where a class is certain.

    >>> savage_link(np.array([0.5, 0.9])).round(4)
    array([0.    , 2.1972])
    """
    with np.errstate(divide="ignore"):
        return np.log(eta) - np.log1p(-eta)


def savage_transform(theta: np.ndarray) -> np.ndarray:
    """Return theta^2 / 4: the least expected loss is eta (1 - eta).

    >>> savage_transform(np.array([-1.0, 0.6]))
    array([0.25, 0.09])
    """
    return theta**2 / 4


def recovered(scores: NpScores) -> NpScores:
    """Return the posterior of +1 at which these scores are optimal."""
    return 1 / (1 + np.exp(-scores))


CARD = LossCard(
    name="Savage loss",
    family="margins",
    kind="margin",
    fn=savage,
    ref=savage_ref,
    summary="The squared probability of the wrong class: bounded, and strictly proper.",
    cite="masnadishirazi2008design",
    formula=Formula(expr="1 / (1 + exp(m))**2", variable="m", domain=(-4.0, 4.0)),
    recovery=recovered,
    link=savage_link,
    transform=savage_transform,
    properties=Properties(
        convex=False,
        strictly_proper=True,
        calibrated=True,
        symmetric=False,
        monotone=True,
        upper=1.0,
        lipschitz=8 / 27,  # 2 w^2 (1 - w) at w = 2/3
    ),
)
