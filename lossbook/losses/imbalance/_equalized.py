"""Equalized loss: rare classes are pushed down less as rivals. Chapter: long tail."""

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
class Equalized:
    """Cross-entropy in which a rare class weighs 1 - gamma among the rivals.

    The loss is log(1 + sum over k != y of w_k exp(z_k - z_y)), with w_k = 1 - gamma
    for classes that are rare and 1 for all others. The true class itself always
    weighs 1.

    The article leaves rare rivals out by the toss of a coin, with probability gamma;
    here they weigh what the coin leaves on average. As the loss is concave in the
    weights, it is never less than the article's on average.

    At gamma = 1 nothing pushes the score of a rare class down, and it has no finite
    optimum.

    Args:
        counts: (C,), how many training examples each class has.
        gamma: how much of a rare rival is left out, 0 to 1; 0 gives cross-entropy.
        threshold: a class is rare if its share of the examples is below this.

    Raises:
        ValueError: for counts that are not positive, or not one a class.

    >>> import torch
    >>> loss = Equalized([995, 5])
    >>> loss(torch.tensor([[2.0, 0.0], [2.0, 0.0]]), torch.tensor([0, 1]))
    tensor([0.0134, 2.1269])
    """

    counts: Tensor
    _: KW_ONLY
    gamma: Parameter = 0.9
    threshold: Parameter = 0.01

    def __post_init__(self) -> None:
        """Check the counts, and hold them as a tensor."""
        object.__setattr__(self, "counts", validate.class_counts(self.counts))

    def __call__(self, logits: Logits, labels: Labels) -> PerExample:
        """Return one loss an example.

        Args:
            logits: (..., C), unnormalized log-probabilities.
            labels: (...), the true class, 0 to C - 1.

        Returns:
            (...), never more than cross-entropy.

        Raises:
            ValueError: for labels outside of the classes, logits that are nan, or
                another number of classes than counts.
        """
        validate.logits_and_labels(logits, labels, values=False)
        validate.has_classes(logits, len(self.counts), "counts")
        share = (self.counts / self.counts.sum()).to(upcast(logits))
        rare = (share < over_classes(self.threshold)).to(share.dtype)
        log_weight = (1 - over_classes(self.gamma) * rare).log()
        return psi_loss(logits, labels, psi, factor, bias=log_weight, of_rivals=True)


def psi(log_p: Tensor, log_not_p: Tensor) -> Tensor:
    """Return -log p."""
    return -log_p


def factor(log_p: Tensor, log_not_p: Tensor) -> Tensor:
    """Return g(p) = 1."""
    return torch.ones_like(log_p)


def equalized_ref(
    logits: NpLogits,
    labels: NpLabels,
    *,
    counts: NpLogits,
    gamma: float = 0.9,
    threshold: float = 0.01,
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: cross-entropy's, each rival's mass multiplied by its weight.

    The weights do not depend on the logits, so the chain rule multiplies by 1.
    """
    e_y = np.eye(logits.shape[-1])[labels]
    weight = np.where(e_y == 1, 1.0, _weights(counts, gamma, threshold))
    p = weight * np.exp(logits)
    p = p / p.sum(-1, keepdims=True)
    return -np.log((p * e_y).sum(-1)), p - e_y


def _weights(counts: NpLogits, gamma: float, threshold: float) -> NpLogits:
    """Return what each class weighs as a rival."""
    return np.where(counts / np.sum(counts) < threshold, 1 - gamma, 1.0)


def recovered(
    logits: NpLogits,
    *,
    counts: NpLogits,
    gamma: float = 0.9,
    threshold: float = 0.01,
) -> NpLogits:
    """Return the posterior at which these logits are optimal.

    With e_k = exp(z_k) and S = sum of w_k e_k, the expected gradient is 0 where the
    posterior is in ratio w_k e_k (S + (1 - w_k) e_k).
    """
    w, e = _weights(counts, gamma, threshold), np.exp(logits)
    odds = w * e * ((w * e).sum(-1, keepdims=True) + (1 - w) * e)
    return odds / odds.sum(-1, keepdims=True)


CARD = LossCard(
    name="Equalized loss",
    family="imbalance",
    kind="labels",
    fn=Equalized,
    ref=equalized_ref,
    summary="Cross-entropy that pushes rare classes down less as rivals.",
    cite="tan2020equalization",
    recovery=recovered,
    closure=lambda rng, classes: {
        "counts": rng.permutation(np.geomspace(1000, 5, classes).round())
    },
    params={
        "gamma": Param(
            default=0.9, low=0.0, high=1.0, meaning="how much of a rare rival goes"
        ),
        "threshold": Param(
            default=0.01, low=0.0, high=1.0, meaning="share below which a class is rare"
        ),
    },
    special_cases=(
        SpecialCase(of="cross_entropy", params={"gamma": 0.0}),
        SpecialCase(of="cross_entropy", params={"threshold": 0.0}),
    ),
    properties=Properties(
        convex=True,
        strictly_proper=lambda gamma, threshold: gamma == 0 or threshold == 0,
        symmetric=False,
        monotone=True,
        shift_invariant=True,
        upper=math.inf,
        lipschitz=math.sqrt(2),
    ),
)
