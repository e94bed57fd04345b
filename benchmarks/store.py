"""What is kept: tidy rows with the machine, the versions and the key of the code."""

import importlib.metadata
import os
import platform
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from lossbook.experiment import code_key

ROOT = Path(__file__).resolve().parent.parent
STORED = ROOT / "book/results/bench.parquet"
SHARED = (ROOT / "lossbook/kernels.py", ROOT / "lossbook/ops.py")
ORDER = ["n", "classes", "scale", "kind", "subject"]
COLUMNS = [*ORDER, "milliseconds", "ratio", "peak", "code"]


def shared_key() -> str:
    """The key of what all rows depend on: kernels, operations, this harness."""
    return code_key([*SHARED, *Path(__file__).parent.glob("*.py")])


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
