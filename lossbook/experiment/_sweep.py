"""Sweeps: many configs, several processes, rows that are kept as they come."""

import ast
import hashlib
import os
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from lossbook.data import Task
from lossbook.experiment._config import Config
from lossbook.experiment._run import STACK, Row, run_stack, usual_device, versions
from lossbook.experiment._tasks import fingerprint
from lossbook.losses import CATALOGUE

PACKAGE = Path(__file__).parent.parent
WORDS = "lossbook.data._cards"


def sweep(
    configs: Sequence[Config],
    *,
    given: Mapping[str, Task] | None = None,
    store: str | Path | None = None,
    n_jobs: int | None = None,
    stack: int = STACK,
    progress: bool = True,
    dtype: torch.dtype = torch.float32,
    device: str | None = None,
) -> pd.DataFrame:
    """Run many trainings and return their rows, in the order of the configs.

    Configs that share data, architecture and loss train in stacks; joblib hands the
    stacks to processes. On a cluster the same call runs under
    `joblib.parallel_config(backend="dask")`.

    With a `store`, each stack's rows are saved when it is finished. A call that was
    interrupted, or has more configs, runs only what is missing. A stored row counts if
    all that decides its numbers is the same: config, code of the loss and of the
    experiment, own arrays, dtype, kind of device, and the versions of torch, numpy and
    scikit-learn. Else the training runs again; the older row stays in the folder, and
    counts again for whoever has its versions. Each row tells its versions, the device
    and a hash of the data that it was trained and tested on.

    Args:
        configs: what to train; equal ones run once.
        given: arrays of your own, by the name in `Config.data`.
        store: a folder for finished rows.
        n_jobs: processes; None for one, or what `joblib.parallel_config` says.
        stack: models in one stack.
        progress: tell on standard error how far it is.
        dtype: of the training.
        device: a GPU where the caller has one, else the processor; the processes of a
            cluster take the same.

    Returns:
        The rows of `run_stack`, with a column `key`.

    Raises:
        ValueError: for a stack of no models.
    """
    import joblib

    if stack < 1:
        raise ValueError(f"stack must be at least 1 model, got {stack}")
    device = device or usual_device()
    wanted = {_key(config, given, dtype, device): config for config in configs}
    rows = _stored(store)
    missing = {key: config for key, config in wanted.items() if key not in rows}
    stacks = list(_stacks(missing, stack))
    tell = _Progress(len(missing), len(wanted), progress)
    jobs = joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered")
    call = joblib.delayed(_work)
    done = jobs(call(keys, group, given, dtype, device) for keys, group in stacks)
    for part in done:
        _save(store, part)
        rows |= {row["key"]: row for row in part}
        tell.of(len(part))
    return pd.DataFrame([rows[key] for key in wanted])


