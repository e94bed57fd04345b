"""The page of results: every loss under every condition, from the stored rows."""

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import pandas as pd

from lossbook import matrix, results, style
from lossbook.card import LossCard
from lossbook.losses import CATALOGUE
from tools import catalogue
from tools.markdown import page, raw

TITLE = "Every loss under every condition"
CELL, ROW, NAMES, TITLES = 52.0, 20.0, 190.0, 120.0  # of the drawing, in pixels
BETTER, WORSE = style.CURVES[0], style.CURVES[1]
UP, DOWN = "\N{BLACK UP-POINTING TRIANGLE}", "\N{BLACK DOWN-POINTING TRIANGLE}"
MINUS = "\N{MINUS SIGN}"


def text() -> str:
    """The page, as Markdown."""
    try:
        rows = matrix.stored()
    except FileNotFoundError:
        rows = None
    return results_page(rows)


def results_page(rows: pd.DataFrame | None) -> str:
    """The page of stored rows; without any it says what will be measured.

    Args:
        rows: of `matrix.stored`.
    """
    if rows is None:
        nothing = (
            "Nothing is stored: `make results` trains all losses and stores what it "
            "measures."
        )
        return page(
            TITLE, nothing, *conditions_told(list(matrix.CONDITIONS)), left_out()
        )
    tuned = matrix.summary(rows)
    names = list(tuned["condition"].unique())
    blocks = [
        *how(rows, tuned),
        *state(rows),
        "## The differences at a glance",
        legend(),
        heat_map(tuned),
        *nothing_shown(tuned),
        "## Each condition",
        "A click on a title of a column sorts by it. *Difference* is to cross-entropy "
        "on the same seeds, with its interval of 95 %; ▲ and ▼ mark what is clearly "
        "better and clearly worse. *As it comes* is the difference with default "
        "parameters. *Time* is that of the training, in units of cross-entropy's.",
    ]
    for name in names:
        blocks += [f"### {name.capitalize()}", told(name), table(rows, tuned, name)]
    script = raw('<script src="../../_static/sortable.js"></script>')
    return page(TITLE, *blocks, left_out(), made_with(rows), script)


# --- words -----------------------------------------------------------------------


def how(rows: pd.DataFrame, tuned: pd.DataFrame) -> Iterator[str]:
    """How it was measured."""
    trained = rows.drop_duplicates("key") if "key" in rows else rows
    seeds = rows.loc[rows["stage"] == "default", "seed"].nunique()
    tuning = rows.loc[rows["stage"] == "tuning", "seed"].nunique()
    yield (
        f"{tuned['loss'].nunique()} losses, {tuned['condition'].nunique()} conditions, "
        f"{len(trained)} trainings. Every loss meets the same {seeds} seeds: the same "
        "examples, the same damage to them, the same initial weights, the same order. "
        f"A loss with parameters is run with its defaults, and with the best of "
        f"{matrix.VALUES} settings, chosen on {tuning} seeds that are not among the "
        "others. What decides was named for each condition beforehand."
    )
    yield (
        "The network is small, one hidden layer of "
        f"{rows['hidden'].iloc[0]} units; optimizer ({rows['optimizer'].iloc[0]}), "
        "learning rate and number of updates are the same for all losses of a "
        "condition, and nothing is stopped early. So a loss that needs another rate "
        "than cross-entropy is at a disadvantage here, and large networks may "
        "differ. Only losses with parameters had something to tune. The rate of the "
        "digits was raised threefold, and their epochs from 60 to 80, after a first "
        "run: in it cross-entropy learned few of the wrong labels by heart, and losses "
        "made for noise had little to cure."
    )
    yield (
        "p-values are corrected for all losses of a condition by Holm's method. Splits "
        "of one real data set overlap: there, intervals and p-values allow for it, as "
        "Nadeau and Bengio do, and a difference must be large to be clear. On "
        "synthetic data each seed draws its own examples, and Student's paired test is "
        "right. Outputs of losses that have no probabilities are put through a softmax "
        "for ECE and NLL, as they are."
    )


