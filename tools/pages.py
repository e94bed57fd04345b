"""Pages made from executed notebooks and from the package; they are not in git."""

import importlib.metadata
import os
import platform
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from nbformat import NotebookNode

from benchmarks import cases, families, store, training
from tools import api, catalogue, datasets, matrix_page, notebooks
from tools.markdown import page, table
from tools.paths import CONSTRAINTS

FOLDER = Path("book/generated")
MAIN_PACKAGES = (
    "numpy",
    "torch",
    "scipy",
    "pandas",
    "scikit-learn",
    "sympy",
    "matplotlib",
    "jupyter-book",
    "sphinx",
    "sphinx-book-theme",
    "myst-nb",
    "nbclient",
    "ipykernel",
)
VERDICTS = {
    "true": "True",
    "half": "Half true",
    "false": "False",
    "unverifiable": "Cannot be verified",
}

Shown = Mapping[Path, NotebookNode]


@dataclass(frozen=True)
class Statement:
    """A claim or a verdict that a notebook displayed.

    Attributes:
        fields: The output's metadata under `lossbook`.
        link: A link to the place that displays it.
    """

    fields: Mapping[str, str]
    link: str


def generate(shown: Shown) -> dict[Path, str]:
    """All generated pages: path in the source tree -> text.

    Args:
        shown: The notebooks as the site shows them, by path.
    """
    return {
        FOLDER / "claims.md": claims_page(list(statements(shown, "claim"))),
        FOLDER / "verdicts.md": verdicts_page(list(statements(shown, "verdict"))),
        FOLDER / "speed.md": speed_page(store.read(), store.read(training.STORED)),
        FOLDER / "times.md": times_page(seconds_of(shown)),
        FOLDER / "environment.md": environment_page(),
        FOLDER / "results.md": matrix_page.text(),
        **catalogue.generate(),
        **datasets.generate(),
        **api.generate(),
    }


# --- notebooks -----------------------------------------------------------------


def title_of(notebook: NotebookNode) -> str:
    """The first heading of a notebook."""
    for cell in notebook.cells:
        for heading in headings(cell):
            return heading
    return "Untitled"


def headings(cell: NotebookNode) -> list[str]:
    """The headings in a cell, without what only Sphinx reads."""
    if cell.cell_type != "markdown":
        return []
    return re.findall(r"^#{1,3} +(.+?)\s*$", cell.source, re.MULTILINE)


# --- claims and verdicts -------------------------------------------------------


def statements(shown: Shown, kind: str) -> Iterator[Statement]:
    """The statements of a kind, in the order of the book.

    Args:
        shown: The notebooks as the site shows them, by path.
        kind: `claim` or `verdict`.
    """
    for path, notebook in shown.items():
        title = title_of(notebook)
        for fields in notebooks.displayed(notebook):
            if fields["kind"] == kind:
                anchor = f"{kind}-{fields['id'].lower()}"
                yield Statement(fields, link_to(path, title, anchor))


def link_to(path: Path, title: str, anchor: str = "") -> str:
    """A link from a generated page to a notebook's page.

    It is HTML: Sphinx does not know the anchors that outputs make. The check of the
    built site does.
    """
    up = os.path.relpath(path.with_suffix(".html"), FOLDER).replace(os.sep, "/")
    return f'<a href="{up}{"#" if anchor else ""}{anchor}">{title}</a>'


def claims_page(claims: Sequence[Statement]) -> str:
    """Every executed claim of the book."""
    intro = (
        "Each line is a statement that a chapter executed while this book was "
        "built. A claim that fails stops the build."
    )
    if not claims:
        return page("Executed claims", intro, "No chapter of this build has a claim.")
    rows = [
        [
            claim.fields["statement"],
            claim.link,
            claim.fields.get("evidence", ""),
            claim.fields.get("tolerance", ""),
        ]
        for claim in claims
    ]
    header = ["Claim", "Chapter", "Evidence", "Tolerance"]
    count = f"Claims executed in this build: {len(claims)}."
    return page("Executed claims", intro, count, table(header, rows))


def verdicts_page(verdicts: Sequence[Statement]) -> str:
    """Common claims about losses, judged by what was executed."""
    intro = (
        "What is often said about classification losses, and what the chapters "
        "found when they executed it."
    )
    title = "Common claims on trial"
    if not verdicts:
        return page(title, intro, "No chapter of this build judges a claim.")
    ordered = sorted(verdicts, key=lambda each: number(each.fields["id"]))
    return page(title, intro, tally(ordered), *map(verdict_block, ordered))


