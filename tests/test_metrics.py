"""Metrics of decisions and probabilities: by hand, by identity, and what is refused."""

import re
from itertools import pairwise

import numpy as np
import pytest

from lossbook import metrics
from lossbook.losses import CATALOGUE


def forecasts(n, *models, seed=0):
    """Calibrated ones of three classes: labels are drawn from the probabilities."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(3), size=(*models, n))
    labels = (rng.random((*models, n, 1)) > p.cumsum(-1)).sum(-1)
    return p, labels.clip(0, 2)


P, LABELS = forecasts(400)


def naive_ece(said, true, edges):
    """Bin by bin, with a mask each: the definition."""
    total = 0.0
    for i, (low, high) in enumerate(pairwise(edges)):
        inside = (said <= high) & ((said > low) | (i == 0))
        if inside.any():
            total += inside.mean() * abs(true[inside].mean() - said[inside].mean())
    return total


def cut(said, bins, scheme):
    ends = np.linspace(0, 1, bins + 1)
    return ends if scheme == "equal_width" else np.quantile(said, ends)


@pytest.mark.parametrize("scheme", ["equal_width", "equal_mass"])
@pytest.mark.parametrize("bins", [1, 4, 15])
def test_ece_is_its_definition(bins, scheme):
    said, true = P.max(-1), P.argmax(-1) == LABELS
    assert metrics.ece(P, LABELS, bins=bins, scheme=scheme) == pytest.approx(
        naive_ece(said, true, cut(said, bins, scheme)), rel=1e-12
    )
    each = [
        naive_ece(P[:, k], k == LABELS, cut(P[:, k], bins, scheme)) for k in range(3)
    ]
    found = metrics.ece(P, LABELS, bins=bins, scheme=scheme, of="classwise")
    assert found == pytest.approx(np.mean(each), rel=1e-12)


def test_one_bin_compares_accuracy_with_mean_confidence():
    accuracy = metrics.accuracy(P.argmax(-1), LABELS)
    gap = abs(accuracy - P.max(-1).mean())
    assert metrics.ece(P, LABELS, bins=1) == pytest.approx(gap, rel=1e-12)


def test_models_in_a_stack_are_as_models_alone():
    p, labels = forecasts(100, 4)
    for of in ("top_label", "classwise"):
        for scheme in ("equal_width", "equal_mass"):
            together = metrics.ece(p, labels, of=of, scheme=scheme)
            alone = [
                metrics.ece(*each, of=of, scheme=scheme)
                for each in zip(p, labels, strict=True)
            ]
            assert together == pytest.approx(alone, rel=1e-12)
    together = metrics.brier_decomposition(p, labels).reliability
    assert together[2] == metrics.brier_decomposition(p[2], labels[2]).reliability


def test_models_may_share_their_labels():
    p, labels = forecasts(100)
    stack = np.stack([p, p[:, ::-1]])
    found = metrics.negative_log_likelihood(stack, labels)
    assert found[1] == metrics.negative_log_likelihood(p[:, ::-1], labels)


def test_an_upper_edge_belongs_to_its_bin():
    p = np.array([[0.5, 0.5], [0.75, 0.25], [1.0, 0.0]])
    found = metrics.reliability(p, np.zeros(3, int), bins=4)
    assert found.count.tolist() == [0, 1, 1, 1]
    classwise = metrics.reliability(p, np.zeros(3, int), bins=4, of="classwise")
    assert classwise.count.tolist() == [[0, 1, 1, 1], [2, 1, 0, 0]]


def test_bins_of_equal_mass_hold_equally_many():
    found = metrics.reliability(P, LABELS, bins=8, scheme="equal_mass")
    assert found.count.tolist() == [50] * 8
    assert (np.diff(found.edges) > 0).all()


def test_equal_forecasts_share_a_bin():
    """Otherwise the order of the examples would decide."""
    p = np.full((10, 2), [0.8, 0.2])
    labels = np.repeat([0, 1], 5)
    found = metrics.reliability(p, labels, bins=5, scheme="equal_mass")
    assert sorted(found.count) == [0, 0, 0, 0, 10]
    assert metrics.ece(p, labels, bins=5, scheme="equal_mass") == pytest.approx(0.3)


def test_ece_jumps_where_a_forecast_crosses_an_edge():
    """By hand, bins of 1/4: alone (0.25 + 0.9) / 2; together |1/2 - 0.825|."""
    labels = np.array([0, 1])

    def at(confidence):
        p = np.array([[confidence, 1 - confidence], [0.9, 0.1]])
        return metrics.ece(p, labels, bins=4)

    assert at(0.75) == pytest.approx(0.575, abs=1e-9)
    assert at(0.75 + 1e-9) == pytest.approx(0.325, abs=1e-6)


def test_calibrated_forecasts_have_a_positive_ece_that_falls_with_n():
    """The bias is of the size of chance, 1 / sqrt(n): a tenth at a hundredfold n."""
    small = metrics.ece(*forecasts(100, 200))
    large = metrics.ece(*forecasts(10_000, 20, seed=1))
    few_bins = metrics.ece(*forecasts(100, 200), bins=3)
    assert small.min() > 0
    assert 7 < small.mean() / large.mean() < 14
    assert few_bins.mean() < small.mean() - 5 * small.std() / np.sqrt(200)


def test_stating_the_base_rates_is_calibrated():
    """And says nothing: ECE is no proper score, the log-likelihood is."""
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    rates = np.full((100, 3), [0.5, 0.3, 0.2])
    sharp = 0.8 * np.eye(3)[labels] + 0.2 * rates
    for of in ("top_label", "classwise"):
        assert metrics.ece(rates, labels, of=of) == pytest.approx(0, abs=1e-12)
        assert metrics.ece(sharp, labels, of=of) > 0.05
    likelihoods = [metrics.negative_log_likelihood(p, labels) for p in (rates, sharp)]
    assert likelihoods[1] < likelihoods[0]


def test_the_likelihood_is_the_mean_cross_entropy():
    loss, _ = CATALOGUE["cross_entropy"].ref(np.log(P), LABELS)
    found = metrics.negative_log_likelihood(P, LABELS)
    assert found == pytest.approx(loss.mean(), rel=1e-12)


def test_no_probability_for_a_label_is_infinite():
    p = np.array([[0.0, 1.0], [1.0, 0.0]])
    assert metrics.negative_log_likelihood(p, np.array([0, 0])) == np.inf


def brier_score(p, labels):
    with np.errstate(divide="ignore"):
        return CATALOGUE["brier"].ref(np.log(p), labels)[0].mean()


@pytest.mark.parametrize("scheme", ["equal_width", "equal_mass"])
@pytest.mark.parametrize("bins", [1, 5, 15])
def test_the_parts_add_up_to_the_brier_score(bins, scheme):
    parts = metrics.brier_decomposition(P, LABELS, bins=bins, scheme=scheme)
    assert parts.total == pytest.approx(brier_score(P, LABELS), rel=1e-12)


def test_murphys_identity_is_exact_where_a_bin_holds_one_forecast():
    said = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.4, 0.5, 0.1]])
    rng = np.random.default_rng(0)
    p, labels = said[rng.integers(3, size=200)], rng.integers(3, size=200)
    parts = metrics.brier_decomposition(p, labels, bins=10)
    assert parts.within == pytest.approx(0, abs=1e-14)
    murphy = parts.reliability - parts.resolution + parts.uncertainty
    assert murphy == pytest.approx(brier_score(p, labels), rel=1e-12)


def test_murphys_identity_is_off_where_a_bin_holds_several():
    parts = metrics.brier_decomposition(P, LABELS, bins=2)
    murphy = parts.reliability - parts.resolution + parts.uncertainty
    assert abs(murphy - brier_score(P, LABELS)) > 0.01


def test_the_parts_by_hand():
    """Base rates (3/4, 1/4); bins came true 2/2 and 1/2 for class 0."""
    p = np.array([[0.8, 0.2], [0.8, 0.2], [0.4, 0.6], [0.4, 0.6]])
    parts = metrics.brier_decomposition(p, np.array([0, 0, 0, 1]))
    assert parts.reliability == pytest.approx(2 * (0.2**2 + 0.1**2) / 2)
    assert parts.resolution == pytest.approx(2 * 0.25**2)
    assert parts.uncertainty == pytest.approx(2 * 0.75 * 0.25)


HALVES, ZEROS = np.full((2, 2), 0.5), np.zeros(2, int)
REFUSED = [
    (
        (HALVES[0], ZEROS[0]),
        {},
        "probabilities must have the shape (..., n, C), with an example and a class at "
        "least, got (2,)",
    ),
    (
        (HALVES[:0], ZEROS[:0]),
        {},
        "probabilities must have the shape (..., n, C), with an example and a class at "
        "least, got (0, 2)",
    ),
    (
        (ZEROS[:, None], ZEROS),
        {},
        "probabilities must be of a floating dtype, got int64",
    ),
    ((HALVES, 1.0 * ZEROS), {}, "labels must be integers, got float64"),
    (
        (HALVES, ZEROS[:1]),
        {},
        "labels must have the shape of probabilities without the classes, (2,), got "
        "(1,)",
    ),
    (
        (np.full((3, 2, 2), 0.5), ZEROS[:1]),
        {},
        "labels must have the shape of probabilities without the classes, (3, 2), or "
        "(2,) for all of them, got (1,)",
    ),
    (
        (np.array([[1.5, -0.5]]), ZEROS[:1]),
        {},
        "probabilities must be numbers from 0 to 1, got -0.5; of logits, take the "
        "softmax",
    ),
    (
        (np.array([[np.nan, 1.0]]), ZEROS[:1]),
        {},
        "probabilities must be numbers from 0 to 1, got nan; of logits, take the "
        "softmax",
    ),
    (
        (2 * HALVES, ZEROS),
        {},
        "probabilities must sum to 1 over the classes, got 2; of logits, take the "
        "softmax",
    ),
    (
        (HALVES, ZEROS + 2),
        {},
        "labels must lie in 0..1 (there are 2 classes), got 2",
    ),
    ((HALVES, ZEROS), {"bins": 0}, "bins must be a whole number, at least 1, got 0"),
    (
        (HALVES, ZEROS),
        {"scheme": "width"},
        'scheme must be "equal_width" or "equal_mass", got \'width\'',
    ),
    (
        (HALVES, ZEROS),
        {"of": "class"},
        'of must be "top_label" or "classwise", got \'class\'',
    ),
]


@pytest.mark.parametrize(("arrays", "options", "message"), REFUSED)
def test_bad_input_is_refused(arrays, options, message):
    with pytest.raises((ValueError, TypeError), match=f"^{re.escape(message)}$"):
        metrics.ece(*arrays, **options)


def test_a_class_without_examples_has_no_recall():
    predicted, labels = np.array([[0, 1], [0, 1]]), np.array([[0, 1], [0, 0]])
    np.testing.assert_array_equal(metrics.recall(predicted, labels), [1.0, np.nan])
    assert np.isnan(metrics.balanced_accuracy(predicted, labels)[1])


def test_f1_is_the_harmonic_mean_and_the_dice_coefficient():
    rng = np.random.default_rng(0)
    said, true = rng.random((4, 60)) < 0.3, rng.random((4, 60)) < 0.5
    pairs = list(zip(said, true, strict=True))
    harmonic = [
        2 / (1 / metrics.precision(a, b) + 1 / metrics.recall(a, b)) for a, b in pairs
    ]
    np.testing.assert_allclose(metrics.f1(said, true), harmonic)
    assert np.isnan(metrics.f1(np.zeros(3), np.zeros(3)))
    assert metrics.f1(np.zeros(3), np.ones(3)) == 0
