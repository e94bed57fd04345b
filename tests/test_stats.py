"""The statistics, against scipy, enumeration and published examples."""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats as scipy_stats

from lossbook import stats


@pytest.fixture
def differences():
    return np.random.default_rng(0).normal(0.4, 1.0, 12)


def test_students_test_is_scipys(differences):
    found, other = stats.paired_t(differences), scipy_stats.ttest_1samp(differences, 0)
    interval = other.confidence_interval(0.95)
    assert found.p == pytest.approx(other.pvalue)
    assert found.statistic == pytest.approx(other.statistic)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert stats.paired_interval(differences) == (found.low, found.high)


@pytest.mark.parametrize("n", [2, 3, 5, 6, 10])
def test_equal_differences_tell_what_their_signs_tell(n):
    """No spread is seen; the sign test needs none, its interval is of the median."""
    same = stats.paired_t(np.full(n, -0.2))
    assert same.p == scipy_stats.binomtest(n, n).pvalue
    ends = (-0.2, -0.2) if same.p <= 0.05 else (-math.inf, math.inf)
    assert (same.low, same.high) == ends
    assert (same.mean, same.statistic) == (-0.2, -math.inf)
    assert stats.paired_t(np.zeros(n)).p == 1.0


def test_a_level_decides_which_equal_differences_are_a_point():
    assert stats.paired_interval(np.full(5, 0.2), level=0.9) == (0.2, 0.2)
    assert stats.paired_interval(np.full(10, 0.2), level=0.999) == (-math.inf, math.inf)


def test_equal_differences_of_splits_are_fewer_than_they_look():
    """Ten splits of 2 to 1 have a mean as uncertain as 1 / (1/10 + 1/2) differences."""
    few = stats.corrected_resampled_t(np.full(10, 0.1), test_share=1 / 3)
    assert few.p == pytest.approx(2 ** (1 - 10 / 6))
    assert few.low == -math.inf
    many = stats.corrected_resampled_t(np.full(10, 0.1), test_share=0.01)
    assert many.p == pytest.approx(2 ** (1 - 1 / (1 / 10 + 1 / 99)))
    assert (many.low, many.high) == (0.1, 0.1)
    one = stats.corrected_resampled_t(np.full(2, 0.1), test_share=0.9)
    assert one.p == 1.0


def test_a_bootstrap_of_equal_differences_is_a_point():
    assert stats.bootstrap_interval(np.ones(4), rng=np.random.default_rng(0)) == (1, 1)


def test_the_correction_by_hand():
    """Ten splits of 90 to 10: the variance factor grows from 1/10 to 1/10 + 1/9."""
    values = np.arange(10.0)
    found = stats.corrected_resampled_t(values, test_share=0.1)
    error = math.sqrt((1 / 10 + 1 / 9) * values.var(ddof=1))
    assert found.statistic == pytest.approx(4.5 / error)
    assert found.p == pytest.approx(2 * scipy_stats.t.sf(4.5 / error, 9))


def test_the_correction_keeps_its_word_on_overlapping_splits():
    """Splits of one sample: the plain test errs far too often."""
    rng = np.random.default_rng(1)
    plain = corrected = 0
    for _ in range(400):
        sample = rng.normal(size=60)  # the effect of each example; 0 on average
        splits = np.stack([rng.permutation(60) for _ in range(15)])
        values = sample[splits[:, :30]].mean(1)  # the mean over a random test half
        plain += stats.paired_t(values).p < 0.05
        corrected += stats.corrected_resampled_t(values, test_share=0.5).p < 0.05
    assert plain > 100
    assert corrected < 40


def test_the_bootstrap_agrees_with_student_on_many_normal_numbers():
    values = np.random.default_rng(2).normal(0.3, 1, 400)
    boot = stats.bootstrap_interval(values, rng=np.random.default_rng(0))
    assert boot == pytest.approx(stats.paired_interval(values), abs=0.02)


def test_wilcoxon_is_the_enumeration_of_all_signs():
    values = np.array([0.3, -0.1, 0.7, 0.5, -0.2, 0.9])
    order = scipy_stats.rankdata(abs(values))
    signs = np.array(np.meshgrid(*[[-1, 1]] * 6)).reshape(6, -1)
    sums = np.abs(order @ signs)
    share = np.mean(sums >= abs(order @ np.sign(values)))
    assert stats.wilcoxon_p(values) == pytest.approx(share)