def state(rows: pd.DataFrame) -> list[str]:
    """What has changed since the rows were made, if anything."""
    changed = results.stale(matrix.STUDY, rows)
    if not changed:
        return []
    return [
        "**Changed since these rows were made:** "
        f"{', '.join(f'`{each}`' for each in changed)}. `make results` renews them."
    ]


def conditions_told(names: Sequence[str]) -> list[str]:
    """The conditions, in a list."""
    lines = [f"- **{name}**: {told(name)}" for name in names]
    return ["## The conditions", "\n".join(lines)]


def told(name: str) -> str:
    """One condition, and what decides under it."""
    condition = matrix.CONDITIONS[name]
    trained = matrix.Plan([matrix.BASELINE]).config(name, matrix.BASELINE, {})
    decay = f", weight decay {trained.weight_decay:g}" if trained.weight_decay else ""
    return (
        f"{condition.about} Trained for {trained.epochs} epochs, batches of "
        f"{trained.batch_size}, learning rate {trained.learning_rate:g}{decay}. What "
        f"decides: {words(condition.metric)}."
    )


def words(metric: str) -> str:
    """A metric, as a reader calls it."""
    return metric.replace("_", " ")


def left_out() -> str:
    """The losses that are not in the matrix, each with the reason."""
    reasons: dict[str, list[LossCard]] = {}
    for card in CATALOGUE.values():
        if matrix.reason(card):
            reasons.setdefault(matrix.reason(card), []).append(card)
    lines = [
        f"- {', '.join(catalogue.link(card) for card in cards)}: {reason}."
        for reason, cards in reasons.items()
    ]
    partly = [
        f"- {catalogue.link(CATALOGUE[loss])}: {', '.join(under)}."
        for loss in matrix.losses()
        if len(under := matrix.conditions_of(CATALOGUE[loss])) < len(matrix.CONDITIONS)
    ]
    return "\n\n".join(
        [
            "## What is left out",
            "These losses cannot be trained in this way:",
            "\n".join(lines),
            "What closes over data (class counts, a noise matrix, a tree, costs) is "
            "trained where the data have something to tell it:",
            "\n".join(partly),
        ]
    )


def nothing_shown(tuned: pd.DataFrame) -> Iterator[str]:
    """What did not show."""
    tested = tuned[tuned["p"].notna()]
    clear = tested["better"].notna()
    better = int((tested["better"] == True).sum())  # noqa: E712 (None is neither)
    yield "## What did not show"
    yield (
        f"Of {len(tested)} differences, {better} are clearly better than "
        f"cross-entropy, {int(clear.sum()) - better} clearly worse, and "
        f"{int((~clear).sum())} are neither: these seeds cannot tell them from none. "
        "That is not a proof of equality; the interval says how large a difference "
        "could have gone unseen."
    )
    lines = []
    for name, part in tuned.groupby("condition", sort=False):
        won = part[part["better"] == True]  # noqa: E712
        if won.empty:
            lines.append(f"- **{name}**: no loss is clearly better than cross-entropy.")
    if lines:
        yield "\n".join(lines)
    failed = tuned[tuned["failed"] > 0]
    if not failed.empty:
        yield "Trainings that left the finite numbers, and count for nothing: " + (
            "; ".join(
                f"{row.loss} under {row.condition}, {row.failed}"
                for row in lines_of(failed)
            )
            + "."
        )


def made_with(rows: pd.DataFrame) -> str:
    """The machine, the versions, the key."""
    shown = {k: v for k, v in rows.attrs.items() if k != "code"}
    lines = [f"- {name}: `{value}`" for name, value in shown.items()]
    return "\n\n".join(["## What it was made with", "\n".join(lines)])


# --- the drawing -----------------------------------------------------------------


