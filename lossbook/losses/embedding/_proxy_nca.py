"""Proxy-NCA: one vector stands for each class. Chapter: proxies."""

from typing import Literal

import numpy as np
from torch.nn.functional import logsigmoid

from lossbook.card import Arrays, LossCard, Param, Properties
from lossbook.losses.embedding._vectors import (
    check_classes,
    check_marks,
    check_vectors,
    explain_nan,
    products,
    unit,
    unit_ref,
)
from lossbook.ops import label_margin, over_classes, upcast
from lossbook.shapes import (
    ClassVectors,
    Labels,
    NpClassVectors,
    NpLabels,
    NpPerExample,
    NpVectors,
    Parameter,
    PerExample,
    Vectors,
)

Form = Literal["others", "all"]


def proxy_nca(
    embeddings: Vectors,
    labels: Labels,
    proxies: ClassVectors,
    *,
    scale: Parameter = 1.0,
    form: Form = "others",
) -> PerExample:
    """Return -log(exp(-scale d_y) / sum of exp(-scale d_k)) per example.

    d_k is the squared distance between the directions of embedding and proxy, 2 - 2
    cosine. In the article the sum runs over the other classes, so that the loss falls
    below 0; later work and other libraries sum over all, which is softmax. Form "all"
    at a scale s is NormFace at the scale 2s.

    Args:
        embeddings: (..., D), of any length; only directions matter.
        labels: (...), the true class, 0 to C - 1.
        proxies: (C, D), one vector a class, learned with the model.
        scale: what squared distances are multiplied with.
        form: the classes in the denominator, "others" (C at least 2) or "all".

    Returns:
        (...), in nats.

    Raises:
        ValueError: for labels outside of the classes, shapes that do not fit,
            embeddings that are nan, or another form.

    >>> import torch
    >>> x, y = torch.tensor([[1.0, 0.0]]), torch.tensor([0])
    >>> proxy_nca(x, y, torch.eye(2)), proxy_nca(x, y, torch.eye(2), form="all")
    (tensor([-2.]), tensor([0.1269]))
    """
    if form not in ("others", "all"):
        raise ValueError(f'form must be "others" or "all", got {form!r}')
    check_vectors(embeddings=embeddings, proxies=proxies)
    check_marks("labels", labels, "embeddings", embeddings)
    check_classes(labels, proxies, "proxies")
    x = unit(upcast(embeddings))
    logits = over_classes(2 * scale) * products(x, unit(upcast(proxies)))
    ahead = label_margin(logits, labels)
    loss = -ahead if form == "others" else -logsigmoid(ahead)
    return explain_nan("embeddings", embeddings, loss)


def proxy_nca_ref(
    embeddings: NpVectors,
    labels: NpLabels,
    proxies: NpClassVectors,
    *,
    scale: float = 1.0,
    form: Form = "others",
) -> tuple[NpPerExample, NpVectors]:
    """Loss and gradient: the mean of the proxies by p, minus the right one."""
    (u, back), (w, _) = unit_ref(embeddings), unit_ref(proxies)
    e_y = np.eye(len(proxies))[labels]
    d = ((u[..., None, :] - w) ** 2).sum(-1)
    e = np.exp(-scale * d)
    p = e * (1 - e_y) if form == "others" else e
    total = p.sum(-1, keepdims=True)
    loss = scale * (d * e_y).sum(-1) + np.log(total[..., 0])
    return loss, back(2 * scale * (p / total - e_y) @ w)


def _draw(rng: np.random.Generator, n: int, classes: int) -> Arrays:
    """Draw embeddings, labels and proxies of three dimensions."""
    proxies = rng.normal(size=(classes, 3))
    return rng.normal(size=(n, 3)), rng.integers(classes, size=n), proxies


CARD = LossCard(
    name="Proxy-NCA",
    family="embedding",
    kind="pair",
    fn=proxy_nca,
    ref=proxy_nca_ref,
    summary="An embedding must be near the vector that stands for its class.",
    cite="movshovitz2017no",
    draw=_draw,
    params={
        "scale": Param(
            default=1.0, low=1.0, high=32.0, meaning="factor of squared distances"
        )
    },
    options={"form": ("others", "all")},
    peers={
        "pytorch_metric_learning.losses.ProxyNCALoss": ("Equal to the form 'all'."),
    },
    properties=Properties(lower=None),  # below 0, how far depends on the classes
)
