"""The checks on input. Each message says what must hold, what came, and what to do.

Types, shapes and devices are always checked. Values are checked where they can be
read without harm (`modes.values_visible`): on a CPU, outside of `torch.compile` and
`torch.func`. `Criterion(validate=True)` checks them everywhere.
"""

from typing import Any

import torch
from torch import Tensor

from lossbook.modes import values_visible

PART = 2**17  # probabilities looked at together
INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def logits_and_labels(logits: Any, labels: Any, *, values: bool | None = None) -> None:
    """Refuse what cannot be (..., C) logits with (...) integer labels."""
    _labels_of(
        "logits", logits, labels, "; for class probabilities use soft_cross_entropy"
    )
    if _look(values, logits, labels):
        _label_range(labels, logits.shape[-1])


def cosines_and_labels(
    cosines: Any, labels: Any, *, values: bool | None = None
) -> None:
    """Refuse what cannot be (..., C) cosines with (...) integer labels.

    Rounding may lead past 1: by 1e-4, in half precision by two units of the last place.
    Minus infinity stands for a class that is ruled out.
    """
    _labels_of("cosines", cosines, labels)
    if _look(values, cosines, labels):
        _label_range(labels, cosines.shape[-1])
        _cosine_range(cosines)


def _labels_of(name: str, outputs: Any, labels: Any, hint: str = "") -> None:
    _floating(name, outputs)
    _tensor("labels", labels)
    _classes_last(name, outputs)
    if labels.dtype not in INTEGERS:
        raise TypeError(
            f"labels must be class indices of an integer dtype, got {labels.dtype}"
            f"{hint}"
        )
    if labels.shape != outputs.shape[:-1]:
        raise ValueError(
            f"labels must have the shape of {name} without the class axis, "
            f"{tuple(outputs.shape[:-1])}, got {tuple(labels.shape)}; classes are the "
            "last axis, and Criterion takes them from another one"
        )
    _same_device("labels", labels, name, outputs)


def logits_and_targets(
    logits: Any, targets: Any, *, values: bool | None = None
) -> None:
    """Refuse what cannot be (..., C) logits with (..., C) class probabilities."""
    _floating("logits", logits)
    _tensor("targets", targets)
    _classes_last("logits", logits)
    if not targets.dtype.is_floating_point:
        raise TypeError(
            f"targets must be probabilities of a floating dtype, got {targets.dtype}; "
            "for class indices use cross_entropy"
        )
    if targets.shape != logits.shape:
        raise ValueError(
            f"targets must have the shape of logits, {tuple(logits.shape)}, got "
            f"{tuple(targets.shape)}"
        )
    _same_device("targets", targets, "logits", logits)
    if _look(values, logits, targets):
        _on_simplex(targets)


def simplex(low: Tensor, sums: Tensor, room: float) -> None:
    """Refuse probabilities whose least is negative, or whose sums are not 1.

    Args:
        low: the least of them.
        sums: the sum over the classes of each example.
        room: how far from 1 rounding may lead.
    """
    if not low.item() >= 0:
        raise ValueError(
            f"targets must be probabilities, none negative, got {_plain(low)}"
        )
    ends = torch.aminmax(sums)
    worst = max(ends, key=lambda end: abs(end.item() - 1))
    if abs(worst.item() - 1) > room:
        raise ValueError(
            f"targets must sum to 1 over the classes, got {_plain(worst)}; divide them "
            "by their sum, or use softmax"
        )


def simplex_room(*dtypes: torch.dtype) -> float:
    """Return how far from 1 a sum of probabilities of these dtypes may be.

    That is the rounding of C of them, with room: 4e-3 in float32, 1e-7 in float64.

    >>> simplex_room(torch.float64, torch.float32) == simplex_room(torch.float32)
    True
    """
    return 10 * max(torch.finfo(each).eps for each in dtypes) ** 0.5


def scores_and_signs(scores: Any, signs: Any, *, values: bool | None = None) -> None:
    """Refuse what cannot be (...) scores with (...) signs, each -1 or +1."""
    _floating("scores", scores)
    _tensor("signs", signs)
    _same_shape("signs", signs, "scores", scores)
    _same_device("signs", signs, "scores", scores)
    if signs.dtype is torch.bool or signs.dtype.is_complex:
        raise TypeError(
            f"signs must be -1 or +1, got {signs.dtype}; "
            "turn classes 0 and 1 into signs with 2 * labels - 1"
        )
    if _look(values, scores, signs) and signs.numel():
        low, high = torch.aminmax(signs.abs())
        if not low == high == 1:
            wrong = signs[signs.abs() != 1][0]
            raise ValueError(
                f"signs must be -1 or +1, got {_plain(wrong)}; "
                "turn classes 0 and 1 into signs with 2 * labels - 1"
            )


