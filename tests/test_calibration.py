"""Temperature scaling: what is found, and where there is nothing to find."""

import re

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from lossbook import calibration

RNG = np.random.default_rng(0)
# Labels drawn from the softmax of the logits: the best temperature is near 1.
LOGITS = 2 * RNG.normal(size=(4000, 5))
CUMULATED = np.exp(log_softmax(LOGITS, -1)).cumsum(-1)
LABELS = (RNG.random((4000, 1)) > CUMULATED).sum(-1).clip(0, 4)


def likelihood(logits, labels, temperature):
    log_p = log_softmax(logits / temperature, -1)
    return log_p[np.arange(len(labels)), labels].mean()


def test_labels_drawn_from_the_model_need_no_temperature():
    assert calibration.fit_temperature(LOGITS, LABELS) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("factor", [1e-6, 0.25, 3.0, 1e6])
def test_scaled_logits_scale_the_temperature(factor):
    base = calibration.fit_temperature(LOGITS, LABELS)
    found = calibration.fit_temperature(factor * LOGITS, LABELS)
    assert found == pytest.approx(factor * base, rel=1e-9)


def test_no_other_temperature_is_likelier():
    best = calibration.fit_temperature(LOGITS, LABELS)
    at_best = likelihood(LOGITS, LABELS, best)
    for other in best * np.exp(np.linspace(-2, 2, 41)):
        assert likelihood(LOGITS, LABELS, other) <= at_best + 1e-15


def test_the_likelihood_is_concave_in_the_inverse():
    inverse = np.linspace(0.01, 3, 50)
    values = [likelihood(LOGITS, LABELS, 1 / b) for b in inverse]
    assert (np.diff(values, 2) < 0).all()


@pytest.mark.parametrize("right", [51, 60, 99])
def test_two_classes_by_hand(right):
    """A gap g that is right k times of n: exp(g / T) = k / (n - k)."""
    logits = np.tile([5.0, 0.0], (100, 1))
    labels = (np.arange(100) >= right).astype(int)
    by_hand = 5 / np.log(right / (100 - right))
    found = calibration.fit_temperature(logits, labels)
    assert found == pytest.approx(by_hand, rel=1e-9)


def test_leading_axes_are_examples_too():
    found = calibration.fit_temperature(
        LOGITS.reshape(40, 100, 5), LABELS.reshape(40, 100)
    )
    assert found == calibration.fit_temperature(LOGITS, LABELS)


def test_a_class_that_is_ruled_out_has_no_say():
    wider = np.concatenate([LOGITS, np.full((4000, 1), -np.inf)], -1)
    found = calibration.fit_temperature(wider, LABELS)
    assert found == pytest.approx(calibration.fit_temperature(LOGITS, LABELS))


def test_tensors_are_read_and_scaled():
    logits, labels = torch.tensor(LOGITS), torch.tensor(LABELS)
    found = calibration.fit_temperature(logits, labels)
    assert found == calibration.fit_temperature(LOGITS, LABELS)
    scaled = calibration.apply_temperature(logits, found)
    assert isinstance(scaled, torch.Tensor)
    assert calibration.fit_temperature(scaled, labels) == pytest.approx(1)


def test_the_prediction_stays():
    scaled = calibration.apply_temperature(LOGITS, 7.0)
    assert (scaled.argmax(-1) == LOGITS.argmax(-1)).all()


ONE_ROW = np.array([[1.0, 0.0]])
NAN_ROW = np.array([[np.nan, 0.0]])
REFUSED = [
    (
        np.tile(ONE_ROW, (3, 1)),
        np.zeros(3, int),
        "some label must be beaten by another class, but none of the 3 is, so the "
        "likelihood rises until the temperature is 0; use more held-out data",
    ),
    (
        np.full((3, 2), 7.0),
        np.zeros(3, int),
        "logits must differ between classes, but each example has them all equal, so "
        "every temperature is as good; fit a model first",
    ),
    (
        np.tile(ONE_ROW, (3, 1)),
        np.array([0, 1, 1]),
        "logits must favor the labels more than chance would, but they do not, so the "
        "likelihood rises without end as the temperature grows; look whether logits "
        "and labels belong together",
    ),
    (
        np.tile(ONE_ROW, (2, 1)),
        np.array([0, 1]),
        "logits must favor the labels more than chance would, but they do not, so the "
        "likelihood rises without end as the temperature grows; look whether logits "
        "and labels belong together",
    ),
    (
        ONE_ROW,
        np.array([0, 1]),
        "logits must have the shape (..., C) and labels (...), with an example and a "
        "class at least, got (1, 2) and (2,)",
    ),
    (
        ONE_ROW[:0],
        np.zeros(0, int),
        "logits must have the shape (..., C) and labels (...), with an example and a "
        "class at least, got (0, 2) and (0,)",
    ),
    (ONE_ROW, np.zeros(1), "labels must be integers, got float64"),
    (
        ONE_ROW,
        np.array([2]),
        "labels must lie in 0..1 (there are 2 classes), got 2",
    ),
    (
        NAN_ROW,
        np.array([0]),
        "logits must be finite numbers (or -inf for a class that is ruled out), got "
        "nan",
    ),
    (
        np.array([[-np.inf, 0.0]]),
        np.array([0]),
        "the label's own logit must be finite, got -inf; no temperature makes a class "
        "possible that is ruled out",
    ),
]


@pytest.mark.parametrize(("logits", "labels", "message"), REFUSED)
def test_where_nothing_can_be_fitted_the_reason_is_said(logits, labels, message):
    with pytest.raises((ValueError, TypeError), match=f"^{re.escape(message)}$"):
        calibration.fit_temperature(logits, labels)


@pytest.mark.parametrize("temperature", [0.0, -1.0, np.inf, np.nan])
def test_an_impossible_temperature_is_refused(temperature):
    message = f"^temperature must be positive and finite, got {temperature:g}$"
    with pytest.raises(ValueError, match=message):
        calibration.apply_temperature(LOGITS, temperature)


def test_a_temperature_that_is_nearly_out_of_reach_is_found():
    """One label in 1000 is beaten, and by very little: T is small, and positive."""
    logits = np.tile([1.0, 0.0], (1000, 1))
    logits[0] = [0.0, 1e-9]
    labels = np.zeros(1000, int)
    found = calibration.fit_temperature(logits, labels)
    assert 0 < found < 0.05
    around = [likelihood(logits, labels, found * f) for f in (0.9, 1.0, 1.1)]
    assert max(around) == around[1]
