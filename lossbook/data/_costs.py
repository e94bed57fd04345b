"""What a decision costs: a matrix over true and predicted class."""

import numpy as np


def zero_one_costs(classes: int) -> np.ndarray:
    """Return (C, C) costs: 1 for every mistake, 0 for the truth.

    >>> zero_one_costs(2)
    array([[0., 1.],
           [1., 0.]])
    """
    return 1 - np.eye(classes)


def ordered_costs(classes: int, *, power: float = 1.0) -> np.ndarray:
    """Return (C, C) costs that grow with the distance of ordered classes.

    Args:
        classes: number of classes C.
        power: 1 for the absolute, 2 for the squared distance.

    >>> ordered_costs(3)[0]
    array([0., 1., 2.])
    """
    place = np.arange(classes)
    costs: np.ndarray = np.abs(place[:, None] - place).astype(float) ** power
    return costs


def random_costs(
    classes: int, *, spread: float = 10.0, rng: np.random.Generator
) -> np.ndarray:
    """Draw (C, C) costs that differ by mistake and by direction.

    Args:
        classes: number of classes C.
        spread: the dearest mistake costs at most this many times the cheapest.
        rng: the generator to draw from.

    Returns:
        Costs between 1 and `spread` off the diagonal, evenly distributed in their
        logarithm, and 0 on it.
    """
    costs = spread ** rng.random((classes, classes))
    np.fill_diagonal(costs, 0.0)
    return costs


def cheapest(posterior: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Return the decision of least expected cost: (..., C) to (...) classes.

    Args:
        posterior: (..., C), probabilities of the true class.
        costs: (C, C), costs[i, j] of deciding j where the truth is i.

    >>> cheapest(np.array([0.9, 0.1]), np.array([[0.0, 1.0], [20.0, 0.0]]))
    np.int64(1)
    """
    decision: np.ndarray = (posterior @ costs).argmin(-1)
    return decision
