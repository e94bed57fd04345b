"""What is kept: tidy rows with the machine, the versions and the key of the code."""

import ast
import hashlib
import importlib.metadata
import os
import platform
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
STORED = ROOT / "book/results/bench.parquet"
SHARED = (ROOT / "lossbook/kernels.py", ROOT / "lossbook/ops.py")
ORDER = ["n", "classes", "scale", "kind", "subject"]
COLUMNS = [*ORDER, "milliseconds", "ratio", "peak", "code"]


def code_key(*paths: Path) -> str:
    """A key of what these modules compute: their code without docstrings.

    References, cards and comments are not timed: a loss keeps its key when they change.
    """
    found = hashlib.sha256()
    for path in paths:
        text = path.read_text(encoding="utf-8")
        for number in sorted(_code_lines(text)):
            line = text.splitlines()[number - 1].split("#")[0].rstrip()
            if line:
                found.update(line.encode() + b"\n")
    return found.hexdigest()[:12]


def _code_lines(text: str) -> set[int]:
    """The numbers of the lines that are timed."""
    lines: set[int] = set()
    for node in ast.parse(text).body:
        names = {getattr(t, "id", "") for t in getattr(node, "targets", [])}
        name = getattr(node, "name", "")
        if "CARD" in names or name.endswith("_ref") or name == "recovered":
            continue
        lines |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    for each in ast.walk(ast.parse(text)):
        if isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant):
            lines -= set(range(each.lineno, (each.end_lineno or each.lineno) + 1))
    return lines


def shared_key() -> str:
    """The key of what all rows depend on: kernels, operations, this harness."""
    here = Path(__file__).parent
    harness = {*here.glob("*.py")} - {here / "training.py"}  # has a key of its own
    return code_key(*SHARED, *sorted(harness))


def provenance() -> dict[str, str]:
    """Where and with what the rows are measured."""
    packages = ("torch", "numpy", "lossbook")
    return {
        "key": shared_key(),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in packages},
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


def write(rows: Iterable[dict[str, object]], path: Path = STORED) -> pd.DataFrame:
    """Store the rows, sorted, with their provenance; return them."""
    frame = pd.DataFrame(list(rows), columns=COLUMNS)
    frame = frame.sort_values(ORDER).reset_index(drop=True)
    frame.attrs.update(provenance())
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(path, index=False)
    return frame


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
    measured = {row["subject"] for row in rows}
    kept = stored[~stored.subject.isin(measured)]
    return [{str(k): v for k, v in row.items()} for row in kept.to_dict("records")]


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a subject: its ratio at each size, and what else tells it apart.

    `sharp / mild` is the subject's own time at sharp logits over that at mild ones,
    `peak` its memory at the size that has both, in units of the logits.
    """
    who = ["kind", "subject"]
    mild, sharp = frame.scale.min(), frame.scale.max()
    at_mild = frame[frame.scale == mild]
    sizes = at_mild[["n", "classes"]].drop_duplicates().sort_values(["classes", "n"])
    table = at_mild.pivot(index=who, columns=["n", "classes"], values="ratio")
    table = table[list(sizes.itertuples(index=False, name=None))]
    table.columns = [f"{n} x {classes}" for n, classes in table.columns]
    steep = frame[frame.scale == sharp].set_index([*who, "n", "classes"])
    flat = at_mild.set_index([*who, "n", "classes"])
    both = (steep.milliseconds / flat.milliseconds).dropna().droplevel(["n", "classes"])
    peak = flat.peak[steep.index.intersection(flat.index)]
    return table.assign(
        **{"sharp / mild": both, "peak": peak.droplevel(["n", "classes"])}
    )
