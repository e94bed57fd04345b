"""Smooth hinge loss: the hinge with a rounded corner. Chapter: surrogates."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import relu

from lossbook.card import Formula, LossCard, Properties
from lossbook.ops import margin_loss
from lossbook.shapes import NpPerExample, NpScores, NpSigns, PerExample, Scores, Signs


def smooth_hinge(scores: Scores, signs: Signs) -> PerExample:
    """Return the hinge loss with a parabola in the place of its corner.

    With the margin m = sign * score: 1/2 - m where m <= 0, (1 - m)^2 / 2 between 0 and
    1, and 0 from 1 on.

    Args:
        scores: (...), one real number an example.
        signs: (...), the true class, -1 or +1.

    Returns:
        (...), between the hinge loss less 1/2 and the hinge loss. It does not bound
        the 0/1 loss: it is 1/2 at the margin 0.

    Raises:
        ValueError: for signs other than -1 and +1, or scores that are nan.

    >>> import torch
    >>> smooth_hinge(torch.tensor([2.0, 0.5, -2.0]), torch.tensor([1, 1, 1]))
    tensor([0.0000, 0.1250, 2.5000])
    """
    return margin_loss(scores, signs, value, at_once)


def value(margin: Tensor) -> Tensor:
    """Return c (s - c / 2): s = max(0, 1 - m), what is lacking, c = min(s, 1)."""
    short = relu(1 - margin)
    near = short.clamp(max=1)
    return near * (short - near / 2)


def at_once(wrong: Tensor, out: Tensor, scale: float) -> None:
    """Write c (s - c / 2) to `out`, its slope c over `wrong`, which is -m."""
    torch.add(wrong, 1, out=out).relu_()
    near = torch.clamp(out, max=1, out=wrong)
    out.sub_(near, alpha=0.5).mul_(near)
    near.mul_(scale)


def smooth_hinge_ref(scores: NpScores, signs: NpSigns) -> tuple[NpPerExample, NpScores]:
    """Loss and gradient: -s times what the margin lacks to 1, at most 1."""
    margin = signs * scores
    short = np.maximum(1 - margin, 0)
    loss = np.where(margin <= 0, 0.5 - margin, short**2 / 2)
    return loss, -signs * np.minimum(short, 1)


def smooth_hinge_link(eta: np.ndarray) -> np.ndarray:
    """Return (2 eta - 1) / max(eta, 1 - eta).

    Where +1 is likelier, the score f lies between 0 and 1; there the expected loss,
    eta (1 - f)^2 / 2 + (1 - eta) (1/2 + f), is flat at 1 - f = (1 - eta) / eta.

    >>> smooth_hinge_link(np.array([0.2, 0.8]))
    array([-0.75,  0.75])
    """
    return (2 * eta - 1) / np.maximum(eta, 1 - eta)


def smooth_hinge_transform(theta: np.ndarray) -> np.ndarray:
    """Return theta^2 / (1 + |theta|).

    >>> smooth_hinge_transform(np.array([-1.0, 0.5])).round(4)
    array([0.5   , 0.1667])
    """
    return theta**2 / (1 + np.abs(theta))


def recovered(scores: NpScores) -> NpScores:
    """Return the posterior of +1 at which these scores are optimal."""
    size = np.clip(np.abs(scores), 0, 1)
    likelier = 1 / (2 - size)
    return np.where(scores < 0, 1 - likelier, likelier)


CARD = LossCard(
    name="Smooth hinge loss",
    family="margins",
    kind="margin",
    fn=smooth_hinge,
    ref=smooth_hinge_ref,
    summary="The hinge with a parabola in the place of its corner.",
    cite="rennie2005loss",
    formula=Formula(
        expr="Piecewise((1/2 - m, m <= 0), ((1 - m)**2 / 2, m < 1), (0, True))",
        variable="m",
        domain=(-4.0, 4.0),
        derivative="Piecewise((-1, m <= 0), (m - 1, m < 1), (0, True))",
    ),
    recovery=recovered,
    link=smooth_hinge_link,
    transform=smooth_hinge_transform,
    properties=Properties(
        convex=True,
        strictly_proper=False,
        calibrated=True,
        symmetric=False,
        monotone=True,
        upper=math.inf,
        lipschitz=1.0,
    ),
)
