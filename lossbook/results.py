"""Stored results: studies that take too long for a chapter, computed once and kept.

A `Study` says which trainings it wants. `make results` computes it, into
`book/results/<name>.parquet`, and a chapter reads the rows with `read`. Beside the rows
stands what they were made with, and a key of the code: rows that another code made
fail the tests.
"""

import hashlib
import importlib.metadata
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lossbook.experiment import Config, code_key, code_version, config_of, run, sweep

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
PACKAGE = Path(__file__).parent
CLONE = PACKAGE.parent / "book/results"
SAMPLE = 6  # stored rows that the tests compute again
# How far such a row may lie from the stored one. Another processor or another version
# of torch rounds sums otherwise, and hundreds of updates let that grow: single
# test examples change sides. A changed loss, data set or optimizer moves more.
WITHIN = 0.02


class Sweep(Protocol):
    """`experiment.sweep` with everything but the configs chosen."""

    def __call__(self, configs: Sequence[Config]) -> "pd.DataFrame":
        """Train what is missing, return the rows in the order of the configs."""


def _plain(study: "Study", run_all: Sweep) -> "pd.DataFrame":
    return run_all(study.configs())


@dataclass(frozen=True, kw_only=True)
class Study:
    """Trainings that are computed once, and kept.

    Attributes:
        name: of the file, and of the argument of `make results`.
        about: one sentence.
        configs: the trainings that are known beforehand.
        compute: from the study and a sweep to all rows; by default one row a config.
        most: trainings at most, where `compute` adds some that depend on results.
        added: columns that `compute` adds to the rows of the sweep.
    """

    name: str
    about: str
    configs: Callable[[], Sequence[Config]]
    compute: "Callable[[Study, Sweep], pd.DataFrame]" = _plain
    most: Callable[[], int] | None = None
    added: tuple[str, ...] = ()

    def trainings(self) -> tuple[int, int]:
        """Return how many trainings it takes: those known beforehand, and at most."""
        known = len(set(self.configs()))
        return known, max(known, self.most() if self.most else known)

    def code(self) -> dict[str, str]:
        """Return each part of the code, and its key now: a part a loss."""
        losses = sorted({config.loss for config in self.configs()})
        return {loss: code_version(loss) for loss in losses}

    def plan(self) -> str:
        """Return a key of what is asked for: the trainings known beforehand."""
        keys = "".join(sorted({config.key() for config in self.configs()}))
        return hashlib.sha256(keys.encode()).hexdigest()[:12]

    def rows(
        self,
        store: Path,
        n_jobs: int,
        *,
        earlier: "pd.DataFrame | None" = None,
        progress: bool = True,
    ) -> "pd.DataFrame":
        """Compute what neither the store nor earlier rows have; return all rows."""
        if earlier is not None and alike(earlier):
            store.mkdir(parents=True, exist_ok=True)
            kept = earlier.drop(columns=list(self.added)).drop_duplicates("key")
            kept.to_parquet(store / "earlier.parquet", index=False)

        def run_all(configs: Sequence[Config]) -> "pd.DataFrame":
            return sweep(configs, store=store, n_jobs=n_jobs, progress=progress)

        return self.compute(self, run_all)

    def again(self, row: Mapping[str, Any]) -> Row:
        """Compute a stored row again."""
        return run(config_of(row))


@dataclass(frozen=True, kw_only=True)
class Jobs:
    """Rows that a function of your own computes: what no `Config` can say.

    Attributes:
        name: of the file, and of the argument of `make results`.
        about: one sentence.
        settings: the keyword arguments of each job.
        make: from one setting to its row (or rows); numbers, texts and truth values.
        modules: files of this package whose code decides the rows, beside the
            experiment's, such as `"losses/imbalance/_dice.py"`.
        each: trainings in one job.
    """

    name: str
    about: str
    settings: Callable[[], Sequence[Mapping[str, Any]]]
    make: Callable[..., Row | list[Row]]
    modules: tuple[str, ...] = ()
    each: int = 1

    def trainings(self) -> tuple[int, int]:
        """Return how many trainings it takes, and again as the most."""
        count = len(self.settings()) * self.each
        return count, count

    def code(self) -> dict[str, str]:
        """Return each part of the code, and its key now."""
        found = {name: code_key([PACKAGE / name]) for name in self.modules}
        own = Path(self.make.__code__.co_filename)
        return {"experiment": code_version("cross_entropy"), **found} | {
            own.name: code_key([own])
        }

    def plan(self) -> str:
        """Return a key of what is asked for."""
        text = str([sorted(setting.items()) for setting in self.settings()])
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def rows(
        self,
        store: Path,
        n_jobs: int,
        *,
        earlier: "pd.DataFrame | None" = None,
        progress: bool = True,
    ) -> "pd.DataFrame":
        """Compute what the store does not have; return all rows."""
        import joblib
        import pandas as pd

        salt = str(sorted(self.code().items()))
        store.mkdir(parents=True, exist_ok=True)
        calls = [
            joblib.delayed(_job)(self, dict(s), salt, store) for s in self.settings()
        ]
        parts = joblib.Parallel(n_jobs=n_jobs, verbose=1 if progress else 0)(calls)
        return pd.concat(parts, ignore_index=True)

    def again(self, row: Mapping[str, Any]) -> Row:
        """Compute a stored row again."""
        for setting in self.settings():
            if all(row[name] == value for name, value in setting.items()):
                made = self.make(**setting)
                listed = made if isinstance(made, list) else [made]
                return dict(setting) | listed[int(row["part"])]
        raise ValueError(f"{self.name} has no setting that made this row")


