"""Metrics of decisions, in numpy. The examples are the last axis; others are kept."""

import numpy as np

from lossbook.trees import Hierarchy


def recall(predicted: np.ndarray, labels: np.ndarray, label: int = 1) -> np.ndarray:
    """Return the share of class `label` that is found: (..., n) to (...).

    >>> recall(np.array([1, 0, 0]), np.array([1, 1, 0]))
    np.float64(0.5)
    """
    of_class = labels == label
    return ((predicted == label) & of_class).sum(-1) / of_class.sum(-1)


def precision(predicted: np.ndarray, labels: np.ndarray, label: int = 1) -> np.ndarray:
    """Return the share of predictions `label` that are right; nan if there are none.

    >>> precision(np.array([1, 1, 0]), np.array([1, 0, 0]))
    np.float64(0.5)
    """
    said = predicted == label
    with np.errstate(invalid="ignore"):
        return (said & (labels == label)).sum(-1) / said.sum(-1)


def balanced_accuracy(predicted: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the mean recall of two classes: 1/2 for whoever always says the same.

    >>> balanced_accuracy(np.array([0, 0, 0]), np.array([1, 1, 0]))
    np.float64(0.5)
    """
    return (recall(predicted, labels, 0) + recall(predicted, labels, 1)) / 2


def lca_height(
    predicted: np.ndarray, labels: np.ndarray, hierarchy: Hierarchy
) -> np.ndarray:
    """Return how high prediction and label meet, on average: (..., n) to (...).

    Right predictions count, with 0. The height is that of the lowest common ancestor.

    >>> tree = Hierarchy.from_nested([["cat", "dog"], "car"])
    >>> lca_height(np.array([0, 1, 2, 2]), np.array([0, 0, 0, 2]), tree)
    np.float64(0.75)
    """
    return hierarchy.lca_heights[predicted, labels].mean(-1)


def mistake_severity(
    predicted: np.ndarray, labels: np.ndarray, hierarchy: Hierarchy
) -> np.ndarray:
    """Return the mean of `lca_height` over the mistakes alone; nan if there are none.

    A model that makes more mistakes, but small ones, has a lower severity. So it is to
    be read together with the accuracy, or replaced by `lca_height`.

    >>> tree = Hierarchy.from_nested([["cat", "dog"], "car"])
    >>> mistake_severity(np.array([0, 1, 2, 2]), np.array([0, 0, 0, 2]), tree)
    np.float64(1.5)
    """
    heights = hierarchy.lca_heights[predicted, labels]
    with np.errstate(invalid="ignore"):
        return heights.sum(-1) / (predicted != labels).sum(-1)


def hierarchical_distance_at_k(
    scores: np.ndarray, labels: np.ndarray, hierarchy: Hierarchy, k: int = 1
) -> np.ndarray:
    """Return the mean of `lca_height` over the k classes of the highest scores.

    Args:
        scores: (..., n, C), logits or probabilities.
        labels: (..., n), the true classes.
        hierarchy: the tree over the C classes.
        k: how many classes count, 1 to C. For k above 1 the best that can be had is
            more than 0: one class alone is the true one.

    Returns:
        (...), the mean over the examples and their k classes.

    >>> tree = Hierarchy.from_nested([["cat", "dog"], "car"])
    >>> hierarchical_distance_at_k(np.array([[3.0, 2.0, 1.0]]), np.array([0]), tree, 2)
    np.float64(0.5)
    """
    if not 1 <= k <= scores.shape[-1]:
        raise ValueError(
            f"k must lie in 1..{scores.shape[-1]}, the number of classes, got {k}"
        )
    best = np.argsort(-scores, axis=-1, kind="stable")[..., :k]
    return hierarchy.lca_heights[best, labels[..., None]].mean((-2, -1))


def coarse_error(
    predicted: np.ndarray, labels: np.ndarray, hierarchy: Hierarchy, depth: int = 1
) -> np.ndarray:
    """Return the share of predictions in a wrong group at a depth: (..., n) to (...).

    >>> tree = Hierarchy.from_nested([["cat", "dog"], "car"])
    >>> coarse_error(np.array([0, 1, 2, 2]), np.array([0, 0, 0, 2]), tree)
    np.float64(0.25)
    """
    group = hierarchy.level(depth)
    return (group[predicted] != group[labels]).mean(-1)
