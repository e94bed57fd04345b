"""The matrix: every loss that can train a classifier, under every condition.

Each loss meets the same ten seeds, once with its default parameters and once with the
ones that did best on seeds of their own. The rows are stored; chapters and the page of
results read them:

    from lossbook import matrix
    matrix.stored(losses=["focal", "cross_entropy"], conditions=["symmetric 0.4"])
    matrix.summary(conditions=["symmetric 0.4"])
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from lossbook import results, stats
from lossbook.card import LossCard
from lossbook.experiment import TRAINABLE, Config, needs
from lossbook.losses import CATALOGUE
from lossbook.results import Study, Sweep

if TYPE_CHECKING:
    import pandas as pd

BASELINE = "cross_entropy"
SEEDS = range(10)
TUNING = range(1000, 1003)  # draw other splits and other initial weights
VALUES = 5  # settings that a loss with parameters may try, its default among them

# Metric -> whether more of it is better.
METRICS = MappingProxyType(
    {
        "accuracy": True,
        "balanced_error": False,
        "nll": False,
        "brier": False,
        "ece": False,
        "distance": False,
        "severity": False,
        "seconds": False,
    }
)


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What is done to the data, and what is looked at.

    Attributes:
        name: as tables show it.
        about: one sentence.
        metric: what tunes and decides, named beforehand.
        fields: of `experiment.Config`.
        test_share: of the data, where seeds split one real data set and so overlap.
    """

    name: str
    about: str
    metric: str = "accuracy"
    fields: Mapping[str, Any] = field(default_factory=dict)
    test_share: float | None = None


_MODEL: dict[str, Any] = {"hidden": (64,), "batch_size": 128, "epochs": 60}
# So cross-entropy learns a fifth of the wrong labels by heart at a noise of 0.4. At a
# rate of 3e-3 and 60 epochs it learns a fortieth, and there is little to cure.
_DIGITS = {**_MODEL, "data": "digits", "learning_rate": 1e-2, "epochs": 80}
# Of the digits, the test part. Damage is drawn anew for each seed and lowers the
# correlation of overlapping splits: the share is that of the split before it.
_SHARE = 597 / 1797


def _noisy(noise: str, rate: float) -> Condition:
    how = {
        "symmetric": "replaced by another class, drawn evenly",
        "pair": "replaced by the next class",
    }
    return Condition(
        name=f"{noise} {rate:g}",
        about=f"Digits; {rate:.0%} of the training labels are {how[noise]}.",
        fields={**_DIGITS, "noise": noise, "noise_rate": rate},
        test_share=_SHARE,
    )


def _imbalanced(ratio: int) -> Condition:
    return Condition(
        name=f"imbalance 1:{ratio}",
        about=(
            "Digits; class sizes fall exponentially, the most frequent class having "
            f"{ratio} times as many training examples as the rarest. The order of the "
            "classes is drawn anew for each seed; the test part is balanced."
        ),
        metric="balanced_error",
        # As many updates as elsewhere, though there are fewer examples.
        fields={**_DIGITS, "imbalance": ratio, "batch_size": 64, "epochs": 80},
        test_share=_SHARE,
    )


def _tree(kind: str) -> Condition:
    told = {
        "right": "the tree that made the classes",
        "random": "a tree of the same shape whose leaves are shuffled",
    }
    return Condition(
        name=f"tree, {kind}",
        about=(
            "27 Gaussian classes, the leaves of a tree of depth 3, 20 training "
            f"examples each; losses that know a tree are told {told[kind]}. The "
            "distance is the height at which prediction and truth meet in the tree "
            "that made the classes."
        ),
        metric="distance",
        fields={
            **_MODEL,
            "data": "gaussian_tree",
            "tree": kind,
            "weight_decay": 1e-2,
        },
    )


