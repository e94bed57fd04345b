"""NT-Xent: two views of an example find each other. Chapter: metric learning."""

import numpy as np
import torch

from lossbook.card import Arrays, LossCard, Param, Properties
from lossbook.losses.embedding._similarities import (
    blockwise,
    log_sums_without_self,
    similarities,
    without_self,
)
from lossbook.losses.embedding._vectors import (
    check_alike,
    check_batch,
    explain_nan,
    unit,
    unit_ref,
)
from lossbook.ops import upcast
from lossbook.shapes import (
    Embeddings,
    NpPerExample,
    NpVectors,
    Parameter,
    PerExample,
)


def nt_xent(
    first: Embeddings, second: Embeddings, *, temperature: Parameter = 0.5
) -> PerExample:
    """Return the mean over both views of -log(softmax of its partner) per example.

    A view's rivals are all 2N - 2 views of other examples; it never meets itself. So
    the loss of a single example is 0.

    Args:
        first: (N, D), one view of each example, of any length.
        second: (N, D), another view of each.
        temperature: what cosines are divided by.

    Returns:
        (N,), in nats.

    Raises:
        ValueError: for shapes that do not fit, or embeddings that are nan.

    >>> import torch
    >>> nt_xent(torch.eye(2), torch.eye(2), temperature=0.5)  # log(1 + 2 exp(-2))
    tensor([0.2395, 0.2395])
    """
    check_alike(first=first, second=second)
    check_batch("first", first)
    a, b = unit(upcast(first)), unit(upcast(second))
    views = torch.cat([a, b])
    attract = (a * b).sum(-1) / temperature
    if blockwise(views, views, temperature):
        sums = log_sums_without_self(views, temperature)
    elif len(a):
        both = temperature
        if isinstance(both, torch.Tensor) and both.ndim:
            both = torch.cat([both.expand(len(a))] * 2)
        sums = without_self(similarities(views, views, both)).logsumexp(-1)
    else:
        sums = views.sum(-1)
    loss = (sums[: len(a)] + sums[len(a) :]) / 2 - attract
    return explain_nan("first", first, loss)


def nt_xent_ref(
    first: NpVectors, second: NpVectors, *, temperature: float = 0.5
) -> tuple[NpPerExample, NpVectors]:
    """Loss and gradient: each view is a query once and a key of all others."""
    n = len(first)
    (a, back), (b, _) = unit_ref(first), unit_ref(second)
    u = np.concatenate([a, b])
    s = u @ u.T / temperature
    p = np.exp(s) * (1 - np.eye(2 * n))
    p = p / p.sum(-1, keepdims=True)
    partner = np.roll(np.eye(2 * n), n, axis=1)
    loss = -np.log((p * partner).sum(-1)).reshape(2, n).mean(0)
    pull = (p - partner) / (2 * temperature)
    return loss, back(((pull + pull.T) @ u)[:n])


def _draw(rng: np.random.Generator, n: int, classes: int) -> Arrays:
    """Draw views and others near them."""
    first = rng.normal(size=(n, 3))
    return first, first + rng.normal(size=(n, 3)) / 2


CARD = LossCard(
    name="NT-Xent",
    family="embedding",
    kind="batch",
    fn=nt_xent,
    ref=nt_xent_ref,
    summary="Two views of an example must find each other among all views.",
    cite="chen2020simple",
    draw=_draw,
    params={
        "temperature": Param(
            default=0.5, low=0.05, high=1.0, meaning="what cosines are divided by"
        )
    },
    peers={
        "pytorch_metric_learning.losses.NTXentLoss": (
            "It has no gradient where partners are opposite and the temperature is low."
        ),
        "optax.losses.ntxent": ("It returns the mean over the batch."),
    },
    properties=Properties(lower=0.0),
)
