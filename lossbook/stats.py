"""Paired statistics: two arms that met the same seeds, and several of them.

The unit of all functions is a difference between two arms on one seed (or fold, or
data set). scipy does the arithmetic; what stands here is what it does not have, and
what is easily asked of it in the wrong way.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PairedTest:
    """A test of "no difference", with the interval of the mean difference.

    Attributes:
        mean: the mean difference.
        low: lower end of its interval.
        high: upper end of its interval.
        statistic: of the test.
        p: two-sided.
    """

    mean: float
    low: float
    high: float
    statistic: float
    p: float


# --- one pair of arms ----------------------------------------------------------


def paired_interval(
    differences: np.ndarray, *, level: float = 0.95
) -> tuple[float, float]:
    """Return Student's interval for the mean of paired differences.

    Args:
        differences: (seeds,), arm minus arm on the same seed; at least 2.
        level: of confidence, between 0 and 1.

    Raises:
        ValueError: for fewer than two differences, numbers that are not finite, or a
            level outside of 0 to 1.

    >>> low, high = paired_interval(np.array([1.0, 2.0, 3.0]))
    >>> round(low, 2), round(high, 2)
    (-0.48, 4.48)
    """
    result = paired_t(differences, level=level)
    return result.low, result.high


def paired_t(differences: np.ndarray, *, level: float = 0.95) -> PairedTest:
    """Return Student's paired test: are the differences 0 on average?

    It assumes independent differences of about normal distribution. Differences from
    folds or resamples of one data set are not independent; `corrected_resampled_t`
    allows for that.

    Equal differences show no spread, and a spread of 0 would make two of them a proof.
    The answer is then that of the signs: p is 2 / 2^n, the interval is the point if p
    is at most 1 - level, and else the whole line.

    Args:
        differences: (seeds,), arm minus arm on the same seed; at least 2.
        level: of the interval, between 0 and 1.

    Raises:
        ValueError: as `paired_interval`.

    >>> round(paired_t(np.array([1.0, 2.0, 3.0])).p, 3)
    0.074
    >>> paired_t(np.array([0.1, 0.1])).p
    0.5
    """
    values = _differences(differences)
    return _t_test(values, level, _variance_factor(len(values), None))


def corrected_resampled_t(
    differences: np.ndarray, *, test_share: float, level: float = 0.95
) -> PairedTest:
    """Return the corrected resampled t-test of Nadeau and Bengio (2003).

    Training sets drawn from one data set overlap, so their differences are correlated
    and the plain test is too sure. The variance of the mean is taken as
    (1/k + n_test/n_train) times that of a difference, in the place of 1/k.

    Equal differences are answered as in `paired_t`, with the number of independent
    differences that have the same variance of the mean, 1 / (1/k + n_test/n_train).

    Args:
        differences: (k,), arm minus arm on the same split; at least 2.
        test_share: n_test / (n_test + n_train), between 0 and 1.
        level: of the interval, between 0 and 1.

    Raises:
        ValueError: as `paired_interval`; for a share outside of 0 to 1.

    >>> splits = np.array([1.0, 2.0, 3.0])
    >>> corrected_resampled_t(splits, test_share=0.5).p > paired_t(splits).p
    True
    """
    values = _differences(differences)
    return _t_test(values, level, _variance_factor(len(values), test_share))


def _variance_factor(n: int, test_share: float | None) -> float:
    """Return the variance of the mean of n differences, in that of a difference."""
    if test_share is None:
        return 1 / n
    if not 0 < test_share < 1:
        raise ValueError(f"test_share must lie between 0 and 1, got {test_share:g}")
    return 1 / n + test_share / (1 - test_share)


def _t_test(values: np.ndarray, level: float, factor: float) -> PairedTest:
    from scipy.stats import t

    _between("level", level)
    n, mean = len(values), float(values.mean())
    if np.ptp(values) == 0:  # the same difference on every seed
        return _of_signs(float(values[0]), level, factor)
    error = math.sqrt(factor * values.var(ddof=1))
    statistic = mean / error
    reach = float(t.ppf((1 + level) / 2, n - 1)) * error
    p = 2 * float(t.sf(abs(statistic), n - 1))
    return PairedTest(mean, mean - reach, mean + reach, statistic, p)


def _of_signs(only: float, level: float, factor: float) -> PairedTest:
    """Return what equal differences tell: that 1 / factor of them agree."""
    chance = min(1.0, 2 ** (1 - 1 / factor))
    low, high = (only, only) if chance <= 1 - level else (-math.inf, math.inf)
    statistic = math.copysign(math.inf, only) if only else 0.0
    return PairedTest(only, low, high, statistic, chance if only else 1.0)


def bootstrap_interval(
    differences: np.ndarray,
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    draws: int = 9999,
) -> tuple[float, float]:
    """Return the bias-corrected and accelerated bootstrap interval of the mean.

    It assumes no normal distribution, but with few differences it is too narrow:
    with ten, prefer `paired_interval`.

    Args:
        differences: (seeds,), arm minus arm on the same seed; at least 2.
        rng: draws the resamples.
        level: of confidence, between 0 and 1.
        draws: number of resamples.

    Raises:
        ValueError: as `paired_interval`.

    Source: Efron (1987).
    """
    from scipy.stats import bootstrap

    values = _differences(differences)
    _between("level", level)
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    interval = bootstrap(
        (values,), np.mean, confidence_level=level, n_resamples=draws, rng=rng
    ).confidence_interval
    return float(interval.low), float(interval.high)


def wilcoxon_p(differences: np.ndarray) -> float:
    """Return the p-value of Wilcoxon's signed-rank test, two-sided.

    With n differences it cannot be smaller than 2 / 2^n: 0.002 for ten. It is exact, by
    counting all choices of signs, up to 50 differences, then the normal approximation.

    Args:
        differences: (seeds,), arm minus arm on the same seed; at least 2. Zeros are
            left out; if all are 0, the p-value is 1. Equal sizes share their ranks.

    Raises:
        ValueError: for fewer than two differences, or numbers that are not finite.

    >>> wilcoxon_p(np.arange(1.0, 11.0))
    0.001953125
    """
    from scipy.stats import rankdata, wilcoxon

    values = _differences(differences)
    values = values[values != 0]
    if len(values) > 50:
        return float(wilcoxon(values, method="approx").pvalue)
    # Twice a shared rank is whole. ways[s]: choices of signs with the sum s of ranks.
    ranks = np.round(2 * rankdata(np.abs(values))).astype(int)
    ways = np.zeros(ranks.sum() + 1)
    ways[0] = 1.0
    for rank_ in ranks:
        ways[rank_:] = ways[rank_:] + ways[: len(ways) - rank_]
    above = int(ranks[values > 0].sum())
    least = min(above, int(ranks.sum()) - above)
    return min(1.0, float(2 * ways[: least + 1].sum() / ways.sum()))


def mcnemar_p(right_a: np.ndarray, right_b: np.ndarray) -> float:
    """Return the p-value of McNemar's exact test: do two classifiers err equally?

    Only examples count that one classifier gets right and the other wrong. If the two
    err equally often, each of these is a fair coin.

    Args:
        right_a: (n,), whether the first classifier is right on each test example.
        right_b: (n,), the same for the second.

    Raises:
        ValueError: for arrays of different shapes, or that are not of truth values.

    >>> a = np.array([True] * 9 + [False])
    >>> mcnemar_p(a, ~a) == 2 * (1 + 10) / 2**10
    True
    """
    from scipy.stats import binomtest

    a, b = np.asarray(right_a), np.asarray(right_b)
    if a.dtype != bool or b.dtype != bool:
        raise ValueError(
            "right_a and right_b must be arrays of truth values, got "
            f"{a.dtype} and {b.dtype}; compare predictions with labels first"
        )
    if a.shape != b.shape:
        raise ValueError(
            "right_a and right_b must speak of the same examples, got shapes "
            f"{a.shape} and {b.shape}"
        )
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    if only_a + only_b == 0:
        return 1.0
    return float(binomtest(only_a, only_a + only_b, 0.5).pvalue)


# --- several comparisons -------------------------------------------------------


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return p-values adjusted for being several, by Holm's method (1979).

    Reject where the adjusted value is below 0.05, and the chance of even one false
    rejection stays below 0.05, however the tests depend on each other.

    Args:
        p_values: (tests,), each between 0 and 1.

    Raises:
        ValueError: for a number outside of 0 to 1.

    >>> holm([0.01, 0.04, 0.03, 0.005])
    array([0.03, 0.06, 0.06, 0.02])
    """
    p = np.asarray(p_values, dtype=float)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(
            f"p_values must be a list of numbers between 0 and 1, got {p.tolist()}"
        )
    order = np.argsort(p, kind="stable")
    scaled = p[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(scaled).clip(max=1)
    return adjusted


@dataclass(frozen=True)
class Ranking:
    """Several arms, ranked on several data sets or seeds.

    Attributes:
        ranks: (arms,), the mean rank of each; 1 is the best.
        critical_difference: mean ranks that differ by less are not told apart.
        statistic: Friedman's chi-squared, as in Demšar's article without a correction
            for ties: with ties it is smaller than a corrected one.
        p: of Friedman's test, in the F form of Iman and Davenport.
    """

    ranks: np.ndarray
    critical_difference: float
    statistic: float
    p: float


def rank(
    scores: np.ndarray, *, level: float = 0.95, higher_is_better: bool = True
) -> Ranking:
    """Return mean ranks with Friedman's test and Nemenyi's critical difference.

    Args:
        scores: (blocks, arms): a row a data set or a seed, at least 2 of each.
        level: one minus the chance of any false difference.
        higher_is_better: of the scores; False for errors. Ties share their ranks.

    Raises:
        ValueError: for fewer than two blocks or arms, or numbers that are not finite.

    Source: Demšar (2006).

    >>> rank(np.array([[0.9, 0.8], [0.7, 0.6], [0.8, 0.9]])).ranks
    array([1.33333333, 1.66666667])
    """
    from scipy.stats import f, rankdata, studentized_range

    values = np.asarray(scores, dtype=float)
    if values.ndim != 2 or min(values.shape) < 2:
        raise ValueError(
            "scores must have a row a data set and a column an arm, at least 2 of "
            f"each, got shape {values.shape}"
        )
    if not np.isfinite(values).all():
        raise ValueError("scores must be finite, got nan or infinity")
    _between("level", level)
    blocks, arms = values.shape
    each = rankdata(-values if higher_is_better else values, axis=1)
    means = each.mean(0)
    chi2 = 12 * blocks / (arms * (arms + 1)) * ((means - (arms + 1) / 2) ** 2).sum()
    room = blocks * (arms - 1) - chi2
    ratio = (blocks - 1) * chi2 / room if room > 1e-12 else math.inf
    p = float(f.sf(ratio, arms - 1, (arms - 1) * (blocks - 1)))
    q = float(studentized_range.ppf(level, arms, math.inf)) / math.sqrt(2)
    difference = q * math.sqrt(arms * (arms + 1) / (6 * blocks))
    return Ranking(means, difference, float(chi2), p)


# --- before the experiment -----------------------------------------------------


def power(effect: float, n: int, *, level: float = 0.95) -> float:
    """Return how likely a paired t-test on n differences finds an effect.

    Args:
        effect: the true mean difference, in standard deviations of a difference.
        n: number of differences, at least 2.
        level: one minus the test's error rate.

    Raises:
        ValueError: for fewer than 2 differences, or a level outside of 0 to 1.

    >>> round(power(0.5, 34), 2)
    0.81
    """
    from scipy.stats import ncf, t

    _at_least_two(n)
    _between("level", level)
    if effect == 0:
        return 1 - level
    cut = float(t.ppf((1 + level) / 2, n - 1))
    # The square of t is F, whose distribution scipy has where that of t fails.
    return float(ncf.sf(cut**2, 1, n - 1, n * effect**2))


def detectable_difference(
    sd: float,
    n: int,
    *,
    level: float = 0.95,
    chance: float = 0.8,
    test_share: float | None = None,
) -> float:
    """Return the mean difference that n paired seeds find with the given chance.

    Args:
        sd: standard deviation of a paired difference.
        n: number of seeds, at least 2.
        level: one minus the test's error rate.
        chance: the wanted power, above 1 - level and below 1.
        test_share: of splits of one data set, as `corrected_resampled_t` takes it;
            None for independent differences.

    Raises:
        ValueError: for an sd that is not positive, or values outside of their ranges.

    >>> round(detectable_difference(1.0, 10), 2)
    1.0
    """
    from scipy.optimize import brentq

    _at_least_two(n)
    if not 0 < sd < math.inf:
        raise ValueError(f"sd must be positive and finite, got {sd:g}")
    _between("level", level)
    if not 1 - level < chance < 1:
        raise ValueError(
            f"chance must lie between 1 - level = {1 - level:g} and 1, got {chance:g}"
        )
    high = 1.0
    while power(high, n, level=level) < chance:
        high *= 2
    found = brentq(lambda d: power(d, n, level=level) - chance, 0.0, high, xtol=1e-10)
    return sd * float(found) * math.sqrt(n * _variance_factor(n, test_share))


def peeking(
    looks: Sequence[int],
    *,
    rng: np.random.Generator,
    runs: int = 10_000,
    level: float = 0.95,
    known_sd: bool = False,
) -> np.ndarray:
    """Return how often a test finds what is not there, if one may stop at any look.

    There is no effect. After each number of seeds in `looks` the paired test is run;
    who stops at the first p below 1 - level is wrong more often than that.

    Args:
        looks: numbers of seeds, rising, the first at least 2.
        rng: draws the differences.
        runs: simulated experiments.
        level: of each single test.
        known_sd: test with the true standard deviation (normal) in the place of an
            estimated one (Student).

    Returns:
        (looks,), the share of runs that were stopped at this look or before.

    Raises:
        ValueError: for looks that do not rise, or begin below 2.

    >>> twice = peeking([5, 10], rng=np.random.default_rng(0), runs=2000)
    >>> bool(twice[1] > twice[0])
    True
    """
    from scipy.stats import norm, t

    numbers = np.asarray(looks)
    if numbers.ndim != 1 or not len(numbers) or numbers[0] < 2:
        raise ValueError(f"looks must be numbers of seeds from 2 on, got {looks}")
    if (np.diff(numbers) <= 0).any():
        raise ValueError(f"looks must rise, got {looks}")
    _between("level", level)
    drawn = rng.normal(size=(runs, numbers[-1]))
    stopped = np.zeros((runs, len(numbers)), dtype=bool)
    for i, n in enumerate(numbers):
        seen = drawn[:, :n]
        sd = 1.0 if known_sd else seen.std(1, ddof=1)
        statistic = np.abs(seen.mean(1)) * math.sqrt(n) / sd
        rule = norm.ppf((1 + level) / 2) if known_sd else t.ppf((1 + level) / 2, n - 1)
        stopped[:, i] = statistic > rule
    return np.maximum.accumulate(stopped, 1).mean(0)


# --- input ---------------------------------------------------------------------


def _differences(differences: np.ndarray) -> np.ndarray:
    values = np.asarray(differences, dtype=float)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(
            "differences must hold one number a seed, at least 2, got shape "
            f"{values.shape}"
        )
    if not np.isfinite(values).all():
        raise ValueError(
            "differences must be finite, got nan or infinity; a run that failed is a "
            "result of its own and has no difference"
        )
    return values


def _between(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{name} must lie between 0 and 1, got {value:g}")


def _at_least_two(n: int) -> None:
    if n < 2:
        raise ValueError(f"n must be at least 2 differences, got {n}")
