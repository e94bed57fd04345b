"""Proper scores and calibration in other libraries: scikit-learn."""

import numpy as np
import pytest
import torch

import lossbook
from lossbook import metrics
from tests.peers.load import peer

pytestmark = pytest.mark.peers

SHOWN = [("brier", "sklearn.metrics.brier_score_loss")]


def forecasts(classes):
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(classes), size=300)
    return p, rng.integers(classes, size=300)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_brier_is_scikit_learns_unless_halved(classes):
    brier_score_loss = peer("sklearn.metrics").brier_score_loss
    p, labels = forecasts(classes)
    ours = lossbook.brier(torch.tensor(np.log(p)), torch.tensor(labels)).mean().item()
    known = {"labels": range(classes)}
    whole = brier_score_loss(labels, p, scale_by_half=False, **known)
    half = brier_score_loss(labels, p, scale_by_half=True, **known)
    plain = brier_score_loss(labels, p, **known)
    assert whole == pytest.approx(ours, rel=1e-10)
    assert half == pytest.approx(ours / 2, rel=1e-10)
    assert plain == (half if classes == 2 else whole)


def test_of_one_probability_it_is_half_too():
    brier_score_loss = peer("sklearn.metrics").brier_score_loss
    p, labels = forecasts(2)
    ours = lossbook.brier(torch.tensor(np.log(p)), torch.tensor(labels)).mean().item()
    assert brier_score_loss(labels, p[:, 1]) == pytest.approx(ours / 2, rel=1e-10)


@pytest.mark.parametrize(
    ("scheme", "strategy"), [("equal_width", "uniform"), ("equal_mass", "quantile")]
)
@pytest.mark.parametrize("bins", [1, 5, 15])
def test_the_bins_are_those_of_the_calibration_curve(bins, scheme, strategy):
    """It leaves out empty bins; here they are nan."""
    calibration_curve = peer("sklearn.calibration").calibration_curve
    p, labels = forecasts(2)
    found = metrics.reliability(p, labels, bins=bins, scheme=scheme, of="classwise")
    true, said = calibration_curve(labels, p[:, 1], n_bins=bins, strategy=strategy)
    full = found.count[1] > 0
    np.testing.assert_allclose(found.accuracy[1][full], true, rtol=1e-12)
    np.testing.assert_allclose(found.confidence[1][full], said, rtol=1e-12)


def test_the_likelihood_is_the_log_loss():
    p, labels = forecasts(4)
    theirs = peer("sklearn.metrics").log_loss(labels, p, labels=range(4))
    found = metrics.negative_log_likelihood(p, labels)
    assert found == pytest.approx(theirs, rel=1e-10)
