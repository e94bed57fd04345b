"""What is kept: tidy rows with the machine, the versions and the key of the code."""

import importlib.metadata
import os
import platform
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

import lossbook
from lossbook.experiment import code_key, sources

ROOT = Path(__file__).resolve().parent.parent
STORED = ROOT / "book/results/bench.parquet"
# What runs in every loss, and how it is measured; what no call runs: it describes.
SHARED = {ROOT / f"lossbook/{name}.py" for name in ("kernels", "modes", "ops")}
SHARED |= {ROOT / "lossbook/validate.py", ROOT / "benchmarks/measure.py"}
TOLD = {ROOT / f"lossbook/{name}.py" for name in ("card", "shapes")}
ORDER = ["case", "n", "classes", "scale", "kind", "subject"]
COLUMNS = [*ORDER, "milliseconds", "ratio", "limit", "goal", "peak", "peak_goal"]
COLUMNS += ["code"]


def files_of(module: str) -> set[Path]:
    """The files that run for a loss and not for all of them: its own, its helpers'."""
    return sources(module) - SHARED - TOLD


def loss_key(module: str) -> str:
    """The key of a loss's code.

    Docstrings, comments, cards and references are not timed: it stays when they change.
    """
    return code_key(files_of(module))


def shared_key() -> str:
    """The key of what all rows depend on."""
    return code_key(SHARED)


def provenance() -> dict[str, str]:
    """Where and with what the rows are measured."""
    packages = ("torch", "numpy")
    return {
        "key": shared_key(),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in packages},
        "lossbook": lossbook.__version__,
        "cores": str(os.cpu_count()),
        "machine": f"{platform.machine()}, {platform.system()}",
        "processor": processor(),
    }


def processor() -> str:
    """The processor's name, as the system tells it."""
    told = Path("/proc/cpuinfo")
    if told.exists():
        for line in told.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def frame_of(rows: Iterable[dict[str, object]]) -> pd.DataFrame:
    """The rows, sorted, with their provenance."""
    frame = pd.DataFrame(list(rows), columns=COLUMNS)
    frame = frame.sort_values(ORDER).reset_index(drop=True)
    frame.attrs.update(provenance())
    return frame


def write(frame: pd.DataFrame, path: Path = STORED) -> None:
    """Store the rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(path, index=False)


def read(path: Path = STORED) -> pd.DataFrame | None:
    """The stored rows with their provenance in `attrs`; None if there are none."""
    return pd.read_parquet(path) if path.exists() else None


def others(rows: Iterable[dict[str, object]], path: Path) -> list[dict[str, object]]:
    """The stored rows that new ones do not replace.

    Raises:
        ValueError: where the stored rows come from another machine or other code.
    """
    stored = read(path)
    if stored is None or stored.attrs != provenance():
        raise ValueError(
            f"a part can only join rows of the same machine and kernels, {path} has "
            "others or none; run `make bench`"
        )
    measured = {(row["case"], row["subject"]) for row in rows}
    old = [
        pair not in measured for pair in zip(stored.case, stored.subject, strict=True)
    ]
    kept = stored[old]
    return [{str(k): v for k, v in row.items()} for row in kept.to_dict("records")]


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a subject: its ratio at each size, and what else tells it apart.

    `sharp / mild` is the subject's own time at sharp logits over that at mild ones,
    `/ limit` its time over that of a copy, and `peak` its memory, in units of the
    logits; the three at the size that has both kinds of logits.
    """
    who = ["kind", "subject"]
    frame = frame[frame.case == ""]
    if frame.empty:
        return frame
    mild, sharp = frame.scale.min(), frame.scale.max()
    at_mild = frame[frame.scale == mild]
    sizes = at_mild[["n", "classes"]].drop_duplicates().sort_values(["classes", "n"])
    table = at_mild.pivot(index=who, columns=["n", "classes"], values="ratio")
    table = table[list(sizes.itertuples(index=False, name=None))]
    table.columns = [f"{n} x {classes}" for n, classes in table.columns]
    steep = frame[frame.scale == sharp].set_index([*who, "n", "classes"])
    flat = at_mild.set_index([*who, "n", "classes"])
    both = (steep.milliseconds / flat.milliseconds).dropna().droplevel(["n", "classes"])
    there = flat.loc[steep.index.intersection(flat.index)].droplevel(["n", "classes"])
    return table.assign(
        **{"/ limit": there.limit, "sharp / mild": both, "peak": there.peak}
    )


def cases_table(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a case and subject: our time over its time, the goal, its memory."""
    rows = frame[frame.case != ""]
    rows = rows.sort_values(["case", "milliseconds"], kind="stable")
    shown = rows.set_index(["case", "subject"])[
        ["milliseconds", "ratio", "goal", "peak", "peak_goal"]
    ]
    return shown.rename(columns={"ratio": "ours / it", "peak_goal": "peak goal"})
