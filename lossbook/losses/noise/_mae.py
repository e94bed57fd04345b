"""Mean absolute error between softmax and one-hot label. Chapter: robust losses."""

import math

import numpy as np
from torch import Tensor

from lossbook.card import Formula, LossCard, Properties
from lossbook.ops import psi_loss
from lossbook.shapes import Labels, Logits, NpLabels, NpLogits, NpPerExample, PerExample


def mae(logits: Logits, labels: Labels) -> PerExample:
    """Return |p - e_y|_1 = 2 (1 - p_y) per example, with p = softmax(logits).

    Args:
        logits: (..., C), unnormalized log-probabilities.
        labels: (...), the true class, 0 to C - 1.

    Returns:
        (...), between 0 and 2.

    Raises:
        ValueError: for labels outside of the classes, or logits that are nan.

    >>> import torch
    >>> mae(torch.tensor([[2.0, 0.0]]), torch.tensor([0]))
    tensor([0.2384])
    """
    return psi_loss(logits, labels, psi, factor)


def psi(log_p: Tensor, log_not_p: Tensor) -> Tensor:
    """Return 2 (1 - p)."""
    return 2 * log_not_p.exp()


def factor(log_p: Tensor, log_not_p: Tensor) -> Tensor:
    """Return g(p) = 2 p: an example believed impossible pulls with no force."""
    return 2 * log_p.exp()


def mae_ref(logits: NpLogits, labels: NpLabels) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient; the factor p_y is why MAE is slow on hard examples."""
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    e_y = np.eye(logits.shape[-1])[labels]
    p_y = (p * e_y).sum(-1, keepdims=True)
    return np.abs(p - e_y).sum(-1), 2 * p_y * (p - e_y)


CARD = LossCard(
    name="Mean absolute error",
    family="noise",
    kind="labels",
    fn=mae,
    ref=mae_ref,
    summary="Bounded and tolerant of symmetric label noise, but slow to learn.",
    cite="ghosh2017robust",
    formula=Formula(expr="2 * (1 - p)"),
    properties=Properties(
        convex=False,
        strictly_proper=False,
        calibrated=True,
        symmetric=True,
        monotone=True,
        shift_invariant=True,
        upper=2.0,
        lipschitz=math.sqrt(2) / 2,
    ),
    peers={
        "torch.nn.functional.l1_loss": "Takes probabilities and one-hot targets, and "
        "averages over the classes too: this loss over C."
    },
)
