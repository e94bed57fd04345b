"""Wasserstein distance of ordered classes. Chapter: divergences."""

import numpy as np
import torch

from lossbook.card import LossCard, Properties
from lossbook.ops import surplus_loss
from lossbook.shapes import (
    Logits,
    NpLogits,
    NpPerExample,
    NpTargets,
    PerExample,
    Targets,
)


def wasserstein_1d(logits: Logits, targets: Targets) -> PerExample:
    """Return sum_k |F_k - G_k|, the cumulative sums of p = softmax(logits) and q.

    The least work that turns p into q = targets, where a unit of mass pays 1 for each
    step between neighbors: the classes are ordered and equally spaced. Through each
    boundary k the surplus |F_k - G_k| must pass, so no solver is needed.

    At a label y it is sum_k p_k |k - y|. In expectation over labels that is linear in
    p, and its minimum puts all mass on the median class: it is no proper score.

    Args:
        logits: (..., C), unnormalized log-probabilities of ordered classes.
        targets: (..., C), probabilities that sum to 1 over the classes.

    Returns:
        (...), in steps, between 0 and C - 1. The gradient jumps where an F_k passes
        its G_k.

    Raises:
        ValueError: for targets that are negative or do not sum to 1, or logits that
            are nan.

    >>> import torch
    >>> wasserstein_1d(torch.zeros(1, 3), torch.tensor([[0.0, 0.0, 1.0]]))
    tensor([1.])
    """
    return surplus_loss(logits, targets, torch.abs, torch.Tensor.sign_, ordered=True)


def wasserstein_1d_ref(
    logits: NpLogits, targets: NpTargets
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: p_k stands in F_k and in all later sums.

    So d/dp_k is the sum of the signs from k on; then the softmax's Jacobian.
    """
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    surplus = (np.cumsum(p, -1) - np.cumsum(targets, -1))[..., :-1]
    slope = np.zeros_like(p)
    slope[..., :-1] = np.cumsum(np.sign(surplus)[..., ::-1], -1)[..., ::-1]
    return np.abs(surplus).sum(-1), p * (slope - (p * slope).sum(-1, keepdims=True))


CARD = LossCard(
    name="Wasserstein distance of ordered classes",
    family="divergence",
    kind="targets",
    fn=wasserstein_1d,
    ref=wasserstein_1d_ref,
    summary="How far the mass must be moved along the order of the classes.",
    cite="peyre2019computational",
    peers={
        "ot.wasserstein_1d": "Takes the classes' positions and probabilities.",
        "scipy.stats.wasserstein_distance": (
            "Takes the classes' positions and probabilities, one pair at a time."
        ),
    },
    # Minimal at p = q alone, but no proper score (see jensen_shannon): over labels
    # its minimum is the median class. `calibrated` is about labels, and so is False.
    properties=Properties(
        convex=False,
        calibrated=False,
        symmetric=False,
        monotone=True,
        shift_invariant=True,
    ),
)
