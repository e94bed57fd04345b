"""Sliders: the range of a parameter, in steps that a reader can set by keyboard."""

import math
from dataclasses import dataclass
from typing import Any

from lossbook.card import Param
from lossbook.explore.labels import decimals, symbol


@dataclass(frozen=True, kw_only=True)
class Slider:
    """A slider over low..high that starts at `value`.

    `step` is found where it is not given: about a hundredth of the range, and such that
    `value` can be reached. `label` is the name on the page (Greek where the parameter's
    name is), `note` a few words that say what it does, `unit` follows the number.
    """

    low: float
    high: float
    value: float
    step: float | None = None
    label: str = ""
    note: str = ""
    unit: str = ""

    def __post_init__(self) -> None:
        """Refuse a range that no slider can show."""
        numbers = (self.low, self.high, self.value)
        if not all(math.isfinite(n) for n in numbers):
            raise ValueError(
                "a slider's low, high and value must be finite, got "
                f"{self.low}, {self.high}, {self.value}; give the part of the range "
                "that is worth seeing"
            )
        if not self.low < self.high:
            raise ValueError(
                f"a slider's low must be below its high, got {self.low} and {self.high}"
            )
        if not self.low <= self.value <= self.high:
            raise ValueError(
                f"a slider's value must lie in {self.low}..{self.high}, "
                f"got {self.value}"
            )
        if self.step is None:
            object.__setattr__(self, "step", _step(self.low, self.high, self.value))
        elif not (self.step > 0 and _on_grid(self.low, self.value, self.step)):
            raise ValueError(
                "a slider's value must be low plus a whole number of steps, got "
                f"low {self.low}, step {self.step}, value {self.value}; "
                "choose another step"
            )

    @classmethod
    def of(cls, param: Param, name: str) -> "Slider":
        """Return the slider of a card's parameter. An open end is left out."""
        step = 1.0 if param.whole else _step(param.low, param.high, param.default)
        return cls(
            low=_plain(param.low + step) if param.open_low else param.low,
            high=_plain(param.high - step) if param.open_high else param.high,
            value=param.default,
            step=step,
            label=symbol(name, param.tex),
            note=param.meaning,
        )

    @property
    def digits(self) -> int:
        """How many decimals the number on the page needs."""
        assert self.step is not None
        return max(decimals(self.step), decimals(self.low))

    def spec(self, key: str, name: str) -> dict[str, Any]:
        """Return what the script in the page needs to know."""
        return {
            "key": key,
            "label": self.label or symbol(name),
            "note": self.note,
            "unit": self.unit,
            "min": _plain(self.low),
            "max": _plain(self.high),
            "step": self.step,
            "value": _plain(self.value),
            "digits": self.digits,
        }


def as_slider(name: str, given: Any) -> Slider:
    """Return a slider from a `Slider`, or from (low, high, value)."""
    if isinstance(given, Slider):
        return given
    if isinstance(given, tuple) and len(given) == 3:
        low, high, value = given
        return Slider(low=low, high=high, value=value)
    raise TypeError(
        f"parameter {name} must be a Slider or a tuple (low, high, value), "
        f"got {given!r}"
    )


def nice_step(rough: float) -> float:
    """Return the largest of 1, 2, 5 times a power of ten that is at most `rough`.

    >>> nice_step(0.03), nice_step(0.64), nice_step(10.0)
    (0.02, 0.5, 10.0)
    """
    power = math.floor(math.log10(rough) + 1e-9)
    for factor in (5, 2, 1):
        step = float(f"{factor}e{power}")
        if step <= rough * (1 + 1e-9):
            return step
    raise AssertionError("one of the factors always fits")


def _step(low: float, high: float, value: float) -> float:
    for parts in (100, 200, 500, 1000, 2000, 5000, 10_000, 100_000):
        step = nice_step((high - low) / parts)
        if _on_grid(low, value, step) and _on_grid(low, high, step):
            return step
    raise ValueError(
        f"no plain step leads from {low} over {value} to {high}; "
        "give the slider a step, or rounder numbers"
    )


def _on_grid(low: float, value: float, step: float) -> bool:
    steps = (value - low) / step
    return math.isclose(steps, round(steps), abs_tol=1e-6)


def _plain(value: float) -> float:
    """Remove the rounding of binary fractions: 0.1 + 0.2 becomes 0.3."""
    return float(f"{value:.12g}")
