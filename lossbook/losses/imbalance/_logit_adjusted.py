"""Logit-adjusted loss: cross-entropy that adds the prior's log. Chapter: long tail."""

import math
from dataclasses import KW_ONLY, dataclass

import numpy as np
import torch
from torch import Tensor

from lossbook import validate
from lossbook.card import LossCard, Param, Properties, SpecialCase
from lossbook.ops import over_classes, psi_loss, upcast
from lossbook.shapes import (
    Labels,
    Logits,
    NpLabels,
    NpLogits,
    NpPerExample,
    Parameter,
    PerExample,
)


@dataclass(frozen=True, eq=False)
class LogitAdjusted:
    """Cross-entropy of logits + tau log(prior), the prior being counts / sum(counts).

    The logits themselves then estimate what is left when the prior is divided out:
    softmax(logits) is proportional to posterior / prior^tau. At tau = 1 their largest
    is the prediction with the least balanced error. Predict from the logits alone.

    Args:
        counts: (C,), how many training examples each class has.
        tau: how much of the prior is divided out; 0 gives cross-entropy.

    Raises:
        ValueError: for counts that are not positive, or not one a class.

    >>> import torch
    >>> loss = LogitAdjusted([900, 100])
    >>> loss(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1]))
    tensor([0.0401, 3.2373])
    """

    counts: Tensor
    _: KW_ONLY
    tau: Parameter = 1.0

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
        log_prior = (self.counts / self.counts.sum()).log().to(upcast(logits))
        offset = over_classes(self.tau) * log_prior
        return psi_loss(logits, labels, psi, factor, bias=offset)


def psi(log_p: Tensor, log_not_p: Tensor) -> Tensor:
    """Return -log p."""
    return -log_p


def factor(log_p: Tensor, log_not_p: Tensor) -> Tensor:
    """Return g(p) = 1."""
    return torch.ones_like(log_p)


def logit_adjusted_ref(
    logits: NpLogits, labels: NpLabels, *, counts: NpLogits, tau: float = 1.0
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: cross-entropy's, at the probabilities of the adjusted logits.

    The offset does not depend on the logits, so the chain rule multiplies by 1.
    """
    prior = np.asarray(counts) / np.sum(counts)
    p = np.exp(logits) * prior**tau
    p = p / p.sum(-1, keepdims=True)
    e_y = np.eye(logits.shape[-1])[labels]
    return -np.log((p * e_y).sum(-1)), p - e_y


def recovered(logits: NpLogits, *, counts: NpLogits, tau: float = 1.0) -> NpLogits:
    """Return the posterior at which these logits are optimal."""
    prior = np.asarray(counts) / np.sum(counts)
    odds = np.exp(logits) * prior**tau
    return odds / odds.sum(-1, keepdims=True)


CARD = LossCard(
    name="Logit-adjusted loss",
    family="imbalance",
    kind="labels",
    fn=LogitAdjusted,
    ref=logit_adjusted_ref,
    summary="Cross-entropy that sees the class prior, so that the logits need not.",
    cite="menon2021logit",
    recovery=recovered,
    closure=lambda rng, classes: {
        "counts": rng.permutation(np.geomspace(1000, 5, classes).round())
    },
    params={
        "tau": Param(
            default=1.0, low=0.0, high=2.0, meaning="how much of the prior goes"
        )
    },
    special_cases=(SpecialCase(of="cross_entropy", params={"tau": 0.0}),),
    properties=Properties(
        convex=True,
        strictly_proper=lambda tau: tau == 0,
        calibrated=lambda tau: tau == 0,
        symmetric=False,
        monotone=True,
        shift_invariant=True,
        upper=math.inf,
        lipschitz=math.sqrt(2),
    ),
)