CONDITIONS: Mapping[str, Condition] = MappingProxyType(
    {
        each.name: each
        for each in (
            Condition(
                name="clean",
                about="Digits: 1200 training examples of 10 classes, 597 to test.",
                fields=_DIGITS,
                test_share=_SHARE,
            ),
            *(_noisy("symmetric", rate) for rate in (0.2, 0.4, 0.6)),
            _noisy("pair", 0.4),
            *(_imbalanced(ratio) for ratio in (10, 50, 100)),
            _tree("right"),
            _tree("random"),
            Condition(
                name="ordered classes",
                about=(
                    "A hidden quantity, the sum of 10 inputs plus noise, cut into 5 "
                    "classes of equal probability; 400 training examples. The "
                    "distance is the number of classes between prediction and truth."
                ),
                metric="distance",
                fields={**_MODEL, "data": "ordinal", "weight_decay": 1e-2},
            ),
            Condition(
                name="few examples",
                about=(
                    "27 Gaussian classes, as in the right tree, 5 training examples "
                    "each. Digits would not do: tested on many examples and trained "
                    "on few, their splits tell little of a difference."
                ),
                fields={
                    **_MODEL,
                    "data": "gaussian_tree",
                    "train": 135,
                    "epochs": 240,
                    "weight_decay": 1e-2,
                },
            ),
            Condition(
                name="outliers",
                about=(
                    "Digits; a tenth of the training examples are moved ten times as "
                    "far from the center, with labels drawn at random."
                ),
                fields={**_DIGITS, "outliers": 0.1},
                test_share=_SHARE,
            ),
        )
    }
)
NOISY = tuple(c.name for c in CONDITIONS.values() if "noise" in c.fields)
IMBALANCED = tuple(c.name for c in CONDITIONS.values() if "imbalance" in c.fields)
TREES = tuple(c.name for c in CONDITIONS.values() if "tree" in c.fields)

# What a loss closes over -> the conditions whose data tell it something.
TOLD: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "counts": ("clean", *IMBALANCED),
        "transition": NOISY,
        "hierarchy": TREES,
        "costs": ("ordered classes",),
    }
)
# Losses of a kind that trains a classifier, but not in this way.
LEFT_OUT: Mapping[str, str] = MappingProxyType(
    {
        "AdaFocal": "its parameters follow validation data, which no training here has",
        "ConditionalSoftmax": "its outputs belong to the nodes of a tree, not to "
        "classes",
        "distillation": "it learns from a teacher's probabilities, and labels are none",
    }
)


# --- what is trained -----------------------------------------------------------


def reason(card: LossCard) -> str:
    """Return why a loss is not in the matrix; nothing if it is.

    >>> reason(CATALOGUE["zero_one"])
    'its gradient is zero wherever it exists'
    """
    if card.kind not in TRAINABLE:
        return {
            "pair": "it is not called with outputs and labels",
            "batch": "it is no sum over examples",
        }[card.kind]
    if card.properties.piecewise_constant is True:
        return "its gradient is zero wherever it exists"
    if card.opaque:
        return "it hands every example to a solver, one by one"
    return LEFT_OUT.get(card.key, "")


def losses() -> list[str]:
    """Return the losses of the matrix, in the order of the catalogue."""
    return [card.key for card in CATALOGUE.values() if not reason(card)]


def conditions_of(card: LossCard) -> list[str]:
    """Return the conditions that a loss is trained under.

    What closes over data is trained where the data have something to tell it.

    >>> conditions_of(CATALOGUE["ForwardCorrection"])[-1]
    'pair 0.4'
    """
    names = set(CONDITIONS)
    for told in needs(card):
        names &= set(TOLD.get(told, CONDITIONS))
    return [name for name in CONDITIONS if name in names]


def values_of(card: LossCard) -> list[dict[str, float]]:
    """Return the settings that a loss may try: its default first, which is {}.

    One parameter takes five evenly spaced values over its range, the one nearest the
    default being replaced by it. Of several, four points spread over their ranges by a
    Halton sequence are tried beside the default.

    >>> [round(s["gamma"], 2) for s in values_of(CATALOGUE["focal"])[1:]]
    [0.0, 1.25, 3.75, 5.0]
    """
    from scipy.stats import qmc

    if not card.params:
        return [{}]
    if len(card.params) == 1:
        [(name, param)] = card.params.items()
        values = param.walk(VALUES)
        nearest = min(values, key=lambda v: abs(v - param.default))
        return [{}, *({name: v} for v in values if v != nearest)]
    points = qmc.Halton(len(card.params), scramble=False).random(VALUES)[1:]
    walks = {name: param.walk(1001) for name, param in card.params.items()}
    return [{}] + [
        {
            name: float(f"{walk[round((len(walk) - 1) * u)]:.3g}")
            for (name, walk), u in zip(walks.items(), point, strict=True)
        }
        for point in points
    ]


