"""Ramp loss: the hinge, cut off where it is high. Chapter: surrogates."""

import numpy as np
import torch
from torch import Tensor

from lossbook.card import Formula, LossCard, Properties
from lossbook.ops import margin_loss
from lossbook.shapes import NpPerExample, NpScores, NpSigns, PerExample, Scores, Signs


def ramp(scores: Scores, signs: Signs) -> PerExample:
    """Return (1 - m) / 2, kept between 0 and 1, with the margin m = sign * score.

    It is half of a hinge loss that is cut off at 2. Over the two labels it sums to 1
    whatever the score is, so symmetric label noise moves no minimizer. At the kinks,
    m = -1 and m = 1, the slope used is that between them, -1/2.

    Args:
        scores: (...), one real number an example.
        signs: (...), the true class, -1 or +1.

    Returns:
        (...), between 0 and 1.

    Raises:
        ValueError: for signs other than -1 and +1, or scores that are nan.

    >>> import torch
    >>> ramp(torch.tensor([2.0, 0.5, -2.0]), torch.tensor([1, 1, 1]))
    tensor([0.0000, 0.2500, 1.0000])
    """
    return margin_loss(scores, signs, value, at_once)


def value(margin: Tensor) -> Tensor:
    """Return (1 - m) / 2, kept between 0 and 1."""
    return ((1 - margin) / 2).clamp(0, 1)


def at_once(wrong: Tensor, out: Tensor, scale: float) -> None:
    """Write (1 + wrong) / 2, kept between 0 and 1; its slope over `wrong`, which is -m.

    At the corners it is 1/2 as well.
    """
    wrong.add_(1)
    torch.clamp(wrong, 0, 2, out=out)
    torch.eq(wrong, out, out=wrong).mul_(scale / 2)
    out.div_(2)


def ramp_ref(scores: NpScores, signs: NpSigns) -> tuple[NpPerExample, NpScores]:
    """Loss and gradient: -s / 2 between the margins -1 and 1, else 0."""
    margin = signs * scores
    inside = np.abs(margin) <= 1
    return np.clip((1 - margin) / 2, 0, 1), np.where(inside, -signs / 2, 0.0)


def ramp_link(eta: np.ndarray) -> np.ndarray:
    """Return sign(2 eta - 1); every score further out costs the same.

    >>> ramp_link(np.array([0.1, 0.6, 0.9]))
    array([-1.,  1.,  1.])
    """
    return np.sign(2 * eta - 1)


def ramp_transform(theta: np.ndarray) -> np.ndarray:
    """Return |theta| / 2.

    >>> ramp_transform(np.array([-0.5, 1.0]))
    array([0.25, 0.5 ])
    """
    return np.abs(theta) / 2


CARD = LossCard(
    name="Ramp loss",
    family="margins",
    kind="margin",
    fn=ramp,
    ref=ramp_ref,
    summary="Half of a hinge that is cut off at 2: one example costs at most 1.",
    cite="collobert2006trading",
    formula=Formula(
        expr="Piecewise((1, m < -1), ((1 - m) / 2, m <= 1), (0, True))",
        variable="m",
        domain=(-4.0, 4.0),
        derivative="Piecewise((0, m < -1), (-1/2, m <= 1), (0, True))",
    ),
    link=ramp_link,
    transform=ramp_transform,
    properties=Properties(
        convex=False,
        strictly_proper=False,
        calibrated=True,
        symmetric=True,
        monotone=True,
        upper=1.0,
        lipschitz=0.5,
    ),
)
