"""Unhinged loss: the hinge without its hinge, a line. Chapter: surrogates."""

import math

import numpy as np
import torch
from torch import Tensor

from lossbook.card import Formula, LossCard, Properties
from lossbook.ops import margin_loss
from lossbook.shapes import NpPerExample, NpScores, NpSigns, PerExample, Scores, Signs


def unhinged(scores: Scores, signs: Signs) -> PerExample:
    """Return 1 - m per example, with the margin m = sign * score.

    It is convex, and over the two labels it sums to 2 whatever the score is, so
    symmetric label noise moves no minimizer. The price: it has no lower bound, and is
    minimized only where the model is kept small, for instance by a bounded norm of
    the weights. With scores of at most B in size the cheapest one is B times
    sign(2 eta - 1), with eta the probability of +1.

    Args:
        scores: (...), one real number an example.
        signs: (...), the true class, -1 or +1.

    Returns:
        (...), of any size and sign.

    Raises:
        ValueError: for signs other than -1 and +1, or scores that are nan.

    >>> import torch
    >>> unhinged(torch.tensor([2.0, 0.5, -2.0]), torch.tensor([1, 1, 1]))
    tensor([-1.0000,  0.5000,  3.0000])
    """
    return margin_loss(scores, signs, value, at_once)


def value(margin: Tensor) -> Tensor:
    """Return 1 - m."""
    return 1 - margin


def at_once(wrong: Tensor, out: Tensor, scale: float) -> None:
    """Write 1 + wrong to `out`, its slope over `wrong`, which is -m."""
    torch.add(wrong, 1, out=out)
    wrong.fill_(scale)


def unhinged_ref(scores: NpScores, signs: NpSigns) -> tuple[NpPerExample, NpScores]:
    """Loss and gradient: -s everywhere."""
    return 1 - signs * scores, -signs * np.ones_like(scores)


CARD = LossCard(
    name="Unhinged loss",
    family="margins",
    kind="margin",
    fn=unhinged,
    ref=unhinged_ref,
    summary="A line: convex and noise-tolerant, but without a lower bound.",
    cite="vanrooyen2015learning",
    formula=Formula(expr="1 - m", variable="m", domain=(-4.0, 4.0)),
    properties=Properties(
        convex=True,
        strictly_proper=False,
        calibrated=True,
        symmetric=True,
        monotone=True,
        lower=-math.inf,
        upper=math.inf,
        lipschitz=1.0,
    ),
)
