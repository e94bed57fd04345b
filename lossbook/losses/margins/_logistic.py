"""Logistic loss: cross-entropy of two classes, written in the margin. Chapter: CE."""

import math

import numpy as np
from torch.nn.functional import logsigmoid

from lossbook import validate
from lossbook.card import Formula, LossCard, Properties
from lossbook.ops import upcast
from lossbook.shapes import NpPerExample, NpScores, NpSigns, PerExample, Scores, Signs


def logistic(scores: Scores, signs: Signs) -> PerExample:
    """Return log(1 + exp(-m)) per example, with the margin m = sign * score.

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
    validate.scores_and_signs(scores, signs)
    return validate.explain_nan("scores", scores, -logsigmoid(upcast(scores) * signs))


def logistic_ref(scores: NpScores, signs: NpSigns) -> tuple[NpPerExample, NpScores]:
    """Loss and gradient: -s times the probability of the wrong class."""
    wrong = np.exp(-signs * scores)
    return np.log(1 + wrong), -signs * wrong / (1 + wrong)


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
    properties=Properties(
        convex=True,
        strictly_proper=True,
        calibrated=True,
        symmetric=False,
        monotone=True,
        upper=math.inf,
        lipschitz=1.0,
    ),
)
