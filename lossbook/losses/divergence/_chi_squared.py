"""Chi-squared divergence of the model from the truth. Chapter: divergences."""

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


def chi_squared(logits: Logits, targets: Targets) -> PerExample:
    """Return sum_k (q_k - p_k)^2 / p_k with p = softmax(logits) and q = targets.

    Pearson's statistic of frequencies q against a model p, for one observation. Like
    `kl` it divides by the model's probability, and it is never less than `kl`, nor
    than exp(kl) - 1. At a label it is
    1 / p_y - 1, the sum of exp(z_k - z_y) over the rivals: an exponential loss. It
    overflows with exp of the logits' gap, in float32 near a gap of 88.

    Args:
        logits: (..., C), unnormalized log-probabilities.
        targets: (..., C), probabilities that sum to 1 over the classes.

    Returns:
        (...), 0 or more; 0 exactly where p = q.

    Raises:
        ValueError: for targets that are negative or do not sum to 1, or logits that
            are nan.

    >>> import torch
    >>> chi_squared(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.9, 0.1]]))
    tensor([0.6400])
    """
    validate.logits_and_targets(logits, targets)
    log_p = upcast(logits).log_softmax(-1)
    q = targets.to(log_p.dtype)
    # The root of each term, (q - p) / sqrt(p); a target of 0 leaves -sqrt(p).
    divided = q * (log_p.where(q > 0, 0.0) / -2).exp()
    loss = (divided - (log_p / 2).exp()).square().sum(-1)
    return validate.explain_nan("logits", logits, loss)


def chi_squared_ref(
    logits: NpLogits, targets: NpTargets
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: of sum q² / p - 1, d/dp = -q² / p²."""
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    parts = targets**2 / p
    total = parts.sum(-1)
    return total - 1, p * total[..., None] - parts


CARD = LossCard(
    name="Chi-squared divergence",
    family="divergence",
    kind="targets",
    fn=chi_squared,
    ref=chi_squared_ref,
    summary="Squared errors over the model's probability: hard on what it rules out.",
    cite="gibbs2002choosing",
    formula=Formula(expr="1 / p - 1"),
    reach=80.0,
    # Minimal at p = q alone, but no proper score (see jensen_shannon): over labels
    # the best p is proportional to the root of the truth.
    properties=Properties(
        convex=True,
        calibrated=True,
        symmetric=False,
        monotone=True,
        shift_invariant=True,
        upper=math.inf,
        lipschitz=math.inf,
    ),
)
