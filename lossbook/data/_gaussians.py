"""Two Gaussian classes: the smallest problem whose answer is known."""

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
    rare = round(n * positives)
    if not 0 < rare < n:
        raise ValueError(
            f"positives must leave both classes with examples, got {positives} of {n} "
            f"examples ({rare} in class 1)"
        )
    labels = rng.permutation(np.arange(n) < rare).astype(int)
    centers = np.array([[-distance / 2, 0.0], [distance / 2, 0.0]])
    inputs = centers[labels] + rng.normal(size=(n, 2))
    log_odds = np.log(positives / (1 - positives)) + distance * inputs[:, 0]
    p = 1 / (1 + np.exp(-log_odds))
    return Task(inputs=inputs, labels=labels, posterior=np.stack([1 - p, p], 1))
