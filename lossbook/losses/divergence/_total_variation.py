"""Total variation: the mass that lies in the wrong place. Chapter: divergences."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import relu

from lossbook.card import Formula, LossCard, Properties
from lossbook.ops import surplus_loss
from lossbook.shapes import (
    Logits,
    NpLogits,
    NpPerExample,
    NpTargets,
    PerExample,
    Targets,
)


def total_variation(logits: Logits, targets: Targets) -> PerExample:
    """Return sum_k |p_k - q_k| / 2 with p = softmax(logits) and q = targets.

    The largest difference that p and q make for any set of classes, and the cost of
    optimal transport where every move costs 1. At a label it is 1 - p_y.

    Args:
        logits: (..., C), unnormalized log-probabilities.
        targets: (..., C), probabilities that sum to 1 over the classes.

    Returns:
        (...), between 0 and 1. The gradient jumps where a p_k passes q_k.

    Raises:
        ValueError: for targets that are negative or do not sum to 1, or logits that
            are nan.

    >>> import torch
    >>> total_variation(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.9, 0.1]]))
    tensor([0.4000])
    """
    # What is too much somewhere is missing elsewhere: one half of the sum tells all,
    # and at a label it is the other classes' mass, with nothing subtracted from 1.
    return surplus_loss(logits, targets, relu, slope)


def slope(surplus: Tensor) -> Tensor:
    """Write 1 where there is too much, else 0, over the surpluses."""
    return torch.gt(surplus, 0, out=surplus)


def total_variation_ref(
    logits: NpLogits, targets: NpTargets
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: half the signs, through the softmax's Jacobian."""
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    slope = np.sign(p - targets) / 2
    loss = np.abs(p - targets).sum(-1) / 2
    return loss, p * (slope - (p * slope).sum(-1, keepdims=True))


CARD = LossCard(
    name="Total variation",
    family="divergence",
    kind="targets",
    fn=total_variation,
    ref=total_variation_ref,
    summary="Half the absolute differences: the mass that lies in the wrong place.",
    cite="gibbs2002choosing",
    formula=Formula(expr="1 - p"),
    # Minimal at p = q alone, but no proper score (see jensen_shannon).
    properties=Properties(
        convex=False,
        calibrated=True,
        symmetric=True,
        monotone=True,
        shift_invariant=True,
        upper=1.0,
        lipschitz=math.sqrt(2) / 4,
    ),
)
