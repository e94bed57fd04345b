"""Cross-entropy: the surprise, in nats, at the true label. Chapter: cross-entropy."""

import math

import numpy as np
import torch
from torch import Tensor

from lossbook.card import Formula, LossCard, Properties
from lossbook.ops import psi_loss
from lossbook.shapes import Labels, Logits, NpLabels, NpLogits, NpPerExample, PerExample


def cross_entropy(logits: Logits, labels: Labels) -> PerExample:
    """Return -log p_y per example, with p = softmax(logits).

    Args:
        logits: (..., C), unnormalized log-probabilities.
        labels: (...), the true class, 0 to C - 1.

    Returns:
        (...), in nats.

    Raises:
        ValueError: for labels outside of the classes, or logits that are nan.

    >>> import torch
    >>> cross_entropy(torch.tensor([[2.0, 0.0]]), torch.tensor([0]))
    tensor([0.1269])
    """
    return psi_loss(logits, labels, psi, factor)


def psi(log_p: Tensor, log_not_p: Tensor) -> Tensor:
    """Return -log p."""
    return -log_p


def factor(log_p: Tensor, log_not_p: Tensor) -> Tensor:
    """Return g(p) = 1: the gradient is p - e_y itself."""
    return torch.ones_like(log_p)


def cross_entropy_ref(
    logits: NpLogits, labels: NpLabels
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: probabilities minus the one-hot label."""
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    e_y = np.eye(logits.shape[-1])[labels]
    return -np.log((p * e_y).sum(-1)), p - e_y


def recovered(logits: NpLogits) -> NpLogits:
    """Return the posterior at which these logits are optimal: their softmax."""
    return np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)


CARD = LossCard(
    name="Cross-entropy",
    family="entropy",
    kind="labels",
    fn=cross_entropy,
    ref=cross_entropy_ref,
    summary="The surprise at the true label; the default of classification.",
    cite="good1952rational",
    formula=Formula(expr="-log(p)"),
    recovery=recovered,
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
        "torch.nn.functional.cross_entropy": "",
        "optax.losses.softmax_cross_entropy_with_integer_labels": "",
        "sklearn.metrics.log_loss": (
            "Takes probabilities, clips them at the resolution of their dtype, and "
            "returns the mean."
        ),
    },
)
