"""Jensen-Shannon divergence: both sides against their middle. Chapter: divergences."""

import math

import numpy as np
import torch
from torch.nn.functional import softplus

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


def jensen_shannon(logits: Logits, targets: Targets) -> PerExample:
    """Return (KL(p || m) + KL(q || m)) / 2 with m = (p + q) / 2.

    Here p = softmax(logits) and q = targets. It is symmetric in p and q, at most
    log 2, and finite whatever is 0. With labels instead of distributions its expected
    value has its minimum elsewhere than at the truth: it is no proper score.

    Args:
        logits: (..., C), unnormalized log-probabilities.
        targets: (..., C), probabilities that sum to 1 over the classes.

    Returns:
        (...), in nats, between 0 and log 2.

    Raises:
        ValueError: for targets that are negative or do not sum to 1, or logits that
            are nan.

    >>> jensen_shannon(torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]]))
    tensor([0.2158])
    """
    validate.logits_and_targets(logits, targets)
    log_p = upcast(logits).log_softmax(-1)
    log_p = log_p.clamp(min=torch.finfo(log_p.dtype).min / 4)  # for -inf, p = 0
    p, q = log_p.exp(), targets.to(log_p.dtype)
    counts = q > 0
    # log(p / m) = log 2 - log(1 + q / p), and a ratio is a difference of logs.
    gap = q.where(counts, 1.0).log() - log_p
    log_p_over_m = math.log(2) - softplus(gap).where(counts, 0.0)
    log_q_over_m = math.log(2) - softplus(-gap)
    loss = (p * log_p_over_m + q * log_q_over_m).sum(-1) / 2
    return validate.explain_nan("logits", logits, loss)


def jensen_shannon_ref(
    logits: NpLogits, targets: NpTargets
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: d/dp_k = log(p_k / m_k) / 2, then the softmax's Jacobian.

    The terms with the derivative of m cancel, because m has the mass of both sides.
    """
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    middle = (p + targets) / 2
    log_q = np.log(np.where(targets > 0, targets, 1))  # 0 log 0 is 0
    slope = np.log(p / middle) / 2
    loss = (p * slope).sum(-1) + (targets * (log_q - np.log(middle))).sum(-1) / 2
    return loss, p * (slope - (p * slope).sum(-1, keepdims=True))


CARD = LossCard(
    name="Jensen-Shannon divergence",
    family="divergence",
    kind="targets",
    fn=jensen_shannon,
    ref=jensen_shannon_ref,
    summary="A symmetric and bounded divergence: both sides against their middle.",
    cite="lin1991divergence",
    formula=Formula(
        expr="(p * log(2 * p / (1 + p)) + (1 - p) * log(2) + log(2 / (1 + p))) / 2"
    ),
    peers={
        "scipy.spatial.distance.jensenshannon": (
            "Takes probabilities and returns the square root."
        )
    },
    # Minimal at p = q alone, but no proper score: in expectation over labels its
    # minimum is elsewhere. The card's property would say the one and be read as the
    # other, so nothing is stated; the tests show both.
    properties=Properties(
        convex=False,
        calibrated=True,
        symmetric=False,
        monotone=True,
        shift_invariant=True,
        upper=math.log(2),
    ),
)
