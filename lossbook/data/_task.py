"""The record that every generator and loader returns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Task:
    """A classification problem: inputs, labels and, where known, their distribution.

    Attributes:
        inputs: (n, features).
        labels: (n,), integer classes.
        posterior: (n, classes), P(class | input), or None where nobody knows it.

    A stack of K problems of one size has K as its first axis everywhere.
    """

    inputs: np.ndarray
    labels: np.ndarray
    posterior: np.ndarray | None = None


def stack(tasks: Sequence[Task]) -> Task:
    """Return K tasks of one size as one, with K as the first axis.

    Raises:
        ValueError: for tasks of different sizes.
    """
    sizes = {task.inputs.shape for task in tasks}
    if len(sizes) != 1:
        raise ValueError(f"tasks must be of one size, got {sorted(sizes)}")
    known = [task.posterior for task in tasks if task.posterior is not None]
    return Task(
        inputs=np.stack([task.inputs for task in tasks]),
        labels=np.stack([task.labels for task in tasks]),
        posterior=np.stack(known) if len(known) == len(tasks) else None,
    )


def repeat(
    make: Callable[..., Any], *args: Any, seeds: Sequence[int], **options: Any
) -> Any:
    """Return a stack of what `make(*args, rng=..., **options)` draws from each seed.

    Where `make` returns several tasks (training and test), so does this.

    >>> from lossbook.data import two_gaussians
    >>> repeat(two_gaussians, 100, positives=0.1, seeds=[0, 1, 2]).inputs.shape
    (3, 100, 2)
    """
    drawn = [make(*args, rng=np.random.default_rng(s), **options) for s in seeds]
    if isinstance(drawn[0], Task):
        return stack(drawn)
    return tuple(stack(part) for part in zip(*drawn, strict=True))
