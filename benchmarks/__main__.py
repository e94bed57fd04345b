"""Measure, store, print: `python -m benchmarks [--quick] [--only WORD ...]`."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from benchmarks import cases, families, measure, store


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit status.

    `--only lockstep` is another one: how long sweeps of trainings take.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:2] == ["--only", "lockstep"]:
        from benchmarks import training

        return training.main(given[2:])
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one size, one round")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="subjects to renew")
    parser.add_argument("--to", type=Path, default=store.STORED, metavar="FILE")
    options = parser.parse_args(given)
    if options.quick and options.to == store.STORED:
        parser.error("--quick is no measurement to keep: give --to another file")
    chosen, families_chosen = cases.subjects(), list(families.CASES)
    if options.only:
        chosen = [each for each in chosen if wanted(each.name, options.only)]
        families_chosen = [
            each
            for each in families_chosen
            if any(word in f"{each.name} {each.subject}" for word in options.only)
        ]
    if not families_chosen and [each.name for each in chosen] == [cases.BASELINE]:
        parser.error(f"no loss has {' or '.join(options.only)} in its name")
    rows = []
    measured = here if options.quick else measure.apart
    if len(chosen) > 1:
        for size in cases.QUICK if options.quick else cases.SIZES:
            print(f"-- {size.n} x {size.classes}, {len(chosen)} subjects", flush=True)
            names = [each.name for each in chosen]
            rows += measured(measure.rows_named, size, names)
    for case in families_chosen:
        print(f"-- {case.name}", flush=True)
        rows += measured(measure.case, case.name, options.quick)
    frame = store.frame_of(rows)
    show(frame)
    if options.only:
        try:
            frame = store.frame_of([*rows, *store.others(rows, options.to)])
        except ValueError as error:
            print(f"not stored: {error}")
            return 0
    store.write(frame, options.to)
    print(f"stored in {options.to}")
    return 0


def here(rows: Callable[..., list[measure.Row]], *given: object) -> list[measure.Row]:
    """The rows, from this process."""
    return rows(*given)


def show(frame: pd.DataFrame) -> None:
    """Print what was measured, and what could not be."""
    for table in (store.summary(frame), store.cases_table(frame)):
        if len(table):
            print(table.round(2).to_string(na_rep=""))
    for name in families.absent(frame):
        print(f"not installed here, not measured: {name}")


def wanted(name: str, words: Sequence[str]) -> bool:
    """Whether a word names this subject; what all are compared with always is."""
    return name == cases.BASELINE or any(word in name for word in words)


if __name__ == "__main__":
    raise SystemExit(main())
