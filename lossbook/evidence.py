"""Evidence: the executed comparison behind a statement.

Evidence prints what was compared, on how many numbers and within which bound. It never
prints the residual: that differs between machines, and the bound is what is stated.
What was found instead is told when the statement fails.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


class Refuted(AssertionError):  # noqa: N818 (it is raised as a sentence reads)
    """A statement of the book, a card or a check turned out false."""


@dataclass(frozen=True)
class Evidence:
    """Whether a comparison came out as stated, and what was compared."""

    holds: bool
    text: str
    tolerance: str
    found: str

    def __bool__(self) -> bool:
        """Return whether it came out as stated."""
        return self.holds

    def __and__(self, other: "Evidence") -> "Evidence":
        """Return the evidence that both hold."""
        bad = [e.found for e in (self, other) if not e.holds]
        return Evidence(
            holds=self.holds and other.holds,
            text=f"{self.text}; {other.text}",
            tolerance=", ".join(dict.fromkeys((self.tolerance, other.tolerance))),
            found="; ".join(bad),
        )

    def __repr__(self) -> str:
        """Return one line: the outcome and what was compared."""
        return f"{'holds' if self.holds else 'fails'}: {self.text}"

    def _repr_markdown_(self) -> str:
        return f"{'✓' if self.holds else '✗'} {self.text}"

    def require(self, statement: str) -> "Evidence":
        """Return this evidence, or raise `Refuted` with what was found."""
        if not self.holds:
            raise Refuted(f"{statement}: {self.found}")
        return self


def equal(a: Any, b: Any, *, within: float = 0.0, relative: bool = False) -> Evidence:
    """Compare two arrays entry by entry.

    Args:
        a: numbers, of any shape (torch, numpy or plain).
        b: numbers that broadcast against `a`.
        within: the largest difference allowed; 0 asks for equality.
        relative: divide each difference by the entry of `b`.

    >>> equal([1.0, 2.0], [1.0, 2.0 + 1e-12], within=1e-9)
    holds: equal within 1e-09, over 2 numbers
    """
    left, right = np.broadcast_arrays(array(a), array(b))
    if left.dtype == right.dtype == bool:  # truth values have no difference
        left, right = left.astype(int), right.astype(int)
    with np.errstate(invalid="ignore"):  # inf equals inf, their difference is nan
        gap = np.where(left == right, 0.0, np.abs(left - right))
    if relative:
        gap = gap / np.maximum(np.abs(right), np.finfo(float).tiny)
    word = "relatively equal" if relative else "equal"
    bound = f" within {within:g}" if within else ""
    return _each(
        gap <= within,
        f"{word}{bound}, over {_count(gap.size)}",
        f"{within:g}" if within else "exact",
        lambda i: f"{left[i]:.9g} differs from {right[i]:.9g} by {gap[i]:.3g}",
    )


def at_most(a: Any, bound: Any, *, slack: float = 0.0) -> Evidence:
    """Compare `a <= bound + slack`, entry by entry.

    >>> at_most([0.1, 0.5], 0.5)
    holds: at most 0.5, over 2 numbers
    """
    left, right = np.broadcast_arrays(array(a), array(bound))
    return _each(
        left <= right + slack,
        f"at most {_bound(bound)}, over {_count(left.size)}",
        f"{slack:g}" if slack else "exact",
        lambda i: f"{left[i]:.9g} exceeds {right[i]:.9g}",
    )


def at_least(a: Any, bound: Any, *, slack: float = 0.0) -> Evidence:
    """Compare `a >= bound - slack`, entry by entry.

    >>> at_least([0.6, 0.5], 0.5)
    holds: at least 0.5, over 2 numbers
    """
    left, right = np.broadcast_arrays(array(a), array(bound))
    return _each(
        left >= right - slack,
        f"at least {_bound(bound)}, over {_count(left.size)}",
        f"{slack:g}" if slack else "exact",
        lambda i: f"{left[i]:.9g} falls below {right[i]:.9g}",
    )


def between(a: Any, low: float, high: float) -> Evidence:
    """Compare `low <= a <= high`, entry by entry.

    >>> between(0.84, 0.8, 0.9)
    holds: between 0.8 and 0.9, over 1 number
    """
    values = np.atleast_1d(array(a))
    return _each(
        (values >= low) & (values <= high),
        f"between {low:g} and {high:g}, over {_count(values.size)}",
        "interval",
        lambda i: f"{values[i]:.9g} lies outside of {low:g} to {high:g}",
    )


def differs(a: Any, b: Any, *, by: float) -> Evidence:
    """Ask for at least one entry that differs by more than `by`: a witness.

    >>> differs([1.0, 2.0], [1.0, 3.0], by=0.5)
    holds: differ by more than 0.5 somewhere among 2 numbers
    """
    left, right = np.broadcast_arrays(array(a), array(b))
    gap = np.abs(left - right)
    largest = float(gap.max()) if gap.size else 0.0
    return Evidence(
        holds=largest > by,
        text=f"differ by more than {by:g} somewhere among {_count(gap.size)}",
        tolerance=f"{by:g}",
        found=f"the largest difference is {largest:.3g}",
    )


def true(condition: Any, text: str) -> Evidence:
    """Turn a condition into evidence, in your own words.

    >>> true(2 + 2 == 4, "two and two, added")
    holds: two and two, added
    """
    holds = array(condition).astype(bool)
    return Evidence(
        holds=bool(holds.all()),
        text=text,
        tolerance="exact",
        found=f"false in {int((~holds).sum())} of {holds.size} cases",
    )


def raises(error: type[Exception], call: Callable[[], Any]) -> Evidence:
    """Ask that `call()` raises `error`; the text tells its message.

    >>> raises(ZeroDivisionError, lambda: 1 / 0)
    holds: ZeroDivisionError: division by zero
    """
    try:
        call()
    except error as caught:
        # What a refuted check found differs between machines.
        told = "" if isinstance(caught, Refuted) else f": {caught}"
        text = f"{type(caught).__name__}{told}"
        return Evidence(holds=True, text=text, tolerance="exact", found="")
    return Evidence(
        holds=False,
        text=f"raises {error.__name__}",
        tolerance="exact",
        found=f"nothing was raised where {error.__name__} was expected",
    )


def array(values: Any) -> np.ndarray:
    """Return torch, numpy or plain numbers as a numpy array."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        if not values.dtype.is_complex and values.dtype.is_floating_point:
            values = values.double()
        values = values.numpy()
    return np.asarray(values)


def _each(
    holds: np.ndarray, text: str, tolerance: str, tell: Callable[[Any], str]
) -> Evidence:
    """Return evidence that all entries hold; tell of the first that does not."""
    wrong = np.argwhere(~np.atleast_1d(holds))
    if holds.size == 0:
        return Evidence(False, text, tolerance, "there was nothing to compare")
    if not wrong.size:
        return Evidence(True, text, tolerance, "")
    index = tuple(int(i) for i in wrong[0]) if holds.ndim else ()
    return Evidence(
        holds=False,
        text=text,
        tolerance=tolerance,
        found=f"{tell(index)} at {list(index)} ({len(wrong)} of {holds.size} do)",
    )


def _count(size: int) -> str:
    return "1 number" if size == 1 else f"{size:,} numbers"


def _bound(bound: Any) -> str:
    """Write a bound that somebody chose; a computed one is "the other"."""
    written = type(bound) in (int, float)
    return f"{bound:g}".replace("-", "−") if written else "the other"