def scores_and_targets(
    scores: Any, targets: Any, *, values: bool | None = None
) -> None:
    """Refuse what cannot be (...) scores with (...) targets between 0 and 1."""
    _floating("scores", scores)
    _tensor("targets", targets)
    _same_shape("targets", targets, "scores", scores)
    _same_device("targets", targets, "scores", scores)
    if _look(values, scores, targets) and targets.numel():
        low, high = torch.aminmax(targets)
        worst = high if high > 1 else low
        if not 0 <= worst <= 1:
            raise ValueError(
                f"targets must lie between 0 and 1, got {_plain(worst)}; "
                "turn signs -1 and +1 into targets with (signs + 1) / 2"
            )


def overlap(scores: Any, targets: Any, *, values: bool | None = None) -> None:
    """Refuse what cannot be (..., pixels) scores with (..., pixels) masks."""
    scores_and_targets(scores, targets, values=values)
    if scores.ndim == 0 or scores.shape[-1] == 0:
        raise ValueError(
            "scores must have a last axis with one entry a pixel, got shape "
            f"{tuple(scores.shape)}; flatten(1) makes one axis of an image's pixels"
        )


def two_samples(first: Any, second: Any) -> None:
    """Refuse what cannot be (N, D) points and (M, D) points, N and M at least 1."""
    for name, points in (("first", first), ("second", second)):
        _floating(name, points)
        if points.ndim != 2 or not len(points):
            raise ValueError(
                f"{name} must hold one point a row, shape (N, D), and at least one, "
                f"got shape {tuple(points.shape)}"
            )
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            "second must have points of as many dimensions as first, "
            f"{first.shape[1]}, got {second.shape[1]}"
        )
    _same_device("second", second, "first", first)


def class_counts(counts: Any) -> Tensor:
    """Return (C,) positive numbers, one a class, in float64; refuse anything else."""
    values = torch.as_tensor(counts, dtype=torch.float64)
    if values.ndim != 1 or not values.numel():
        raise ValueError(
            "counts must hold one number a class, shape (C,), got shape "
            f"{tuple(values.shape)}"
        )
    if not bool((values.isfinite() & (values > 0)).all()):
        raise ValueError(
            f"counts must be positive and finite, got {values.tolist()}; leave out a "
            "class that has no examples"
        )
    return values


def has_classes(logits: Any, classes: int, of: str) -> None:
    """Refuse logits whose last axis does not fit what the loss was made with."""
    if logits.shape[-1] != classes:
        raise ValueError(
            f"logits must have {classes} classes, as {of} has, got {logits.shape[-1]}"
        )


