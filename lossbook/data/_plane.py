"""Classes of curved shape in the plane, for what a line cannot part."""

import numpy as np

from lossbook.data._task import Task


def moons(n: int, *, noise: float = 0.2, rng: np.random.Generator) -> Task:
    """Draw two half circles that reach into each other.

    Args:
        n: number of examples, the two classes alternating.
        noise: standard deviation of what is added to each coordinate.
        rng: the generator to draw from.

    Returns:
        inputs (n, 2) and labels (n,).

    >>> moons(6, rng=np.random.default_rng(0)).labels
    array([0, 1, 0, 1, 0, 1])
    """
    labels = np.arange(n) % 2
    angle = np.pi * rng.random(n)
    upper = np.stack([np.cos(angle), np.sin(angle)], 1)
    lower = np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], 1)
    return _blurred(np.where(labels[:, None] == 0, upper, lower), labels, noise, rng)


def rings(
    n: int, *, classes: int = 2, noise: float = 0.1, rng: np.random.Generator
) -> Task:
    """Draw circles around 0, that of class k with radius k + 1.

    Args:
        n: number of examples, the classes in turn.
        classes: number of circles.
        noise: standard deviation of what is added to each coordinate.
        rng: the generator to draw from.

    Returns:
        inputs (n, 2) and labels (n,).
    """
    labels = np.arange(n) % classes
    angle = 2 * np.pi * rng.random(n)
    circle = np.stack([np.cos(angle), np.sin(angle)], 1)
    return _blurred((labels[:, None] + 1) * circle, labels, noise, rng)


def spirals(
    n: int,
    *,
    classes: int = 2,
    turns: float = 1.0,
    noise: float = 0.05,
    rng: np.random.Generator,
) -> Task:
    """Draw arms that wind around 0, one a class, evenly turned.

    Args:
        n: number of examples, the classes in turn.
        classes: number of arms.
        turns: how often an arm goes round.
        noise: standard deviation of what is added to each coordinate.
        rng: the generator to draw from.

    Returns:
        inputs (n, 2) and labels (n,).
    """
    labels = np.arange(n) % classes
    along = np.sqrt(rng.random(n))  # as dense outside as inside
    angle = 2 * np.pi * (turns * along + labels / classes)
    arm = along[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    return _blurred(arm, labels, noise, rng)


def _blurred(
    points: np.ndarray, labels: np.ndarray, noise: float, rng: np.random.Generator
) -> Task:
    return Task(inputs=points + noise * rng.normal(size=points.shape), labels=labels)
