"""Plant slips in the losses, one at a time: the checks must see each of them.

`tools.slips` says what a slip is and where it is planted. Then the checks of
`lossbook.check` run on the changed module's card, the cheap ones first, until one
refuses it; then the examples in the module, the tests in `tests/losses` that name the
loss and those of the fused forms, which hold what no card can say; for a loss that can
use another library, the comparisons in `tests/peers` too. What nothing
refuses is a survivor: a gap in the checks, or a slip that changes nothing. The second
kind is listed with its reason in `mutants.toml`.
"""

import argparse
import ast
import importlib
import importlib.util
import json
import multiprocessing
import re
import signal
import subprocess
import sys
import time
import tomllib
import types
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tools.console import say
from tools.paths import ROOT
from tools.slips import CUT, Slip, slips

LIST = Path(__file__).with_suffix(".toml")
PROCESSES = 2
NO_SLIP = "no slip"
# The checks that take long, the longest last: they come after all others.
DEAR = (
    "gradcheck",
    "recovery",
    "autocast",
    "device",
    "transforms",
    "gradgradcheck",
    "properties",
    "compiles",
)
SLOW = 10.0  # a mutant may take this many seconds more than the loss itself does

CUTTER = f"\n\ndef {CUT}(value):\n    return value.detach()\n"
# It holds what both forms of a loss must do, and finds the losses in the catalogue.
OF_ALL = Path("tests", "test_kernels.py")
# What pytest returns when all tests pass, and when there are none.
PASSED = {0, 5}


@dataclass
class Report:
    """What became of the slips planted in one module."""

    path: str
    planted: int = 0
    killed: int = 0
    survivors: list[Slip] = field(default_factory=list)
    excluded: int = 0
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def line(self) -> str:
        """One line of progress."""
        more = f", {self.excluded} excluded" if self.excluded else ""
        if self.problems and not self.planted:
            return f"{self.path}: not examined: {self.problems[0]}"
        return (
            f"{self.path}: {self.planted} planted, {self.killed} killed, "
            f"{len(self.survivors)} survived{more} ({self.seconds:.1f} s)"
        )


class Cut:
    """Cuts a tensor from the graph, and remembers whether it ever hung there."""

    def __init__(self) -> None:
        self.hung = False

    def __call__(self, value: Any) -> Any:
        """Return the value without its graph."""
        import torch

        hangs = getattr(value, "requires_grad", False) and torch.is_grad_enabled()
        if not hangs:
            return value
        self.hung = True
        return value.detach()


def used_names(code: types.CodeType) -> set[str]:
    """Return the names that code uses, with all functions in it."""
    inner = [part for part in code.co_consts if isinstance(part, types.CodeType)]
    return {*code.co_names}.union(*map(used_names, inner))


class Overdue(BaseException):
    """A mutant takes too long. No check catches it as an error of the loss."""


class UnfitError(Exception):
    """A check refuses the loss as it is, and so can judge no slip in it."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise `Overdue` in the block after so many seconds of computing."""

    def ring(*_: Any) -> None:
        raise Overdue

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@contextmanager
def calls_into(path: str) -> Iterator[set[str]]:
    """Collect the names of a file's functions that are called, methods with class."""
    found: set[str] = set()

    def trace(frame: types.FrameType, event: str, argument: Any) -> None:
        if frame.f_code.co_filename == path:
            # Of what stands within a function, the function is named.
            found.add(frame.f_code.co_qualname.split(".<locals>")[0])

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield found
    finally:
        sys.settrace(before)


@contextmanager
def kernels_at_work() -> Iterator[list[bool]]:
    """Collect, for each call of a loss that has a fused form, whether it served."""
    from lossbook import kernels

    usable = kernels.usable
    served: list[bool] = []

    def watched(*arguments: Any, **options: Any) -> bool:
        served.append(usable(*arguments, **options))
        return bool(served[-1])

    with patch.object(kernels, "usable", watched):
        yield served


