"""SupCon: all examples of a class are positives. Chapter: metric learning."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from lossbook.card import Arrays, LossCard, Param, Properties
from lossbook.losses.embedding._similarities import (
    blockwise,
    log_sums_without_self,
    similarities,
    without_self,
)
from lossbook.losses.embedding._vectors import (
    check_batch,
    check_marks,
    check_vectors,
    explain_nan,
    same_class,
    unit,
    unit_ref,
)
from lossbook.ops import upcast
from lossbook.shapes import (
    BatchLabels,
    Embeddings,
    NpLabels,
    NpPerExample,
    NpVectors,
    Parameter,
    PerExample,
)

Form = Literal["out", "in"]


def supcon(
    embeddings: Embeddings,
    labels: BatchLabels,
    *,
    temperature: Parameter = 0.1,
    form: Form = "out",
) -> PerExample:
    """Return how hard it is to find an example's class among all others, per example.

    With softmax over all examples but itself, of cosines / temperature, and P the
    others of its class: "out" is the mean over P of -log softmax, "in" is -log of the
    mean over P of softmax, which is never more. The article and its code use "out".

    An example that is alone in its class has no positive: its loss is 0, and it still
    is a negative of others. To average over those that count, divide the sum by their
    number. With P positives, neither form is less than log |P|.

    Args:
        embeddings: (N, D), of any length; only directions matter.
        labels: (N,), the classes, any integers.
        temperature: what cosines are divided by.
        form: "out" or "in": the logarithm inside of the mean, or outside.

    Returns:
        (N,), in nats.

    Raises:
        ValueError: for shapes that do not fit, embeddings that are nan, or another
            form.

    >>> import torch
    >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> supcon(x, torch.tensor([0, 0, 1]), temperature=0.5)  # log(1 + exp(-2)), twice
    tensor([0.1269, 0.1269, 0.0000])
    """
    if form not in ("out", "in"):
        raise ValueError(f'form must be "out" or "in", got {form!r}')
    check_vectors(embeddings=embeddings)
    check_batch("embeddings", embeddings)
    check_marks("labels", labels, "embeddings", embeddings)
    u = unit(upcast(embeddings))
    if not len(u):
        loss = u.sum(-1)
    elif form == "out" and blockwise(u, u, temperature):
        loss = _by_sums(u, labels, temperature)
    else:
        loss = _plain(u, labels, temperature, form)
    return explain_nan("embeddings", embeddings, loss)


def _plain(u: Tensor, labels: Tensor, temperature: Parameter, form: Form) -> Tensor:
    positive = same_class(labels)
    count = positive.sum(-1)
    s = without_self(similarities(u, u, temperature))
    log_p = s - s.logsumexp(-1, keepdim=True)
    if form == "out":
        mean = torch.where(positive, log_p, 0.0).sum(-1) / count.clamp(min=1)
    else:
        least = torch.finfo(s.dtype).min / 4
        inner = torch.where(positive, log_p, least).logsumexp(-1)
        mean = inner - count.clamp(min=1).to(s.dtype).log()
    return torch.where(count > 0, -mean, 0.0)


def _by_sums(u: Tensor, labels: Tensor, temperature: Parameter) -> Tensor:
    """Return the form "out" with no matrix of all pairs.

    The mean over the positives of u . p is u . (sum of its class - u) / |P|.
    """
    _, inverse, sizes = labels.unique(return_inverse=True, return_counts=True)
    count = sizes[inverse] - 1
    total = u.new_zeros(len(sizes), u.shape[-1]).index_add(0, inverse, u)
    attract = (u * (total[inverse] - u)).sum(-1) / count.clamp(min=1) / temperature
    loss = log_sums_without_self(u, temperature) - attract
    return torch.where(count > 0, loss, 0.0)


def supcon_ref(
    embeddings: NpVectors,
    labels: NpLabels,
    *,
    temperature: float = 0.1,
    form: Form = "out",
) -> tuple[NpPerExample, NpVectors]:
    """Loss and gradient: p minus the positives' shares, as query and as key.

    The share of a positive is 1 / |P| in the form "out"; in the form "in" it is p over
    the sum of p in the class.
    """
    u, back = unit_ref(embeddings)
    others = 1 - np.eye(len(u))
    positive = (labels[:, None] == labels) * others
    count = positive.sum(-1, keepdims=True)
    e = np.exp(u @ u.T / temperature) * others
    p = e / e.sum(-1, keepdims=True)
    counts = np.maximum(count, 1)
    if form == "out":
        log_p = np.log(np.where(positive == 1, p, 1.0))
        loss, share = -log_p.sum(-1, keepdims=True) / counts, positive / counts
    else:
        inside = (p * positive).sum(-1, keepdims=True)
        inside = np.where(count > 0, inside, 1.0)
        loss, share = -np.log(inside / counts), p * positive / inside
    pull = (p - share) * (count > 0) / temperature
    return (loss * (count > 0))[:, 0], back((pull + pull.T) @ u)


def _draw(rng: np.random.Generator, n: int, classes: int) -> Arrays:
    """Draw embeddings and labels; the last one is alone in its class."""
    labels = rng.integers(classes, size=n)
    labels[-1:] = classes
    return rng.normal(size=(n, 3)), labels


CARD = LossCard(
    name="Supervised contrastive loss",
    family="embedding",
    kind="batch",
    fn=supcon,
    ref=supcon_ref,
    summary="Every example must find all others of its class.",
    cite="khosla2020supervised",
    draw=_draw,
    params={
        "temperature": Param(
            default=0.1, low=0.05, high=1.0, meaning="what cosines are divided by"
        )
    },
    options={"form": ("out", "in")},
    peers={
        "pytorch_metric_learning.losses.SupConLoss": (
            "Its mean leaves out the examples without a positive."
        ),
    },
    properties=Properties(lower=0.0),
)
