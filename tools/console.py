"""What the commands print: steps, progress, failures."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


def say(message: str) -> None:
    """Print one line at once."""
    print(message, flush=True)


def headline(title: str) -> None:
    """Print the start of a stage."""
    say(f"\n== {title}")


class Stopped(Exception):  # noqa: N818  (a message for the reader, not an error)
    """A command cannot go on; the message says why and what to do."""


@contextmanager
def step(title: str) -> Iterator[None]:
    """Print a step's title, and its seconds once it is done."""
    say(f"-- {title}")
    start = time.perf_counter()
    yield
    say(f"   done in {time.perf_counter() - start:.1f} s")
