"""Weights as functions of progress: 0 at the start of training, 1 at its end.

Fixed with `functools.partial`, they are weights of a `Mixture`. Class weights that set
in late are `lossbook.weights.deferred`.
"""

import math


def warm_up(progress: float, *, until: float = 0.3) -> float:
    """Return exp(-5 (1 - t)^2) with t = progress / until, and 1 from `until` on.

    The ramp of Laine and Aila (Temporal Ensembling for Semi-Supervised Learning, ICLR
    2017): nearly 0 at first, and flat where it arrives.

    Args:
        progress: 0 to 1.
        until: above 0, the progress at which the weight is 1.

    Returns:
        A weight between exp(-5) and 1.

    Raises:
        ValueError: for progress outside of 0 to 1, or `until` of 0 or less.

    >>> [round(warm_up(p, until=0.4), 4) for p in (0.0, 0.2, 0.4, 1.0)]
    [0.0067, 0.2865, 1.0, 1.0]
    """
    if not until > 0:
        raise ValueError(f"until must be above 0, got {until:g}")
    t = min(_progress(progress) / until, 1.0)
    return math.exp(-5 * (1 - t) ** 2)


def ramp(
    progress: float,
    *,
    low: float = 0.0,
    high: float = 1.0,
    start: float = 0.0,
    stop: float = 1.0,
) -> float:
    """Return a weight that goes from `low` to `high` in a straight line.

    Args:
        progress: 0 to 1.
        low: the weight up to `start`; it may be the larger of the two.
        high: the weight from `stop` on.
        start: the progress at which the line begins.
        stop: the progress at which it ends, after `start`.

    Returns:
        A weight between `low` and `high`.

    Raises:
        ValueError: for progress outside of 0 to 1, or `stop` not after `start`.

    >>> [ramp(p, low=1.0, high=0.0, start=0.5) for p in (0.0, 0.5, 0.75, 1.0)]
    [1.0, 1.0, 0.5, 0.0]
    """
    if not stop > start:
        raise ValueError(f"stop must be after start, {start:g}, got {stop:g}")
    t = min(max((_progress(progress) - start) / (stop - start), 0.0), 1.0)
    return (1 - t) * low + t * high


def deferred(progress: float, *, start: float = 0.8) -> float:
    """Return 0 before `start` and 1 from then on.

    Args:
        progress: 0 to 1.
        start: the progress at which the weight sets in.

    Returns:
        0 or 1.

    Raises:
        ValueError: for progress outside of 0 to 1.

    >>> [deferred(p, start=0.8) for p in (0.0, 0.79, 0.8, 1.0)]
    [0.0, 0.0, 1.0, 1.0]
    """
    return float(_progress(progress) >= start)


def _progress(progress: float) -> float:
    if not 0 <= progress <= 1:
        raise ValueError(
            f"progress must lie between 0 and 1, got {progress:g}; it is the share of "
            "training that is done"
        )
    return float(progress)
