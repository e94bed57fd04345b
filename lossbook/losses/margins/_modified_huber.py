"""Modified Huber loss: squared hinge near, linear far. Chapter: surrogates."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import relu

from lossbook.card import Formula, LossCard, Properties
from lossbook.ops import margin_loss
from lossbook.shapes import NpPerExample, NpScores, NpSigns, PerExample, Scores, Signs


def modified_huber(scores: Scores, signs: Signs) -> PerExample:
    """Return the squared hinge loss, continued as a line where the margin is below -1.

    With the margin m = sign * score: -4 m where m < -1, else max(0, 1 - m)^2.

    Args:
        scores: (...), one real number an example; optimal at 2 eta - 1, with eta the
            probability of +1.
        signs: (...), the true class, -1 or +1.

    Returns:
        (...), never less than the 0/1 loss.

    Raises:
        ValueError: for signs other than -1 and +1, or scores that are nan.

    >>> import torch
    >>> modified_huber(torch.tensor([2.0, 0.5, -2.0]), torch.tensor([1, 1, 1]))
    tensor([0.0000, 0.2500, 8.0000])
    """
    return margin_loss(scores, signs, value, at_once)


def value(margin: Tensor) -> Tensor:
    """Return c (2 s - c): s = max(0, 1 - m), what is lacking, c = min(s, 2)."""
    short = relu(1 - margin)
    near = short.clamp(max=2)
    return near * (2 * short - near)


def at_once(wrong: Tensor, out: Tensor, scale: float) -> None:
    """Write c (2 s - c) to `out`, its slope 2 c over `wrong`, which is -m."""
    torch.add(wrong, 1, out=out).relu_()
    near = torch.clamp(out, max=2, out=wrong)
    out.mul_(2).sub_(near).mul_(near)
    near.mul_(2 * scale)


def modified_huber_ref(
    scores: NpScores, signs: NpSigns
) -> tuple[NpPerExample, NpScores]:
    """Loss and gradient: -2 s times what the margin lacks to 1, at most 2."""
    margin = signs * scores
    short = np.maximum(1 - margin, 0)
    loss = np.where(margin < -1, -4 * margin, short**2)
    return loss, -2 * signs * np.minimum(short, 2)


def modified_huber_link(eta: np.ndarray) -> np.ndarray:
    """Return 2 eta - 1: no optimal score leaves the part that is quadratic.

    >>> modified_huber_link(np.array([0.25, 1.0]))
    array([-0.5,  1. ])
    """
    return 2 * eta - 1


def modified_huber_transform(theta: np.ndarray) -> np.ndarray:
    """Return theta^2.

    >>> modified_huber_transform(np.array([-0.5, 1.0]))
    array([0.25, 1.  ])
    """
    return theta**2


def recovered(scores: NpScores) -> NpScores:
    """Return the posterior of +1 at which these scores are optimal."""
    return (1 + np.clip(scores, -1, 1)) / 2


CARD = LossCard(
    name="Modified Huber loss",
    family="margins",
    kind="margin",
    fn=modified_huber,
    ref=modified_huber_ref,
    summary="The squared hinge near the boundary, a line far on the wrong side.",
    cite="zhang2004statistical",
    formula=Formula(
        expr="Piecewise((-4 * m, m < -1), ((1 - m)**2, m < 1), (0, True))",
        variable="m",
        domain=(-4.0, 4.0),
        derivative="Piecewise((-4, m < -1), (2 * m - 2, m < 1), (0, True))",
    ),
    recovery=recovered,
    link=modified_huber_link,
    transform=modified_huber_transform,
    properties=Properties(
        convex=True,
        strictly_proper=False,
        calibrated=True,
        symmetric=False,
        monotone=True,
        upper=math.inf,
        lipschitz=4.0,
    ),
)
