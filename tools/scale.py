"""A sweep on a cluster: the command, and a small one that must give the same rows."""

import argparse
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import joblib
import pandas as pd
from dask.distributed import Client, LocalCluster

from lossbook.experiment import Config, grid, sweep
from tools.console import Stopped, say

HOW = """\
A sweep on a cluster of several machines, each with lossbook installed:

  dask scheduler                                   on one of them; it tells its ADDRESS
  dask worker ADDRESS --nworkers 4 --nthreads 1    on each, a worker a core

  import joblib
  from dask.distributed import Client
  from lossbook.experiment import grid, sweep

  with Client("ADDRESS"), joblib.parallel_config(backend="dask"):
      rows = sweep(grid(loss=["cross_entropy", "gce"], seed=range(50)), store="rows")

The rows are stored where this runs; the same call goes on where it was interrupted.
"""
NOT_THE_SAME = ["seconds", "device"]  # of one training, and where it was


def configs() -> list[Config]:
    """A small sweep in several stacks."""
    losses = ["cross_entropy", "focal", "gce", "mae"]
    return grid(data="iris", loss=losses, epochs=20, seed=range(6))


@contextmanager
def client_of(scheduler: str, workers: int) -> Iterator[Client]:
    """A client of the scheduler, or of a cluster of processes on this machine."""
    if scheduler:
        with Client(scheduler) as client:
            yield client
        return
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address=None,
            silence_logs=logging.ERROR,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def main(arguments: Sequence[str] | None = None) -> int:
    """Show the command, run a sweep alone and on a cluster, compare the rows."""
    made = argparse.ArgumentParser(prog="make scale", description=__doc__)
    made.add_argument("--scheduler", default="", help="ADDRESS of a running one")
    made.add_argument("--workers", type=int, default=2, help="without a scheduler")
    options = made.parse_args(arguments)
    if options.workers < 1:
        raise Stopped(f"workers must be at least 1, got {options.workers}")
    say(HOW)
    wanted = configs()
    alone, here = timed(wanted)
    place = options.scheduler or f"{options.workers} workers on this machine"
    start = time.perf_counter()
    with (
        client_of(options.scheduler, options.workers),
        joblib.parallel_config(backend="dask"),
    ):
        started = time.perf_counter() - start
        shared, there = timed(wanted)
    say(f"{len(wanted)} trainings in this process: {here:.1f} s")
    say(f"the same on {place}: {there:.1f} s, after {started:.1f} s for its start")
    compare(alone, shared)
    say("The rows are the same.")
    return 0


def timed(wanted: Sequence[Config]) -> tuple[pd.DataFrame, float]:
    """The rows of a sweep and its seconds."""
    start = time.perf_counter()
    rows = sweep(wanted, stack=3, progress=False)
    return rows, time.perf_counter() - start


def compare(alone: pd.DataFrame, shared: pd.DataFrame) -> None:
    """Stop if the rows differ in anything but time and place."""
    one, other = (rows.drop(columns=NOT_THE_SAME) for rows in (alone, shared))
    try:
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    except AssertionError as error:
        raise Stopped(
            "the rows of the cluster must be those of one process, and differ: its "
            f"machines have other processors or versions\n{error}"
        ) from None


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except Stopped as stopped:
        raise SystemExit(str(stopped)) from None
