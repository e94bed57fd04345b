"""Soft bootstrapping: part of the target is the model's own prediction."""

import math
from typing import Any

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


def soft_bootstrap(
    logits: Logits, labels: Labels, *, beta: Parameter = 0.95
) -> PerExample:
    """Return -sum_j (beta e_j + (1 - beta) p_j) log p_j, with p = softmax(logits).

    This is beta times cross-entropy plus 1 - beta times the entropy of p. The gradient
    goes through the target too.

    Args:
        logits: (..., C), unnormalized log-probabilities.
        labels: (...), the true class, 0 to C - 1.
        beta: weight of the given label; 1 gives cross-entropy, 0 would ignore labels.

    Returns:
        (...), not negative.

    Raises:
        ValueError: for labels outside of the classes, or logits that are nan.

    >>> import torch
    >>> soft_bootstrap(torch.tensor([[2.0, 0.0]]), torch.tensor([0]))
    tensor([0.1388])
    """
    return entropy_loss(logits, labels, of_label=beta, of_entropy=1 - beta)


def soft_bootstrap_ref(
    logits: NpLogits, labels: NpLabels, *, beta: float = 0.95
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient; that of the entropy H is -p (log p + H)."""
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    e_y = np.eye(logits.shape[-1])[labels]
    target = beta * e_y + (1 - beta) * p
    entropy = -(p * np.log(p)).sum(-1, keepdims=True)
    gradient = beta * (p - e_y) - (1 - beta) * p * (np.log(p) + entropy)
    return -(target * np.log(p)).sum(-1), gradient


def _convex(beta: float) -> Any:
    """Return whether the loss is convex, None where it depends on C.

    Along v its curvature is E[(beta - (1 - beta)(1 + log p + H)) (v - E v)^2] under p.
    Two even classes have log p + H = 0, so beta < 1/2 bends down; with ever more
    classes log p + H has no upper bound.
    """
    return {1.0: True}.get(beta, False if beta < 0.5 else None)


# The largest -x sigmoid(x): w with w exp(w) = 1/e.
PULL_OF_ENTROPY = 0.2784645427610738


CARD = LossCard(
    name="Soft bootstrapping",
    family="noise",
    kind="labels",
    fn=soft_bootstrap,
    ref=soft_bootstrap_ref,
    summary="Cross-entropy to a mixture of the label and the model's own prediction.",
    cite="reed2015training",
    params={
        "beta": Param(default=0.95, low=0.1, high=1.0, meaning="trust in the label")
    },
    special_cases=(SpecialCase(of="cross_entropy", params={"beta": 1.0}),),
    properties=Properties(
        convex=_convex,
        strictly_proper=lambda beta: beta == 1,
        calibrated=True,
        symmetric=False,
        # The entropy pulls towards the label least where two classes compete.
        monotone=lambda beta: beta >= (1 - beta) * PULL_OF_ENTROPY,
        shift_invariant=True,
        upper=math.inf,
    ),
)
