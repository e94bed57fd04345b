"""What losses of embeddings share: lengths, distances, the checks of their input."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossbook import validate
from lossbook.modes import values_visible
from lossbook.shapes import NpVectors, Vectors


def unit(vectors: Vectors) -> Vectors:
    """Return each vector divided by its length; the zero vector stays, with slope 0.

    >>> unit(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    largest = vectors.detach().abs().amax(-1, keepdim=True)
    some = largest > 0
    # The direction does not change when the largest entry becomes 1, and then no square
    # overflows or vanishes.
    scaled = torch.where(some, vectors / torch.where(some, largest, 1.0), 0.0)
    square = (scaled * scaled).sum(-1, keepdim=True)
    return scaled / torch.where(some, square, 1.0).sqrt()


def products(first: Tensor, second: Tensor) -> Tensor:
    """Return the inner products of (N, D) and (M, D) vectors, (N, M).

    They are of the wider of both dtypes. Autocast would form them in half precision,
    and a scale or a cold temperature makes much of what is lost there.

    >>> products(torch.eye(2), torch.tensor([[1.0, 2.0]]))
    tensor([[1.],
            [2.]])
    """
    dtype = torch.promote_types(first.dtype, second.dtype)
    first, second = first.to(dtype), second.to(dtype)
    if first.is_meta:  # there is no autocast for it
        return first @ second.mT
    with torch.autocast(first.device.type, enabled=False):
        return first @ second.mT


def squared_distance(first: Vectors, second: Vectors) -> Tensor:
    """Return the squared Euclidean distance along the last axis, by broadcasting.

    >>> squared_distance(torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0]))
    tensor(25.)
    """
    return (first - second).square().sum(-1)


def squared_distances(vectors: Tensor) -> Tensor:
    """Return the squared Euclidean distances of (N, D) vectors, (N, N).

    >>> squared_distances(torch.tensor([[3.0, 0.0], [0.0, 4.0]]))
    tensor([[ 0., 25.],
            [25.,  0.]])
    """
    # By |x|^2 + |y|^2 - 2 x . y no difference is stored. Around the mean the squares
    # are as small as they can be, and so is what rounding leaves of them.
    x = vectors - vectors.detach().mean(-2, keepdim=True)
    square = x.square().sum(-1)
    return square[..., :, None] + square[..., None, :] - 2 * products(x, x)


def same_class(labels: Tensor) -> Tensor:
    """Return which examples are of one class, (N, N), each without itself.

    >>> same_class(torch.tensor([0, 0, 1])).int()
    tensor([[0, 1, 0],
            [1, 0, 0],
            [0, 0, 0]], dtype=torch.int32)
    """
    itself = torch.eye(labels.shape[-1], dtype=torch.bool, device=labels.device)
    return (labels[..., :, None] == labels[..., None, :]) & ~itself


def root(square: Tensor) -> Tensor:
    """Return the square root, with slope 0 at 0: that of a distance where points meet.

    >>> x = torch.tensor([0.0, 4.0], requires_grad=True)
    >>> torch.autograd.grad(root(x).sum(), x)[0]
    tensor([0.0000, 0.2500])
    """
    some = square > 0
    return torch.where(some, torch.where(some, square, 1.0).sqrt(), 0.0)


def check_vectors(**vectors: Any) -> None:
    """Refuse what cannot be vectors of one number of dimensions and one device."""
    (name, first), *others = vectors.items()
    validate._floating(name, first)
    if first.ndim == 0 or first.shape[-1] == 0:
        raise ValueError(
            f"{name} must have a last axis with one entry a dimension, got shape "
            f"{tuple(first.shape)}"
        )
    for other_name, other in others:
        validate._floating(other_name, other)
        if other.ndim == 0 or other.shape[-1] != first.shape[-1]:
            raise ValueError(
                f"{other_name} must have as many dimensions as {name}, "
                f"{first.shape[-1]}, got shape {tuple(other.shape)}"
            )
        validate._same_device(other_name, other, name, first)


def check_alike(**vectors: Any) -> None:
    """Refuse what cannot be vectors of one shape."""
    check_vectors(**vectors)
    (name, first), *others = vectors.items()
    for other_name, other in others:
        validate._same_shape(other_name, other, name, first)


def check_batch(name: str, embeddings: Tensor) -> None:
    """Refuse what cannot be (N, D) embeddings."""
    if embeddings.ndim != 2:
        raise ValueError(
            f"{name} must be a batch of vectors, shape (N, D), got shape "
            f"{tuple(embeddings.shape)}"
        )


def check_marks(name: str, marks: Any, of: str, vectors: Tensor) -> None:
    """Refuse what cannot be one integer a vector."""
    validate._tensor(name, marks)
    if marks.dtype not in (*validate.INTEGERS, torch.bool):
        raise TypeError(f"{name} must be of an integer dtype, got {marks.dtype}")
    if marks.shape != vectors.shape[:-1]:
        raise ValueError(
            f"{name} must have one entry for each of {of}, shape "
            f"{tuple(vectors.shape[:-1])}, got {tuple(marks.shape)}"
        )
    validate._same_device(name, marks, of, vectors)


def check_classes(labels: Tensor, class_vectors: Tensor, name: str) -> None:
    """Refuse class vectors that are not (C, D), and labels that are none of the C."""
    check_batch(name, class_vectors)
    if values_visible(labels):
        validate._label_range(labels, len(class_vectors))


def explain_nan(name: str, vectors: Tensor, result: Tensor) -> Tensor:
    """Return `result`; where it is nan because `vectors` were, say so instead."""
    if not values_visible(vectors, result) or not bool(result.isnan().any()):
        return result
    bad = ~vectors.isfinite()
    if bad.any():
        where = tuple(int(i) for i in bad.nonzero()[0])
        raise ValueError(
            f"{name} must be finite numbers, got {validate._plain(vectors[where])} at "
            f"{where}; the model's output had already left the numbers: lower the "
            "learning rate or look at its input"
        )
    return result


def unit_ref(vectors: NpVectors) -> tuple[NpVectors, Callable[..., NpVectors]]:
    """Return unit vectors, and what turns a gradient in them into one in `vectors`.

    The derivative of x / |x| is (I - u u^T) / |x|: what points along u is lost.
    """
    length = np.sqrt((vectors**2).sum(-1, keepdims=True))
    u = vectors / length

    def back(gradient: NpVectors) -> NpVectors:
        along = (gradient * u).sum(-1, keepdims=True)
        return (gradient - along * u) / length

    return u, back