def _work(
    keys: Sequence[str],
    configs: Sequence[Config],
    given: Mapping[str, Task] | None,
    dtype: torch.dtype,
    device: str,
) -> list[Row]:
    """Train one stack; one thread, since another process has the other core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rows = run_stack(configs, given, dtype=dtype, device=device)
    finally:
        torch.set_num_threads(threads)
    return [{"key": key} | row for key, row in zip(keys, rows, strict=True)]


def _stacks(
    missing: Mapping[str, Config], size: int
) -> Iterator[tuple[list[str], list[Config]]]:
    """Yield keys and configs that train together, `size` at most."""
    groups: dict[Config, list[str]] = {}
    for key, config in missing.items():
        groups.setdefault(config.group(), []).append(key)
    for keys in groups.values():
        for start in range(0, len(keys), size):
            part = keys[start : start + size]
            yield part, [missing[key] for key in part]


# --- keys ----------------------------------------------------------------------


# What decides numbers beside our code. Our own version does not: the code is hashed.
DECIDING = ("torch", "numpy", "sklearn")


def _key(
    config: Config,
    given: Mapping[str, Task] | None,
    dtype: torch.dtype,
    device: str,
) -> str:
    own = (given or {}).get(config.data)
    made_with = versions()
    parts = [
        code_version(config.loss),
        "" if own is None else fingerprint(own),
        str(dtype),
        torch.device(device).type,
        *(made_with[name] for name in DECIDING),
    ]
    return config.key(" ".join(parts))


@cache
def code_version(loss: str) -> str:
    """Return a hash of the code that decides this loss's results.

    That is the loss's module, the experiment's, and whatever of this package they
    import, but no other loss.

    >>> code_version("focal") == code_version("mae")
    False
    """
    digest = hashlib.sha256()
    for file in sorted(_sources(CATALOGUE[loss].fn.__module__) | _sources(__package__)):
        digest.update(file.name.encode())
        digest.update(file.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()[:16]


def _sources(module: str) -> set[Path]:
    """Return the files of a module and of all that it imports of this package.

    The catalogue and its families are lists of losses; it ends there. Cards of data
    sets are words.
    """
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        file = _file_of(name)
        if name in {*found, WORDS} or file is None or _is_list_of_losses(name):
            continue
        found[name] = file
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.ImportFrom) and node.module:
                waiting += [
                    node.module,
                    *(f"{node.module}.{n.name}" for n in node.names),
                ]
    return set(found.values())


def _file_of(module: str) -> Path | None:
    """Return a module's file, None for what is no module of this package."""
    package, *parts = module.split(".")
    if package != PACKAGE.name or not parts:
        return None
    path = PACKAGE.joinpath(*parts)
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return file if file.exists() else None


def _is_list_of_losses(module: str) -> bool:
    parts = module.split(".")
    return parts[1:2] == ["losses"] and not parts[-1].startswith("_")


# --- the store -----------------------------------------------------------------


def _stored(store: str | Path | None) -> dict[str, Row]:
    """Return the rows in a folder, by key; a damaged file is set aside.

    A table of something else is left alone.
    """
    rows: dict[str, Row] = {}
    if store is None:
        return rows
    for path in sorted(Path(store).glob("*.parquet")):
        try:
            part = pd.read_parquet(path)
            if "key" in part and "status" in part:
                rows |= {str(row["key"]): row for row in _records(part)}
        except (ImportError, MemoryError, PermissionError):
            raise  # no fault of the file
        except Exception as error:  # whatever a damaged file makes the reader say
            aside = path.with_suffix(".damaged")
            path.replace(aside)
            warnings.warn(
                f"{path} could not be read ({type(error).__name__}); it is set aside "
                f"as {aside.name} and its trainings run again",
                stacklevel=3,
            )
    return rows


def _records(part: pd.DataFrame) -> list[dict[str, Any]]:
    return [dict(zip(part.columns, values, strict=True)) for values in part.values]


def _save(store: str | Path | None, rows: Sequence[Row]) -> None:
    """Write finished rows to a file of their own, whole or not at all."""
    if store is None:
        return
    folder = Path(store)
    folder.mkdir(parents=True, exist_ok=True)
    names = "".join(row["key"] for row in rows)
    name = hashlib.sha256(names.encode()).hexdigest()[:16]
    part = folder / f"{name}.{os.getpid()}.part"
    pd.DataFrame(rows).to_parquet(part, index=False)
    part.replace(folder / f"{name}.parquet")


class _Progress:
    """One line on standard error: how many trainings are done, and how long it took."""

    def __init__(self, missing: int, wanted: int, shown: bool) -> None:
        self.missing, self.found, self.shown = missing, wanted - missing, shown
        self.done, self.start, self.told = 0, time.perf_counter(), -1

    def of(self, finished: int) -> None:
        """Count finished trainings; tell of each tenth of the whole."""
        self.done += finished
        tenth = 10 * self.done // max(self.missing, 1)
        if self.shown and tenth > self.told:
            self.told = tenth
            stored = f", {self.found} stored before" if self.found else ""
            seconds = time.perf_counter() - self.start
            line = f"{self.done} of {self.missing} trainings, {seconds:.0f} s{stored}"
            print(line, file=sys.stderr, flush=True)  # noqa: T201
