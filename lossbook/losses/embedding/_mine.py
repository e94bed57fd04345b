"""Which triplets of a batch to learn from. Chapter: proxies and mining."""

import torch
from torch import Tensor

from lossbook.losses.embedding._vectors import (
    check_batch,
    check_marks,
    check_vectors,
    same_class,
    squared_distances,
)
from lossbook.ops import upcast
from lossbook.shapes import BatchLabels, Embeddings

Triplets = tuple[Tensor, Tensor, Tensor]


def batch_hard(embeddings: Embeddings, labels: BatchLabels) -> Triplets:
    """Return for each anchor its farthest positive and its nearest negative.

    Anchors that lack either are left out. Of equal distances, the first one counts.

    Args:
        embeddings: (N, D).
        labels: (N,), the classes, any integers.

    Returns:
        Three index tensors of equal length, anchors, positives, negatives.

    Raises:
        ValueError: for shapes that do not fit.

    >>> x, y = torch.tensor([[0.0], [1.0], [3.0], [4.0]]), torch.tensor([0, 0, 0, 1])
    >>> batch_hard(x, y)
    (tensor([0, 1, 2]), tensor([2, 2, 0]), tensor([3, 3, 3]))
    """
    d, positive, negative = _distances(embeddings, labels)
    anchors = (positive.any(-1) & negative.any(-1)).nonzero()[:, 0]
    if not len(anchors):
        return anchors, anchors, anchors
    farthest = torch.where(positive, d, -torch.inf).argmax(-1)
    nearest = torch.where(negative, d, torch.inf).argmin(-1)
    return anchors, farthest[anchors], nearest[anchors]


def semi_hard(
    embeddings: Embeddings, labels: BatchLabels, *, margin: float = 0.2
) -> Triplets:
    """Return for each anchor and positive the nearest negative beyond the positive.

    It must lie within the margin, in squared distance: d_ap < d_an < d_ap + margin. A
    pair without such a negative is left out.

    Args:
        embeddings: (N, D).
        labels: (N,), the classes, any integers.
        margin: that of the triplet loss.

    Returns:
        Three index tensors of equal length, anchors, positives, negatives.

    Raises:
        ValueError: for shapes that do not fit.

    >>> x, y = torch.tensor([[0.0], [1.0], [1.05], [4.0]]), torch.tensor([0, 0, 1, 1])
    >>> semi_hard(x, y)
    (tensor([0]), tensor([1]), tensor([2]))
    """
    d, positive, negative = _distances(embeddings, labels)
    anchors, positives = positive.nonzero().unbind(-1)
    rows, reach = d[anchors], d[anchors, positives][:, None]
    between = negative[anchors] & (rows > reach) & (rows < reach + margin)
    found = between.any(-1)
    if not found.any():
        return (anchors[:0],) * 3
    nearest = torch.where(between, rows, torch.inf).argmin(-1)
    return anchors[found], positives[found], nearest[found]


def _distances(embeddings: Tensor, labels: Tensor) -> Triplets:
    check_vectors(embeddings=embeddings)
    check_batch("embeddings", embeddings)
    check_marks("labels", labels, "embeddings", embeddings)
    d = squared_distances(upcast(embeddings.detach()))
    return d, same_class(labels), labels[:, None] != labels
