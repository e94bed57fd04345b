"""Tables: curves without a closed form, stored in 8 bits a value."""

import base64
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LEVELS = 254  # codes 0..254 are values
UNDEFINED = 255  # this code is a hole in the curve
SMOOTHED = 2  # levels: a sharper bend is the curve's own
MOST_PARAMETERS = 2


@dataclass(frozen=True, eq=False)
class Table:
    """A curve over x for each point of a grid over at most two parameters.

    Between the points it is linear in x and bilinear in the parameters. At a point of
    the table a value is wrong by at most one level (`resolution`): half a level by
    rounding, and half by smoothing the steps that rounding leaves on gentle slopes.

    Attributes:
        x: (n,) evenly spaced places.
        grids: ascending values of each parameter.
        codes: (K, n) integers 0..255, K the product of the grids' lengths, the last
            parameter fastest.
        low, high: what the codes 0 and 254 stand for.
    """

    x: np.ndarray
    grids: Mapping[str, np.ndarray]
    codes: np.ndarray
    low: float
    high: float

    @classmethod
    def of(
        cls,
        fn: Callable[..., Any],
        *,
        x: Sequence[float] | np.ndarray,
        grids: Mapping[str, Sequence[float] | np.ndarray],
    ) -> "Table":
        """Compute a table.

        Args:
            fn: called once, `fn(x, **parameters)`, x of shape (1, n) and each parameter
                of shape (K, 1); returns what broadcasts to (K, n).
            x: (n,) evenly spaced places.
            grids: for each of at most two parameters its values, ascending.

        Raises:
            ValueError: x or a grid is not as it must be, or fn returned another shape.
        """
        places = _even(x)
        axes = {name: _ascending(name, values) for name, values in grids.items()}
        if len(axes) > MOST_PARAMETERS:
            raise ValueError(
                f"a table takes at most {MOST_PARAMETERS} parameters, got "
                f"{len(axes)}: {', '.join(axes)}; fix the others in fn"
            )
        states = list(itertools.product(*axes.values()))
        columns = {
            name: np.array([[state[k]] for state in states])
            for k, name in enumerate(axes)
        }
        values = np.asarray(fn(places[None, :], **columns), float)
        shape = (len(states), len(places))
        try:
            values = np.broadcast_to(values, shape)
        except ValueError:
            raise ValueError(
                f"fn must return an array of shape {shape} (states, places), "
                f"got {values.shape}"
            ) from None
        return cls.from_values(places, axes, values)

    @classmethod
    def from_values(
        cls,
        x: np.ndarray,
        grids: Mapping[str, np.ndarray],
        values: np.ndarray,
    ) -> "Table":
        """Store (K, n) values; what is not finite becomes a hole."""
        finite = np.isfinite(values)
        if not finite.any():
            raise ValueError("a table must hold at least one finite value, got none")
        low, high = float(values[finite].min()), float(values[finite].max())
        scale = (high - low) or 1.0
        with np.errstate(invalid="ignore"):
            levels = np.round((values - low) / scale * LEVELS)
        codes = np.where(finite, levels, UNDEFINED).astype(np.uint8)
        return cls(x=x, grids=dict(grids), codes=codes, low=low, high=low + scale)

    @property
    def resolution(self) -> float:
        """The distance of two neighboring levels."""
        return (self.high - self.low) / LEVELS

    @property
    def values(self) -> np.ndarray:
        """(K, n) stored values, smoothed; nan where there is a hole."""
        levels = np.where(self.codes == UNDEFINED, np.nan, self.codes.astype(float))
        bend = levels[:, :-2] - 2 * levels[:, 1:-1] + levels[:, 2:]
        levels[:, 1:-1] += np.where(np.abs(bend) <= SMOOTHED, bend / 4, 0.0)
        return self.low + levels / LEVELS * (self.high - self.low)

    def numpy(self, x: Any, **params: float) -> np.ndarray:
        """Return the interpolated curve at `x`, as the script in the page does.

        A parameter outside of its grid counts as the grid's nearest end; outside of the
        table's x the curve is undefined.
        """
        at = np.asarray(x, float)
        total = np.zeros(at.shape)
        values = self.values
        for row, weight in self._corners(params):
            # A corner without weight is left out, or its holes would spread.
            if weight:
                total = total + weight * self._along_x(values[row], at)
        return np.where((at < self.x[0]) | (at > self.x[-1]), np.nan, total)

    def _along_x(self, curve: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Interpolate one curve; at a point of the table only that point counts."""
        last = len(self.x) - 1
        place = np.clip((at - self.x[0]) / (self.x[-1] - self.x[0]) * last, 0, last)
        j = np.minimum(np.floor(place).astype(int), last - 1)
        share = place - j
        left = np.where(share < 1, (1 - share) * curve[j], 0.0)
        right = np.where(share > 0, share * curve[j + 1], 0.0)
        return left + right

    def _corners(self, params: Mapping[str, float]) -> list[tuple[int, float]]:
        """Return the rows around `params`, each with its weight."""
        corners = [(0, 1.0)]
        for name, grid in self.grids.items():
            i, share = _locate(grid, params[name])
            corners = [
                (row * len(grid) + i + step, weight * part)
                for row, weight in corners
                for step, part in ((0, 1 - share), (1, share))
            ]
        return corners

    def spec(self, order: Sequence[str]) -> dict[str, Any]:
        """Return what the script needs; `order` names the group's sliders.

        Codes are stored as differences along x: small numbers, which compress well.
        """
        before = np.concatenate(
            [np.zeros((len(self.codes), 1), np.uint8), self.codes[:, :-1]], axis=1
        )
        differences = (self.codes - before).astype(np.uint8)  # modulo 256, as meant
        return {
            "axes": [list(order).index(name) for name in self.grids],
            "grids": [[_short(v) for v in grid] for grid in self.grids.values()],
            "n": len(self.x),
            "min": _short(self.x[0]),
            "max": _short(self.x[-1]),
            "low": _short(self.low),
            "high": _short(self.high),
            "codes": base64.b64encode(differences.tobytes()).decode(),
        }


def _locate(grid: np.ndarray, value: float) -> tuple[int, float]:
    """Return the index below `value` and how far it lies towards the next."""
    if len(grid) == 1:
        return 0, 0.0
    value = min(max(value, grid[0]), grid[-1])
    i = min(int(np.searchsorted(grid, value, side="right")) - 1, len(grid) - 2)
    return i, float((value - grid[i]) / (grid[i + 1] - grid[i]))


def _even(x: Sequence[float] | np.ndarray) -> np.ndarray:
    places = np.asarray(x, float)
    steps = np.diff(places)
    if (
        places.ndim != 1
        or len(places) < 2
        or not (steps > 0).all()
        or not np.allclose(steps, steps[0], rtol=1e-6)
    ):
        raise ValueError(
            "x must be at least two evenly spaced, ascending numbers; use np.linspace"
        )
    return places


def _ascending(name: str, values: Sequence[float] | np.ndarray) -> np.ndarray:
    grid = np.asarray(values, float)
    if grid.ndim != 1 or not len(grid) or not (np.diff(grid) > 0).all():
        raise ValueError(
            f"the grid of {name} must be ascending numbers, got {list(values)}"
        )
    return grid


def _short(value: float) -> float:
    return float(f"{value:.9g}")
