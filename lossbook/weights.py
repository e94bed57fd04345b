"""Class weights made from counts, for `Criterion(weight=...)`, in numpy.

All are scaled to sum to the number of classes, so that the loss keeps its size and a
learning rate its meaning when the classes are equally frequent.
"""

from typing import Any

import numpy as np
from numpy import ndarray

from lossbook import validate


def inverse_frequency(counts: Any, *, power: float = 1.0) -> ndarray:
    """Return weights in ratio 1 / counts^power.

    Args:
        counts: (C,), how many training examples each class has.
        power: 1 gives all classes the same total weight, 1/2 is the usual compromise,
            0 weighs all examples the same.

    Returns:
        (C,), which sums to C.

    Raises:
        ValueError: for counts that are not positive.

    >>> inverse_frequency([900, 100])
    array([0.2, 1.8])
    >>> inverse_frequency([900, 100], power=0.5)
    array([0.5, 1.5])
    """
    n = _counts(counts)
    return _scaled((n / n.min()) ** -power)


def effective_number(counts: Any, *, beta: float = 0.999) -> ndarray:
    """Return weights in ratio (1 - beta) / (1 - beta^counts).

    The denominator over the numerator is the effective number of examples of Cui, Jia,
    Lin, Song and Belongie (Class-Balanced Loss Based on Effective Number of Samples,
    CVPR 2019): 1 + beta + ... + beta^(n - 1), which levels off at 1 / (1 - beta).

    Args:
        counts: (C,), how many training examples each class has.
        beta: 0 to 1; 0 gives equal weights, 1 the inverse frequency.

    Returns:
        (C,), which sums to C.

    Raises:
        ValueError: for counts that are not positive, or beta outside of 0 to 1.

    >>> effective_number([3, 1], beta=0.5).round(3)
    array([0.727, 1.273])
    """
    if not 0 <= beta <= 1:
        raise ValueError(f"beta must lie between 0 and 1, got {beta:g}")
    n = _counts(counts)
    if beta in (0, 1):
        return _scaled((n / n.min()) ** -float(beta))
    # beta^n as exp(n log beta), log beta through 1 - beta: exact digits up to beta = 1.
    log_beta = np.log1p(beta - 1) if beta > 0.5 else np.log(beta)
    return _scaled(-1 / np.expm1(n * log_beta))


def deferred(counts: Any, epoch: int, *, start: int, beta: float = 0.9999) -> ndarray:
    """Return equal weights before the epoch `start`, `effective_number` from then on.

    The schedule that the article of LDAM calls deferred re-weighting: features are
    learned first, with every example counting the same.

    Args:
        counts: (C,), how many training examples each class has.
        epoch: the current epoch.
        start: the first epoch that is weighted; the article has 160 of 200.
        beta: that of `effective_number`.

    Returns:
        (C,), which sums to C.

    Raises:
        ValueError: for counts that are not positive, or beta outside of 0 to 1.

    >>> deferred([900, 100], 159, start=160)
    array([1., 1.])
    >>> deferred([900, 100], 160, start=160).round(2)
    array([0.21, 1.79])
    """
    return effective_number(counts, beta=beta if epoch >= start else 0.0)


def _counts(counts: Any) -> ndarray:
    checked: ndarray = validate.class_counts(counts).cpu().numpy()
    return checked


def _scaled(weights: ndarray) -> ndarray:
    scaled: ndarray = weights * (len(weights) / weights.sum())
    return scaled
