"""The stages of `make test`: each is a command, all run, a summary ends it."""

import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tools.console import headline, say
from tools.paths import LOGS, ROOT, venv_program


@dataclass(frozen=True)
class Stage:
    """One command.

    Attributes:
        title: What the summary calls it.
        command: A program of the virtual environment and its arguments.
    """

    title: str
    command: tuple[str, ...]


@dataclass
class Result:
    """How a stage went."""

    title: str
    seconds: float
    status: int
    counts: dict[str, int] = field(default_factory=dict)


PYTHON_FOLDERS = ("lossbook", "tools", "tests", "benchmarks")
OURS = ("tests", "--ignore=tests/site", "--ignore=tests/peers")
NBVAL = (
    "-p",
    "tools.nbval_plugin",
    "--nbval",
    "--nbval-current-env",
    "--nbval-sanitize-with=tools/nbval-sanitize.cfg",
)
TWO = ("-n", "2", "--dist", "loadfile")

CHECKS = (
    Stage("ruff", ("ruff", "check", ".")),
    Stage("ruff format", ("ruff", "format", "--check", *PYTHON_FOLDERS)),
    Stage("mypy", ("mypy",)),
    Stage("codespell", ("codespell",)),
    Stage("form of notebooks and texts", ("python", "-m", "tools.rules")),
)
PEERS = Stage("other libraries", ("python", "-m", "pytest", "-q", "tests/peers"))
STAGES = (
    *CHECKS,
    Stage("unit tests", ("pytest", "-q", "lossbook", *OURS, *TWO)),
    PEERS,
    Stage("stored notebooks", ("python", "-m", "pytest", "-q", *NBVAL, *TWO, "book")),
    Stage("site from stored notebooks", ("python", "-m", "tools.site", "--stored")),
    Stage("site in a browser", ("pytest", "-q", "tests/site")),
)


def run(stages: Sequence[Stage]) -> int:
    """Run all stages, print the summary, return the exit status."""
    LOGS.mkdir(parents=True, exist_ok=True)
    results = [run_stage(stage) for stage in stages]
    summarize(results)
    return 1 if any(result.status for result in results) else 0


def run_stage(stage: Stage) -> Result:
    """Run one stage; its output passes through and is kept in a log."""
    headline(stage.title)
    start = time.perf_counter()
    program, *arguments = stage.command
    status, output = run_and_show([str(venv_program(program)), *arguments])
    log = LOGS / f"test-{stage.title.replace(' ', '-')}.log"
    log.write_text(output, encoding="utf-8")
    seconds = time.perf_counter() - start
    return Result(stage.title, seconds, status, counts_in(output))


def run_and_show(command: Sequence[str], folder: Path = ROOT) -> tuple[int, str]:
    """Run a command, show its output line by line, return status and output."""
    lines = []
    with subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            lines.append(line)
    return process.returncode, "".join(lines)


def counts_in(output: str) -> dict[str, int]:
    """The numbers in pytest's last line: passed, failed, errors, skipped, ..."""
    lines = [line for line in output.splitlines() if re.search(r" in \d[\d.]*s", line)]
    if not lines:
        return {}
    found = re.findall(r"(\d+) (passed|failed|error|skipped|xfailed)", lines[-1])
    return {name: int(count) for count, name in found}


def summarize(results: Sequence[Result]) -> None:
    """Print one line a stage, and a last line with all counts."""
    width = max(len(result.title) for result in results)
    headline("summary")
    for result in results:
        state = "passed" if result.status == 0 else "FAILED"
        counts = ", ".join(f"{n} {name}" for name, n in result.counts.items())
        say(f"{result.title:<{width}}  {result.seconds:6.1f} s  {state}  {counts}")
    passed, failed = totals(results)
    say(f"\n{passed} passed, {failed} failed")


def totals(results: Sequence[Result]) -> tuple[int, int]:
    """Passed and failed tests; a stage without tests counts as one."""
    passed = failed = 0
    for result in results:
        broken = result.counts.get("failed", 0) + result.counts.get("error", 0)
        passed += result.counts.get("passed", 0 if result.status else 1)
        failed += broken or (1 if result.status else 0)
    return passed, failed
