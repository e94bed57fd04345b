"""Measure, store, print: `python -m benchmarks [--quick] [--only WORD ...]`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import cases, measure, store


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
    chosen = cases.subjects()
    if options.only:
        chosen = [each for each in chosen if wanted(each.name, options.only)]
    rows = []
    for size in cases.QUICK if options.quick else cases.SIZES:
        print(f"-- {size.n} x {size.classes}, {len(chosen)} subjects", flush=True)
        rows += measure.rows_of(size, chosen)
    if options.only:
        rows += store.others(rows, options.to)
    frame = store.write(rows, options.to)
    print(store.summary(frame).round(2).to_string())
    print(f"stored in {options.to}")
    return 0


def wanted(name: str, words: Sequence[str]) -> bool:
    """Whether a word names this subject; what all are compared with always is."""
    return name == cases.BASELINE or any(word in name for word in words)


if __name__ == "__main__":
    raise SystemExit(main())
