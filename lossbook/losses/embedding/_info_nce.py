"""InfoNCE: find the right key among all. Chapter: metric learning."""

import numpy as np
import torch
from torch.nn.functional import logsigmoid

from lossbook.card import Arrays, LossCard, Param, Properties
from lossbook.losses.embedding._similarities import blockwise, log_sums, similarities
from lossbook.losses.embedding._vectors import (
    check_alike,
    check_batch,
    explain_nan,
    unit,
    unit_ref,
)
from lossbook.ops import label_margin, upcast
from lossbook.shapes import (
    Embeddings,
    NpPerExample,
    NpVectors,
    Parameter,
    PerExample,
)


def info_nce(
    queries: Embeddings, keys: Embeddings, *, temperature: Parameter = 0.07
) -> PerExample:
    """Return cross-entropy of cosines / temperature: which key is the query's own?

    Key i is the positive of query i, all others are its negatives. The loss is at most
    log(1 + (N - 1) exp(2 / temperature)). Log N less its mean bounds the mutual
    information from below: with N pairs never more than log N is seen.

    Args:
        queries: (N, D), of any length; only directions matter.
        keys: (N, D), one for each query.
        temperature: what cosines are divided by.

    Returns:
        (N,), in nats.

    Raises:
        ValueError: for shapes that do not fit, or embeddings that are nan.

    >>> import torch
    >>> info_nce(torch.eye(2), torch.eye(2), temperature=0.5)
    tensor([0.1269, 0.1269])
    """
    check_alike(queries=queries, keys=keys)
    check_batch("queries", queries)
    q, k = unit(upcast(queries)), unit(upcast(keys))
    if blockwise(q, k, temperature):
        loss = log_sums(q, k, temperature) - (q * k).sum(-1) / temperature
    elif len(q):
        own = torch.arange(len(q), device=q.device)
        loss = -logsigmoid(label_margin(similarities(q, k, temperature), own))
    else:
        loss = q.sum(-1) + k.sum(-1)  # in the graph of both
    return explain_nan("queries", queries, loss)


def info_nce_ref(
    queries: NpVectors, keys: NpVectors, *, temperature: float = 0.07
) -> tuple[NpPerExample, NpVectors]:
    """Loss and gradient: the mean of the keys by p, minus the right one."""
    (q, back), (k, _) = unit_ref(queries), unit_ref(keys)
    s = q @ k.T / temperature
    p = np.exp(s) / np.exp(s).sum(-1, keepdims=True)
    return -np.log(np.diag(p)), back((p @ k - k) / temperature)


def _draw(rng: np.random.Generator, n: int, classes: int) -> Arrays:
    """Draw queries and keys near them."""
    queries = rng.normal(size=(n, 3))
    return queries, queries + rng.normal(size=(n, 3)) / 2


CARD = LossCard(
    name="InfoNCE",
    family="embedding",
    kind="batch",
    fn=info_nce,
    ref=info_nce_ref,
    summary="Cross-entropy of cosines: each query must find its key among all.",
    cite="oord2018representation",
    draw=_draw,
    params={
        "temperature": Param(
            default=0.07, low=0.05, high=1.0, meaning="what cosines are divided by"
        )
    },
    properties=Properties(lower=0.0),
)
