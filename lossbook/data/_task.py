"""The record that every generator and loader returns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Task:
    """A classification problem: inputs, labels and, where known, the truth.

    Attributes:
        inputs: (n, features).
        labels: (n,), integer classes, as a model sees them.
        posterior: (n, classes), P(true class | input), or None where nobody knows it.
        clean: (n,), the labels before noise; None where there was none.

    A stack of K problems of one size has K as its first axis everywhere.
    """

    inputs: np.ndarray
    labels: np.ndarray
    posterior: np.ndarray | None = None
    clean: np.ndarray | None = None

    def take(self, index: np.ndarray) -> "Task":
        """Return the examples at these positions, in this order."""
        return Task(
            inputs=self.inputs[index],
            labels=self.labels[index],
            posterior=None if self.posterior is None else self.posterior[index],
            clean=None if self.clean is None else self.clean[index],
        )


def standardized(train: Task, test: Task) -> tuple[Task, Task]:
    """Return both tasks in units of the training part: mean 0, standard deviation 1.

    The test part tells nothing of itself: its rows are moved and scaled as the training
    part says. A feature that is constant in the training part is moved only.

    Args:
        train: with inputs (n, features).
        test: with inputs (m, features).

    >>> train = Task(inputs=np.array([[1.0], [3.0]]), labels=np.array([0, 1]))
    >>> test = Task(inputs=np.array([[4.0]]), labels=np.array([1]))
    >>> [part.inputs.tolist() for part in standardized(train, test)]
    [[[-1.0], [1.0]], [[2.0]]]
    """
    mean = train.inputs.mean(0)
    # The deviation of equal numbers may be a rounding error; their range is not.
    spread = np.where(np.ptp(train.inputs, axis=0) > 0, train.inputs.std(0), 1.0)
    first, second = (
        replace(part, inputs=(part.inputs - mean) / spread) for part in (train, test)
    )
    return first, second


def stack(tasks: Sequence[Task]) -> Task:
    """Return K tasks of one size as one, with K as the first axis.

    What not all of them know, the stack does not know.

    Raises:
        ValueError: for tasks of different sizes.
    """
    sizes = {task.inputs.shape for task in tasks}
    if len(sizes) != 1:
        raise ValueError(f"tasks must be of one size, got {sorted(sizes)}")
    return Task(
        inputs=np.stack([task.inputs for task in tasks]),
        labels=np.stack([task.labels for task in tasks]),
        posterior=_stacked([task.posterior for task in tasks]),
        clean=_stacked([task.clean for task in tasks]),
    )


def _stacked(arrays: Sequence[np.ndarray | None]) -> np.ndarray | None:
    known = [array for array in arrays if array is not None]
    return np.stack(known) if len(known) == len(arrays) else None


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