def tally(verdicts: Sequence[Statement]) -> str:
    """How many claims got which verdict."""
    judged = Counter(each.fields["verdict"] for each in verdicts)
    counts = [f"{word.lower()}: {judged[key]}" for key, word in VERDICTS.items()]
    return f"Claims judged in this build: {len(verdicts)} ({', '.join(counts)})."


def verdict_block(verdict: Statement) -> str:
    """One verdict; it looks as in its chapter, and says where that is."""
    fields = verdict.fields
    return "\n\n".join(
        [
            f'<div class="lb-verdict lb-{fields["verdict"]}">',
            f"**{fields['id']}.** “{fields['statement']}”",
            f"**{VERDICTS[fields['verdict']]}.** {fields.get('correction', '')}",
            f"*Checked in {verdict.link}:* {fields.get('evidence', '')}.",
            "</div>",
        ]
    )


def number(identifier: str) -> tuple[int, str]:
    """Sort S7 before S12."""
    digits = re.sub(r"\D", "", identifier)
    return int(digits or 0), identifier


# --- speed of the losses -------------------------------------------------------


def speed_page(frame: pd.DataFrame | None, swept: pd.DataFrame | None = None) -> str:
    """What `make bench` measured, and whether the code is still the same.

    Args:
        frame: of the losses, None if nothing is stored.
        swept: of sweeps of trainings.
    """
    title = "Speed and memory of the losses"
    if frame is None:
        return page(title, "Nothing is stored: `make bench` measures and stores it.")
    limit = frame[(frame.kind == "") & (frame.case == "")]
    how = (
        "Processor time for the loss of every example, their mean, and its gradient "
        f"in the logits, divided by that of `{cases.BASELINE}` on the same logits: "
        "below 1 is faster. All rows of a size were timed in interleaved rounds of "
        "random order, garbage collection off, one thread, the least of the rounds "
        "taken, each size in a process of its own. How long the baseline takes depends "
        "on whether memory is fresh or used before; interleaving gives all rows the "
        "same mixture. Where it is fresh, as at the largest size, a large gradient of "
        "lossbook costs less: its memory is numpy's, which comes in large pages where "
        "Linux has them. "
        "Losses of one number each are taken through `Criterion`, which asks for their "
        "mean alone where it is faster. "
        f"Logits are drawn from a normal distribution of deviation {cases.MILD:g}. "
        "A loss that closes over a matrix of classes is measured with at most "
        f"{cases.MOST['costs']} of them, one that closes over a tree with at most "
        f"{cases.MOST['hierarchy']}; one that hands every example to a solver is not."
    )
    columns = (
        "*/ limit* is the time over that of a copy of the logits. "
        f"*Sharp / mild* is a loss's own time at deviation {cases.SHARP:g} over that "
        f"at {cases.MILD:g}. *Peak* is the most memory held beyond the input, of torch "
        "and of numpy, in units of the logits; the gradient alone is 1."
    )
    lowest = (
        "No computation that reads the logits once and writes their gradient once can "
        f"be faster than a copy: {limit.ratio.min():.2f} to {limit.ratio.max():.2f} of "
        "the baseline, depending on the size."
    )
    tables = [
        block
        for kind, rows in store.summary(frame).groupby("kind", sort=False)
        if kind
        for block in ("## Kind: " + str(kind), speed_table(rows.droplevel("kind")))
    ]
    blocks = [how, columns, lowest, *state(frame), *tables, *rivals(frame)]
    blocks += sweeps(swept)
    return page(title, *blocks, measured_on(frame))


def rivals(frame: pd.DataFrame) -> list[str]:
    """The losses that need more than logits, each beside its rivals."""
    shown = store.cases_table(frame)
    if shown.empty:
        return []
    how = (
        "Losses of embeddings, of a hierarchy and of costs, with gradient, beside the "
        "textbook form and other libraries. *Ours / it* is the time of our loss over "
        "that of the row, and *goal* how much it may be. *Peak* is the most memory "
        "held beyond the input, in units of what the case names, and *peak goal* how "
        "much ours may hold. Each case is measured in a process of its own, where "
        "memory is fresh. Where large arrays were used before, memory costs less, and "
        "the ratios of the largest cases lie closer to 1."
    )
    units = {case.name: case.unit for case in families.CASES}
    cells = [
        [
            f"{case}, in units of {units.get(case, 'its input')}",
            f"`{subject}`",
            *("" if pd.isna(v) else f"{v:.3g}" for v in row),
        ]
        for (case, subject), row in zip(shown.index, shown.to_numpy(), strict=True)
    ]
    blocks = ["## Losses among their rivals", how]
    blocks.append(table(["Case", "Loss", *shown.columns], cells))
    absent = families.absent(frame)
    if absent:
        names = ", ".join(f"`{name}`" for name in absent)
        blocks.append(f"Not installed where this was measured: {names}.")
    return blocks