def legend() -> str:
    """How the drawing is read."""
    return (
        "Each number is 100 times the difference to cross-entropy in what decides "
        "under the condition, at the tuned parameters, with the sign turned so that "
        "more is better: points of accuracy or of balanced error, hundredths of a "
        f"level or of a class. Bold with {UP} or {DOWN}: clearly better or clearly "
        "worse, after the correction for several tests. The shade tells how many times "
        "the error grows or shrinks. The interval of each number stands in the tables "
        "below."
    )


def heat_map(tuned: pd.DataFrame) -> str:
    """A drawing: a row a loss, a column a condition."""
    conditions = list(tuned["condition"].unique())
    cells = {(row.loss, row.condition): row for row in lines_of(tuned)}
    families = [
        (family, [card.key for card in cards])
        for family, cards in catalogue.by_family(
            [CATALOGUE[loss] for loss in tuned["loss"].unique()]
        )
    ]
    parts, y = [_titles(conditions)], TITLES
    width = NAMES + CELL * len(conditions) + 10
    for family, losses in families:
        parts.append(
            f'<line class="rule" x1="0" x2="{width:g}" y1="{y:g}" y2="{y:g}"/>'
            f'<text class="clear" x="4" y="{y + ROW / 2:g}">{family}</text>'
        )
        y += ROW
        for loss in losses:
            parts.append(f'<text x="14" y="{y + ROW / 2:g}">{loss}</text>')
            for column, condition in enumerate(conditions):
                if (loss, condition) in cells:
                    x = NAMES + CELL * column
                    parts.append(_cell(cells[loss, condition], x, y))
            y += ROW
    alt = (
        f"Differences of {tuned['loss'].nunique()} losses to cross-entropy under "
        f"{len(conditions)} conditions. The tables below list them."
    )
    drawing = (
        f'<svg role="img" aria-label="{escape(alt)}" width="{width:g}" '
        f'height="{y + 6:g}" viewBox="0 0 {width:g} {y + 6:g}">{"".join(parts)}</svg>'
    )
    return raw(
        f"<style>{_shades()}</style>"
        '<div class="lb-scroll lb-heat" role="region" tabindex="0" '
        f'aria-label="Drawing of all differences">{drawing}</div>'
    )


def _shades() -> str:
    """The colors of better and worse, on light and dark pages."""
    return "".join(
        f".lb-heat .{name}{{fill:{look.light}}}"
        f"html[data-theme=dark] .lb-heat .{name}{{fill:{look.dark}}}"
        for name, look in (("up", BETTER), ("down", WORSE))
    )


def _titles(conditions: Sequence[str]) -> str:
    """The columns' titles, slanted."""
    return "".join(
        f'<text transform="translate({NAMES + CELL * (k + 0.5):g} {TITLES - 8:g}) '
        f'rotate(-55)">{escape(name)}</text>'
        for k, name in enumerate(conditions)
    )


def _cell(row: Any, x: float, y: float) -> str:
    """One number and its shade."""
    up = matrix.METRICS[row.metric]
    gain = 100 * (row.difference if up else -row.difference)
    middle = f'x="{x + CELL / 2:g}" y="{y + ROW / 2:g}"'
    if row.loss == matrix.BASELINE:
        return f'<text class="number" {middle}>0</text>'
    if math.isnan(gain):
        return f'<text class="number" {middle}>failed</text>'
    look = "up" if gain >= 0 else "down"
    share = 0.45 * min(1.0, abs(_times(row, up)) / 2)
    mark = {True: UP, False: DOWN}.get(row.better, "")
    bold = " clear" if mark else ""
    return (
        f'<rect class="{look}" fill-opacity="{share:.2f}" x="{x + 1:g}" '
        f'y="{y + 1:g}" width="{CELL - 2:g}" height="{ROW - 2:g}"/>'
        f'<text class="number{bold}" {middle}>{signed(gain, 1)}{mark}</text>'
    )


def _times(row: Any, more_is_better: bool) -> float:
    """How many times the error doubles."""
    error, base = row.mean, row.baseline
    if more_is_better:
        error, base = 1 - error, 1 - base
    return math.log2(max(error, 1e-4) / max(base, 1e-4))


