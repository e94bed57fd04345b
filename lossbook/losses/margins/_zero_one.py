"""0/1 loss: one for a mistake, nothing else. Chapter: risk."""

import numpy as np

from lossbook import validate
from lossbook.card import Formula, LossCard, Properties
from lossbook.ops import upcast
from lossbook.shapes import NpPerExample, NpScores, NpSigns, PerExample, Scores, Signs


def zero_one(scores: Scores, signs: Signs) -> PerExample:
    """Return 1 where score and sign disagree, else 0. A score of 0 is a mistake.

    The gradient is zero wherever it exists, so this loss trains nothing. The losses of
    the two signs sum to 1 at every score but 0, where both are mistakes: there they
    sum to 2.

    Args:
        scores: (...), one real number an example.
        signs: (...), the true class, -1 or +1.

    Returns:
        (...), each 0 or 1.

    Raises:
        ValueError: for signs other than -1 and +1, or scores that are nan.

    >>> import torch
    >>> zero_one(torch.tensor([2.0, -2.0, 0.0]), torch.tensor([1, 1, 1]))
    tensor([0., 1., 1.])
    """
    validate.scores_and_signs(scores, signs)
    margin = validate.explain_nan("scores", scores, upcast(scores) * signs)
    return 1 - margin.sign().clamp(min=0)


def zero_one_ref(scores: NpScores, signs: NpSigns) -> tuple[NpPerExample, NpScores]:
    """Loss and gradient: a step has slope zero on either side."""
    return (signs * scores <= 0).astype(float), np.zeros_like(scores)


def zero_one_link(eta: np.ndarray) -> np.ndarray:
    """Return the sign of the likelier class, +1 at a tie.

    >>> zero_one_link(np.array([0.1, 0.5, 0.6]))
    array([-1.,  1.,  1.])
    """
    return np.where(eta < 0.5, -1.0, 1.0)


def zero_one_transform(theta: np.ndarray) -> np.ndarray:
    """Return |theta|: a wrong sign costs max(eta, 1 - eta), the right one the rest.

    >>> zero_one_transform(np.array([-0.5, 1.0]))
    array([0.5, 1. ])
    """
    return np.abs(theta)


CARD = LossCard(
    name="0/1 loss",
    family="margins",
    kind="margin",
    fn=zero_one,
    ref=zero_one_ref,
    summary="Counts mistakes; its gradient is zero, so nothing can descend it.",
    cite="bartlett2006convexity",
    formula=Formula(
        expr="Piecewise((1, m <= 0), (0, True))",
        variable="m",
        domain=(-4.0, 4.0),
        derivative="0",
    ),
    link=zero_one_link,
    transform=zero_one_transform,
    properties=Properties(
        convex=False,
        strictly_proper=False,
        calibrated=True,
        symmetric=True,  # but at a score of exactly 0, where the sum is 2
        monotone=True,
        piecewise_constant=True,
        upper=1.0,
        lipschitz=0.0,
    ),
)
