"""Explorers of decisions, against the exact shares."""

import numpy as np
import pytest
from scipy.special import ndtr

from lossbook import explore

CASES = [(3.0, 0.5, 1.0), (1.0, 0.1, 5.0), (4.5, 0.9, 20.0)]
T = np.linspace(-5, 5, 101)


@pytest.mark.parametrize(("d", "share", "c"), CASES)
def test_the_shares_are_those_of_two_gaussians(d, share, c):
    cut = explore.threshold()
    exact = {
        "hits": share * ndtr(d / 2 - T),
        "misses": share * ndtr(T - d / 2),
        "false alarms": (1 - share) * ndtr(-T - d / 2),
        "right refusals": (1 - share) * ndtr(T + d / 2),
    }
    drawn = {name: cut.numpy(name)(T, d, share, c) for name in exact}
    for name, expected in exact.items():
        np.testing.assert_allclose(drawn[name], expected, atol=2e-4)
    np.testing.assert_allclose(sum(drawn.values()), 1.0, atol=1e-12)
    cost = c * drawn["misses"] + drawn["false alarms"]
    np.testing.assert_allclose(cut.numpy("expected cost")(T, d, share, c), cost)


@pytest.mark.parametrize(("d", "share", "c"), CASES)
def test_regret_is_what_the_best_threshold_would_save(d, share, c):
    cut = explore.threshold()
    cost = cut.numpy("expected cost")
    fine = np.linspace(-8, 8, 16_001)
    saved = cost(T, d, share, c) - cost(fine, d, share, c).min()
    # The formula is the best threshold of the true Gaussians, not of their stand-in.
    np.testing.assert_allclose(cut.numpy("regret")(T, d, share, c), saved, atol=1e-3)


def test_it_fits_and_takes_options():
    cut = explore.threshold(title="A cut", probe=1.0)
    assert cut.title == "A cut"
    assert cut.probe.value == 1.0
