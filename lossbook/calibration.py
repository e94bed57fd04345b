"""Temperature scaling: one number, fitted after training, for all logits.

It is no loss: it changes no prediction's class, only how sure the model says it is.
Logits and labels are numpy arrays, or what numpy can read.
"""

from typing import Any

import numpy as np
from scipy.optimize import brentq


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature T at which softmax(logits / T) is likeliest.

    The mean of -log p_y is convex in 1 / T. Its slope there is the mean over examples
    of E_p[z] - z_y; the root is found in log T. The data must be held out: on its
    training data a model is right more often than elsewhere.

    There is no best temperature, and an error says so, in three cases: no example
    prefers any class; no label is beaten by another class, where the likelihood rises
    until T is 0; the logits favor the labels no more than chance, where it rises
    without end as T grows.

    Args:
        logits: (..., C), -inf for a class that is ruled out.
        labels: (...), the true class, 0 to C - 1.

    Returns:
        T, above 1 for a model that is too sure, below 1 for one that is too timid.

    Raises:
        ValueError: for shapes that do not fit, values that are no logits or labels, or
            where there is no best temperature.

    >>> logits = np.array([[2.0, 0.0], [2.0, 0.0], [2.0, 0.0], [2.0, 0.0]])
    >>> labels = np.array([0, 0, 0, 1])  # right 3 times of 4: the odds should be 3
    >>> temperature = fit_temperature(logits, labels)
    >>> round(temperature, 3), round(float(np.exp(2 / temperature)), 3)
    (1.82, 3.0)
    """
    z, y = _examples(logits, labels)
    z = z - z.max(-1, keepdims=True)
    possible = np.isfinite(z)
    z = np.where(possible, z, 0.0)
    z_y = z[np.arange(len(y)), y]
    scale = -z.min()
    if scale == 0:
        raise ValueError(
            "logits must differ between classes, but each example has them all equal, "
            "so every temperature is as good; fit a model first"
        )
    if not z_y.any():
        raise ValueError(
            "some label must be beaten by another class, but none of the "
            f"{len(y)} is, so the likelihood rises until the temperature is 0; use "
            "more held-out data"
        )
    mean = z.sum(-1) / possible.sum(-1)
    if not np.mean(mean - z_y) < 0:
        raise ValueError(
            "logits must favor the labels more than chance would, but they do not, so "
            "the likelihood rises without end as the temperature grows; look whether "
            "logits and labels belong together"
        )

    def slope(log_t: float) -> float:
        weight = np.where(possible, np.exp(z / scale * np.exp(-log_t)), 0.0)
        expected = (weight * z).sum(-1) / weight.sum(-1)
        return float(np.mean(expected - z_y))

    # In units of `scale` every logit lies between -1 and 0. The slope in 1 / T rises
    # from below 0 to above 0, so it falls as log T grows.
    low, high = -1.0, 1.0
    while slope(low) < 0:
        low *= 2
    while slope(high) >= 0:
        high *= 2
    return float(scale * np.exp(brentq(slope, low, high, xtol=1e-12)))


def apply_temperature(logits: Any, temperature: float) -> Any:
    """Return logits / temperature; their softmax is the scaled prediction.

    Args:
        logits: (..., C), an array or a tensor.
        temperature: above 0, as `fit_temperature` returns it.

    Returns:
        The same type and shape; the largest logit stays where it was.

    Raises:
        ValueError: for a temperature that is not positive and finite.

    >>> apply_temperature(np.array([2.0, 0.0]), 4.0)
    array([0.5, 0. ])
    """
    if not (np.isfinite(temperature) and temperature > 0):
        raise ValueError(
            f"temperature must be positive and finite, got {temperature:g}"
        )
    return logits / temperature


def _examples(logits: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return (n, C) logits in float64 and (n,) labels, or say what is wrong."""
    z, y = np.asarray(logits), np.asarray(labels)
    if z.ndim < 1 or z.shape[:-1] != y.shape or not z.size:
        raise ValueError(
            "logits must have the shape (..., C) and labels (...), with an example "
            f"and a class at least, got {z.shape} and {y.shape}"
        )
    if not np.issubdtype(y.dtype, np.integer):
        raise TypeError(f"labels must be integers, got {y.dtype}")
    z, y = z.reshape(-1, z.shape[-1]).astype(float), y.reshape(-1)
    if y.min() < 0 or y.max() >= z.shape[-1]:
        worst = y.min() if y.min() < 0 else y.max()
        raise ValueError(
            f"labels must lie in 0..{z.shape[-1] - 1} (there are {z.shape[-1]} "
            f"classes), got {worst}"
        )
    if np.isnan(z).any() or (z == np.inf).any():
        raise ValueError(
            "logits must be finite numbers (or -inf for a class that is ruled out), "
            f"got {z[np.isnan(z) | (z == np.inf)][0]:g}"
        )
    if not np.isfinite(z[np.arange(len(y)), y]).all():
        raise ValueError(
            "the label's own logit must be finite, got -inf; no temperature makes a "
            "class possible that is ruled out"
        )
    return z, y
