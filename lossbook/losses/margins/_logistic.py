"""Logistic loss: cross-entropy of two classes, written in the margin. Chapter: CE."""

import math

import numpy as np
from torch import Tensor
from torch.nn.functional import logsigmoid

from lossbook.card import Formula, LossCard, Properties
from lossbook.ops import margin_loss, softplus_and_slope
from lossbook.shapes import NpPerExample, NpScores, NpSigns, PerExample, Scores, Signs


def logistic(scores: Scores, signs: Signs) -> PerExample:
    """Return log(1 + exp(-m)) per example, with the margin m = sign * score.

    At the margin 0 it is log 2, less than the 0/1 loss; divided by log 2 it bounds the
    0/1 loss from above.

    Args:
        scores: (...), the log-odds of the class +1.
        signs: (...), the true class, -1 or +1.

    Returns:
        (...), in nats.

    Raises:
        ValueError: for signs other than -1 and +1, or scores that are nan.

    >>> import torch
    >>> logistic(torch.tensor([2.0, -2.0]), torch.tensor([1, 1]))
    tensor([0.1269, 2.1269])
    """
    return margin_loss(scores, signs, value, softplus_and_slope)


def value(margin: Tensor) -> Tensor:
    """Return log(1 + exp(-m))."""
    return -logsigmoid(margin)


def logistic_ref(scores: NpScores, signs: NpSigns) -> tuple[NpPerExample, NpScores]:
    """Loss and gradient: -s times the probability of the wrong class."""
    wrong = np.exp(-signs * scores)
    return np.log(1 + wrong), -signs * wrong / (1 + wrong)


def logistic_link(eta: np.ndarray) -> np.ndarray:
    """Return the log-odds; infinite where a class is certain.

    >>> logistic_link(np.array([0.5, 0.9])).round(4)
    array([0.    , 2.1972])
    """
    with np.errstate(divide="ignore"):
        return np.log(eta) - np.log1p(-eta)


def logistic_transform(theta: np.ndarray) -> np.ndarray:
    """Return ((1 + theta) log(1 + theta) + (1 - theta) log(1 - theta)) / 2.

    This is log 2 less the entropy of the two classes, with 0 log 0 = 0.

    >>> logistic_transform(np.array([0.0, 0.5, 1.0])).round(4)
    array([0.    , 0.1308, 0.6931])
    """
    eta = np.stack([1 + theta, 1 - theta])
    return (eta * np.log(np.where(eta == 0, 1.0, eta))).sum(0) / 2


def recovered(scores: NpScores) -> NpScores:
    """Return the posterior of +1 at which these scores are optimal."""
    return 1 / (1 + np.exp(-scores))


CARD = LossCard(
    name="Logistic loss",
    family="margins",
    kind="margin",
    fn=logistic,
    ref=logistic_ref,
    summary="Cross-entropy for two classes, as a function of the margin.",
    cite="cox1958regression",
    formula=Formula(
        expr="Max(-m, 0) + log(1 + exp(-Abs(m)))",
        variable="m",
        domain=(-4.0, 4.0),
        derivative="-1 / (1 + exp(m))",
    ),
    recovery=recovered,
    link=logistic_link,
    transform=logistic_transform,
    properties=Properties(
        convex=True,
        strictly_proper=True,
        calibrated=True,
        symmetric=False,
        monotone=True,
        upper=math.inf,
        lipschitz=1.0,
    ),
    peers={
        "torch.nn.functional.soft_margin_loss": (
            "It overflows: at a margin below -89 in float32 its value is infinite and "
            "its gradient nan."
        )
    },
)
