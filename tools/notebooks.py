"""Execute the notebooks, keep what came out, write the stored outputs.

`python -m tools notebooks [--force] [NOTEBOOK ...]` is the only writer of the
outputs in git. `make book` uses the same execution through `execute_changed`.
"""

import argparse
import asyncio
import hashlib
import json
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import nbformat
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient
from nbclient.exceptions import (
    CellExecutionError,
    CellTimeoutError,
    DeadKernelError,
)
from nbformat import NotebookNode

from tools.console import say
from tools.paths import BOOK, CONSTRAINTS, EXECUTED, LOGS, ROOT

KERNELS_AT_A_TIME = 2
SECONDS_A_CELL = 300
# The tag of cells that only a live kernel should run: not executed here.
LIVE_TAG = "nbval-skip"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
# Without the lexer's name, the site shows the code in one color, with a warning.
LANGUAGE = {"name": "python", "pygments_lexer": "ipython3"}
KEPT_CELL_METADATA = ("jupyter", "lossbook", "mystnb", "nbgrader", "tags")
ADDRESS = re.compile(r"https://github\.com/[\w.-]+/[\w.-]+")
PACKAGE_FILES = (".py", ".pyi", ".js", ".css", ".json", ".toml")


@dataclass(frozen=True)
class Outcome:
    """One notebook's execution: its seconds, and the failure if there is one."""

    name: str
    seconds: float
    failure: str | None = None
    cached: bool = False


# --- finding, reading, writing -------------------------------------------------


def discover(book: Path = BOOK) -> list[Path]:
    """All notebooks of the book."""
    found = sorted(book.rglob("*.ipynb"))
    return [path for path in found if ".ipynb_checkpoints" not in path.parts]


def read(path: Path) -> NotebookNode:
    """Read a notebook of format 4, be it in normal form or not."""
    return nbformat.v4.reads(path.read_text(encoding="utf-8"))


def write(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook, but leave a file with the same content alone."""
    text = nbformat.writes(notebook) + "\n"
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def name_of(path: Path, root: Path = ROOT) -> str:
    """A notebook's name in messages: its path in the checkout."""
    return path.resolve().relative_to(root.resolve()).as_posix()


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """The code cells, in order."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell: NotebookNode) -> list[str]:
    """The tags of a cell."""
    return list(cell.metadata.get("tags", []))


def displayed(notebook: NotebookNode) -> Iterator[Mapping[str, str]]:
    """What `lossbook.book` noted beside the outputs of a notebook, in order."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            fields = output.get("metadata", {}).get("lossbook", {})
            if "kind" in fields:
                yield fields


# --- the normal form of a stored notebook --------------------------------------


def normalize(notebook: NotebookNode) -> NotebookNode:
    """The same notebook in the one form that goes into git.

    Cell ids follow the content, metadata are the few that mean something, and
    nothing tells when, where or by which program the notebook was written.
    """
    notebook = nbformat.from_dict(json.loads(json.dumps(notebook)))
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": KERNEL, "language_info": LANGUAGE}
    )
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        cell.source = cell.source.rstrip("\n")
        cell.id = cell_id(cell, seen)
        cell.metadata = nbformat.from_dict(
            {k: v for k, v in cell.metadata.items() if k in KEPT_CELL_METADATA}
        )
        if cell.cell_type == "code" and LIVE_TAG in tags(cell):
            cell.outputs, cell.execution_count = [], None
    return notebook


def cell_id(cell: NotebookNode, seen: dict[str, int]) -> str:
    """An id from the content, so that editing one cell changes no other.

    Args:
        cell: The cell.
        seen: How often each id occurred so far; updated. Equal cells get numbers.
    """
    # `make repository` rewrites the address; that must not change ids.
    source = ADDRESS.sub("https://github.com/OWNER/lossbook", cell.source)
    content = f"{cell.cell_type}\n{source}"
    digest = hashlib.sha256(content.encode()).hexdigest()[:8]
    seen[digest] = seen.get(digest, 0) + 1
    return digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"


