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


def by_frequency(train: Task, test: Task) -> tuple[Task, Task]:
    """Return both parts with the classes renamed: 0 is the most frequent in training.

    So "the head" is the first classes and "the tail" the last, whichever these are.

    Args:
        train: with labels (n,), 0 to C - 1; no class may be missing.
        test: with labels of the same classes.

    Returns:
        Training and test part with new labels; a posterior's columns move along.

    Raises:
        ValueError: if a class has no training example.

    >>> seen = Task(inputs=np.zeros((4, 1)), labels=np.array([2, 1, 2, 0]))
    >>> by_frequency(seen, seen)[0].labels
    array([0, 2, 0, 1])
    """
    classes = 1 + int(max(train.labels.max(), test.labels.max()))
    counts = np.bincount(train.labels, minlength=classes)
    if not counts.all():
        raise ValueError(
            f"every class must have a training example, got none of {counts.argmin()}"
        )
    order = np.argsort(-counts, kind="stable")
    return _renamed(train, order), _renamed(test, order)


def _renamed(task: Task, order: np.ndarray) -> Task:
    """Return the task with class order[k] called k."""
    place = np.argsort(order)
    return Task(
        inputs=task.inputs,
        labels=place[task.labels],
        posterior=None if task.posterior is None else task.posterior[:, order],
        clean=None if task.clean is None else place[task.clean],
    )