@dataclass(frozen=True)
class Plan:
    """A matrix, or a part of one.

    Attributes:
        losses: keys of the catalogue.
        conditions: names in `CONDITIONS`.
        seeds: of the report.
        tuning: seeds of the tuning.
        fields: of `experiment.Config`, in the place of the conditions' own.
    """

    losses: Sequence[str]
    conditions: Sequence[str] = tuple(CONDITIONS)
    seeds: Sequence[int] = SEEDS
    tuning: Sequence[int] = TUNING
    fields: Mapping[str, Any] = field(default_factory=dict)

    def cells(self) -> list[tuple[str, str]]:
        """Return the pairs of condition and loss that are trained."""
        return [
            (condition, loss)
            for condition in self.conditions
            for loss in self.losses
            if condition in conditions_of(CATALOGUE[loss])
        ]

    def config(self, condition: str, loss: str, params: Mapping[str, float]) -> Config:
        """Return a training of a cell, with the first seed."""
        fields = {**CONDITIONS[condition].fields, **self.fields}
        if "hierarchy" not in needs(CATALOGUE[loss]):
            fields.pop("tree", None)  # one training for all trees
        return Config(loss=loss, params=tuple(params.items()), **fields)

    def defaults(self) -> list[tuple[str, Config]]:
        """Return what is trained with default parameters, by condition."""
        return [
            (condition, replace(self.config(condition, loss, {}), seed=seed))
            for condition, loss in self.cells()
            for seed in self.seeds
        ]

    def trials(self) -> list[tuple[str, Config]]:
        """Return what is trained to choose parameters, by condition."""
        return [
            (condition, replace(self.config(condition, loss, params), seed=seed))
            for condition, loss in self.cells()
            for params in values_of(CATALOGUE[loss])
            if CATALOGUE[loss].params
            for seed in self.tuning
        ]

    def configs(self) -> list[Config]:
        """Return every training that is known beforehand."""
        return [config for _, config in (*self.defaults(), *self.trials())]

    def most(self) -> int:
        """Return how many trainings there are if tuning changes every parameter."""
        tuned = [pair for pair in self.cells() if CATALOGUE[pair[1]].params]
        return len(set(self.configs())) + len(tuned) * len(self.seeds)

    def rows(self, sweep: Sweep) -> "pd.DataFrame":
        """Train all; return tidy rows.

        Returns:
            The rows of `experiment.sweep`, with columns `condition` and `stage`:
            "tuning", "default", or "tuned" (where the default did best in tuning,
            its rows are repeated; a loss without parameters has its default alone).
        """
        import pandas as pd

        defaults, trials = self.defaults(), self.trials()
        found = _Found(sweep)
        found.train(config for _, config in (*defaults, *trials))
        tuning = found.rows(trials, "tuning")
        tuned = [
            (condition, replace(self.config(condition, loss, params), seed=seed))
            for (condition, loss), params in self._chosen(tuning).items()
            for seed in self.seeds
        ]
        found.train(config for _, config in tuned)
        parts = [found.rows(defaults, "default"), tuning, found.rows(tuned, "tuned")]
        return pd.concat([part for part in parts if len(part)], ignore_index=True)

    def _chosen(
        self, tuning: "pd.DataFrame"
    ) -> dict[tuple[str, str], Mapping[str, float]]:
        """Return the setting of each cell with the best mean of its metric.

        One that left the finite numbers on any seed cannot win; ties go to the first.
        """
        chosen: dict[tuple[str, str], Mapping[str, float]] = {}
        if tuning.empty:
            return chosen
        for (condition, loss), rows in tuning.groupby(
            ["condition", "loss"], sort=False
        ):
            metric = CONDITIONS[str(condition)].metric
            tried = values_of(CATALOGUE[str(loss)])
            values = rows[metric].to_numpy(dtype=float)
            means = values.reshape(len(tried), len(self.tuning)).mean(1)
            means = means if METRICS[metric] else -means
            best = int(np.where(np.isnan(means), -np.inf, means).argmax())
            chosen[str(condition), str(loss)] = tried[best]
        return chosen