# --- the cache of executions ---------------------------------------------------


def surroundings(root: Path = ROOT) -> str:
    """The hash of everything beside a notebook that its outputs depend on."""
    package = (root / "lossbook").rglob("*")
    files = [path for path in package if path.suffix in PACKAGE_FILES]
    files += [path for path in (root / "book/results").rglob("*") if path.is_file()]
    files += [root / CONSTRAINTS.name]
    digest = hashlib.sha256(platform.python_version().encode())
    for path in sorted(files):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def execution_key(notebook: NotebookNode, around: str) -> str:
    """The key under which an execution is kept.

    Args:
        notebook: The notebook; prose does not count.
        around: The hash of its surroundings.
    """
    code = [[cell.source, sorted(tags(cell))] for cell in code_cells(notebook)]
    return hashlib.sha256(json.dumps([around, code]).encode()).hexdigest()


def cached(path: Path, key: str, store: Path) -> NotebookNode | None:
    """The kept execution of a notebook, None if its key is another."""
    kept = store / path
    if not kept.exists():
        return None
    notebook = read(kept)
    if notebook.metadata.get("lossbook", {}).get("key") != key:
        return None
    return notebook


def with_outputs(notebook: NotebookNode, executed: NotebookNode) -> NotebookNode:
    """The notebook as written now, with the outputs of its execution."""
    notebook = normalize(notebook)
    for cell, source in zip(code_cells(notebook), code_cells(executed), strict=True):
        cell.outputs = source.outputs
        cell.execution_count = source.execution_count
    return notebook


def seconds_of(store: Path = EXECUTED) -> dict[str, float]:
    """The seconds of each kept execution."""
    found = {}
    for path in discover(store):
        kept = read(path).metadata.get("lossbook", {})
        found[path.relative_to(store).as_posix()] = float(kept["seconds"])
    return found


# --- executing -----------------------------------------------------------------


def kernel_environment() -> dict[str, str]:
    """The environment of a kernel: one thread, the notebook's own backend."""
    environment = dict(os.environ, OMP_NUM_THREADS="1")
    environment.pop("MPLBACKEND", None)
    return environment


def kernel_manager() -> AsyncKernelManager:
    """A manager that starts the kernel of this Python and no other."""
    specs = KernelSpecManager(kernel_dirs=[f"{sys.prefix}/share/jupyter/kernels"])
    return AsyncKernelManager(kernel_name="python3", kernel_spec_manager=specs)


def run_cells(notebook: NotebookNode, folder: Path, log: IO[str]) -> str | None:
    """Execute a notebook in place; return what failed, None if nothing did.

    Args:
        notebook: The notebook; its outputs are replaced.
        folder: The folder that the code runs in.
        log: Where the kernel's own messages go.
    """
    at = {"index": 0}

    def remember(cell: NotebookNode, cell_index: int) -> None:
        at["index"] = cell_index

    client = NotebookClient(
        notebook,
        km=kernel_manager(),
        timeout=SECONDS_A_CELL,
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
        shutdown_kernel="immediate",  # a kernel that may tidy up takes 2 s
        skip_cells_with_tag=LIVE_TAG,
        resources={"metadata": {"path": str(folder)}},
        on_cell_start=remember,
    )
    try:
        # The manager is ours, so the client has to be told to end the kernel.
        options = {"env": kernel_environment(), "stderr": log, "cleanup_kc": True}
        asyncio.run(client.async_execute(**options))
    except CellExecutionError as error:
        return describe_failure(notebook, at["index"], traceback_of(error))
    except (CellTimeoutError, DeadKernelError) as error:
        return describe_failure(notebook, at["index"], str(error))
    return None