@pytest.mark.parametrize("n", [6, 14])
def test_wilcoxon_is_exact_with_equal_sizes_too(n):
    """Differences of accuracies are often equal in size; p stays 2 / 2^n at least."""
    values = np.tile([0.1, 0.2], n // 2)
    assert stats.wilcoxon_p(values) == 2 / 2**n
    values[0] = -0.1  # one of n // 2 equal smallest ranks: 1 + n // 2 cases a side
    assert stats.wilcoxon_p(values) == 2 * (1 + n // 2) / 2**n


def test_ten_equal_signs_give_the_smallest_p_of_wilcoxon():
    assert stats.wilcoxon_p(np.arange(1.0, 11.0)) == 2 / 2**10
    assert stats.wilcoxon_p(np.zeros(4)) == 1.0


def table(both, only_a, only_b, neither):
    a = np.repeat([True, True, False, False], [both, only_a, only_b, neither])
    b = np.repeat([True, False, True, False], [both, only_a, only_b, neither])
    return a, b


def test_mcnemar_counts_coins():
    a, b = table(50, 7, 1, 20)
    tail = sum(math.comb(8, k) for k in (7, 8)) / 2**8
    assert stats.mcnemar_p(a, b) == pytest.approx(2 * tail)
    assert stats.mcnemar_p(*table(3, 0, 0, 2)) == 1.0


def test_mcnemar_on_the_approval_ratings():
    """Agresti, Categorical Data Analysis: 794, 150, 86, 570, z = -4.17."""
    p = stats.mcnemar_p(*table(794, 150, 86, 570))
    z = (86 - 150) / math.sqrt(86 + 150)
    assert z == pytest.approx(-4.17, abs=0.005)
    assert p == pytest.approx(2 * scipy_stats.norm.sf(abs(z)), rel=0.3)


def test_holm_steps_down():
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx(
        [0.03, 0.06, 0.06, 0.02]
    )
    assert stats.holm([0.6, 0.9]) == pytest.approx([1.0, 1.0])
    assert len(stats.holm([])) == 0


# Demšar (2006), table 6: AUC of four classifiers on fourteen data sets.
AUC = """
.763 .768 .771 .798
.599 .591 .590 .569
.954 .971 .968 .967
.628 .661 .654 .657
.882 .888 .886 .898
.936 .931 .916 .931
.661 .668 .609 .685
.583 .583 .563 .625
.775 .838 .866 .875
1.000 1.000 1.000 1.000
.940 .962 .965 .962
.619 .666 .614 .669
.972 .981 .9751 .975
.957 .978 .946 .970
"""


def test_ranks_as_published():
    scores = np.array([line.split() for line in AUC.split("\n")[1:-1]], dtype=float)
    found = stats.rank(scores)
    assert found.ranks == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    assert found.statistic == pytest.approx(9.28, abs=0.01)
    assert found.critical_difference == pytest.approx(1.25, abs=0.005)
    reverse = stats.rank(-scores, higher_is_better=False)
    assert reverse.ranks == pytest.approx(found.ranks)


def test_ranks_without_ties_are_friedmans():
    scores = np.random.default_rng(0).normal(size=(9, 4))
    other = scipy_stats.friedmanchisquare(*scores.T)
    assert stats.rank(scores).statistic == pytest.approx(other.statistic)


def test_unanimous_blocks_leave_no_doubt():
    scores = np.tile([0.1, 0.2, 0.3], (5, 1))
    found = stats.rank(scores)
    assert list(found.ranks) == [3, 2, 1]
    assert found.p == 0


def test_the_known_number_for_a_medium_effect():
    """The textbook case: d = 0.5, two-sided 5 %, power 80 % takes 34 pairs."""
    assert stats.power(0.5, 33) < 0.8 <= stats.power(0.5, 34)
    assert stats.power(0.0, 20) == pytest.approx(0.05)


@pytest.mark.parametrize(("effect", "n"), [(5.0, 10), (1.0, 100), (30.0, 2), (1e3, 5)])
def test_power_is_a_number_where_the_effect_is_large(effect, n):
    assert 0.99 < stats.power(effect, n) <= 1


def test_two_seeds_have_a_detectable_difference():
    found = stats.detectable_difference(1.0, 2)
    draws = np.random.default_rng(0).normal(found, 1, (20_000, 2))
    p = scipy_stats.ttest_1samp(draws, 0, axis=1).pvalue
    assert (p < 0.05).mean() == pytest.approx(0.8, abs=0.01)


def test_power_is_the_share_of_rejections():
    draws = np.random.default_rng(0).normal(0.8, 1, (4000, 10))
    p = scipy_stats.ttest_1samp(draws, 0, axis=1).pvalue
    assert stats.power(0.8, 10) == pytest.approx((p < 0.05).mean(), abs=0.025)


def test_the_detectable_difference_has_the_wanted_power():
    found = stats.detectable_difference(2.0, 10, chance=0.9)
    assert stats.power(found / 2.0, 10) == pytest.approx(0.9)
    assert stats.detectable_difference(2.0, 40, chance=0.9) < found


def test_splits_of_one_data_set_find_larger_differences_only():
    """What is found four times in five, by simulation with the correction's variance.

    The mean of k correlated differences has the variance that the correction states.
    """
    k, share = 10, 1 / 3
    found = stats.detectable_difference(1.0, k, test_share=share)
    rng = np.random.default_rng(0)
    # Equal correlation c, so that var(mean) / E[var within] is 1/k + share/(1 - share).
    c = share  # c / (1 - c) is the second term
    common = math.sqrt(c / (1 - c)) * rng.normal(size=(4000, 1))
    drawn = found + common + rng.normal(size=(4000, k))
    p = [stats.corrected_resampled_t(row, test_share=share).p for row in drawn]
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.8, abs=0.025)


def test_peeking_as_published():
    """Armitage, McPherson, Rowe (1969): 5 looks 14.2 %, 10 looks 19.3 %."""
    looks = [10 * k for k in range(1, 11)]
    rates = stats.peeking(
        looks, rng=np.random.default_rng(0), runs=40_000, known_sd=True
    )
    assert rates[[0, 4, 9]] == pytest.approx([0.05, 0.142, 0.193], abs=0.006)
    assert all(a <= b for a, b in pairwise(rates))


def test_one_look_of_students_test_keeps_its_word():
    rates = stats.peeking([6], rng=np.random.default_rng(0), runs=20_000)
    assert rates[0] == pytest.approx(0.05, abs=0.006)


RNG = np.random.default_rng(0)
REFUSED = [
    (
        lambda: stats.paired_t(np.array([1.0])),
        "differences must hold one number a seed, at least 2, got shape (1,)",
    ),
    (
        lambda: stats.wilcoxon_p(np.array([1.0, np.nan])),
        "differences must be finite, got nan or infinity; a run that failed is a "
        "result of its own and has no difference",
    ),
    (
        lambda: stats.paired_interval(np.arange(3.0), level=95),
        "level must lie between 0 and 1, got 95",
    ),
    (
        lambda: stats.corrected_resampled_t(np.arange(3.0), test_share=1.0),
        "test_share must lie between 0 and 1, got 1",
    ),
    (
        lambda: stats.mcnemar_p(np.array([0, 1]), np.array([1, 1])),
        "right_a and right_b must be arrays of truth values, got int64 and int64; "
        "compare predictions with labels first",
    ),
    (
        lambda: stats.mcnemar_p(np.array([True]), np.array([True, False])),
        "right_a and right_b must speak of the same examples, got shapes (1,) and (2,)",
    ),
    (
        lambda: stats.holm([0.5, 1.5]),
        "p_values must be a list of numbers between 0 and 1, got [0.5, 1.5]",
    ),
    (
        lambda: stats.rank(np.ones((1, 3))),
        "scores must have a row a data set and a column an arm, at least 2 of each, "
        "got shape (1, 3)",
    ),
    (
        lambda: stats.rank(np.array([[1.0, np.nan], [1.0, 2.0]])),
        "scores must be finite, got nan or infinity",
    ),
    (lambda: stats.power(0.5, 1), "n must be at least 2 differences, got 1"),
    (
        lambda: stats.detectable_difference(0.0, 5),
        "sd must be positive and finite, got 0",
    ),
    (
        lambda: stats.detectable_difference(1.0, 5, chance=0.01),
        "chance must lie between 1 - level = 0.05 and 1, got 0.01",
    ),
    (
        lambda: stats.peeking([1, 5], rng=RNG),
        "looks must be numbers of seeds from 2 on, got [1, 5]",
    ),
    (lambda: stats.peeking([5, 5], rng=RNG), "looks must rise, got [5, 5]"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[m[:28] for _, m in REFUSED])
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError) as refused:  # noqa: PT011 (the whole message below)
        call()
    assert str(refused.value) == message
