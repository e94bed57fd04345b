"""Balanced softmax: logit adjustment at tau = 1. Chapter: long tail."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lossbook import validate
from lossbook.card import LossCard, Properties, SpecialCase
from lossbook.ops import psi_loss, upcast
from lossbook.shapes import Labels, Logits, NpLabels, NpLogits, NpPerExample, PerExample


@dataclass(frozen=True, eq=False)
class BalancedSoftmax:
    """Cross-entropy of logits + log(counts).

    The counts and the prior differ by a factor, their logs by a constant, which no
    softmax sees: this is the logit-adjusted loss at tau = 1 under its other name.

    Args:
        counts: (C,), how many training examples each class has.

    Raises:
        ValueError: for counts that are not positive, or not one a class.

    >>> import torch
    >>> loss = BalancedSoftmax([900, 100])
    >>> loss(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1]))
    tensor([0.0401, 3.2373])
    """

    counts: Tensor

    def __post_init__(self) -> None:
        """Check the counts, and hold them as a tensor."""
        object.__setattr__(self, "counts", validate.class_counts(self.counts))

    def __call__(self, logits: Logits, labels: Labels) -> PerExample:
        """Return one loss an example.

        Args:
            logits: (..., C), unnormalized log-probabilities of balanced classes.
            labels: (...), the true class, 0 to C - 1.

        Returns:
            (...), in nats.

        Raises:
            ValueError: for labels outside of the classes, logits that are nan, or
                another number of classes than counts.
        """
        validate.logits_and_labels(logits, labels, values=False)
        validate.has_classes(logits, len(self.counts), "counts")
        offset = self.counts.log().to(upcast(logits))
        return psi_loss(logits, labels, psi, factor, bias=offset)


def psi(log_p: Tensor, log_not_p: Tensor) -> Tensor:
    """Return -log p."""
    return -log_p


def factor(log_p: Tensor, log_not_p: Tensor) -> Tensor:
    """Return g(p) = 1."""
    return torch.ones_like(log_p)


def balanced_softmax_ref(
    logits: NpLogits, labels: NpLabels, *, counts: NpLogits
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: cross-entropy's, at the softmax weighted by the counts."""
    p = np.exp(logits) * counts
    p = p / p.sum(-1, keepdims=True)
    e_y = np.eye(logits.shape[-1])[labels]
    return -np.log((p * e_y).sum(-1)), p - e_y


def recovered(logits: NpLogits, *, counts: NpLogits) -> NpLogits:
    """Return the posterior at which these logits are optimal."""
    odds = np.exp(logits) * counts
    return odds / odds.sum(-1, keepdims=True)


CARD = LossCard(
    name="Balanced softmax",
    family="imbalance",
    kind="labels",
    fn=BalancedSoftmax,
    ref=balanced_softmax_ref,
    summary="Cross-entropy of a softmax in which each class weighs its count.",
    cite="ren2020balanced",
    recovery=recovered,
    closure=lambda rng, classes: {
        "counts": rng.permutation(np.geomspace(1000, 5, classes).round())
    },
    special_cases=(SpecialCase(of="LogitAdjusted"),),
    properties=Properties(
        convex=True,
        strictly_proper=False,
        calibrated=False,
        symmetric=False,
        monotone=True,
        shift_invariant=True,
        upper=math.inf,
        lipschitz=math.sqrt(2),
    ),
)
