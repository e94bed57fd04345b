"""Explorers of decisions, against the exact shares."""

import numpy as np
import pytest
from scipy.special import ndtr

from lossbook import explore
from lossbook.explore import expressions
from lossbook.losses import CATALOGUE

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


@pytest.mark.parametrize("key", ["hinge", "squared", "smooth_hinge", "savage"])
def test_the_lines_of_a_score_differ_by_the_psi_transform(key):
    card = CATALOGUE[key]
    drawn = explore.conditional_risk([card])
    eta = np.linspace(0, 1, 11)
    f = np.linspace(-3, 3, 601)
    for value in eta:
        least = drawn.numpy("least")(f, value)
        wrong = drawn.numpy("least of wrong sign")(f, value)
        gap = card.transform(np.array([2 * value - 1]))
        np.testing.assert_allclose(wrong - least, gap[0], atol=0.02)
        cost = drawn.numpy("expected loss")(f, value)
        assert cost.min() >= least[0] - 0.01


def test_the_sign_that_is_shaded_is_the_wrong_one():
    drawn = explore.conditional_risk([CATALOGUE["hinge"], CATALOGUE["squared"]])
    group = drawn.groups[1]
    shade = expressions.numpy_function(group.shade, ["f", "eta"])
    assert shade(-1.0, 0.8) < 0 < shade(1.0, 0.8)
    assert shade(1.0, 0.2) < 0


def test_a_loss_that_is_not_of_the_margin_has_no_score():
    with pytest.raises(ValueError, match="formula over the margin"):
        explore.conditional_risk([CATALOGUE["cross_entropy"]])
