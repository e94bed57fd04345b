"""Metrics of decisions, in numpy. The examples are the last axis; others are kept."""

import numpy as np


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