def _job(study: Jobs, setting: Row, salt: str, store: Path) -> "pd.DataFrame":
    """Return the rows of one job, from the store where they are there already."""
    import pandas as pd

    text = f"{sorted(setting.items())} {salt}"
    path = store / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.parquet"
    if path.exists():
        return pd.read_parquet(path)
    made = study.make(**setting)
    listed = made if isinstance(made, list) else [made]
    frame = pd.DataFrame([{**setting, "part": i, **r} for i, r in enumerate(listed)])
    part = path.with_suffix(f".{os.getpid()}.part")
    frame.to_parquet(part, index=False)
    part.replace(path)
    return frame


AnyStudy = Study | Jobs


# --- what is kept --------------------------------------------------------------


def find(name: str) -> Path | None:
    """Return the file of a study, None where nothing is stored.

    A clone has it in `book/results`, wherever the notebook runs; an installed package
    carries it along.
    """
    path = CLONE / f"{name}.parquet"
    if path.exists():
        return path
    try:
        files = importlib.metadata.files("lossbook") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.name == path.name and Path(str(file.locate())).exists():
            return Path(str(file.locate()))
    return None


def read(name: str) -> "pd.DataFrame":
    """Return the stored rows of a study; `attrs` tells what they were made with.

    Args:
        name: of the study.

    Raises:
        FileNotFoundError: where nothing is stored.
    """
    path = find(name)
    if path is None:
        raise FileNotFoundError(
            f"the rows of {name} must be stored to be read, and none are; in a clone "
            f'of the repository, run `make results RESULTS="{name}"`'
        )
    return read_file(path)


def read_file(path: Path) -> "pd.DataFrame":
    """Return the rows in a file, with what they were made with in `attrs`."""
    import pandas as pd

    return pd.read_parquet(path)


def write(study: AnyStudy, frame: "pd.DataFrame", path: Path) -> "pd.DataFrame":
    """Store the rows of a study, with what they were made with."""
    made = frame.copy()
    made.attrs.clear()
    made.attrs.update(provenance(study))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    made.to_parquet(part, index=False)
    part.replace(path)
    return made


def provenance(study: AnyStudy) -> dict[str, Any]:
    """Return where and with what the rows of a study are made."""
    about = {"study": study.name, "plan": study.plan(), "code": study.code()}
    return about | surroundings()


def surroundings() -> dict[str, str]:
    """Return the machine and the versions."""
    packages = ("torch", "numpy", "lossbook")
    return {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in packages},
        "cores": str(os.cpu_count()),
        "machine": f"{platform.machine()}, {platform.system()}",
    }


def alike(frame: "pd.DataFrame") -> bool:
    """Return whether rows come from this machine and these versions.

    Only then may they stand beside new ones: times would not compare.
    """
    return all(frame.attrs.get(k) == value for k, value in surroundings().items())


def stale(study: AnyStudy, frame: "pd.DataFrame") -> list[str]:
    """Return what has changed since the rows were made, one phrase each."""
    stored, now = frame.attrs, study.code()
    before = stored.get("code", {})
    found = [part for part in now if before.get(part, now[part]) != now[part]]
    if stored.get("plan") != study.plan():
        found.append("the list of trainings")
    return found


def sample(frame: "pd.DataFrame", count: int = SAMPLE) -> list[Row]:
    """Return a few rows, always the same of the same table, spread over it."""
    step = max(1, len(frame) // count)
    chosen = frame.iloc[step // 2 :: step].head(count)
    return [{str(k): v for k, v in row.items()} for row in chosen.to_dict("records")]


def apart(row: Mapping[str, Any], again: Mapping[str, Any], within: float) -> list[str]:
    """Return how a row computed again differs from the stored one, one phrase each.

    Times and versions are no results. Numbers may differ by `within`, those above 1 by
    this part of themselves.
    """
    found = []
    for name, new in again.items():
        old = row.get(name)
        if name in NOT_RESULTS or (_missing(old) and _missing(new)):
            continue
        if isinstance(new, float) and isinstance(old, float | int):
            if not abs(old - new) <= within * max(1.0, abs(old)):
                found.append(f"{name}: stored {old:.6g}, now {new:.6g}")
        elif old != new:
            found.append(f"{name}: stored {old!r}, now {new!r}")
    return found


NOT_RESULTS = {"seconds", "lossbook", "torch", "numpy", "python", "key"}


def _missing(value: Any) -> bool:
    return value is None or value != value
