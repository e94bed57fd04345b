"""Maximum mean discrepancy of two samples. Chapter: divergences."""

from lossbook import validate
from lossbook.ops import pair_squares, upcast
from lossbook.shapes import FirstSample, Parameter, PerBatch, SecondSample


def mmd(
    first: FirstSample, second: SecondSample, *, bandwidth: Parameter = 1.0
) -> PerBatch:
    """Return the squared discrepancy E k(X, X') + E k(Y, Y') - 2 E k(X, Y).

    The kernel is k(x, y) = exp(-|x - y|^2 / (2 bandwidth^2)), the means are over all
    pairs. The pairs of a point with itself count, so that this is the distance of the
    two empirical distributions: 0 or more, and 0 exactly where they are equal. As an
    estimate from samples it is biased upwards. It compares samples, not a prediction
    with its truth, and so has no card.

    Args:
        first: (N, D), one point a row.
        second: (M, D), one point a row.
        bandwidth: the distance at which points stop to be alike; positive.

    Returns:
        A scalar, between 0 and 2.

    Raises:
        ValueError: for arrays that are not (N, D) and (M, D), or hold no point.

    >>> import torch
    >>> mmd(torch.tensor([[0.0]]), torch.tensor([[1.0]]))
    tensor(0.7869)
    """
    validate.two_samples(first, second)
    x, y = upcast(first), upcast(second)
    alike, of_x, of_y = (
        (pair_squares(a, b) / (-2 * bandwidth**2)).exp().mean()
        for a, b in ((x, y), (x, x), (y, y))
    )
    return validate.explain_nan("first", first, of_x + of_y - 2 * alike)
