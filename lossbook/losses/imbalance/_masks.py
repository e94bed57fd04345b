"""What losses of overlap share: the masks that their checks draw."""

import numpy as np

from lossbook.card import Arrays

PIXELS = 6


def draw(rng: np.random.Generator, n: int, classes: int) -> Arrays:
    """Draw images of 6 pixels; one mask is empty, one full, one soft."""
    targets = rng.integers(2, size=(n, PIXELS)).astype(float)
    first = [np.zeros(PIXELS), np.ones(PIXELS), rng.random(PIXELS)]
    targets[:3] = np.stack(first)[:n]
    return 3 * rng.normal(size=(n, PIXELS)), targets
