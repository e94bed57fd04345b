"""Crammer-Singer loss: the hinge against the best rival. Chapter: surrogates."""

import math

import numpy as np
from torch import Tensor
from torch.nn.functional import relu

from lossbook.card import LossCard, Properties
from lossbook.ops import below, rival_max
from lossbook.shapes import Labels, Logits, NpLabels, NpLogits, NpPerExample, PerExample


def crammer_singer(logits: Logits, labels: Labels) -> PerExample:
    """Return max(0, 1 + max over k != y of z_k - z_y) per example.

    Rivals that tie for the maximum share the slope; at the kink, where the margin over
    the best rival is 1, the slope used is 0. The loss is not calibrated for more than
    two classes: where no class is likelier than 1/2, equal logits cost least.

    Args:
        logits: (..., C), one real number a class.
        labels: (...), the true class, 0 to C - 1.

    Returns:
        (...), never less than the 0/1 loss.

    Raises:
        ValueError: for labels outside of the classes, or logits that are nan.

    >>> import torch
    >>> crammer_singer(torch.tensor([[2.0, 0.0, 1.5]]), torch.tensor([0]))
    tensor([0.5000])
    """
    return rival_max(logits, labels, value, slope)


def value(margin: Tensor) -> Tensor:
    """Return max(0, 1 - m)."""
    return relu(1 - margin)


def slope(margin: Tensor) -> Tensor:
    """Return -1 below the margin 1, else 0."""
    return -below(margin, 1)


def crammer_singer_ref(
    logits: NpLogits, labels: NpLabels
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: up with the best rival, down with the label, if too close."""
    e_y = np.eye(logits.shape[-1])[labels]
    rivals = np.where(e_y == 1, -np.inf, logits)
    best = rivals.max(-1, keepdims=True)
    lacking = 1 + best - (logits * e_y).sum(-1, keepdims=True)
    e_best = (rivals == best) & (lacking > 0)
    loss = np.maximum(lacking, 0)[..., 0]
    return loss, e_best / e_best.sum(-1, keepdims=True).clip(1) - e_y * (lacking > 0)


CARD = LossCard(
    name="Crammer-Singer loss",
    family="margins",
    kind="labels",
    fn=crammer_singer,
    ref=crammer_singer_ref,
    summary="The hinge loss of the true class against its best rival.",
    cite="crammer2001algorithmic",
    properties=Properties(
        convex=True,
        strictly_proper=False,
        calibrated=False,
        symmetric=False,
        monotone=True,
        shift_invariant=True,
        upper=math.inf,
        lipschitz=math.sqrt(2),
    ),
    peers={
        "keras.losses.CategoricalHinge": (
            "It counts a 0 among the rivals: it is larger where all are below 0."
        ),
        "optax.losses.multiclass_hinge_loss": "",
        "sklearn.metrics.hinge_loss": "It returns the mean over the examples.",
    },
)
