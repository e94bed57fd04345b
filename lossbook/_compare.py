"""An A/B test of two losses in one call, as it should be done by hand.

Both losses get the same number of trials to find their setting, on seeds of their own;
then both meet the same new seeds, and the differences are paired. The metric is named
before. The test allows for what the seeds have in common.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lossbook import plots, stats
from lossbook.experiment import Config, share_tested, sweep
from lossbook.losses import CATALOGUE
from lossbook.stats import PairedTest

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

    from lossbook.data import Task

# Metric -> whether more of it is better.
METRICS = {
    "accuracy": True,
    "balanced_error": False,
    "nll": False,
    "brier": False,
    "ece": False,
}
TUNING = 1000  # the first seed of the tuning; those of the report begin at 0


@dataclass(frozen=True)
class Comparison:
    """What an A/B test found.

    Attributes:
        baseline: the loss that was there.
        candidate: the loss that wants its place.
        metric: what was decided on beforehand.
        rows: a row a training of the report.
        tuning: a row a training of the tuning.
        result: the paired difference, candidate minus baseline.
        test_share: the share of tested examples where the seeds split one data set
            anew, and `result` is of the corrected resampled t-test; None where each
            seed drew new data, and it is of Student's.
        p_wilcoxon: of Wilcoxon's signed-rank test, which takes the seeds as
            independent.
        wins: seeds on which the candidate is better.
        seeds: number of paired seeds.
        settings: what each loss was run with.
        failed: trainings that left the finite numbers; their pairs are left out.
    """

    baseline: str
    candidate: str
    metric: str
    rows: "pandas.DataFrame"
    tuning: "pandas.DataFrame"
    result: PairedTest
    test_share: float | None
    p_wilcoxon: float
    wins: int
    seeds: int
    settings: Mapping[str, str]
    failed: int

    @property
    def better(self) -> bool | None:
        """True or False if the interval leaves no doubt, None if it holds 0."""
        if self.result.low <= 0 <= self.result.high:
            return None
        return (self.result.mean > 0) == METRICS[self.metric]

    @property
    def test(self) -> str:
        """The name of the test."""
        if self.test_share is None:
            return "Student's paired t-test"
        return "corrected resampled t-test"

    @property
    def verdict(self) -> str:
        """One sentence that says what was found."""
        words = self.metric.replace("_", " ")
        r = self.result
        # Where seeds overlap, Wilcoxon's test is as wrong as Student's.
        other = f", Wilcoxon {self.p_wilcoxon:.2g}" if self.test_share is None else ""
        found = (
            f"{words} {r.mean:+.4f} (95 % interval {r.low:+.4f} to {r.high:+.4f}, "
            f"{self.seeds} paired seeds, {self.test}, p = {r.p:.2g}{other}); better on "
            f"{self.wins} of {self.seeds} seeds"
        )
        if self.better is None:
            return (
                f"No difference found between {self.candidate} and {self.baseline}: "
                f"{found}.{self._missed()}"
            )
        word = "better" if self.better else "worse"
        return f"{self.candidate} is {word} than {self.baseline}: {found}."

    def _missed(self) -> str:
        """Say how large a difference this test would have found."""
        sd = float(self.differences().std(ddof=1))
        if not sd > 0:
            known = np.isfinite(self.result.low)
            return "" if known else " All differences are equal: take more seeds."
        large = stats.detectable_difference(sd, self.seeds, test_share=self.test_share)
        return f" A difference of {large:.4f} would be found four times in five."

    def differences(self) -> np.ndarray:
        """Return candidate minus baseline, (seeds,)."""
        arms = _arms(self.rows, self.metric)
        paired = (arms[self.candidate] - arms[self.baseline]).dropna()
        values: np.ndarray = paired.to_numpy(dtype=float)
        return values

    def table(self) -> "pandas.DataFrame":
        """Return the mean of every metric for both losses, and what they cost."""
        columns = [*METRICS, "fit_clean", "fit_flipped", "seconds"]
        means = self.rows.groupby("loss", sort=False)[columns].mean()
        means.insert(0, "setting", [self.settings[loss] for loss in means.index])
        return means

    def figure(self, ax: "Axes | None" = None) -> "Axes":
        """Draw both losses, a thin line for each seed."""
        arms = _arms(self.rows, self.metric).dropna()
        columns = {
            loss: arms[loss].to_numpy() for loss in (self.baseline, self.candidate)
        }
        return plots.paired(columns, ylabel=self.metric.replace("_", " "), ax=ax)

    @property
    def overlap(self) -> str:
        """One sentence on what the seeds have in common; none if it is nothing."""
        if self.test_share is None:
            return ""
        data = self.rows["data"].iloc[0]
        return (
            f"Every seed splits the same examples of {data} anew "
            f"({self.test_share:.0%} tested). The test allows for their overlap; what "
            "it finds holds for this data set."
        )

    @property
    def cost(self) -> str:
        """One sentence that says what the comparison and the candidate cost."""
        seconds = self.rows.groupby("loss")["seconds"].mean()
        ratio = seconds[self.candidate] / seconds[self.baseline]
        trainings = len(self.rows) + len(self.tuning)
        return (
            f"Training took {ratio:.2g} times as long with {self.candidate}. The "
            f"comparison took {trainings} trainings, {len(self.tuning)} of them for "
            "tuning, the same number for either loss."
        )

    def __str__(self) -> str:
        """Return the report as text."""
        chosen = "\n".join(
            f"  {loss}: {self.settings[loss]}"
            for loss in (self.baseline, self.candidate)
        )
        shown = self.table().drop(columns="setting").T
        failed = (
            f"\n{self.failed} trainings left the finite numbers; their pairs are left "
            "out."
            if self.failed
            else ""
        )
        overlap = f"\n{self.overlap}" if self.overlap else ""
        return (
            f"{self.verdict}{overlap}\n{self.cost}{failed}\n\n"
            f"Chosen on the tuning seeds:\n{chosen}\n\n"
            f"{shown.to_string(float_format=lambda v: f'{v:.4f}')}"
        )

    def _repr_markdown_(self) -> str:
        return " ".join([f"**{self.verdict}**", self.overlap, self.cost])


def compare(
    *,
    baseline: str,
    candidate: str,
    data: "str | Task" = "digits",
    metric: str = "accuracy",
    seeds: int = 10,
    budget: int = 5,
    tuning_seeds: int = 3,
    store: str | Path | None = None,
    n_jobs: int | None = None,
    progress: bool = True,
    **conditions: Any,
) -> Comparison:
    """Compare two losses fairly, and say what was found.

    Each loss tries `budget` settings on the tuning seeds: its default, then others that
    `settings` spreads over learning rates and parameters. The setting with the best
    mean of the metric is then run on the seeds of the report.

    The tuning seeds draw other splits and other initial weights than the report. A
    generator draws new data for each seed: the seeds are independent, and
    `stats.paired_t` gives test and interval. Real data and your own are split anew, and
    the splits overlap: `stats.corrected_resampled_t` allows for that, with the share of
    examples that were tested. The report names the test.

    Args:
        baseline: key of the loss that is there.
        candidate: key of the loss that wants its place.
        data: a name in `experiment.TASKS`, or a task of your own.
        metric: what decides, one of `METRICS`; name it before you look.
        seeds: paired seeds, at least 2.
        budget: settings that each loss may try, at least 1.
        tuning_seeds: seeds of each trial.
        store: a folder for finished rows.
        n_jobs: processes, as in `experiment.sweep`.
        progress: tell on standard error how far it is.
        conditions: further fields of `experiment.Config`, such as `imbalance=50`.

    Raises:
        ValueError: for a loss, a metric or a condition that there is not, or if too few
            pairs of trainings stay finite.
    """
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(METRICS)}, got {metric!r}")
    if baseline == candidate:
        raise ValueError(f"baseline and candidate must differ, got {baseline!r} twice")
    for name, value, least in (
        ("seeds", seeds, 2),
        ("budget", budget, 1),
        ("tuning_seeds", tuning_seeds, 1),
    ):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    given = None if isinstance(data, str) else {"own data": data}
    common = {"data": data if given is None else "own data", **conditions}
    options: dict[str, Any] = {
        "given": given,
        "store": store,
        "n_jobs": n_jobs,
        "progress": progress,
    }
    arms = (baseline, candidate)
    trials = {loss: settings(Config(loss=loss, **common), budget) for loss in arms}
    tuning = sweep(
        [
            _seeded(trial, TUNING + seed)
            for loss in arms
            for trial in trials[loss]
            for seed in range(tuning_seeds)
        ],
        **options,
    )
    chosen = {
        loss: _best(trials[loss], tuning, metric, loss, tuning_seeds) for loss in arms
    }
    rows = sweep(
        [_seeded(chosen[loss], seed) for loss in arms for seed in range(seeds)],
        **options,
    )
    return _compared(baseline, candidate, metric, rows, tuning, trials, chosen)


def settings(config: Config, budget: int) -> list[Config]:
    """Return the settings that a loss may try: its default first, `budget` in all.

    All losses try the same learning rates, from a tenth to ten times that of the
    config; an even budget leaves out the highest. A loss with parameters takes another
    value of each with every rate, spread over its range by a Halton sequence.

    >>> [c.learning_rate for c in settings(Config(learning_rate=0.01), 3)]
    [0.01, 0.001, 0.1]
    """
    from scipy.stats import qmc

    params = CATALOGUE[config.loss].params
    if budget == 1:
        return [config]
    # An odd number of factors has 1 in its middle; an even budget leaves out the last.
    factors = np.geomspace(0.1, 10, budget + 1 - budget % 2)[:budget]
    others = sorted(np.delete(factors, len(factors) // 2), key=lambda f: abs(np.log(f)))
    points = qmc.Halton(max(len(params), 1), scramble=False).random(budget)[1:]
    tried = [config]
    for factor, point in zip(others, points, strict=True):
        walks = {name: param.walk(1001) for name, param in params.items()}
        values = {
            name: float(f"{walk[round(1000 * u)]:.3g}")
            for (name, walk), u in zip(walks.items(), point, strict=False)
        }
        rate = float(f"{config.learning_rate * factor:.3g}")
        tried.append(replace(config, params=tuple(values.items()), learning_rate=rate))
    return tried


def _seeded(config: Config, seed: int) -> Config:
    return replace(config, seed=seed)


def _best(
    trials: Sequence[Config],
    tuning: "pandas.DataFrame",
    metric: str,
    loss: str,
    seeds: int,
) -> Config:
    """Return the trial with the best mean; one that left the numbers cannot win."""
    values = tuning.loc[tuning["loss"] == loss, metric].to_numpy(dtype=float)
    means = values.reshape(len(trials), seeds).mean(1)
    worst = -np.inf if METRICS[metric] else np.inf
    means = np.where(np.isnan(means), worst, means)
    return trials[int(means.argmax() if METRICS[metric] else means.argmin())]


def _arms(rows: "pandas.DataFrame", metric: str) -> "pandas.DataFrame":
    return rows.pivot_table(index="seed", columns="loss", values=metric, dropna=False)


def _compared(
    baseline: str,
    candidate: str,
    metric: str,
    rows: "pandas.DataFrame",
    tuning: "pandas.DataFrame",
    trials: Mapping[str, Sequence[Config]],
    chosen: Mapping[str, Config],
) -> Comparison:
    arms = _arms(rows, metric)
    paired = (arms[candidate] - arms[baseline]).dropna().to_numpy(dtype=float)
    if len(paired) < 2:
        raise ValueError(
            "at least 2 pairs of trainings must stay finite, got "
            f"{len(paired)}; lower the learning rate"
        )
    gains = paired if METRICS[metric] else -paired
    share = share_tested(rows)
    return Comparison(
        baseline=baseline,
        candidate=candidate,
        metric=metric,
        rows=rows,
        tuning=tuning,
        result=_tested(paired, share),
        test_share=share,
        p_wilcoxon=stats.wilcoxon_p(paired),
        wins=int((gains > 0).sum()),
        seeds=len(paired),
        settings={loss: _told(c, trials[loss]) for loss, c in chosen.items()},
        failed=int((rows["status"] != "ok").sum()),
    )


def _tested(differences: np.ndarray, share: float | None) -> PairedTest:
    """Return the test that is right for independent seeds, or for splits."""
    if share is None:
        return stats.paired_t(differences)
    return stats.corrected_resampled_t(differences, test_share=share)


def _told(config: Config, trials: Sequence[Config]) -> str:
    """Return a setting in words, and whether a better one may lie beyond."""
    params = ", ".join(f"{name} = {value:g}" for name, value in config.params)
    rates = [trial.learning_rate for trial in trials]
    edge = len(rates) > 1 and config.learning_rate in (min(rates), max(rates))
    note = ", the edge of what was tried" if edge else ""
    rate = f"learning rate {config.learning_rate:g}{note}"
    return f"{params}; {rate}" if params else f"default parameters; {rate}"