# --- the tables ------------------------------------------------------------------


def table(rows: pd.DataFrame, tuned: pd.DataFrame, name: str) -> str:
    """All losses under one condition, sortable where scripts run."""
    shown = tuned[tuned["condition"] == name]
    [metric] = shown["metric"].unique()
    default = matrix.summary(rows, conditions=[name], stage="default").set_index("loss")
    means = _means(rows[rows["condition"] == name])
    severity = bool(means["severity"].notna().any())
    base = means.loc[matrix.BASELINE, "seconds"]
    header = [
        "Loss",
        words(metric).capitalize(),
        "Difference",
        "Interval",
        "p",
        "As it comes",
        "Parameters",
        *[
            words(m).upper() if m in ("ece", "nll") else words(m).capitalize()
            for m in _others(metric, severity)
        ],
        "Time",
    ]
    ranked = shown.sort_values("mean", ascending=not matrix.METRICS[metric])
    body = []
    for row in lines_of(ranked):
        own = means.loc[row.loss]
        mark = {True: UP, False: DOWN}.get(row.better, "")
        tested = not math.isnan(row.low)
        interval = f"{signed(row.low, 4)} to {signed(row.high, 4)}" if tested else ""
        if tested and not math.isfinite(row.high - row.low):  # no spread to judge by
            interval = "the same on every seed"
        as_it_comes = default.loc[row.loss, "difference"]
        cells = [
            _td(row.mean, plain(row.mean, 4)),
            _td(row.difference, f"{signed(row.difference, 4)} {mark}".strip()),
            _td(row.high - row.low, interval),
            _td(row.p_holm, "" if math.isnan(row.p_holm) else f"{row.p_holm:.2g}"),
            _td(as_it_comes, signed(as_it_comes, 4)),
            f"<td>{escape(row.setting)}</td>",
            *(_td(own[m], plain(own[m], 3)) for m in _others(metric, severity)),
            _td(own["seconds"] / base, plain(own["seconds"] / base, 2)),
        ]
        link = catalogue.link(CATALOGUE[row.loss])
        body.append(f'<tr><th scope="row">{link}</th>{"".join(cells)}</tr>')
    titles = "".join(f'<th scope="col">{title}</th>' for title in header)
    label = escape(f"Losses under the condition {name}")
    return raw(
        f'<div class="lb-scroll" role="region" tabindex="0" aria-label="{label}">'
        f'<table class="lb-sortable"><thead><tr>{titles}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def lines_of(frame: pd.DataFrame) -> Iterator[Any]:
    """The rows, with the columns as attributes."""
    yield from frame.itertuples()


def _others(metric: str, severity: bool) -> list[str]:
    """What is shown beside the metric that decides."""
    names = ["accuracy", "balanced_error", "nll", "ece"]
    names += ["severity"] if severity else []
    return [name for name in names if name != metric]


def _means(rows: pd.DataFrame) -> pd.DataFrame:
    """Each loss's means over the seeds: at its tuned parameters, if it has some."""
    tuned = rows[rows["stage"] == "tuned"]
    default = rows[(rows["stage"] == "default") & ~rows["loss"].isin(tuned["loss"])]
    columns = [*matrix.METRICS]
    return pd.concat([default, tuned]).groupby("loss")[columns].mean()


def _td(value: float, shown: str) -> str:
    """A cell that sorts by its value."""
    given = f"{value:.6g}" if math.isfinite(value) else ""
    return f'<td data-value="{given}">{shown}</td>'


def plain(value: float, digits: int) -> str:
    """A number, nothing if it is missing."""
    return "" if math.isnan(value) else f"{value:.{digits}f}".replace("-", MINUS)


def signed(value: float, digits: int) -> str:
    """A number with its sign, nothing if it is missing."""
    return "" if math.isnan(value) else f"{value:+.{digits}f}".replace("-", MINUS)
