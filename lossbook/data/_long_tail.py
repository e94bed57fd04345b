"""Long tails: a few classes with many examples, many classes with few."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from lossbook.data._task import Task


def long_tail_counts(
    largest: int,
    *,
    classes: int,
    ratio: float,
    profile: Literal["exponential", "step"] = "exponential",
) -> np.ndarray:
    """Return how many examples each class keeps, from the most frequent to the rarest.

    Args:
        largest: examples of the most frequent class.
        classes: number of classes C, at least 2.
        ratio: how many times the rarest class is rarer, at least 1.
        profile: "exponential" falls by one factor from class to class; "step" has one
            half of the classes at `largest`, the other at largest / ratio.

    Returns:
        (C,), whole numbers, each at least 1.

    Raises:
        ValueError: for a ratio below 1, fewer than 2 classes or another profile.

    >>> long_tail_counts(100, classes=3, ratio=100)
    array([100,  10,   1])
    >>> long_tail_counts(100, classes=4, ratio=50, profile="step")
    array([100, 100,   2,   2])
    """
    if ratio < 1:
        raise ValueError(f"ratio must be at least 1, got {ratio:g}")
    if classes < 2:
        raise ValueError(f"classes must be at least 2, got {classes}")
    place = np.arange(classes) / (classes - 1)
    if profile == "step":
        place = (np.arange(classes) >= (classes + 1) // 2).astype(float)
    elif profile != "exponential":
        raise ValueError(f'profile must be "exponential" or "step", got {profile!r}')
    counts: np.ndarray = np.round(largest * float(ratio) ** -place).astype(int)
    return counts.clip(min=1)


def subsample(
    task: Task, counts: Sequence[int] | np.ndarray, *, rng: np.random.Generator
) -> Task:
    """Return a random part of the task with the given number of examples a class.

    Which class is rare should not always be the same: give `rng.permutation(counts)`.

    Args:
        task: with labels (n,).
        counts: (C,), how many examples to keep of each class.
        rng: draws the examples and their order.

    Returns:
        The task with sum(counts) examples, in random order.

    Raises:
        ValueError: if a class has fewer examples than asked for.
    """
    kept = []
    for label, count in enumerate(counts):
        members = rng.permutation(np.flatnonzero(task.labels == label))
        if count > len(members):
            raise ValueError(
                f"counts must not exceed what there is: class {label} has "
                f"{len(members)} examples, got {count}"
            )
        kept.append(members[:count])
    return task.take(rng.permutation(np.concatenate(kept)))
