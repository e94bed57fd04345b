"""Exponential loss: what AdaBoost descends. Chapter: surrogates."""

import math

import numpy as np
import torch
from torch import Tensor

from lossbook.card import Formula, LossCard, Properties
from lossbook.ops import margin_loss
from lossbook.shapes import NpPerExample, NpScores, NpSigns, PerExample, Scores, Signs


def exponential(scores: Scores, signs: Signs) -> PerExample:
    """Return exp(-m) per example, with the margin m = sign * score.

    Value and gradient are infinite where -m passes 88.7 in float32 and 709.7 in
    float64; nothing is clipped, since a clipped loss is flat where it should be
    steepest. To train on margins of any size, descend the log of the mean,
    `torch.logsumexp(-scores * signs, 0) - math.log(len(scores))`. It has the same
    minimizers, and its gradient weighs the examples by exp(-m) over the sum of exp(-m).

    Args:
        scores: (...), half of the log-odds of the class +1.
        signs: (...), the true class, -1 or +1.

    Returns:
        (...), never less than the 0/1 loss.

    Raises:
        ValueError: for signs other than -1 and +1, or scores that are nan.

    >>> import torch
    >>> exponential(torch.tensor([2.0, -2.0]), torch.tensor([1, 1]))
    tensor([0.1353, 7.3891])
    """
    return margin_loss(scores, signs, value, at_once)


def value(margin: Tensor) -> Tensor:
    """Return exp(-m)."""
    return (-margin).exp()


def at_once(wrong: Tensor, out: Tensor, scale: float) -> None:
    """Write exp(wrong) to `out`, its slope over `wrong`, which is -m."""
    torch.exp(wrong, out=out)
    torch.mul(out, scale, out=wrong)


def exponential_ref(scores: NpScores, signs: NpSigns) -> tuple[NpPerExample, NpScores]:
    """Loss and gradient: -s times the loss."""
    loss = np.exp(-signs * scores)
    return loss, -signs * loss


def exponential_link(eta: np.ndarray) -> np.ndarray:
    """Return half of the log-odds; infinite where a class is certain.

    >>> exponential_link(np.array([0.5, 0.9])).round(4)
    array([0.    , 1.0986])
    """
    with np.errstate(divide="ignore"):
        return (np.log(eta) - np.log1p(-eta)) / 2


def exponential_transform(theta: np.ndarray) -> np.ndarray:
    """Return 1 - sqrt(1 - theta^2).

    >>> exponential_transform(np.array([-1.0, 0.6]))
    array([1. , 0.2])
    """
    return 1 - np.sqrt(1 - theta**2)


def recovered(scores: NpScores) -> NpScores:
    """Return the posterior of +1 at which these scores are optimal."""
    return 1 / (1 + np.exp(-2 * scores))


CARD = LossCard(
    name="Exponential loss",
    family="margins",
    kind="margin",
    fn=exponential,
    ref=exponential_ref,
    summary="Grows without limit as the margin falls; AdaBoost descends it.",
    cite="friedman2000additive",
    formula=Formula(expr="exp(-m)", variable="m", domain=(-4.0, 4.0)),
    recovery=recovered,
    link=exponential_link,
    transform=exponential_transform,
    reach=80.0,
    properties=Properties(
        convex=True,
        strictly_proper=False,
        calibrated=True,
        symmetric=False,
        monotone=True,
        upper=math.inf,
        lipschitz=math.inf,
    ),
)
