"""Kullback-Leibler divergence of the model from the truth. Chapter: divergences."""

import math

import numpy as np

from lossbook.card import Formula, LossCard, Properties
from lossbook.ops import divergence_loss
from lossbook.shapes import (
    Logits,
    NpLogits,
    NpPerExample,
    NpTargets,
    PerExample,
    Targets,
)


def kl(logits: Logits, targets: Targets) -> PerExample:
    """Return KL(q || p) = sum_k q_k log(q_k / p_k), p = softmax(logits), q = targets.

    Cross-entropy against q less the entropy of q: the gradient is the same, and a
    one-hot q, whose entropy is 0, gives cross-entropy itself. A class with target 0
    adds nothing, also where its logit is -inf. A class with a target and a logit of
    -inf makes the divergence infinite.

    Args:
        logits: (..., C), unnormalized log-probabilities.
        targets: (..., C), probabilities that sum to 1 over the classes.

    Returns:
        (...), in nats; 0 exactly where p = q.

    Raises:
        ValueError: for targets that are negative or do not sum to 1, or logits that
            are nan.

    >>> import torch
    >>> kl(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.5, 0.5]]))
    tensor([0.4338])
    """
    return divergence_loss(logits, targets, temperature=1.0)


def kl_ref(logits: NpLogits, targets: NpTargets) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: only -sum q log p depends on the logits."""
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    log_q = np.log(np.where(targets > 0, targets, 1))  # 0 log 0 is 0
    return (targets * (log_q - np.log(p))).sum(-1), p - targets


CARD = LossCard(
    name="Kullback-Leibler divergence",
    family="divergence",
    kind="targets",
    fn=kl,
    ref=kl_ref,
    summary="Cross-entropy less the entropy that no model can avoid.",
    cite="kullback1951information",
    formula=Formula(expr="-log(p)"),
    peers={
        "keras.losses.KLDivergence": (
            "Takes probabilities, and clips both sides at 1e-7."
        ),
        "optax.losses.kl_divergence": "Takes log-probabilities.",
        "torch.nn.functional.kl_div": (
            "Takes log-probabilities, and unreduced returns one term a class."
        ),
    },
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
)