def transition_matrix(transition: Any) -> Tensor:
    """Return a (C, C) matrix of label noise in float64; refuse anything else."""
    matrix = torch.as_tensor(transition, dtype=torch.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.numel():
        raise ValueError(
            "transition must be a square matrix with one row a true class, got shape "
            f"{tuple(matrix.shape)}"
        )
    if not bool((matrix >= 0).all()):
        raise ValueError(
            "transition must hold probabilities, none negative, got "
            f"{_plain(matrix.min())}"
        )
    sums = matrix.sum(-1)
    row = int((sums - 1).abs().argmax())
    if not abs(float(sums[row]) - 1) <= 1e-5:
        raise ValueError(
            "each row of transition, that of a true class, must sum to 1, got "
            f"{_plain(sums[row])} in row {row}; if it is the columns that do, give "
            "the transposed matrix"
        )
    return matrix / sums[:, None]


def losses(values: Any, *, empty: bool = False) -> None:
    """Refuse what cannot be one loss an example; of none, unless that will do."""
    _floating("losses", values)
    if not empty and not values.numel():
        raise ValueError(
            "losses must hold at least one loss, as an empty batch has no mean, got "
            f"shape {tuple(values.shape)}"
        )


def terms(values: Any, count: int) -> None:
    """Refuse what cannot be (..., T) losses of so many terms."""
    losses(values)
    if values.ndim == 0 or values.shape[-1] != count:
        raise ValueError(
            f"losses must have a last axis with one entry a term, {count} in all, got "
            f"shape {tuple(values.shape)}"
        )


def index_of_examples(index: Any, labels: Tensor, examples: int) -> None:
    """Refuse what does not say of each label which of so many examples it is of."""
    _tensor("index", index)
    if index.dtype not in INTEGERS:
        raise TypeError(f"index must be of an integer dtype, got {index.dtype}")
    _same_shape("index", index, "labels", labels)
    _same_device("index", index, "labels", labels)
    if _look(None, index) and index.numel():
        low, high = torch.aminmax(index)
        worst = low if low < 0 else high
        if not 0 <= worst < examples:
            raise ValueError(
                f"index must lie in 0..{examples - 1} (there are {examples} "
                f"examples), got {int(worst)}"
            )


def explain_nan(name: str, values: Tensor, result: Tensor) -> Tensor:
    """Return `result`; where it is nan because `values` was, say so instead.

    Only the result is read (one number an example): finite input costs no pass of its
    own. Minus infinity is a legal logit, that of a class that is ruled out; a row of
    logits must leave one.
    """
    if not values_visible(values, result) or not result.numel():
        return result
    largest = result.detach().amax().item()  # nan is larger than any number
    if largest == largest:
        return result
    bad = values.isnan() | (values == torch.inf)
    if bad.any():
        where = tuple(int(i) for i in bad.nonzero()[0])
        raise ValueError(
            f"{name} must be finite numbers (or -inf for a class that is ruled out), "
            f"got {_plain(values[where])} at {where}; the model's output had already "
            "left the numbers: lower the learning rate or look at its input"
        )
    if name == "logits" and (gone := values.isneginf().all(-1)).any():
        row = tuple(int(i) for i in gone.nonzero()[0])
        raise ValueError(
            f"logits must leave at least one class possible, got -inf for all of them "
            f"at {row}; mask fewer classes, or leave the example out"
        )
    return result


def no_class_ruled_out(logits: Tensor, result: Tensor) -> Tensor:
    """Return `result`; where it is not finite since a logit is -inf, say so instead.

    For losses in which a class that cannot be has no limit.
    """
    result = explain_nan("logits", logits, result)
    if not values_visible(logits, result) or bool(result.detach().isfinite().all()):
        return result
    gone = logits.isneginf()
    if gone.any():
        where = tuple(int(i) for i in gone.nonzero()[0])
        raise ValueError(
            f"logits must be finite numbers, got -inf at {where}; this loss cannot "
            "rule a class out"
        )
    return result


def _look(values: bool | None, *tensors: Tensor) -> bool:
    return values_visible(*tensors) if values is None else values


def _tensor(name: str, value: Any) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{name} must be a torch tensor, got {type(value).__name__}; "
            f"use torch.as_tensor({name})"
        )


def _floating(name: str, value: Any) -> None:
    _tensor(name, value)
    if not value.dtype.is_floating_point:
        raise TypeError(f"{name} must be of a floating dtype, got {value.dtype}")


def _classes_last(name: str, value: Tensor) -> None:
    if value.ndim == 0 or value.shape[-1] == 0:
        raise ValueError(
            f"{name} must have a last axis with one entry a class, got shape "
            f"{tuple(value.shape)}"
        )


def _same_shape(name: str, value: Tensor, other_name: str, other: Tensor) -> None:
    if value.shape != other.shape:
        raise ValueError(
            f"{name} must have the shape of {other_name}, {tuple(other.shape)}, got "
            f"{tuple(value.shape)}"
        )


def _same_device(name: str, value: Tensor, other_name: str, other: Tensor) -> None:
    if value.device != other.device:
        raise ValueError(
            f"{name} must be on the device of {other_name}, {other.device}, got "
            f"{value.device}"
        )


def _label_range(labels: Tensor, classes: int) -> None:
    if not labels.numel():
        return
    low, high = (int(end) for end in torch.aminmax(labels))
    if low < 0 or high >= classes:
        raise ValueError(
            f"labels must lie in 0..{classes - 1} (there are {classes} classes), "
            f"got {low if low < 0 else high}"
        )


def _cosine_range(cosines: Tensor) -> None:
    if not cosines.numel():
        return
    limit = 1 + max(1e-4, 2 * torch.finfo(cosines.dtype).eps)
    low, high = torch.aminmax(cosines.detach())
    if low == -torch.inf:
        low = cosines.where(cosines > -torch.inf, 0.0).amin()
    worst = high if high > limit else low
    if worst > limit or worst < -limit:  # nan is neither: explain_nan tells of it
        raise ValueError(
            f"cosines must lie between -1 and 1, got {_plain(worst)}; divide "
            "embeddings and class vectors by their lengths, as CosineHead does"
        )


def _on_simplex(targets: Tensor) -> None:
    # Part by part, so that the second look at the numbers finds them in the cache.
    rows = targets.reshape(-1, targets.shape[-1])
    for part in rows.split(max(1, PART // targets.shape[-1])):
        if part.numel():
            _rows_on_simplex(part)


def _rows_on_simplex(targets: Tensor) -> None:
    simplex(targets.amin(), targets.sum(-1), simplex_room(targets.dtype))


def _plain(value: Tensor) -> str:
    """Return a number as a person would write it."""
    return f"{value.item():.6g}"
