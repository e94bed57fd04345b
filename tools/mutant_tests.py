"""Run the tests of a loss on changed copies of its module: `tools.mutants` asks.

A fresh pytest spends most of its time on the import of torch. So one process imports
it once and forks for each copy; it never computes anything, since torch does not
survive a fork of a process that did. It reads one request a line, and answers each with
one line, the exit status of pytest: `python -m tools.mutant_tests`.

The first run notes which tests call code of the module; the others leave out the rest.
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import pytest

# What the losses and their tests import, but nothing of the package itself.
WARM = (
    "jaxtyping",
    "lazy_loader",
    "numpy",
    "playwright.sync_api",
    "scipy.optimize",
    "scipy.stats",
    "sympy",
    "torch._dynamo",
)
LIMIT = 300  # seconds for the tests of one loss: what takes longer has no end


class Changed(importlib.abc.MetaPathFinder):
    """Finds the changed copy instead of the module."""

    def __init__(self, module: str, path: str) -> None:
        self.module = module
        self.path = path

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        """Return where the changed copy is, None for any other module."""
        if fullname != self.module:
            return None
        return importlib.util.spec_from_file_location(fullname, self.path)


class Callers:
    """A plugin of pytest: which tests call functions of a file, fastest first.

    Args:
        path: The file.
        notes: Where the names of these tests stand; without it, they are noted there.
    """

    def __init__(self, path: str, notes: Path) -> None:
        self.path = path
        self.notes = notes
        self.noting = not notes.exists()
        self.seconds: dict[str, float] = {}
        self.called = False

    def _trace(self, frame: FrameType, event: str, argument: Any) -> None:
        if frame.f_code.co_filename == self.path:
            self.called = True
            sys.settrace(None)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep the tests that were noted, in their order."""
        if not self.noting:
            noted = json.loads(self.notes.read_text(encoding="utf-8"))
            by_name = {item.nodeid: item for item in items}
            items[:] = [by_name[name] for name in noted if name in by_name]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        """See whether a test, or what it needs, calls the file."""
        if not self.noting:
            return (yield)
        self.called = False
        before = sys.gettrace()
        sys.settrace(self._trace)
        try:
            return (yield)
        finally:
            sys.settrace(before)
            if self.called:
                self.seconds.setdefault(item.nodeid, 0.0)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the time of each test."""
        if report.nodeid in self.seconds or self.called:
            so_far = self.seconds.get(report.nodeid, 0.0)
            self.seconds[report.nodeid] = so_far + report.duration

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Note the tests, if all ran and passed."""
        if self.noting and exitstatus == pytest.ExitCode.OK:
            ordered = sorted(self.seconds, key=lambda name: self.seconds[name])
            self.notes.write_text(json.dumps(ordered), encoding="utf-8")


def run(module: str, path: Path, notes: Path, tests: Sequence[str]) -> int:
    """Run the examples and the tests in this process; return the exit status."""
    sys.meta_path.insert(0, Changed(module, str(path)))
    options = ["-x", "-q", "-p", "no:cacheprovider", "--doctest-modules"]
    if (settings := Path("pyproject.toml").resolve()).exists():
        options += ["-c", str(settings)]
    plugins = [Callers(str(path), notes)]
    return int(pytest.main([*options, str(path), *tests], plugins))


def forked(folder: Path, module: str, source: str, tests: Sequence[str]) -> int:
    """Run the tests on a changed source, in a fork of this process."""
    path = folder / module / "changed.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(source, encoding="utf-8")
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 1
    try:
        signal.alarm(LIMIT)
        silence = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(silence, stream)
        status = run(module, path, path.with_name("callers.json"), tests)
    finally:
        os._exit(status)


def main() -> None:
    """Answer requests until there are no more."""
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # none is used here
    for name in WARM:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        for line in sys.stdin:
            print(forked(Path(folder), **json.loads(line)), flush=True)


if __name__ == "__main__":
    main()
