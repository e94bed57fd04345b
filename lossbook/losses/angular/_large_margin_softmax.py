"""Large-margin softmax: the angle multiplied, the lengths kept. Chapter: sphere."""

import numpy as np

from lossbook.card import Arrays, LossCard, Param, Properties
from lossbook.losses.angular._cosines import (
    annealed_angle,
    check_whole_margin,
    softplus_of_sum,
)
from lossbook.losses.embedding._vectors import (
    check_classes,
    check_marks,
    check_vectors,
    explain_nan,
    products,
    root,
    unit,
    unit_ref,
)
from lossbook.ops import upcast
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


def large_margin_softmax(
    embeddings: Vectors,
    labels: Labels,
    class_vectors: ClassVectors,
    *,
    margin: Parameter = 4.0,
    strength: Parameter = 0.0,
) -> PerExample:
    """Return cross-entropy of logits x . w_k, the true one's angle multiplied.

    The logit |x| |w_y| cos(theta_y) is replaced by |x| |w_y| psi(theta_y), with the psi
    of `sphereface`; margin 1 leaves cross-entropy of a linear layer without bias. Both
    lengths are the model's own, so a longer vector lowers the loss as in cross-entropy.
    As in `sphereface` the article begins with the plain cosine, by a strength that
    falls from a large number.

    Args:
        embeddings: (..., D), of any length.
        labels: (...), the true class, 0 to C - 1.
        class_vectors: (C, D), the weights of the last layer.
        margin: what the true class's angle is multiplied with: 1, 2, 3 or 4.
        strength: lambda, 0 or more, the weight of cos(theta_y) beside psi.

    Returns:
        (...), in nats, never less than cross-entropy.

    Raises:
        ValueError: for labels outside of the classes, shapes that do not fit, numbers
            that are nan, or another margin.

    >>> import torch
    >>> classes = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> embeddings, labels = (
    ...     torch.tensor([[3.0, 0.0], [0.0, 2.0]]),
    ...     torch.tensor([0, 0]),
    ... )
    >>> large_margin_softmax(embeddings, labels, classes, margin=2)
    tensor([0.0486, 4.0181])
    """
    check_whole_margin(margin)
    check_vectors(embeddings=embeddings, class_vectors=class_vectors)
    check_marks("labels", labels, "embeddings", embeddings)
    check_classes(labels, class_vectors, "class_vectors")
    x, w = upcast(embeddings), upcast(class_vectors)
    index = labels.long()
    w_y = w[index]
    lengths = root(x.square().sum(-1)) * root(w_y.square().sum(-1))
    cosine = (unit(x) * unit(w_y)).sum(-1)
    target = annealed_angle(cosine, margin=margin, strength=strength)
    behind = products(x, w) - (lengths * target)[..., None]
    loss = softplus_of_sum(behind, index[..., None])
    return explain_nan("embeddings", embeddings, loss)


def large_margin_softmax_ref(
    embeddings: NpVectors,
    labels: NpLabels,
    class_vectors: NpClassVectors,
    *,
    margin: float = 4.0,
    strength: float = 0.0,
) -> tuple[NpPerExample, NpVectors]:
    """Loss and gradient: along x by psi itself, across x by its slope."""
    e_y = np.eye(len(class_vectors))[labels]
    w_y = class_vectors[labels]
    u, across = unit_ref(embeddings)
    v, _ = unit_ref(w_y)
    length_x = np.sqrt((embeddings**2).sum(-1, keepdims=True))
    length_w = np.sqrt((w_y**2).sum(-1, keepdims=True))
    theta = np.arccos((u * v).sum(-1, keepdims=True))
    k = np.floor(margin * theta / np.pi)
    psi = (-1) ** k * np.cos(margin * theta) - 2 * k
    ratio = (-1) ** k * margin * np.sin(margin * theta) / np.sin(theta)
    psi = (strength * np.cos(theta) + psi) / (1 + strength)
    ratio = (strength + ratio) / (1 + strength)
    logits = embeddings @ class_vectors.T
    z = np.where(e_y == 1, length_x * length_w * psi, logits)
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    p_y = (p * e_y).sum(-1, keepdims=True)
    slope_y = length_w * (psi * u + length_x * ratio * across(v))
    rivals = (p * (1 - e_y)) @ class_vectors
    return -np.log(p_y[..., 0]), rivals + (p_y - 1) * slope_y


def _draw(rng: np.random.Generator, n: int, classes: int) -> Arrays:
    """Draw embeddings, labels and class vectors of three dimensions."""
    vectors = rng.normal(size=(classes, 3)) / 2
    return rng.normal(size=(n, 3)), rng.integers(classes, size=n), vectors


CARD = LossCard(
    name="Large-margin softmax",
    family="angular",
    kind="pair",
    fn=large_margin_softmax,
    ref=large_margin_softmax_ref,
    summary="Cross-entropy with the true class's angle multiplied, lengths kept.",
    cite="liu2016large",
    draw=_draw,
    params={
        "margin": Param(
            default=4.0, low=1.0, high=4.0, whole=True, meaning="multiple of the angle"
        ),
        "strength": Param(
            default=0.0,
            low=0.0,
            high=1000.0,
            meaning="weight of the plain cosine",
            tex=r"\lambda",
        ),
    },
    peers={
        "pytorch_metric_learning.losses.LargeMarginSoftmaxLoss": "",
    },
    properties=Properties(lower=0.0),
)
