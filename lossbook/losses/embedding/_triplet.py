"""Triplet loss: nearer to its class than to another. Chapter: metric learning."""

import numpy as np
from torch.nn.functional import relu

from lossbook.card import Arrays, LossCard, Param, Properties
from lossbook.losses.embedding._vectors import (
    check_alike,
    explain_nan,
    squared_distance,
)
from lossbook.ops import upcast
from lossbook.shapes import NpPerExample, NpVectors, Parameter, PerExample, Vectors


def triplet(
    anchors: Vectors,
    positives: Vectors,
    negatives: Vectors,
    *,
    margin: Parameter = 0.2,
) -> PerExample:
    """Return max(0, |a - p|^2 - |a - n|^2 + margin) per triplet.

    The distances are squared, as in FaceNet. At the kink the slope used is 0. A model
    that maps everything to one point has loss `margin`.

    Args:
        anchors: (..., D), embeddings; of length 1 in the article.
        positives: (..., D), of the anchor's class.
        negatives: (..., D), of another class.
        margin: by how much a negative's squared distance must exceed a positive's.

    Returns:
        (...), in squared units of the distance.

    Raises:
        ValueError: for shapes that do not fit, or embeddings that are nan.

    >>> import torch
    >>> a, p, n = torch.tensor([[0.0]]), torch.tensor([[0.5]]), torch.tensor([[0.6]])
    >>> triplet(a, p, n)
    tensor([0.0900])
    """
    check_alike(anchors=anchors, positives=positives, negatives=negatives)
    a = upcast(anchors)
    near, far = (squared_distance(a, upcast(o)) for o in (positives, negatives))
    return explain_nan("anchors", anchors, relu(near - far + margin))


def triplet_ref(
    anchors: NpVectors,
    positives: NpVectors,
    negatives: NpVectors,
    *,
    margin: float = 0.2,
) -> tuple[NpPerExample, NpVectors]:
    """Loss and gradient: 2 (n - p) wherever the anchor is, if the triplet is active."""
    near = ((anchors - positives) ** 2).sum(-1)
    far = ((anchors - negatives) ** 2).sum(-1)
    loss = np.maximum(near - far + margin, 0)
    return loss, 2 * (negatives - positives) * (loss > 0)[..., None]


def _draw(rng: np.random.Generator, n: int, classes: int) -> Arrays:
    """Draw triplets, about half of them active."""
    anchors, positives, negatives = rng.normal(size=(3, n, 3))
    return anchors, positives, negatives


CARD = LossCard(
    name="Triplet loss",
    family="embedding",
    kind="pair",
    fn=triplet,
    ref=triplet_ref,
    summary="An anchor must be nearer to its class than to another, by a margin.",
    cite="schroff2015facenet",
    draw=_draw,
    params={
        "margin": Param(
            default=0.2, low=0.0, high=2.0, meaning="lead in squared distance"
        )
    },
    peers={
        "pytorch_metric_learning.losses.TripletMarginLoss": (
            "By default it takes distances of directions and a margin of 0.05."
        ),
        "torch.nn.functional.triplet_margin_loss": (
            "It takes distances, not their squares, with 1e-6 added to each difference."
        ),
    },
    properties=Properties(lower=0.0),
)
