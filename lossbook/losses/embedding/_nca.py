"""NCA: a neighbor drawn at random is of the right class. Chapter: metric learning."""

import numpy as np
import torch

from lossbook.card import Arrays, LossCard, Properties
from lossbook.losses.embedding._similarities import without_self
from lossbook.losses.embedding._vectors import (
    check_batch,
    check_marks,
    check_vectors,
    explain_nan,
    same_class,
    squared_distances,
)
from lossbook.ops import upcast
from lossbook.shapes import (
    BatchLabels,
    Embeddings,
    NpLabels,
    NpPerExample,
    NpVectors,
    PerExample,
)


def nca(embeddings: Embeddings, labels: BatchLabels) -> PerExample:
    """Return -log of the probability that a random neighbor is of the same class.

    Example i takes j as its neighbor with probability proportional to exp(-|x_i -
    x_j|^2), never itself. The article descends minus the probability; its logarithm,
    also proposed there, is what is used since. An example that is alone in its class
    has loss 0.

    Args:
        embeddings: (N, D); their lengths matter, as the inverse of a temperature.
        labels: (N,), the classes, any integers.

    Returns:
        (N,), in nats.

    Raises:
        ValueError: for shapes that do not fit, or embeddings that are nan.

    >>> import torch
    >>> x, y = torch.tensor([[0.0], [0.0], [1.0]]), torch.tensor([0, 0, 1])
    >>> nca(x, y)  # log(1 + exp(-1)), twice
    tensor([0.3133, 0.3133, 0.0000])
    """
    check_vectors(embeddings=embeddings)
    check_batch("embeddings", embeddings)
    check_marks("labels", labels, "embeddings", embeddings)
    x = upcast(embeddings)
    if not len(x):
        return x.sum(-1)
    positive = same_class(labels)
    s = without_self(-squared_distances(x))
    least = torch.finfo(s.dtype).min / 4
    inside = torch.where(positive, s, least).logsumexp(-1)
    loss = torch.where(positive.any(-1), s.logsumexp(-1) - inside, 0.0)
    return explain_nan("embeddings", embeddings, loss)


def nca_ref(embeddings: NpVectors, labels: NpLabels) -> tuple[NpPerExample, NpVectors]:
    """Loss and gradient: a pair's pull is p minus its share in the class, both ways."""
    difference = embeddings[:, None] - embeddings
    others = 1 - np.eye(len(embeddings))
    positive = (labels[:, None] == labels) * others
    some = positive.any(-1, keepdims=True)
    e = np.exp(-(difference**2).sum(-1)) * others
    p = e / np.where(some, e.sum(-1, keepdims=True), 1.0)
    inside = np.where(some, (p * positive).sum(-1, keepdims=True), 1.0)
    pull = (p - p * positive / inside) * some
    both = pull + pull.T
    return -np.log(inside[:, 0]), -2 * (both[..., None] * difference).sum(1)


def _draw(rng: np.random.Generator, n: int, classes: int) -> Arrays:
    """Draw embeddings and labels; the last one is alone in its class."""
    labels = rng.integers(classes, size=n)
    labels[-1:] = classes
    return rng.normal(size=(n, 3)) / 2, labels


CARD = LossCard(
    name="Neighborhood components analysis",
    family="embedding",
    kind="batch",
    fn=nca,
    ref=nca_ref,
    summary="A neighbor, drawn by distance, must be of the same class.",
    cite="goldberger2004neighbourhood",
    draw=_draw,
    peers={
        "pytorch_metric_learning.losses.NCALoss": ("It takes directions by default."),
    },
    properties=Properties(lower=0.0),
)
