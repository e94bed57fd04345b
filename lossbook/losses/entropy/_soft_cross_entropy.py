"""Cross-entropy against a distribution over the classes. Chapter: cross-entropy."""

import math

import numpy as np

from lossbook.card import Formula, LossCard, Properties
from lossbook.ops import soft_loss
from lossbook.shapes import (
    Logits,
    NpLogits,
    NpPerExample,
    NpTargets,
    PerExample,
    Targets,
)


def soft_cross_entropy(logits: Logits, targets: Targets) -> PerExample:
    """Return -sum_k q_k log p_k per example, with p = softmax(logits), q = targets.

    A class with target 0 adds nothing, also where its logit is -inf.

    Args:
        logits: (..., C), unnormalized log-probabilities.
        targets: (..., C), probabilities that sum to 1 over the classes.

    Returns:
        (...), in nats; at least the entropy of the targets.

    Raises:
        ValueError: for targets that are negative or do not sum to 1, or logits that
            are nan.

    >>> import torch
    >>> soft_cross_entropy(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.9, 0.1]]))
    tensor([0.3269])
    """
    return soft_loss(logits, targets)


def soft_cross_entropy_ref(
    logits: NpLogits, targets: NpTargets
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: probabilities minus targets."""
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return -(targets * np.log(p)).sum(-1), p - targets


CARD = LossCard(
    name="Cross-entropy with soft targets",
    family="entropy",
    kind="targets",
    fn=soft_cross_entropy,
    ref=soft_cross_entropy_ref,
    summary="Cross-entropy when the truth itself is a distribution.",
    cite="good1952rational",
    formula=Formula(expr="-log(p)"),
    properties=Properties(
        convex=True,
        strictly_proper=True,
        calibrated=True,
        symmetric=False,
        monotone=True,
        shift_invariant=True,
        upper=math.inf,
        lipschitz=math.sqrt(2),
    ),
    peers={
        "torch.nn.functional.cross_entropy": (
            "Is nan where a class has target 0 and logit -inf."
        ),
        "optax.losses.softmax_cross_entropy": (
            "Is nan where a class has target 0 and logit -inf."
        ),
    },
)
