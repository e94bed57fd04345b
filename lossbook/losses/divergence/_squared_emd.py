"""Squared earth mover's distance (ranked probability score). Chapter: divergences."""

import numpy as np
import torch
from torch import Tensor

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


def squared_emd(logits: Logits, targets: Targets) -> PerExample:
    """Return sum_k (F_k - G_k)^2, the cumulative sums of p = softmax(logits) and q.

    One Brier score of two classes for each boundary between neighbors: is the class
    at most k? So it knows the order of the classes and stays strictly proper. It is
    half the energy distance of p and q on the classes' numbers, and not the square of
    a Wasserstein distance. It is the sum over the C - 1 boundaries, not their mean.

    Args:
        logits: (..., C), unnormalized log-probabilities of ordered classes.
        targets: (..., C), probabilities that sum to 1 over the classes.

    Returns:
        (...), between 0 and C - 1.

    Raises:
        ValueError: for targets that are negative or do not sum to 1, or logits that
            are nan.

    >>> import torch
    >>> squared_emd(torch.zeros(1, 2), torch.tensor([[0.0, 1.0]]))
    tensor([0.2500])
    """
    return surplus_loss(logits, targets, torch.square, slope, ordered=True)


def slope(surplus: Tensor) -> Tensor:
    """Write the derivative of the square over the surpluses."""
    return surplus.mul_(2)


def squared_emd_ref(
    logits: NpLogits, targets: NpTargets
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: p_k stands in F_k and in all later sums.

    So d/dp_k is twice the sum of the surplus from k on; then the softmax's Jacobian.
    """
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    surplus = np.cumsum(p, -1) - np.cumsum(targets, -1)
    slope = 2 * np.cumsum(surplus[..., ::-1], -1)[..., ::-1]
    return (surplus**2).sum(-1), p * (slope - (p * slope).sum(-1, keepdims=True))


CARD = LossCard(
    name="Squared earth mover's distance",
    family="divergence",
    kind="targets",
    fn=squared_emd,
    ref=squared_emd_ref,
    summary="A strictly proper score that knows the order of the classes.",
    cite="hou2016squared",
    peers={
        "scipy.stats.energy_distance": (
            "Takes the classes' positions and probabilities, and returns the root of "
            "twice the value."
        )
    },
    properties=Properties(
        convex=False,
        strictly_proper=True,
        calibrated=True,
        symmetric=False,
        monotone=True,
        shift_invariant=True,
    ),
)
