"""Sigmoid loss: a smooth 0/1 loss. Chapter: surrogates."""

import numpy as np
import torch
from torch import Tensor

from lossbook.card import Formula, LossCard, Properties
from lossbook.ops import margin_loss, sigmoid
from lossbook.shapes import NpPerExample, NpScores, NpSigns, PerExample, Scores, Signs


def sigmoid_loss(scores: Scores, signs: Signs) -> PerExample:
    """Return sigmoid(-m) per example, with the margin m = sign * score.

    It is the probability that is given to the wrong class. Over the two labels it sums
    to 1 whatever the score is, so symmetric label noise moves no minimizer.

    Args:
        scores: (...), one real number an example.
        signs: (...), the true class, -1 or +1.

    Returns:
        (...), between 0 and 1.

    Raises:
        ValueError: for signs other than -1 and +1, or scores that are nan.

    >>> import torch
    >>> sigmoid_loss(torch.tensor([2.0, -2.0]), torch.tensor([1, 1]))
    tensor([0.1192, 0.8808])
    """
    return margin_loss(scores, signs, value, at_once)


def value(margin: Tensor) -> Tensor:
    """Return w, the probability of the wrong class."""
    return sigmoid(-margin)


def at_once(wrong: Tensor, out: Tensor, scale: float) -> None:
    """Write w to `out`, its slope w (1 - w) over `wrong`, the log-odds of w."""
    torch.sigmoid(wrong, out=out)
    wrong.neg_().sigmoid_().mul_(out).mul_(scale)


def sigmoid_loss_ref(scores: NpScores, signs: NpSigns) -> tuple[NpPerExample, NpScores]:
    """Loss and gradient: -s w (1 - w), with the wrong class's probability w."""
    wrong = 1 / (1 + np.exp(signs * scores))
    return wrong, -signs * wrong * (1 - wrong)


def sigmoid_loss_link(eta: np.ndarray) -> np.ndarray:
    """Return infinity with the sign of the likelier class, and 0 at a tie.

    No finite score is the cheapest; at a tie all cost the same.

    >>> sigmoid_loss_link(np.array([0.1, 0.5, 0.6]))
    array([-inf,   0.,  inf])
    """
    return np.where(eta == 0.5, 0.0, np.copysign(np.inf, eta - 0.5))


def sigmoid_loss_transform(theta: np.ndarray) -> np.ndarray:
    """Return |theta| / 2.

    >>> sigmoid_loss_transform(np.array([-0.5, 1.0]))
    array([0.25, 0.5 ])
    """
    return np.abs(theta) / 2


CARD = LossCard(
    name="Sigmoid loss",
    family="margins",
    kind="margin",
    fn=sigmoid_loss,
    ref=sigmoid_loss_ref,
    summary="A smooth step between 0 and 1; symmetric label noise does not move it.",
    cite="ghosh2015making",
    formula=Formula(expr="1 / (1 + exp(m))", variable="m", domain=(-4.0, 4.0)),
    link=sigmoid_loss_link,
    transform=sigmoid_loss_transform,
    properties=Properties(
        convex=False,
        strictly_proper=False,
        calibrated=True,
        symmetric=True,
        monotone=True,
        upper=1.0,
        lipschitz=0.25,
    ),
)
