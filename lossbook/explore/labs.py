"""Labs: experiments that a reader turns, trained when the notebook runs.

All states are trained at once and stored as a table, so the page needs no kernel. In a
running notebook, `lab.live()` trains anew for whatever setting the reader chooses.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lossbook import style
from lossbook.explore.explorers import (
    NEARBY,
    TABLE_BUDGET,
    probe_slider,
    require_alt,
    require_range,
    round_range,
    table_digits,
)
from lossbook.explore.figure import Axis, Frame
from lossbook.explore.labels import decimals, number, symbol
from lossbook.explore.page import Output
from lossbook.explore.tables import Table

MOST_CONTROLS = 2
MOST_STATES = 60
BESIDE = 0.05  # share of the y-range that is stored beyond its ends
NUMBER_DIGITS = 3


@dataclass(frozen=True)
class Control:
    """A control of a lab: the values that are trained, ascending.

    `start` is the first setting (the first value where not given), `label` the name on
    the page, `note` a few words that say what it does, `unit` follows the number.
    """

    values: Sequence[float]
    start: float | None = None
    label: str = ""
    note: str = ""
    unit: str = ""

    @property
    def digits(self) -> int:
        """How many decimals the values need."""
        return max(decimals(abs(v)) if v else 0 for v in self.values)

    @property
    def first(self) -> int:
        """The place of the first setting among the values."""
        return 0 if self.start is None else list(self.values).index(self.start)

    @property
    def texts(self) -> list[str]:
        """The values as the page shows them."""
        return [number(v, self.digits) for v in self.values]


@dataclass(frozen=True, kw_only=True)
class Result:
    """What training K states in lockstep gives.

    Attributes:
        x: (n,) evenly spaced places.
        curves: name -> (K, n); nan where a curve does not exist.
        numbers: name -> (K,), read out as text.
        points: name -> (m, 2), drawn behind the curves; the same for all states.
    """

    x: np.ndarray
    curves: Mapping[str, np.ndarray]
    numbers: Mapping[str, np.ndarray] = field(default_factory=dict)
    points: Mapping[str, np.ndarray] = field(default_factory=dict)


Train = Callable[..., Result | Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Lab(Output):
    """A trained lab; displays itself. Made by `lab`."""

    train: Train
    controls: Mapping[str, Control]
    result: Result
    alt: str
    x_label: str
    y_range: tuple[float, float]
    y_label: str
    title: str
    digits: Mapping[str, int]
    probe: float | None

    def __repr__(self) -> str:
        """Return curves, numbers and controls; the same on every run."""
        shown = ", ".join([*self.result.curves, *self.result.numbers])
        return f"Lab({shown}; controls: {', '.join(self.controls)})"

    @property
    def start(self) -> int:
        """The first state."""
        state = 0
        for control in self.controls.values():
            state = state * len(control.values) + control.first
        return state

    @property
    def x_range(self) -> tuple[float, float]:
        """The ends of the x-axis."""
        return float(self.result.x[0]), float(self.result.x[-1])

    @property
    def budget(self) -> int:
        """How many bytes the output may have, gzipped."""
        return TABLE_BUDGET

    def javascript(self) -> str:
        """Return no functions: every curve is a table."""
        return "[{}]"

    def frame(self) -> Frame:
        """Return the first frame: the first state."""
        setting = [
            f"{c.label or symbol(name)} = {c.texts[c.first]}{c.unit}"
            for name, c in self.controls.items()
        ]
        low, high = self.x_range
        return Frame(
            alt=self.alt,
            x=Axis(low=low, high=high, label=self.x_label),
            y=Axis(low=self.y_range[0], high=self.y_range[1], label=self.y_label),
            names=list(self.result.curves),
            curves=[t.values[self.start] for t in self.tables().values()],
            most_curves=len(self.result.curves),
            caption=", ".join(setting),
            points=self.result.points,
        )

    def tables(self) -> dict[str, Table]:
        """Return the curves as tables over the places of the controls' values."""
        places = {
            name: np.arange(len(control.values), dtype=float)
            for name, control in self.controls.items()
        }
        return {
            name: Table.from_values(self.result.x, places, self._in_view(values))
            for name, values in self.result.curves.items()
        }

    def spec(self) -> dict[str, Any]:
        """Return what the script in the page needs."""
        names = list(self.controls)
        curves = [
            {"label": name, "digits": table_digits(table), "table": table.spec(names)}
            for name, table in self.tables().items()
        ]
        numbers = [
            {"label": name, "texts": self.number_texts(name, values)}
            for name, values in self.result.numbers.items()
        ]
        sliders = [
            {
                "key": name,
                "label": control.label or symbol(name),
                "note": control.note,
                "unit": control.unit,
                "min": 0,
                "max": len(control.values) - 1,
                "step": 1,
                "value": control.first,
                "digits": 0,
                "texts": control.texts,
            }
            for name, control in self.controls.items()
        ]
        return self.common_spec() | {
            "groups": [
                {
                    "label": "",
                    "sliders": sliders,
                    "curves": curves,
                    "numbers": numbers,
                    "shade": "",
                }
            ],
        }

    def common_spec(self) -> dict[str, Any]:
        """Return what the page and the live form share: axes and points."""
        low, high = self.x_range
        spec: dict[str, Any] = {
            "frame": self.frame().spec(),
            "x": {
                "label": "x",
                "min": low,
                "max": high,
                "places": len(self.result.x),
                "nearby": NEARBY,
            },
            "points": list(self.result.points),
            "menu": "",
        }
        if self.probe is not None:
            spec["probe"] = probe_slider(self.x_range, self.probe, "x").spec(
                "probe", "x"
            )
        return spec

    def number_texts(self, name: str, values: np.ndarray) -> list[str]:
        """Return a number's texts, one a state."""
        return [number(float(v), self.digits.get(name, NUMBER_DIGITS)) for v in values]

    def retrain(self, **setting: float) -> Result:
        """Train one state anew, at any setting of the controls."""
        arrays = {
            name: np.array([setting[name]], dtype=float) for name in self.controls
        }
        return _checked(self.train(**arrays), states=1)

    def live(self) -> Any:
        """Return controls beside the drawing; moving one trains anew.

        The ipywidgets slider of a control is in `.controls[name]`, the drawing in
        `.view`.
        """
        from lossbook.explore.live import live_lab

        return live_lab(self)

    def _in_view(self, values: np.ndarray) -> np.ndarray:
        """Spend the table's levels on what is seen.

        Where no probe reads values, those far outside are moved next to the frame.
        """
        if self.probe is not None:
            return values
        low, high = self.y_range
        room = BESIDE * (high - low)
        return np.clip(values, low - room, high + room)


