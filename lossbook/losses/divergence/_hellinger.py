"""Squared Hellinger distance: half of (√p - √q)². Chapter: divergences."""

import math

import numpy as np

from lossbook import validate
from lossbook.card import Formula, LossCard, Properties
from lossbook.ops import upcast
from lossbook.shapes import (
    Logits,
    NpLogits,
    NpPerExample,
    NpTargets,
    PerExample,
    Targets,
)


def hellinger(logits: Logits, targets: Targets) -> PerExample:
    """Return sum_k (sqrt(p_k) - sqrt(q_k))^2 / 2, p = softmax(logits), q = targets.

    This is the squared distance with the factor 1/2, so that it is 1 - sum sqrt(p q)
    and at most 1. The distance itself is its root, whose gradient jumps at p = q.

    Args:
        logits: (..., C), unnormalized log-probabilities.
        targets: (..., C), probabilities that sum to 1 over the classes.

    Returns:
        (...), between 0 and 1.

    Raises:
        ValueError: for targets that are negative or do not sum to 1, or logits that
            are nan.

    >>> import torch
    >>> hellinger(torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]]))
    tensor([0.2929])
    """
    validate.logits_and_targets(logits, targets)
    root_p = (upcast(logits).log_softmax(-1) / 2).exp()
    root_q = targets.to(root_p.dtype).sqrt()
    loss = (root_p - root_q).square().sum(-1) / 2
    return validate.explain_nan("logits", logits, loss)


def hellinger_ref(
    logits: NpLogits, targets: NpTargets
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: of 1 - sum sqrt(p q), d/dp = -sqrt(q / p) / 2."""
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    overlap = np.sqrt(p * targets)
    total = overlap.sum(-1)
    return 1 - total, (p * total[..., None] - overlap) / 2


CARD = LossCard(
    name="Squared Hellinger distance",
    family="divergence",
    kind="targets",
    fn=hellinger,
    ref=hellinger_ref,
    summary="One minus the overlap of the square roots, between 0 and 1.",
    cite="gibbs2002choosing",
    formula=Formula(expr="1 - sqrt(p)"),
    # Minimal at p = q alone, but no proper score (see jensen_shannon).
    properties=Properties(
        convex=False,
        calibrated=True,
        symmetric=False,
        monotone=True,
        shift_invariant=True,
        upper=1.0,
        lipschitz=math.sqrt(2 / 27),
    ),
)
