"""Normalized cross-entropy: cross-entropy over the sum of all labels' cross-entropy."""

import numpy as np
from torch import Tensor

from lossbook import validate
from lossbook.card import Arrays, LossCard, Properties
from lossbook.ops import surprise_loss
from lossbook.shapes import Labels, Logits, NpLabels, NpLogits, NpPerExample, PerExample


def nce(logits: Logits, labels: Labels) -> PerExample:
    """Return log p_y / sum_j log p_j per example, with p = softmax(logits).

    The losses of all C labels sum to 1, whatever the logits. A class that the model
    rules out takes the whole sum: all other labels then cost nothing, and none of them
    is preferred. A single class costs 0.

    Args:
        logits: (..., C), unnormalized log-probabilities.
        labels: (...), the true class, 0 to C - 1.

    Returns:
        (...), between 0 and 1.

    Raises:
        ValueError: for labels outside of the classes, or logits that are nan.

    >>> import torch
    >>> nce(torch.tensor([[2.0, 0.0]]), torch.tensor([0]))
    tensor([0.0563])
    """
    validate.logits_and_labels(logits, labels, values=False)
    share = value if logits.shape[-1] > 1 else _of_one
    return surprise_loss(logits, labels, share, slopes, bounded=True)


def value(at_label: Tensor, at_others: Tensor) -> Tensor:
    """Return the label's share; the sum is at least 2 log 2."""
    return at_label / (at_label + at_others)


def slopes(at_label: Tensor, at_others: Tensor) -> tuple[Tensor, Tensor]:
    """Return the slopes in both."""
    total = at_label + at_others
    return at_others / total / total, -at_label / total / total


def _of_one(at_label: Tensor, at_others: Tensor) -> Tensor:
    """Return the loss of a single class, which has neither surprise nor sum."""
    return at_label


def nce_ref(logits: NpLogits, labels: NpLabels) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: the quotient rule, d log p_j / d z = e_j - p."""
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    e_y = np.eye(logits.shape[-1])[labels]
    surprise = -np.log(p)
    own = (e_y * surprise).sum(-1, keepdims=True)
    total = surprise.sum(-1, keepdims=True)
    slope_of_total = logits.shape[-1] * p - 1  # the sum of p - e_j over all j
    gradient = ((p - e_y) * total - own * slope_of_total) / total**2
    return (own / total)[..., 0], gradient


def draw(rng: np.random.Generator, n: int, classes: int) -> Arrays:
    """Draw input; in each fourth example all rivals of a low label are equal.

    Only there does the loss come near its upper end.
    """
    logits, labels = 3 * rng.normal(size=(n, classes)), rng.integers(classes, size=n)
    logits[::4] = -np.abs(logits[::4]) * np.eye(classes)[labels[::4]]
    return logits, labels


CARD = LossCard(
    name="Normalized cross-entropy",
    family="noise",
    kind="labels",
    fn=nce,
    ref=nce_ref,
    summary="Cross-entropy, divided by what all labels together would cost.",
    cite="ma2020normalized",
    # `calibrated` is not stated: a series of outputs reaches the infimum of the risk
    # by ruling out the least likely class alone, whichever other class it predicts.
    properties=Properties(
        convex=False,
        strictly_proper=False,
        symmetric=True,
        monotone=True,
        shift_invariant=True,
        upper=1.0,
    ),
    draw=draw,
)
