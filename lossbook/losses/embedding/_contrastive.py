"""Contrastive loss: pairs together, or apart by a margin. Chapter: metric learning."""

import numpy as np
import torch
from torch.nn.functional import relu

from lossbook.card import Arrays, LossCard, Param, Properties
from lossbook.losses.embedding._vectors import (
    check_alike,
    check_marks,
    explain_nan,
    root,
    squared_distance,
)
from lossbook.ops import upcast
from lossbook.shapes import (
    Marks,
    NpMarks,
    NpPerExample,
    NpVectors,
    Parameter,
    PerExample,
    Vectors,
)


def contrastive(
    first: Vectors, second: Vectors, same: Marks, *, margin: Parameter = 1.0
) -> PerExample:
    """Return D^2 / 2 for a pair of one class, max(0, margin - D)^2 / 2 for others.

    D is the Euclidean distance. The article marks a pair of one class by 0; here `same`
    means what it says. Where a pair that should be apart coincides, no direction leads
    away, and the gradient used is 0.

    Args:
        first: (..., D), embeddings, divided by no length.
        second: (..., D), one for each of `first`.
        same: (...), true or 1 where both belong to one class.
        margin: the distance from which a pair of two classes costs nothing. Embeddings
            of length 1 are never further apart than 2.

    Returns:
        (...), in squared units of the distance.

    Raises:
        ValueError: for shapes that do not fit, or embeddings that are nan.
        TypeError: for marks that are neither boolean nor integer.

    >>> import torch
    >>> a, b = torch.tensor([[0.0, 0.0]] * 2), torch.tensor([[0.3, 0.4]] * 2)
    >>> contrastive(a, b, torch.tensor([True, False]))
    tensor([0.1250, 0.1250])
    """
    check_alike(first=first, second=second)
    check_marks("same", same, "first", first)
    a = upcast(first)
    square = squared_distance(a, upcast(second))
    apart = relu(margin - root(square)).square()
    loss = torch.where(same.bool(), square, apart) / 2
    return explain_nan("first", first, loss)


def contrastive_ref(
    first: NpVectors, second: NpVectors, same: NpMarks, *, margin: float = 1.0
) -> tuple[NpPerExample, NpVectors]:
    """Loss and gradient: a spring that pulls, or one that pushes until the margin."""
    difference = first - second
    d = np.sqrt((difference**2).sum(-1, keepdims=True))
    lacking = np.maximum(margin - d, 0)
    together = same[..., None] == 1
    loss = np.where(together, d**2, lacking**2) / 2
    return loss[..., 0], np.where(together, 1.0, -lacking / d) * difference


def _draw(rng: np.random.Generator, n: int, classes: int) -> Arrays:
    """Draw pairs of all distances around the margin, and what they should be."""
    first = rng.normal(size=(n, 3))
    return first, first + rng.normal(size=(n, 3)) / 2, rng.integers(2, size=n)


CARD = LossCard(
    name="Contrastive loss",
    family="embedding",
    kind="pair",
    fn=contrastive,
    ref=contrastive_ref,
    summary="Pairs of one class are pulled together, others pushed a margin apart.",
    cite="hadsell2006dimensionality",
    draw=_draw,
    params={
        "margin": Param(default=1.0, low=0.0, high=2.0, meaning="distance to be kept")
    },
    peers={
        "pytorch_metric_learning.losses.ContrastiveLoss": (
            "It takes neither square nor half, and by default directions of all pairs "
            "of a batch."
        ),
        "torch.nn.functional.cosine_embedding_loss": (
            "Equal for directions of one class; others cost what their cosine exceeds "
            "the margin by."
        ),
        "torch.nn.functional.hinge_embedding_loss": (
            "It takes distances, and neither square nor half."
        ),
    },
    properties=Properties(lower=0.0),
)
