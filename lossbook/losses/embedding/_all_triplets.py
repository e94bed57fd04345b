"""All triplets of a batch, by sorting. Chapter: metric learning."""

import numpy as np
import torch
from torch.nn.functional import pad

from lossbook.card import Arrays, LossCard, Param, Properties
from lossbook.losses.embedding._vectors import (
    check_batch,
    check_marks,
    check_vectors,
    explain_nan,
    same_class,
    squared_distances,
)
from lossbook.modes import values_visible
from lossbook.ops import over_classes, upcast
from lossbook.shapes import (
    BatchLabels,
    Embeddings,
    NpLabels,
    NpPerExample,
    NpVectors,
    Parameter,
    PerExample,
)


def all_triplets(
    embeddings: Embeddings, labels: BatchLabels, *, margin: Parameter = 0.2
) -> PerExample:
    """Return the mean triplet loss over all triplets of an anchor, per anchor.

    A triplet is active where its negative is nearer than the positive plus the margin.
    With the negatives' squared distances sorted, the active ones come first, and their
    sum is a difference of running totals: N^2 log N steps instead of N^3.

    Args:
        embeddings: (N, D), of any length.
        labels: (N,), the classes, any integers.
        margin: by how much a negative's squared distance must exceed a positive's.

    Returns:
        (N,), in squared units of the distance; 0 for an anchor without a positive or
        without a negative.

    Raises:
        ValueError: for shapes that do not fit, or embeddings that are nan.

    >>> import torch
    >>> x, y = torch.tensor([[0.0], [0.5], [0.6]]), torch.tensor([0, 0, 1])
    >>> all_triplets(x, y)  # 0.25 - 0.36 + 0.2, and 0.25 - 0.01 + 0.2
    tensor([0.0900, 0.4400, 0.0000])
    """
    check_vectors(embeddings=embeddings)
    check_batch("embeddings", embeddings)
    check_marks("labels", labels, "embeddings", embeddings)
    x = upcast(embeddings)
    if not len(x):
        return x.sum(-1)
    positive = same_class(labels)
    negative = labels[:, None] != labels
    d = squared_distances(x)
    # Sorted, with what is no negative at the end, where no threshold reaches.
    ranked, order = torch.where(negative, d, torch.inf).detach().sort(-1)
    far = torch.where(ranked.isinf(), 0.0, d.gather(-1, order))
    totals = pad(far.cumsum(-1), (1, 0))
    # A row has few positives: only their columns are looked up, where one can tell.
    most = int(positive.sum(-1).amax()) if values_visible(labels) else len(labels)
    which = positive.byte().topk(most).indices
    reach = d.gather(-1, which) + over_classes(margin)
    active = torch.searchsorted(ranked, reach.detach())
    lost = active * reach - totals.gather(-1, active)
    lost = torch.where(positive.gather(-1, which), lost, 0.0).sum(-1)
    loss = lost / (positive.sum(-1) * negative.sum(-1)).clamp(min=1)
    return explain_nan("embeddings", embeddings, loss)


def all_triplets_ref(
    embeddings: NpVectors, labels: NpLabels, *, margin: float = 0.2
) -> tuple[NpPerExample, NpVectors]:
    """Loss and gradient: anchor by anchor, each positive with each negative."""
    n = len(embeddings)
    loss, gradient = np.zeros(n), np.zeros_like(embeddings)
    for a in range(n):
        x = embeddings[a]
        positives = [p for p in range(n) if labels[p] == labels[a] and p != a]
        negatives = [k for k in range(n) if labels[k] != labels[a]]
        for p in positives:
            for k in negatives:
                near, far = x - embeddings[p], x - embeddings[k]
                lost = (near**2).sum() - (far**2).sum() + margin
                if lost > 0:
                    share = 1 / (len(positives) * len(negatives))
                    loss[a] += share * lost
                    gradient[a] += 2 * share * (near - far)
                    gradient[p] -= 2 * share * near
                    gradient[k] += 2 * share * far
    return loss, gradient


def _draw(rng: np.random.Generator, n: int, classes: int) -> Arrays:
    """Draw at most 10 embeddings; the last one is alone in its class."""
    n = min(n, 10)
    labels = rng.integers(classes, size=n)
    labels[-1:] = classes
    return 0.7 * rng.normal(size=(n, 3)), labels


CARD = LossCard(
    name="Triplet loss over all triplets",
    family="embedding",
    kind="batch",
    fn=all_triplets,
    ref=all_triplets_ref,
    summary="The mean triplet loss of each anchor, over all triplets of the batch.",
    cite="hermans2017defense",
    draw=_draw,
    params={
        "margin": Param(
            default=0.2, low=0.0, high=2.0, meaning="lead in squared distance"
        )
    },
    peers={
        "pytorch_metric_learning.losses.TripletMarginLoss": (
            "It averages over the active triplets of the batch, of distances, not "
            "their squares, between directions, with a margin of 0.05 by default."
        ),
    },
    properties=Properties(lower=0.0),
)