class Tester:
    """The process that runs tests on changed copies: `tools.mutant_tests`.

    Args:
        folder: The checkout with the tests.
    """

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tools.mutant_tests"],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def status(self, request: dict[str, Any]) -> int:
        """Return the exit status of pytest."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError("the process that runs the tests has ended")
        return int(answer)

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


@cache
def tester(folder: Path) -> Tester:
    """Return the tester of a checkout; it ends with this process."""
    return Tester(folder)


class Trial:
    """The checks of one loss, run on changed copies of its module.

    Args:
        module: The name of the loss's module.
        checks: The checks; by default those that cover the card's kind.
    """

    def __init__(self, module: str, checks: Sequence[Any] | None = None) -> None:
        from lossbook import check

        self.original = importlib.import_module(module)
        card = self.original.CARD
        chosen = check.applicable(card) if checks is None else checks
        source = Path(self.original.__file__ or "").read_text(encoding="utf-8")
        self.source = source
        self.tree = ast.parse(source)
        self.runs = [(one, form) for one in chosen for form in ("fused", "plain")]
        self.cost = {
            run: float(DEAR.index(run[0].name) + 1 if run[0].name in DEAR else 0)
            for run in self.runs
        }
        self.kills: Counter[tuple[Any, ...]] = Counter()
        # What a check never calls, it cannot judge. None: it judges nothing.
        self.calls: dict[Any, set[str] | None] = {}
        self.matrices = frozenset(
            name
            for name, value in card.closed_over().items()
            if len(getattr(value, "shape", ())) == 2
            and value.shape[0] == value.shape[1]
        )

    def slips(self) -> Iterator[tuple[Slip, Any]]:
        """Yield the slips of this module, each with its code."""
        return slips(self.tree, self.matrices)

    def baseline(self, run: Any) -> str | None:
        """Run a check on the loss as it is; return why it refuses it, if it does.

        It takes the time of it, and notes what it calls: nothing to be judged, if it
        was to check the fused form and the loss has none here.
        """
        start = time.process_time()
        with (
            kernels_at_work() as served,
            calls_into(str(self.original.__file__)) as called,
        ):
            found = self._refused(self.original.CARD, run)
        if found is not None:
            return f"{run[0].name} ({run[1]}) refuses the loss: {found}"
        self.cost[run] = time.process_time() - start
        self.calls[run] = called if run[1] == "plain" or any(served) else None
        return None

    @cached_property
    def always(self) -> set[str]:
        """What is called when the module is imported, and so counts for each check."""
        module = types.ModuleType(f"{self.original.__name__}__again")
        sys.modules[module.__name__] = module
        path = str(self.original.__file__)
        try:
            with calls_into(path) as called:
                exec(compile(self.source, path, "exec"), module.__dict__)
        finally:
            del sys.modules[module.__name__]
        return called

    def judges(self, run: Any, function: str) -> bool:
        """True if a check calls a function, or may look at it."""
        called = self.calls[run]
        if called is None:
            return False
        if "cache" in self.source or run[0].name == "defaults":
            return True
        return function in called | self.always or function not in self.functions

    @cached_property
    def functions(self) -> set[str]:
        """The names of the module's functions; of a method, its class's before it."""
        return {
            f"{top.name}.{part.name}" if part is not top else top.name
            for top in self.tree.body
            if isinstance(top, ast.FunctionDef | ast.ClassDef)
            for part in (top, *top.body)
            if isinstance(part, ast.FunctionDef)
        }

    def killed_by(self, code: Any, function: str) -> str | None:
        """Return what sees that the code is not the loss, None if nothing does.

        `NO_SLIP` is returned for a cut where there is no graph to be cut.

        Args:
            code: The module with a slip in it.
            function: Where the slip is: what has seen those there comes early.
        """
        name = f"{self.original.__name__}__mutant"
        module = types.ModuleType(name)
        module.__file__ = self.original.__file__
        cut = module.__dict__[CUT] = Cut()
        sys.modules[name] = module
        try:
            killer = self._killed_by(code, function, module)
            cuts_nothing = CUT in used_names(code) and not cut.hung
            return NO_SLIP if killer is None and cuts_nothing else killer
        except Overdue:
            return "the clock"
        finally:
            del sys.modules[name]

    def _killed_by(
        self, code: Any, function: str, module: types.ModuleType
    ) -> str | None:
        try:
            with deadline(SLOW):
                exec(code, module.__dict__)
            card = module.CARD
        except Exception:
            return "its import"

        def dear(run: Any) -> float:
            return self.cost[run] / float(1 + self.kills[function, *run]) ** 2

        for run in sorted(self.runs, key=dear):
            if run not in self.calls and (problem := self.baseline(run)) is not None:
                raise UnfitError(problem)
            if not self.judges(run, function):
                continue
            with deadline(SLOW + 3 * self.cost[run]):
                found = self._refused(card, run)
            if found is not None:
                self.kills[function, *run] += 1
                return str(run[0].name)
        return None

    @cached_property
    def tests_pass(self) -> bool:
        """True if the examples and the tests of the loss accept it as it is."""
        return not self.killed_by_tests(self.source)

    def killed_by_tests(self, source: str) -> bool:
        """True if the examples or the tests of the loss refuse a changed source."""
        name, key = self.original.__name__, self.original.CARD.key
        folders = ["losses"]
        if "except ImportError" in self.source:  # it uses another library
            folders.append("peers")
        tests = [
            str(path)
            for folder in folders
            for path in sorted((ROOT / "tests" / folder).glob("test_*.py"))
            if re.search(rf"\b{key}\b", path.read_text(encoding="utf-8"))
        ]
        tests += [str(path) for path in (ROOT / OF_ALL,) if path.exists()]
        request = {"module": name, "source": source + CUTTER, "tests": tests}
        return tester(ROOT).status(request) not in PASSED

    def _refused(self, card: Any, run: tuple[Any, Any]) -> str | None:
        from lossbook import kernels

        one, form = run
        with ExitStack() as stack:
            stack.enter_context(kernels.force(form))
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            try:
                one.run(card)
            except Exception as error:  # whatever the changed code raises
                return f"{type(error).__name__}: {error}"
        return None


def examine(module: str, excluded: Sequence[str] = ()) -> Report:
    """Plant every slip of one module; tell which survive."""
    import torch

    torch.set_num_threads(1)
    start = time.perf_counter()
    trial = Trial(module)
    report = Report(file_of(module))
    try:
        _plant(trial, report, excluded)
    except UnfitError as unfit:
        report = Report(report.path, problems=[str(unfit)])
    report.seconds = time.perf_counter() - start
    return report


def _plant(trial: Trial, report: Report, excluded: Sequence[str]) -> None:
    unseen = set(excluded)
    for slip, code in trial.slips():
        if slip.text in excluded:
            unseen.discard(slip.text)
            report.excluded += 1
            continue
        killer = trial.killed_by(code, slip.function)
        if killer is None and trial.tests_pass:
            # The tree has the slip in it now.
            changed = ast.unparse(trial.tree)
            killer = "its tests" if trial.killed_by_tests(changed) else None
        report.planted += killer != NO_SLIP
        report.killed += killer not in (None, NO_SLIP)
        if killer is None:
            report.survivors.append(slip)
    if not vars(trial).get("tests_pass", True):
        report.problems.append("its tests refuse the loss as it is")
    report.problems += [
        f"mutants.toml excludes what is not planted: {t}" for t in unseen
    ]


def file_of(module: str) -> str:
    """Return the path of a module's file, from the root of the checkout."""
    found = importlib.util.find_spec(module)
    return Path(found.origin or "").relative_to(ROOT).as_posix() if found else module


