"""Binary cross-entropy: one yes-or-no question a number. Chapter: cross-entropy."""

import math

import numpy as np
import torch
from torch import Tensor

from lossbook.card import Formula, LossCard, Properties
from lossbook.ops import (
    binary_loss,
    log_sigmoids,
    mixed_log,
    softplus_and_slope,
    softplus_finite,
)
from lossbook.shapes import NpPerExample, NpScores, PerExample, Probabilities, Scores


def binary_cross_entropy(scores: Scores, targets: Probabilities) -> PerExample:
    """Return -t log p - (1 - t) log(1 - p) elementwise, with p = sigmoid(scores).

    Args:
        scores: any shape, the log-odds of "yes".
        targets: the same shape, probabilities of "yes", 0 to 1.

    Returns:
        The same shape, in nats.

    Raises:
        ValueError: for targets outside of 0 to 1, or scores that are nan.

    >>> import torch
    >>> binary_cross_entropy(torch.tensor([2.0, -2.0]), torch.tensor([1.0, 1.0]))
    tensor([0.1269, 2.1269])
    """
    return binary_loss(scores, targets, value, slope, at_once)


def value(scores: Tensor, targets: Tensor) -> Tensor:
    """Return -t log p - (1 - t) log(1 - p), with p = sigmoid(score)."""
    return -mixed_log(targets, *log_sigmoids(scores))


def slope(scores: Tensor, targets: Tensor) -> Tensor:
    """Return p - t as (1 - t) p - t (1 - p), which keeps its digits near 0."""
    return torch.lerp(scores.sigmoid(), -(-scores).sigmoid(), targets)


def at_once(
    wrong: Tensor, right: Tensor, kept_back: Tensor | None, out: Tensor, scale: float
) -> bool:
    """Write log(1 + e^wrong) - kept_back * wrong to `out`, its slope over `wrong`.

    No term is lost: what is kept back is at most half.
    """
    if kept_back is None:
        return softplus_and_slope(wrong, out, scale)
    if not softplus_finite(wrong, out):
        return False
    out.addcmul_(kept_back, wrong, value=-1)
    wrong.sigmoid_().sub_(kept_back).mul_(scale)
    return True


def binary_cross_entropy_ref(
    scores: NpScores, targets: NpScores
) -> tuple[NpPerExample, NpScores]:
    """Loss and gradient: probability minus target."""
    p = 1 / (1 + np.exp(-scores))
    return -targets * np.log(p) - (1 - targets) * np.log(1 - p), p - targets


def recovered(scores: NpScores) -> NpScores:
    """Return the posterior of "yes" at which these scores are optimal."""
    return 1 / (1 + np.exp(-scores))


CARD = LossCard(
    name="Binary cross-entropy",
    family="entropy",
    kind="binary",
    fn=binary_cross_entropy,
    ref=binary_cross_entropy_ref,
    summary="Cross-entropy of independent yes-or-no answers, one a number.",
    cite="good1952rational",
    formula=Formula(expr="-log(p)"),
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
    peers={
        "torch.nn.BCEWithLogitsLoss": "",
        "optax.losses.sigmoid_binary_cross_entropy": "",
    },
)
