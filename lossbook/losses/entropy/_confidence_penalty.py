"""Cross-entropy that pays for certainty. Chapter: label smoothing."""

import math

import numpy as np

from lossbook.card import LossCard, Param, Properties, SpecialCase
from lossbook.ops import entropy_loss
from lossbook.shapes import (
    Labels,
    Logits,
    NpLabels,
    NpLogits,
    NpPerExample,
    Parameter,
    PerExample,
)


def confidence_penalty(
    logits: Logits, labels: Labels, *, beta: Parameter = 0.1
) -> PerExample:
    """Return -log p_y - beta H(p) per example, with p = softmax(logits).

    H(p) = -sum_k p_k log p_k is the entropy of the prediction, in nats.

    Args:
        logits: (..., C), unnormalized log-probabilities.
        labels: (...), the true class, 0 to C - 1.
        beta: what a nat of entropy earns; 0 gives cross-entropy.

    Returns:
        (...), in nats; may be negative, but never below -beta log C.

    Raises:
        ValueError: for labels outside of the classes, or logits that are nan.

    >>> import torch
    >>> confidence_penalty(torch.tensor([[2.0, 0.0]]), torch.tensor([0]))
    tensor([0.0904])
    """
    return entropy_loss(logits, labels, of_label=1.0, of_entropy=-beta)


def confidence_penalty_ref(
    logits: NpLogits, labels: NpLabels, *, beta: float = 0.1
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: d H / d z_k = -p_k (log p_k + H)."""
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    e_y = np.eye(logits.shape[-1])[labels]
    entropy = -(p * np.log(p)).sum(-1, keepdims=True)
    loss = -np.log((p * e_y).sum(-1)) - beta * entropy[..., 0]
    return loss, p - e_y + beta * p * (np.log(p) + entropy)


def recovered(logits: NpLogits, *, beta: float = 0.1) -> NpLogits:
    """Return the posterior at which these logits are optimal.

    The expected gradient p - eta + beta p (log p + H) is zero there; the expected loss
    is convex in p, so nothing else is optimal.
    """
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    entropy = -(p * np.log(p)).sum(-1, keepdims=True)
    return p * (1 + beta * (np.log(p) + entropy))


CARD = LossCard(
    name="Confidence penalty",
    family="entropy",
    kind="labels",
    fn=confidence_penalty,
    ref=confidence_penalty_ref,
    summary="Cross-entropy with a price on low entropy of the prediction.",
    cite="pereyra2017regularizing",
    recovery=recovered,
    params={
        "beta": Param(default=0.1, low=0.0, high=1.0, meaning="price of certainty")
    },
    special_cases=(SpecialCase(of="cross_entropy", params={"beta": 0.0}),),
    properties=Properties(
        convex=lambda beta: beta == 0,
        strictly_proper=lambda beta: beta == 0,
        calibrated=True,
        symmetric=False,
        monotone=lambda beta: beta == 0,
        shift_invariant=True,
        lower=None,  # the more classes, the lower
        upper=math.inf,
    ),
)