class _Found:
    """Rows of trainings, each run once, however often it is asked for."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        self.by_config: dict[Config, dict[str, Any]] = {}

    def train(self, configs: Iterable[Config]) -> None:
        """Train what is not there yet."""
        new = [c for c in dict.fromkeys(configs) if c not in self.by_config]
        if new:
            rows: list[Any] = self.sweep(new).to_dict("records")
            self.by_config |= dict(zip(new, rows, strict=True))

    def rows(self, wanted: Sequence[tuple[str, Config]], stage: str) -> "pd.DataFrame":
        """Return the rows of these trainings, with their condition and stage."""
        import pandas as pd

        return pd.DataFrame(
            [
                {"condition": condition, "stage": stage, **self.by_config[config]}
                for condition, config in wanted
            ]
        )


def plan() -> Plan:
    """Return the whole matrix."""
    return Plan(losses())


@cache
def _configs() -> tuple[Config, ...]:
    return tuple(plan().configs())


STUDY = Study(
    name="matrix",
    about="Every loss that can train a classifier, under every condition.",
    configs=_configs,
    compute=lambda study, sweep: plan().rows(sweep),
    most=lambda: plan().most(),
    added=("condition", "stage"),
)


# --- what is read --------------------------------------------------------------


def stored(
    losses: Sequence[str] | None = None,
    conditions: Sequence[str] | None = None,
    *,
    stage: str | None = None,
) -> "pd.DataFrame":
    """Return the stored rows, one a training.

    Args:
        losses: keys of the catalogue; None for all.
        conditions: names in `CONDITIONS`; None for all.
        stage: "default", "tuned" or "tuning"; None for all.

    Returns:
        Columns `condition`, `stage`, the fields of `experiment.Config`, and what was
        measured; `attrs` tells what they were made with.

    Raises:
        FileNotFoundError: where nothing is stored.
        ValueError: for a loss or a condition that is not in the matrix.
    """
    rows = results.read(STUDY.name)
    made_with = rows.attrs
    for name, wanted in (("loss", losses), ("condition", conditions)):
        if wanted is None:
            continue
        wanted = [wanted] if isinstance(wanted, str) else list(wanted)
        known = list(rows[name].unique())
        for each in wanted:
            if each not in known:
                raise ValueError(
                    f"{name} must be in the matrix ({', '.join(known)}), got {each!r}"
                )
        rows = rows[rows[name].isin(wanted)]
    if stage is not None:
        rows = rows[rows["stage"] == stage]
    rows = rows.reset_index(drop=True)
    rows.attrs = made_with
    return rows


def summary(
    rows: "pd.DataFrame | None" = None,
    *,
    losses: Sequence[str] | None = None,
    conditions: Sequence[str] | None = None,
    stage: str = "tuned",
    metric: str | None = None,
    baseline: str = BASELINE,
) -> "pd.DataFrame":
    """Return the paired difference of each loss to a baseline, under each condition.

    Args:
        rows: of the matrix; None for the stored ones.
        losses: that the table shows; None for all. The correction for several tests
            counts all losses of the condition, shown or not.
        conditions: that the table shows; None for all.
        stage: "tuned" or "default". A loss without parameters has its only rows.
        metric: one of `METRICS`; None for the one named for each condition.
        baseline: key of the loss that the others are compared with, at its default.

    Returns:
        A table with one row for each condition and loss, and these columns. `metric`;
        `mean` and `baseline`, the means over the seeds; `difference`, the mean of loss
        minus baseline on the same seed, with its 95 % interval from `low` to `high`;
        `p` and `p_holm`, the latter for all losses of the condition together; `better`,
        True or False where `p_holm` is below 0.05, else None; `seeds`, the pairs that
        stayed finite; `failed`, those that did not; `setting`, the parameters, empty at
        the default. Where seeds split one data set, intervals and p-values allow for
        the overlap, as `stats.corrected_resampled_t` does.

    Raises:
        FileNotFoundError: where nothing is stored.
        ValueError: for a stage, a metric or a baseline that there is not.
    """
    import pandas as pd

    if stage not in ("tuned", "default"):
        raise ValueError(f'stage must be "tuned" or "default", got {stage!r}')
    if metric is not None and metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(METRICS)}, got {metric!r}")
    rows = results.read(STUDY.name) if rows is None else rows.copy(deep=False)
    made_with, rows.attrs = rows.attrs, {}  # pandas would copy them in each step
    parts = [
        _compared(str(name), of_condition, stage, metric, baseline)
        for name, of_condition in rows.groupby("condition", sort=False)
        if conditions is None or name in conditions
    ]
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    if losses is not None:
        table = table[table["loss"].isin(losses)].reset_index(drop=True)
    table.attrs = made_with
    return table


def _compared(
    name: str, rows: "pd.DataFrame", stage: str, metric: str | None, baseline: str
) -> "pd.DataFrame":
    """Return the summary of one condition."""
    import pandas as pd

    condition = CONDITIONS[name]
    metric = metric or condition.metric
    rows = rows[["loss", "seed", "setting", "stage", "status", metric]]
    arms = rows[rows["stage"] == "default"]
    order = list(dict.fromkeys(arms["loss"]))
    if baseline not in order:
        raise ValueError(
            f"baseline must be a loss of the matrix under {name!r}, got {baseline!r}"
        )
    if stage == "tuned":
        tuned = rows[(rows["stage"] == "tuned") & (rows["loss"] != baseline)]
        order = list(dict.fromkeys([*order, *tuned["loss"]]))
        arms = pd.concat([arms[~arms["loss"].isin(tuned["loss"])], tuned])
    values = arms.pivot(index="seed", columns="loss", values=metric)
    setting = arms.groupby("loss")["setting"].first()
    failed = (arms["status"] != "ok").groupby(arms["loss"]).sum()
    base = values[baseline].to_numpy(dtype=float)
    found = []
    for loss in order:
        own = values[loss].to_numpy(dtype=float)
        paired = (own - base)[~np.isnan(own - base)]
        row: dict[str, Any] = {
            "condition": name,
            "loss": str(loss),
            "setting": str(setting[loss]),
            "metric": metric,
            "mean": _mean(own),
            "baseline": _mean(base),
            "seeds": len(paired),
            "failed": int(failed[loss]),
        }
        found.append(row | _tested(paired, condition.test_share, loss == baseline))
    table = pd.DataFrame(found)
    tests = table["p"].notna()
    table["p_holm"] = np.nan
    table.loc[tests, "p_holm"] = stats.holm(table.loc[tests, "p"].to_numpy())
    gains = table["difference"] if METRICS[metric] else -table["difference"]
    clear = table["p_holm"] < 0.05
    table["better"] = [
        bool(g > 0) if c else None for g, c in zip(gains, clear, strict=True)
    ]
    return table


def _mean(values: np.ndarray) -> float:
    """Return the mean of the seeds that ended in numbers; nan where none did."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else float("nan")