def exclusions() -> dict[str, list[str]]:
    """Return the slips that change nothing, by file."""
    found: dict[str, list[str]] = {}
    for entry in tomllib.loads(LIST.read_text(encoding="utf-8"))["equivalent"]:
        if not entry["reason"].strip():
            raise ValueError(f"{LIST.name}: give a reason for {entry['slip']}")
        found.setdefault(entry["file"], []).append(entry["slip"])
    return found


def modules_of(keys: Sequence[str]) -> list[str]:
    """Return the modules of these losses or families, of all losses without any."""
    from lossbook.losses import CATALOGUE

    families = {card.family for card in CATALOGUE.values()}
    unknown = set(keys) - set(CATALOGUE) - families
    if unknown:
        raise SystemExit(
            f"no loss and no family is called {', '.join(sorted(unknown))}"
        )
    return [
        card.fn.__module__
        for key, card in CATALOGUE.items()
        if not keys or key in keys or card.family in keys
    ]


def main(arguments: Sequence[str]) -> int:
    """Examine the losses named, all without a name; 1 if a slip survives."""
    several = f"processes at a time (default: {PROCESSES})"
    made = argparse.ArgumentParser(prog="mutants", description="Plant slips.")
    made.add_argument("losses", nargs="*", help="losses or families (default: all)")
    made.add_argument("--processes", type=int, default=PROCESSES, help=several)
    options = made.parse_args(arguments)
    modules, excluded = modules_of(options.losses), exclusions()
    stale = [f for f in excluded if not (ROOT / f).exists()]
    reports = []
    # A fresh process: torch does not survive a fork of a process that has used it.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.processes, mp_context=context) as pool:
        waiting = [
            pool.submit(examine, m, excluded.get(file_of(m), ())) for m in modules
        ]
        for count, done in enumerate(as_completed(waiting), start=1):
            report = done.result()
            say(f"{count}/{len(waiting)} {report.line()}")
            for slip in report.survivors:
                say(f"   survived: {report.path}:{slip.line}: {slip.text}")
            reports.append(report)
    return summarize(reports, stale)


def summarize(reports: Sequence[Report], stale: Sequence[str] = ()) -> int:
    """Print problems and totals; return the exit status."""
    ordered = sorted(reports, key=lambda report: report.path)
    problems = [f"{r.path}: {text}" for r in ordered for text in r.problems]
    problems += [f"mutants.toml names {file}, which is not there" for file in stale]
    survivors = sum(len(r.survivors) for r in ordered)
    for text in problems:
        say(f"problem: {text}")
    planted, killed, excluded = (
        sum(getattr(r, name) for r in ordered)
        for name in ("planted", "killed", "excluded")
    )
    more = f"; {excluded} not planted, since they change nothing" if excluded else ""
    say(f"\n{planted} planted, {killed} killed, {survivors} survived{more}")
    return 1 if survivors or problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
