"""What is kept: tidy rows with the machine, the versions and the key of the code."""

import ast
import functools
import hashlib
import importlib.metadata
import io
import os
import platform
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
STORED = ROOT / "book/results/bench.parquet"
# What runs in every loss; and what no call runs, since it only describes.
SHARED = [ROOT / f"lossbook/{name}.py" for name in ("kernels", "modes", "ops")]
SHARED += [ROOT / "lossbook/validate.py"]
TOLD = [ROOT / f"lossbook/{name}.py" for name in ("card", "shapes")]
ORDER = ["case", "n", "classes", "scale", "kind", "subject"]
COLUMNS = [*ORDER, "milliseconds", "ratio", "limit", "goal", "peak", "peak_goal"]
COLUMNS += ["code"]


def code_key(path: Path, *names: str) -> str:
    """A key of what runs when these names of a module are used, all without any.

    That is their code, that of what they use in the module, and the whole of what it
    imports from lossbook, from there on too; what runs in every loss has a key of its
    own. Docstrings, comments, cards, references and links are not timed: a loss keeps
    its key when they change.
    """
    found = hashlib.sha256(_code(path.read_text(encoding="utf-8"), names).encode())
    for other in sorted(_imports(path)):
        found.update(_code(other.read_text(encoding="utf-8"), ()).encode())
    return found.hexdigest()[:12]


def _imports(path: Path) -> set[Path]:
    """The modules of lossbook that a module imports, directly or through others."""
    found: set[Path] = set()
    waiting = [path]
    while waiting:
        for name in _imported(waiting.pop().read_text(encoding="utf-8")):
            other = ROOT / f"{name.replace('.', '/')}.py"
            if other.exists() and other not in {path, *found, *SHARED, *TOLD}:
                found.add(other)
                waiting.append(other)
    return found


@functools.cache
def _imported(text: str) -> tuple[str, ...]:
    """The names that a module's text imports from lossbook, modules among them."""
    names = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module]
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(name for name in names if name.startswith("lossbook."))


@functools.cache
def _code(text: str, names: tuple[str, ...]) -> str:
    """The lines of a module that run, without docstrings and comments."""
    tree = ast.parse(text)
    kept: set[int] = set()
    for node in _used(tree, names) if names else _all(tree):
        first = min(each.lineno for each in (node, *_decorators(node)))
        kept |= set(range(first, (node.end_lineno or first) + 1))
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            kept -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = text.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    code = (lines[number - 1].rstrip() for number in sorted(kept))
    return "\n".join(line for line in code if line)


def _all(tree: ast.Module) -> Iterator[ast.stmt]:
    """The statements of a module but for its imports and its card."""
    for node in tree.body:
        if not isinstance(node, ast.Import | ast.ImportFrom) and "CARD" not in _bound(
            node
        ):
            yield node


def _used(tree: ast.Module, names: Iterable[str]) -> list[ast.stmt]:
    """The statements that define these names, and what these use, and so on."""
    defined = {name: node for node in _all(tree) for name in _bound(node)}
    used: list[ast.stmt] = []
    waiting = list(names)
    while waiting:
        node = defined.get(waiting.pop())
        if node is not None and node not in used:
            used.append(node)
            found = [each for each in ast.walk(node) if isinstance(each, ast.Name)]
            waiting += [each.id for each in found]
    return used


def _bound(node: ast.stmt) -> list[str]:
    """The names that a statement of a module defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = getattr(node, "targets", None) or [getattr(node, "target", None)]
    return [each.id for each in targets if isinstance(each, ast.Name)]


def _decorators(node: ast.stmt) -> list[ast.expr]:
    return getattr(node, "decorator_list", [])


def shared_key() -> str:
    """The key of what all rows depend on: shared code, batches, how it is measured."""
    here = Path(__file__).parent
    keys = [code_key(path) for path in (*SHARED, here / "measure.py")]
    keys.append(code_key(here / "cases.py", "batch", "of_card"))
    return hashlib.sha256("".join(keys).encode()).hexdigest()[:12]


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