def traceback_of(error: CellExecutionError) -> str:
    """The traceback without colors, and without the source that nbclient repeats."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", error.traceback)
    return plain.rpartition("------------------\n")[2].strip()


def describe_failure(notebook: NotebookNode, index: int, reason: str) -> str:
    """Where a notebook failed, with the cell's source and the reason."""
    source = notebook.cells[index].source
    indented = "\n".join(f"    {line}" for line in source.splitlines())
    return f"cell {index + 1} failed:\n{indented}\n\n{reason.rstrip()}"


def execute(path: Path, around: str, store: Path, root: Path = ROOT) -> Outcome:
    """Execute one notebook and keep the result.

    Args:
        path: The notebook, relative to the root.
        around: The hash of its surroundings.
        store: The folder of kept executions.
        root: The checkout.
    """
    notebook = read(root / path)
    key = execution_key(notebook, around)
    for cell in code_cells(notebook):
        cell.outputs, cell.execution_count = [], None
    log = store.parent / LOGS.name / path.with_suffix(".kernel.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    with log.open("w") as output:
        failure = run_cells(notebook, (root / path).parent, output)
    seconds = time.perf_counter() - start
    if failure is None:
        notebook = normalize(notebook)
        notebook.metadata["lossbook"] = {"key": key, "seconds": round(seconds, 1)}
        write(notebook, store / path)
    return Outcome(path.as_posix(), seconds, failure)


def execute_changed(
    paths: Sequence[Path],
    *,
    force: bool = False,
    root: Path = ROOT,
    store: Path = EXECUTED,
    report: Callable[[str], None] = say,
) -> list[Outcome]:
    """Execute the notebooks whose code or surroundings changed, two at a time.

    Args:
        paths: Notebooks, relative to the root.
        force: Execute all of them.
        root: The checkout.
        store: The folder of kept executions.
        report: Called with one line a notebook.

    Returns:
        One outcome a notebook; a failed notebook does not stop the others.
    """
    around = surroundings(root)

    def task(path: Path) -> Outcome:
        key = execution_key(read(root / path), around)
        if not force and cached(path, key, store) is not None:
            return Outcome(path.as_posix(), 0.0, cached=True)
        outcome = execute(path, around, store, root)
        state = "FAILED" if outcome.failure else "executed"
        report(f"   {state} {outcome.name} in {outcome.seconds:.1f} s")
        return outcome

    with ThreadPoolExecutor(KERNELS_AT_A_TIME) as pool:
        outcomes = list(pool.map(task, paths))
    kept = sum(outcome.cached for outcome in outcomes)
    if kept:
        report(f"   {kept} of {len(paths)} notebooks unchanged")
    return outcomes


def print_failures(outcomes: Sequence[Outcome]) -> int:
    """Print each failure; return how many there are."""
    failed = [outcome for outcome in outcomes if outcome.failure]
    for outcome in failed:
        say(f"\n{outcome.name}, {outcome.failure}")
    if failed:
        say(f"\n{len(failed)} of {len(outcomes)} notebooks failed")
    return len(failed)


def executed(path: Path, root: Path = ROOT, store: Path = EXECUTED) -> NotebookNode:
    """A notebook with the outputs of its kept execution, in normal form."""
    return with_outputs(read(root / path), read(store / path))


# --- the command ---------------------------------------------------------------


def chosen(names: Sequence[str]) -> list[Path]:
    """The notebooks named on the command line, relative to the root; else all."""
    paths = [Path(name).resolve() for name in names] or discover()
    return [path.relative_to(ROOT) for path in paths]


def parser() -> argparse.ArgumentParser:
    """The command line of `notebooks`."""
    made = argparse.ArgumentParser(prog="notebooks", description=__doc__)
    made.add_argument("notebook", nargs="*", help="a notebook (default: all)")
    made.add_argument("--force", action="store_true", help="execute unchanged ones too")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Execute notebooks and write their outputs into the stored files."""
    options = parser().parse_args(arguments)
    paths = chosen(options.notebook)
    outcomes = execute_changed(paths, force=options.force)
    for path, outcome in zip(paths, outcomes, strict=True):
        if outcome.failure is None:
            write(executed(path), ROOT / path)
    return 1 if print_failures(outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