def _tested(
    paired: np.ndarray, test_share: float | None, is_baseline: bool
) -> dict[str, float]:
    """Return difference, interval and p-value; missing where there is no test."""
    none = dict.fromkeys(("difference", "low", "high", "p"), float("nan"))
    if is_baseline or len(paired) < 2:
        return none | ({"difference": 0.0} if is_baseline else {})
    if test_share is None:
        made = stats.paired_t(paired)
    else:
        made = stats.corrected_resampled_t(paired, test_share=test_share)
    return {"difference": made.mean, "low": made.low, "high": made.high, "p": made.p}


def columns(
    losses: Sequence[str],
    conditions: Sequence[str] | None = None,
    *,
    stage: str = "tuned",
    rows: "pd.DataFrame | None" = None,
) -> dict[str, list[str]]:
    """Return the summary of a few losses in words, column by column, for a table.

    Args:
        losses: keys of the catalogue; the baseline is no row of its own.
        conditions: names in `CONDITIONS`; None for all.
        stage: as in `summary`.
        rows: of the matrix; None for the stored ones.

    Returns:
        What `book.table` takes, columns of one length. They are "condition", "loss"
        (with its parameters, where they are not the defaults), "metric",
        "cross-entropy" (its mean), "difference" (loss minus cross-entropy), "95 %
        interval" (empty where every seed gave the same), and "clearly", which says
        "better" or "worse" where the test, corrected for all losses of the condition,
        is below 5 %.

    Raises:
        FileNotFoundError: where nothing is stored.
    """
    found = summary(rows, losses=losses, conditions=conditions, stage=stage)
    records = found[found["loss"] != BASELINE].to_dict("records")
    return {
        "condition": [str(row["condition"]) for row in records],
        "loss": [f"`{row['loss']}` {row['setting']}".strip() for row in records],
        "metric": [str(row["metric"]).replace("_", " ") for row in records],
        BASELINE.replace("_", "-"): [_typed(row["baseline"]) for row in records],
        "difference": [_typed(row["difference"], "+") for row in records],
        "95 % interval": [
            f"{_typed(row['low'], '+')} to {_typed(row['high'], '+')}"
            if np.isfinite(row["high"] - row["low"])
            else ""
            for row in records
        ],
        "clearly": [
            {True: "better", False: "worse"}.get(row["better"], "") for row in records
        ],
    }


def _typed(value: float, sign: str = "") -> str:
    """Return a number with three decimals, and a minus that is one."""
    return f"{value:{sign}.3f}".replace("-", "\N{MINUS SIGN}")
