"""N-pair loss: softmax over the positives of a batch. Chapter: metric learning."""

import numpy as np
import torch
from torch.nn.functional import logsigmoid

from lossbook.card import Arrays, LossCard, Properties
from lossbook.losses.embedding._vectors import (
    check_alike,
    check_batch,
    explain_nan,
    products,
)
from lossbook.ops import label_margin, upcast
from lossbook.shapes import Embeddings, NpPerExample, NpVectors, PerExample


def n_pair(anchors: Embeddings, positives: Embeddings) -> PerExample:
    """Return log(1 + sum over j != i of exp(a_i . p_j - a_i . p_i)) per anchor.

    The pairs are of different classes, so that the others' positives are negatives.
    Inner products, not cosines: the article keeps lengths small by a penalty on their
    squares, which is no part of this.

    Args:
        anchors: (N, D), embeddings of any length.
        positives: (N, D), one of the class of each anchor.

    Returns:
        (N,), in nats.

    Raises:
        ValueError: for shapes that do not fit, or embeddings that are nan.

    >>> import torch
    >>> n_pair(torch.eye(2), 2 * torch.eye(2))
    tensor([0.1269, 0.1269])
    """
    check_alike(anchors=anchors, positives=positives)
    check_batch("anchors", anchors)
    a = upcast(anchors)
    logits = products(a, upcast(positives))
    own = torch.arange(len(a), device=a.device)
    loss = -logsigmoid(label_margin(logits, own)) if len(a) else logits.sum(-1)
    return explain_nan("anchors", anchors, loss)


def n_pair_ref(
    anchors: NpVectors, positives: NpVectors
) -> tuple[NpPerExample, NpVectors]:
    """Loss and gradient: the mean of the positives by p, minus the right one."""
    logits = anchors @ positives.T
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return -np.log(np.diag(p)), p @ positives - positives


def _draw(rng: np.random.Generator, n: int, classes: int) -> Arrays:
    """Draw anchors and positives near them."""
    anchors = rng.normal(size=(n, 3))
    return anchors, anchors + rng.normal(size=(n, 3)) / 2


CARD = LossCard(
    name="N-pair loss",
    family="embedding",
    kind="batch",
    fn=n_pair,
    ref=n_pair_ref,
    summary="Cross-entropy of inner products: each anchor must find its positive.",
    cite="sohn2016improved",
    draw=_draw,
    peers={
        "pytorch_metric_learning.losses.NPairsLoss": (
            "It takes directions by default."
        ),
    },
    properties=Properties(lower=0.0),
)
