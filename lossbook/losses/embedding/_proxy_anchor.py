"""Proxy-anchor: each proxy looks at all examples of the batch. Chapter: proxies."""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from lossbook.card import Arrays, LossCard, Param, Properties
from lossbook.losses.embedding._vectors import (
    check_batch,
    check_classes,
    check_marks,
    check_vectors,
    explain_nan,
    products,
    unit,
    unit_ref,
)
from lossbook.ops import upcast
from lossbook.shapes import (
    BatchLabels,
    ClassVectors,
    Embeddings,
    NpClassVectors,
    NpLabels,
    NpPerExample,
    NpVectors,
    Parameter,
    PerBatch,
)


def proxy_anchor(
    embeddings: Embeddings,
    labels: BatchLabels,
    proxies: ClassVectors,
    *,
    margin: Parameter = 0.1,
    alpha: Parameter = 32.0,
) -> PerBatch:
    """Return the mean over proxies of a pull on their class and a push on the others.

    A proxy with examples x of its class in the batch pulls by log(1 + sum of
    exp(-alpha (cos - margin))), averaged over such proxies. Each proxy pushes the
    examples of other classes by log(1 + sum of exp(alpha (cos + margin))), averaged
    over all proxies.

    Args:
        embeddings: (N, D), of any length; only directions matter.
        labels: (N,), the true class, 0 to C - 1.
        proxies: (C, D), one vector a class, learned with the model.
        margin: what is asked of cosines beyond 0, on either side.
        alpha: what cosines are multiplied with.

    Returns:
        (), one loss for the batch, in nats; 0 for no examples.

    Raises:
        ValueError: for labels outside of the classes, shapes that do not fit, or
            embeddings that are nan.

    >>> import torch
    >>> x, y = torch.tensor([[1.0, 0.0]]), torch.tensor([0])
    >>> proxy_anchor(x, y, torch.eye(2), alpha=1.0)  # log(1 + e^-0.9), log(1 + e^0.1)/2
    tensor(0.7134)
    """
    check_vectors(embeddings=embeddings, proxies=proxies)
    check_batch("embeddings", embeddings)
    check_marks("labels", labels, "embeddings", embeddings)
    check_classes(labels, proxies, "proxies")
    x, w = unit(upcast(embeddings)), unit(upcast(proxies))
    if not len(x):
        return x.sum() + w[:0].sum()  # in the graph of both
    cosines = products(x, w)
    classes = torch.arange(len(proxies), device=labels.device)
    own = labels[:, None] == classes
    pull = _log_one_plus_sum(-alpha * (cosines - margin), own)
    push = _log_one_plus_sum(alpha * (cosines + margin), ~own)
    loss = pull.sum() / own.any(0).sum() + push.mean()
    return explain_nan("embeddings", embeddings, loss)


def _log_one_plus_sum(values: Tensor, counts: Tensor) -> Tensor:
    """Return log(1 + the sum of exp(values) over the rows that count), a column."""
    least = torch.finfo(values.dtype).min / 4
    return -logsigmoid(-torch.where(counts, values, least).logsumexp(0))


def proxy_anchor_ref(
    embeddings: NpVectors,
    labels: NpLabels,
    proxies: NpClassVectors,
    *,
    margin: float = 0.1,
    alpha: float = 32.0,
) -> tuple[NpPerExample, NpVectors]:
    """Loss and gradient: each example's share in the sums of all proxies."""
    (u, back), (w, _) = unit_ref(embeddings), unit_ref(proxies)
    own = np.eye(len(proxies))[labels]
    cosines = u @ w.T
    near = np.exp(-alpha * (cosines - margin)) * own
    far = np.exp(alpha * (cosines + margin)) * (1 - own)
    present = own.any(0).sum()
    loss = np.log(1 + near.sum(0)).sum() / present + np.log(1 + far.sum(0)).mean()
    pull = near / (1 + near.sum(0)) / present
    push = far / (1 + far.sum(0)) / len(proxies)
    return np.asarray(loss), back(alpha * (push - pull) @ w)


def _draw(rng: np.random.Generator, n: int, classes: int) -> Arrays:
    """Draw embeddings, labels and proxies; one class has no example."""
    proxies = rng.normal(size=(classes + 1, 3))
    return rng.normal(size=(n, 3)), rng.integers(classes, size=n), proxies


CARD = LossCard(
    name="Proxy-anchor loss",
    family="embedding",
    kind="batch",
    fn=proxy_anchor,
    ref=proxy_anchor_ref,
    summary="Each class vector pulls its hardest examples and pushes the others'.",
    cite="kim2020proxy",
    draw=_draw,
    params={
        "margin": Param(default=0.1, low=0.0, high=0.5, meaning="margin of cosines"),
        "alpha": Param(default=32.0, low=1.0, high=64.0, meaning="scale of cosines"),
    },
    peers={
        "pytorch_metric_learning.losses.ProxyAnchorLoss": "",
    },
    properties=Properties(lower=None),  # above 0, how far depends on the parameters
)