def lab(
    train: Train,
    controls: Mapping[str, Control | Sequence[float]],
    *,
    alt: str,
    x_label: str = "",
    y_range: tuple[float, float] | None = None,
    y_label: str = "",
    title: str = "",
    digits: int | Mapping[str, int] = NUMBER_DIGITS,
    probe: float | None = None,
) -> Lab:
    """Train all states of a lab in lockstep.

    Args:
        train: called with one float array of length K a control; returns a `Result`, or
            a mapping with its fields.
        controls: at most two, name -> `Control` or the values; at most 60 states.
        alt: what the picture shows, for those who do not see it. Required.
        x_label: label of the x-axis.
        y_label: label of the y-axis.
        y_range: ends of the y-axis; found from the curves where not given.
        title: a line above the drawing.
        digits: decimals of the numbers, for all or by name.
        probe: where a point on the curves stands at first; no point where not given.

    Raises:
        ValueError: with a message that says what must hold.
    """
    require_alt(alt)
    settings = {name: _control(name, given) for name, given in controls.items()}
    if not 1 <= len(settings) <= MOST_CONTROLS:
        raise ValueError(
            f"a lab must have one or {MOST_CONTROLS} controls, got {len(settings)}; "
            "fix the others in train"
        )
    states = math.prod(len(control.values) for control in settings.values())
    if states > MOST_STATES:
        raise ValueError(
            f"a lab must have at most {MOST_STATES} states, got {states}; "
            "give its controls fewer values"
        )
    grid = np.array(
        list(itertools.product(*(c.values for c in settings.values()))), float
    )
    arrays = {name: grid[:, k].copy() for k, name in enumerate(settings)}
    result = _checked(train(**arrays), states)
    if y_range is None:
        y_range = round_range(
            np.concatenate([c.ravel() for c in result.curves.values()])
        )
    require_range("y_range", y_range)
    if isinstance(digits, int):
        digits = dict.fromkeys(result.numbers, digits)
    return Lab(
        train=train,
        controls=settings,
        result=result,
        alt=alt,
        x_label=x_label,
        y_range=y_range,
        y_label=y_label,
        title=title,
        digits=digits,
        probe=probe,
    )


def _control(name: str, given: Control | Sequence[float]) -> Control:
    control = given if isinstance(given, Control) else Control(given)
    values = np.asarray(control.values, float)
    if values.ndim != 1 or not len(values) or not (np.diff(values) > 0).all():
        raise ValueError(
            f"the values of control {name} must be ascending numbers, "
            f"got {list(control.values)}"
        )
    if control.start is not None and control.start not in control.values:
        raise ValueError(
            f"control {name} must start at one of its values, got {control.start}"
        )
    return control


def _checked(returned: Result | Mapping[str, Any], states: int) -> Result:
    """Return the result as arrays of the shapes that `Result` states."""
    result = returned if isinstance(returned, Result) else Result(**returned)
    x = np.asarray(result.x, float)
    if x.ndim != 1 or len(x) < 2 or not np.allclose(np.diff(x), x[1] - x[0]):
        raise ValueError(
            "train must return x as at least two evenly spaced numbers, "
            f"got shape {x.shape}; use np.linspace"
        )
    if not 1 <= len(result.curves) <= len(style.CURVES):
        raise ValueError(
            f"train must return 1 to {len(style.CURVES)} curves, "
            f"got {len(result.curves)}"
        )
    return Result(
        x=x,
        curves=_arrays("curve", result.curves, (states, len(x))),
        numbers=_arrays("number", result.numbers, (states,)),
        points={
            name: _arrays("points", {name: given}, (len(given), 2))[name]
            for name, given in result.points.items()
        },
    )


def _arrays(
    kind: str, given: Mapping[str, Any], shape: tuple[int, ...]
) -> dict[str, np.ndarray]:
    arrays = {name: np.asarray(values, float) for name, values in given.items()}
    for name, values in arrays.items():
        if values.shape != shape:
            raise ValueError(
                f"train must return {kind} {name!r} in shape {shape}, "
                f"got {values.shape}"
            )
    return arrays
