"""Weights as functions of progress: 0 at the start of training, 1 at its end.

Fixed with `functools.partial`, they are weights of a `Mixture`. `annealed` is a
parameter's schedule, that of the losses that multiply an angle. Class weights that set
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


def annealed(
    progress: float, *, first: float = 1000.0, last: float = 5.0, until: float = 0.1
) -> float:
    """Return a strength that falls as one over the time, from `first` to `last`.

    It is first / (1 + k progress), with the k that leads to `last` at `until`; from
    there on it stays. This is how SphereFace's lambda falls (Liu, Wen, Yu, Li, Raj and
    Song, CVPR 2017), counted in steps by its authors.

    Args:
        progress: 0 to 1.
        first: the strength at the start.
        last: the strength from `until` on, above 0 and at most `first`.
        until: above 0, the progress at which `last` is reached.

    Returns:
        A strength between `last` and `first`.

    Raises:
        ValueError: for progress outside of 0 to 1, `until` of 0 or less, or `last` not
            above 0 and at most `first`.

    >>> [annealed(p, first=9.0, last=1.0, until=0.5) for p in (0.0, 0.0625, 0.25, 0.8)]
    [9.0, 4.5, 1.8, 1.0]
    """
    if not until > 0:
        raise ValueError(f"until must be above 0, got {until:g}")
    if not 0 < last <= first:
        raise ValueError(
            f"last must be above 0 and at most first, {first:g}, got {last:g}"
        )
    t = min(_progress(progress) / until, 1.0)
    return first / (1 + t * (first / last - 1))


def _progress(progress: float) -> float:
    if not 0 <= progress <= 1:
        raise ValueError(
            f"progress must lie between 0 and 1, got {progress:g}; it is the share of "
            "training that is done"
        )
    return float(progress)