def sweeps(frame: pd.DataFrame | None) -> list[str]:
    """How long many trainings take, in lockstep and otherwise."""
    if frame is None:
        return []
    words = (
        "The same small networks on the digits, trained in several ways, by the clock. "
        "*Measured* trainings were timed, the least of alternating rounds; *all* is "
        "their time scaled to all models. *Ratio* is a model's time over that of the "
        f"{training.PLAIN}, one model after the other in plain torch."
    )
    stale = (
        []
        if frame.attrs["key"] == training.key()
        else ['**Changed since:** `make bench BENCH="--only lockstep"` renews these.']
    )
    names = {
        "way": "Way",
        "models": "Models",
        "classes": "Classes",
        "losses": "Losses",
        "measured": "Measured",
        "seconds_for_all": "All, in seconds",
        "ratio": "Ratio",
    }
    blocks = ["## Sweeps of trainings", words, *stale]
    for study, rows in frame.groupby("study", sort=False):
        cells = [
            [
                f"{value:.2f}" if isinstance(value, float) else str(value)
                for value in row
            ]
            for row in rows[list(names)].itertuples(index=False)
        ]
        blocks += [f"### {str(study).capitalize()}", table(list(names.values()), cells)]
    return blocks


def speed_table(rows: pd.DataFrame) -> str:
    """Ratios of the subjects of a kind."""
    shown = rows.map(lambda ratio: "" if pd.isna(ratio) else f"{ratio:.2f}")
    cells = [[f"`{name}`", *shown.loc[name]] for name in rows.index]
    return table(["Loss", *rows.columns], cells)


def state(frame: pd.DataFrame) -> list[str]:
    """What has changed since the rows were measured, if anything."""
    blocks = []
    if frame.attrs["key"] != store.shared_key():
        blocks.append(
            "**The kernels or the benchmark have changed since these rows were "
            "measured:** `make bench` renews them."
        )
    changed, missing = families.changed(frame), families.missing(frame)
    if changed:
        blocks.append(f"Changed since: {', '.join(f'`{name}`' for name in changed)}.")
    if missing:
        names = ", ".join(f"`{name}`" for name in missing)
        blocks.append(f"Not measured yet: {names}.")
    return blocks


def measured_on(frame: pd.DataFrame) -> str:
    """The machine, the versions, the code."""
    rows = [[str(name), f"`{value}`"] for name, value in frame.attrs.items()]
    return f"## Where it was measured\n\n{table(['What', 'Value'], rows)}"


# --- times and versions --------------------------------------------------------


def seconds_of(shown: Shown) -> dict[str, tuple[str, float | None]]:
    """Title and seconds of each notebook; None where none were measured."""
    measured = notebooks.seconds_of()
    return {
        path.as_posix(): (title_of(notebook), measured.get(path.as_posix()))
        for path, notebook in shown.items()
    }


def times_page(times: Mapping[str, tuple[str, float | None]]) -> str:
    """How long each notebook took."""
    rows, total = [], 0.0
    for name, (title, seconds) in times.items():
        link = link_to(Path(name), title)
        measured = "not measured in this build" if seconds is None else f"{seconds:.1f}"
        rows.append([link, measured])
        total += seconds or 0.0
    rows.append(["Total", f"{total:.1f}"])
    intro = (
        f"Seconds each notebook took, kernel start included, on a machine with "
        f"{os.cpu_count()} cores ({platform.machine()}, {platform.system()}), one "
        "thread a notebook and two notebooks at a time."
    )
    return page("Execution times", intro, table(["Notebook", "Seconds"], rows))


def environment_page() -> str:
    """The versions that this build ran with."""
    rows = [["Python", platform.python_version()]]
    rows += [[name, importlib.metadata.version(name)] for name in MAIN_PACKAGES]
    intro = (
        "The versions that executed and built this book. The complete list is "
        f"`{CONSTRAINTS.name}` at the top of the repository."
    )
    return page("Environment", intro, table(["Package", "Version"], rows))
