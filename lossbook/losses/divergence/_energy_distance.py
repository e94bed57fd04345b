"""Energy distance of two samples. Chapter: divergences."""

from torch import Tensor

from lossbook import validate
from lossbook.ops import pair_squares, upcast
from lossbook.shapes import FirstSample, PerBatch, SecondSample


def energy_distance(first: FirstSample, second: SecondSample) -> PerBatch:
    """Return 2 E|X - Y| - E|X - X'| - E|Y - Y'|, the means over all pairs.

    The pairs of a point with itself count, so that this is the distance of the two
    empirical distributions: 0 or more, and 0 exactly where they are equal. As an
    estimate from samples it is biased upwards. It compares samples, not a prediction
    with its truth, and so has no card. Of ordered classes it is twice `squared_emd`.

    Args:
        first: (N, D), one point a row.
        second: (M, D), one point a row.

    Returns:
        A scalar, in the units of the points; scipy returns its root.

    Raises:
        ValueError: for arrays that are not (N, D) and (M, D), or hold no point.

    >>> import torch
    >>> energy_distance(torch.tensor([[0.0]]), torch.tensor([[3.0], [3.0]]))
    tensor(6.)
    """
    validate.two_samples(first, second)
    x, y = upcast(first), upcast(second)
    distance = 2 * _mean(x, y) - _mean(x, x) - _mean(y, y)
    return validate.explain_nan("first", first, distance)


def _mean(x: Tensor, y: Tensor) -> Tensor:
    squares = pair_squares(x, y)
    # The root has no gradient at 0, where a point meets itself or its double.
    apart = squares > 0
    return (squares.where(apart, 1.0).sqrt() * apart).mean()
