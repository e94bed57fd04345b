"""Problems made to show one thing: convex losses under noise, ordered classes."""

import math

import numpy as np

from lossbook.data._task import Task


def long_servedio(*, gamma: float = 1 / 24, noise: float = 0.0) -> Task:
    """Return four points, all of class 1, that mislead convex potentials under noise.

    One point has a large margin, one pulls, two penalize. A linear score without a bias
    classifies all of them. For each convex potential (such as the logistic or the
    exponential loss) and each noise rate above 0 there is a scale gamma, small enough,
    at which the score of the smallest expected loss gets the two penalizers wrong.

    Args:
        gamma: the construction's scale: the less noise, the smaller it must be. 1/24
            suffices for the logistic loss at a noise of 0.1, but not at 0.05.
        noise: P(class 0 | input) that the labels are seen with, the same everywhere.

    Returns:
        inputs (4, 2), labels (4,) all 1, posterior (4, 2) of the noisy labels. Nothing
        is drawn: weigh the losses of both labels with the posterior.

    Raises:
        ValueError: for a noise rate outside of 0 to 1/2.

    Source: Long and Servedio (2010).

    >>> long_servedio(noise=0.1).posterior[0]
    array([0.1, 0.9])
    """
    if not 0 <= noise < 0.5:
        raise ValueError(f"noise must lie between 0 and 1/2, got {noise:g}")
    points = [[1.0, 0.0], [gamma, 5 * gamma], [gamma, -gamma], [gamma, -gamma]]
    return Task(
        inputs=np.array(points),
        labels=np.ones(4, dtype=int),
        posterior=np.tile([noise, 1 - noise], (4, 1)),
    )


def ordinal(
    n: int,
    *,
    classes: int = 5,
    features: int = 10,
    spread: float = 0.5,
    rng: np.random.Generator,
) -> Task:
    """Draw classes that have an order: a hidden quantity, cut into equal shares.

    The quantity is the sum of the inputs over sqrt(features), plus Gaussian noise; the
    inputs are standard normal. Its distribution is known, so the cuts are exact.

    Args:
        n: number of examples.
        classes: number of bins, each with the probability 1 / classes.
        features: dimensions of the input.
        spread: standard deviation of the noise, above 0.
        rng: the generator to draw from.

    Returns:
        inputs (n, features), labels (n,), posterior (n, classes).

    Raises:
        ValueError: for a spread that is not positive.

    >>> task = ordinal(6, classes=3, rng=np.random.default_rng(0))
    >>> task.posterior.shape
    (6, 3)
    """
    from scipy.special import ndtr, ndtri

    if spread <= 0:
        raise ValueError(f"spread must be positive, got {spread:g}")
    inputs = rng.normal(size=(n, features))
    known = inputs.sum(1) / math.sqrt(features)
    hidden = known + spread * rng.normal(size=n)
    shares = np.arange(1, classes) / classes
    cuts = ndtri(shares) * math.sqrt(1 + spread**2)
    below = ndtr((cuts - known[:, None]) / spread)
    edges = np.concatenate([np.zeros((n, 1)), below, np.ones((n, 1))], 1)
    return Task(
        inputs=inputs,
        labels=np.searchsorted(cuts, hidden),
        posterior=np.diff(edges, axis=1),
    )
