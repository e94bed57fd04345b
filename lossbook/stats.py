"""Paired statistics: two arms that met the same seeds."""

import numpy as np


def paired_interval(
    differences: np.ndarray, *, level: float = 0.95
) -> tuple[float, float]:
    """Return Student's interval for the mean of paired differences.

    Args:
        differences: (seeds,), arm minus arm on the same seed; at least 2.
        level: of confidence, between 0 and 1.

    Raises:
        ValueError: for fewer than two differences.

    >>> low, high = paired_interval(np.array([1.0, 2.0, 3.0]))
    >>> round(low, 2), round(high, 2)
    (-0.48, 4.48)
    """
    from scipy.stats import ttest_1samp

    values = np.asarray(differences, dtype=float)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(
            "differences must hold one number a seed, at least 2, got shape "
            f"{values.shape}"
        )
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    interval = ttest_1samp(values, 0.0).confidence_interval(level)
    return float(interval.low), float(interval.high)
