"""Gaussian classes: the smallest problems whose answers are known."""

import math
from collections.abc import Sequence

import numpy as np

from lossbook.data._task import Task


def two_gaussians(
    n: int,
    *,
    positives: float = 0.5,
    distance: float = 2.0,
    rng: np.random.Generator,
) -> Task:
    """Draw two unit Gaussians in the plane; class 1 is as rare as you ask.

    The classes have one covariance, so the log-odds of class 1 are linear in the
    input: log(positives / (1 - positives)) + distance * x_1. A logistic model can be
    exactly right here.

    Args:
        n: number of examples; round(n * positives) of them are of class 1.
        positives: the share of class 1, between 0 and 1.
        distance: between the two means, at -distance/2 and +distance/2 on axis 1.
        rng: the generator to draw from.

    Returns:
        inputs (n, 2), labels (n,), posterior (n, 2), in random order.

    Raises:
        ValueError: if `positives` leaves a class empty.

    >>> task = two_gaussians(8, positives=0.25, rng=np.random.default_rng(0))
    >>> task.labels.sum(), task.inputs.shape
    (np.int64(2), (8, 2))
    """
    labels = _two_classes(n, positives, rng)
    centers = np.array([[-distance / 2, 0.0], [distance / 2, 0.0]])
    inputs = centers[labels] + rng.normal(size=(n, 2))
    return Task(
        inputs=inputs,
        labels=labels,
        posterior=_two_posteriors(inputs, positives, distance),
    )


def gaussians_with_outlier(
    n: int, *, radius: float, distance: float = 3.0, rng: np.random.Generator
) -> Task:
    """Draw two Gaussians of equal share, and an outlier of class 0.

    The outlier is the last example, at (radius, radius). The larger the radius, the
    deeper it lies on the side of class 1.

    Args:
        n: number of examples beside the outlier.
        radius: both coordinates of the outlier.
        distance: between the two means.
        rng: the generator to draw from.

    Returns:
        inputs (n + 1, 2), labels (n + 1,), posterior (n + 1, 2) of two clean Gaussians.

    >>> gaussians_with_outlier(4, radius=9.0, rng=np.random.default_rng(0)).inputs[-1]
    array([9., 9.])
    """
    task = two_gaussians(n, distance=distance, rng=rng)
    inputs = np.concatenate([task.inputs, [[radius, radius]]])
    return Task(
        inputs=inputs,
        labels=np.append(task.labels, 0),
        posterior=_two_posteriors(inputs, 0.5, distance),
    )


def rare_blobs(n: int, *, positives: float = 0.01, rng: np.random.Generator) -> Task:
    """Draw a rare class in two small blobs inside of a wide common one, in the plane.

    Class 0 is a Gaussian around 0 with standard deviation 1.2; class 1 is an equal
    mixture of Gaussians with standard deviation 0.6 around (2, 0) and (-1.5, 1.5). The
    classes overlap: no model separates them.

    Args:
        n: number of examples; round(n * positives) of them are of class 1.
        positives: the share of class 1, between 0 and 1.
        rng: the generator to draw from.

    Returns:
        inputs (n, 2), labels (n,), posterior (n, 2), in random order.

    Raises:
        ValueError: if `positives` leaves a class empty.
    """
    labels = _two_classes(n, positives, rng)
    centers = np.array([[0.0, 0.0], [2.0, 0.0], [-1.5, 1.5]])
    blob = np.where(labels == 1, rng.integers(1, 3, size=n), 0)
    sd = np.where(labels == 1, 0.6, 1.2)
    inputs = centers[blob] + sd[:, None] * rng.normal(size=(n, 2))
    squared = ((inputs[:, None] - centers) ** 2).sum(-1)
    common = (1 - positives) * _density(squared[:, 0], 1.2)
    rare = positives * _density(squared[:, 1:], 0.6).mean(-1)
    p = rare / (common + rare)
    return Task(inputs=inputs, labels=labels, posterior=np.stack([1 - p, p], 1))


def gaussian_tree(
    train: int,
    test: int,
    *,
    branching: int = 3,
    depth: int = 3,
    features: int = 24,
    scales: Sequence[float] = (2.0, 1.3, 0.8),
    rng: np.random.Generator,
) -> tuple[Task, Task]:
    """Draw classes that are the leaves of a tree: close in the tree, close in space.

    Each node moves all its leaves by a random vector, the shorter the deeper it lies;
    a class is a unit Gaussian around the sum along its path. Class k's path is k
    written in base `branching`, the most significant digit first.

    Args:
        train: training examples of each class.
        test: test examples of each class.
        branching: children of each node.
        depth: levels below the root; there are branching**depth classes.
        features: dimensions of the input.
        scales: one a level, from the top; a node's vector has a length of about
            2 * scale, whatever the dimension.
        rng: the generator to draw from.

    Returns:
        Training and test task, with the posterior of equally frequent classes.

    Raises:
        ValueError: for a number of scales other than the depth.
    """
    if len(scales) != depth:
        raise ValueError(
            f"scales must hold one number a level, {depth}, got {len(scales)}"
        )
    centers = np.zeros((1, features))
    for scale in scales:
        moves = rng.normal(size=(len(centers), branching, features))
        moves *= 2 * scale / math.sqrt(features)
        centers = (centers[:, None] + moves).reshape(-1, features)
    return _around(centers, train, rng), _around(centers, test, rng)


def _around(centers: np.ndarray, each: int, rng: np.random.Generator) -> Task:
    """Draw unit Gaussians around the centers, in random order."""
    labels = rng.permutation(np.repeat(np.arange(len(centers)), each))
    inputs = centers[labels] + rng.normal(size=(len(labels), centers.shape[1]))
    log_odds = inputs @ centers.T - (centers**2).sum(1) / 2
    odds = np.exp(log_odds - log_odds.max(1, keepdims=True))
    posterior = odds / odds.sum(1, keepdims=True)
    return Task(inputs=inputs, labels=labels, posterior=posterior)


def _two_classes(n: int, positives: float, rng: np.random.Generator) -> np.ndarray:
    rare = round(n * positives)
    if not 0 < rare < n:
        raise ValueError(
            f"positives must leave both classes with examples, got {positives} of {n} "
            f"examples ({rare} in class 1)"
        )
    return rng.permutation(np.arange(n) < rare).astype(int)


def _two_posteriors(
    inputs: np.ndarray, positives: float, distance: float
) -> np.ndarray:
    log_odds = np.log(positives / (1 - positives)) + distance * inputs[:, 0]
    p = np.exp(-np.logaddexp(0, -log_odds))
    return np.stack([np.exp(-np.logaddexp(0, log_odds)), p], 1)


def _density(squared: np.ndarray, sd: float) -> np.ndarray:
    return np.exp(-squared / (2 * sd**2)) / sd**2
