"""Compute the studies that chapters read: `make results`."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from lossbook import results
from lossbook.results import AnyStudy
from lossbook.studies import STUDIES
from tools.console import headline, say
from tools.paths import BOOK, BUILD

STORED = BOOK / "results"
FINISHED = BUILD / "results"  # what an interrupted run goes on from


def main(
    arguments: Sequence[str] | None = None,
    studies: dict[str, AnyStudy] = STUDIES,
    stored: Path = STORED,
    finished: Path = FINISHED,
) -> int:
    """Compute the studies that are named, or all."""
    parser = argparse.ArgumentParser(prog="make results", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="STUDY", help="default: all")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    options = parser.parse_args(arguments)
    for name in options.names:
        if name not in studies:
            known = ", ".join(studies)
            parser.error(f"STUDY must be one of {known}, got {name!r}")
    for name in options.names or studies:
        compute(studies[name], stored, finished, options.jobs)
    return 0


def compute(study: AnyStudy, stored: Path, finished: Path, jobs: int) -> None:
    """Compute one study and store its rows."""
    path = stored / f"{study.name}.parquet"
    known, most = study.trainings()
    more = f", up to {most - known} more that depend on them" if most > known else ""
    headline(f"{study.name}: {known} trainings{more}")
    say(study.about)
    start = time.perf_counter()
    earlier = results.read_file(path) if path.exists() else None
    rows = study.rows(finished / study.name, jobs, earlier=earlier)
    results.write(study, rows, path)
    seconds = time.perf_counter() - start
    say(f"{len(rows)} rows in {seconds:.0f} s, stored in {path}")


if __name__ == "__main__":
    raise SystemExit(main())
