"""Explorers: curves that answer to sliders, on any page, without a kernel."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sympy

from lossbook.explore import expressions
from lossbook.explore.figure import Axis, Frame
from lossbook.explore.labels import decimals, number, symbol
from lossbook.explore.page import Output
from lossbook.explore.sliders import Slider, as_slider, nice_step
from lossbook.explore.tables import Table

PLACES = 201  # points of a curve
NEARBY = 1e-9  # share of the x-range: how near a limit is looked up
FAR_OUT = 2.0  # ends of the y-axis leave out a tenth of the values if it is that far
DIGITS = 3  # decimals of a value read from a formula
BUDGET = 10_000  # bytes gzipped; with tables:
TABLE_BUDGET = 20_000


@dataclass(frozen=True)
class Shade:
    """A region of x: shaded where `where` is negative. `label` says what it means."""

    where: Any
    label: str


@dataclass(frozen=True, kw_only=True)
class Group:
    """Curves with sliders of their own; a menu chooses among groups.

    `params` holds a Slider, or (low, high, value), for each parameter. `curves` holds
    formulas (sympy's syntax or expressions) and tables, at most six.
    """

    name: str
    curves: Mapping[str, Any]
    params: Mapping[str, Any] = field(default_factory=dict)
    shade: Shade | None = None


@dataclass(frozen=True, kw_only=True)
class _Parsed:
    """A group whose formulas are read and whose sliders are known."""

    name: str
    curves: Mapping[str, sympy.Expr | Table]
    sliders: Mapping[str, Slider]
    keys: Mapping[str, str]  # parameter -> name of its state and of its trait
    shade: sympy.Expr | None
    shade_label: str


class Explorer(Output):
    """Curves over one variable, with sliders; displays itself.

    Args:
        variable: the name of the variable on the x-axis.
        curves: name -> formula or `Table`; with `params`, one group. Or
        groups: several, chosen from a menu. Their names differ.
        params: name -> `Slider` or (low, high, value).
        shade: a region to shade, see `Shade`.
        alt: what the picture shows, for those who do not see it. Required.
        x_range: ends of the x-axis.
        y_range: ends of the y-axis; found from the first frame where not given.
        title: a line above the drawing.
        x_label, y_label: of the axes; the variable's name and nothing by default.
        menu_label: what the menu chooses among.
        probe: where the point stands at first.

    Raises:
        ValueError, TypeError: with a message that says what must hold.
    """

    def __init__(
        self,
        *,
        variable: str,
        alt: str,
        curves: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        shade: Shade | None = None,
        groups: Sequence[Group] | None = None,
        x_range: tuple[float, float] = (0.0, 1.0),
        y_range: tuple[float, float] | None = None,
        title: str = "",
        x_label: str = "",
        y_label: str = "",
        menu_label: str = "loss",
        probe: float | None = None,
    ) -> None:
        require_alt(alt)
        require_range("x_range", x_range)
        if (curves is None) == (groups is None):
            raise ValueError(
                "an explorer must have either curves or groups, got "
                f"{'neither' if curves is None else 'both'}"
            )
        if groups is None:
            groups = [
                Group(name="", curves=curves or {}, params=params or {}, shade=shade)
            ]
        elif params is not None or shade is not None:
            raise ValueError(
                "with groups, each group has its own params and shade; "
                "move them into the groups"
            )
        self.variable = variable
        self.alt = alt
        self.title = title
        self.menu_label = menu_label
        self.x_range = (float(x_range[0]), float(x_range[1]))
        self.x_label = x_label or symbol(variable)
        self.y_label = y_label
        self.groups = _parse_groups(variable, groups)
        self.probe = self._probe_slider(probe)
        if y_range is not None:
            require_range("y_range", y_range)
        self.y_range = y_range or self._found_y_range()

    def __repr__(self) -> str:
        """Return curves, variable, menu and sliders; the same on every run."""
        names = dict.fromkeys(c for group in self.groups for c in group.curves)
        sliders = dict.fromkeys(p for group in self.groups for p in group.sliders)
        menu = [group.name for group in self.groups if group.name]
        parts = [f"Explorer({', '.join(names)} over {self.variable}"]
        if menu:
            parts.append(f"menu: {', '.join(menu)}")
        if sliders:
            parts.append(f"sliders: {', '.join(sliders)}")
        return "; ".join(parts) + ")"

    def numpy(self, curve: str, group: str | None = None) -> Callable[..., np.ndarray]:
        """Return a curve as a numpy function of the variable and the parameters."""
        chosen = self._group(group)
        found = _curve(chosen, curve)
        if isinstance(found, Table):
            return _table_function(found, list(chosen.sliders))
        return expressions.numpy_function(found, self._names(chosen))

    def torch(self, curve: str, group: str | None = None) -> Callable[..., Any]:
        """Return a curve as a torch function of the variable and the parameters."""
        chosen = self._group(group)
        found = _curve(chosen, curve)
        if isinstance(found, Table):
            raise ValueError(
                f"curve {curve!r} must be a formula to become a torch function, "
                "got a table"
            )
        return expressions.torch_function(found, self._names(chosen))

    def javascript(self) -> str:
        """Return the curves as JavaScript: one object of functions a group."""
        groups = []
        for group in self.groups:
            names = self._names(group)
            curves = [
                "null"
                if isinstance(curve, Table)
                else expressions.js_function(curve, names, f"curve {name!r}")
                for name, curve in group.curves.items()
            ]
            shade = "null"
            if group.shade is not None:
                shade = expressions.js_function(group.shade, names, "the shade")
            groups.append(f"{{curves:[{','.join(curves)}],shade:{shade}}}")
        return f"[{','.join(groups)}]"

    def spec(self) -> dict[str, Any]:
        """Return what the script in the page needs besides the functions."""
        return {
            "frame": self.frame().spec(),
            "x": {
                "label": symbol(self.variable),
                "min": self.x_range[0],
                "max": self.x_range[1],
                "places": PLACES,
                "nearby": NEARBY,
            },
            "probe": self.probe.spec("probe", self.variable),
            "menu": self.menu_label,
            "groups": [self._group_spec(group) for group in self.groups],
        }

    def frame(self) -> Frame:
        """Return the first frame: the first group at its sliders' first values."""
        first = self.groups[0]
        setting = [
            f"{s.label or symbol(name)} = {number(s.value, s.digits)}{s.unit}"
            for name, s in first.sliders.items()
        ]
        caption = ", ".join([first.name] * bool(first.name) + setting)
        shade = None
        if first.shade is not None:
            function = expressions.numpy_function(first.shade, self._names(first))
            shade = self._over_x(function, first)
        return Frame(
            alt=self.alt,
            x=Axis(low=self.x_range[0], high=self.x_range[1], label=self.x_label),
            y=Axis(low=self.y_range[0], high=self.y_range[1], label=self.y_label),
            names=list(first.curves),
            curves=[
                self._over_x(self.numpy(name, first.name), first)
                for name in first.curves
            ],
            most_curves=max(len(group.curves) for group in self.groups),
            caption=caption,
            shade=shade,
            shade_label=first.shade_label,
            shadeable=any(group.shade is not None for group in self.groups),
        )

    @property
    def budget(self) -> int:
        """How many bytes the output may have, gzipped."""
        tables = (isinstance(c, Table) for g in self.groups for c in g.curves.values())
        return TABLE_BUDGET if any(tables) else BUDGET

    def live(self) -> Any:
        """Return the drawing as a widget with one synced trait a parameter.

        `widget.gamma = 3` moves the slider and the curve, and the slider sets
        `widget.gamma`, so that `ipywidgets.link` and `jslink` work. `probe` and, with a
        menu, `group` are traits too. A parameter that several groups have is called
        `<group>_<parameter>`.
        """
        from lossbook.explore.live import live_explorer

        return live_explorer(self)

    def _names(self, group: _Parsed) -> list[str]:
        return [self.variable, *group.sliders]

    def _group(self, name: str | None) -> _Parsed:
        if name is None:
            return self.groups[0]
        for group in self.groups:
            if group.name == name:
                return group
        names = ", ".join(group.name for group in self.groups)
        raise ValueError(f"group must be one of {names}, got {name!r}")

    def _group_spec(self, group: _Parsed) -> dict[str, Any]:
        names = list(group.sliders)
        curves: list[dict[str, Any]] = []
        for name, curve in group.curves.items():
            entry: dict[str, Any] = {"label": name, "digits": DIGITS}
            if isinstance(curve, Table):
                entry["digits"] = table_digits(curve)
                entry["table"] = curve.spec(names)
            curves.append(entry)
        return {
            "label": group.name,
            "sliders": [
                slider.spec(group.keys[name], name)
                for name, slider in group.sliders.items()
            ],
            "curves": curves,
            "shade": group.shade_label,
        }

    def _probe_slider(self, probe: float | None) -> Slider:
        low, high = self.x_range
        step = nice_step((high - low) / 100)
        if probe is None:
            probe = round((low + 0.3 * (high - low)) / step) * step
            probe = min(max(float(f"{probe:.9g}"), low), high)
        return probe_slider(self.x_range, probe, symbol(self.variable))

    def _over_x(
        self, function: Callable[..., np.ndarray], group: _Parsed
    ) -> np.ndarray:
        """Return a curve at the places drawn; holes are filled from nearby.

        At 0, p ln p is 0 times infinity, but it has a limit, and -ln p is infinite, but
        the line goes there. The script does the same.
        """
        low, high = self.x_range
        places = np.linspace(low, high, PLACES)
        params = [slider.value for slider in group.sliders.values()]
        values = np.array(function(places, *params), float)
        inward = np.where(places < (low + high) / 2, 1, -1) * NEARBY * (high - low)
        holes = ~np.isfinite(values)
        if holes.any():
            values[holes] = function((places + inward)[holes], *params)
        return values

    def _found_y_range(self) -> tuple[float, float]:
        """Return ends that show the first group, but not the way to infinity."""
        first = self.groups[0]
        values = np.concatenate(
            [self._over_x(self.numpy(name, first.name), first) for name in first.curves]
        )
        values = values[np.isfinite(values)]
        if not len(values):
            raise ValueError(
                "no curve has a finite value in the x_range; give another x_range"
            )
        most = np.clip(values, *np.quantile(values, (0.1, 0.9)))
        if np.ptp(values) > FAR_OUT * np.ptp(most) > 0:
            return round_range(most)
        return round_range(values)


def require_alt(alt: str) -> None:
    """Refuse an empty description of the picture."""
    if not isinstance(alt, str) or not alt.strip():
        raise ValueError(
            "alt must say what the picture shows, for readers who do not see it, "
            f"got {alt!r}"
        )


def require_range(name: str, given: Any) -> None:
    """Refuse what is not two finite, ascending numbers."""
    if len(given) != 2 or not np.isfinite(given).all() or not given[0] < given[1]:
        raise ValueError(
            f"{name} must be two finite numbers, the lower first, got {given!r}"
        )


def probe_slider(x_range: tuple[float, float], probe: float, label: str) -> Slider:
    """Return the slider that moves the point along the curves."""
    low, high = x_range
    if not low <= probe <= high:
        raise ValueError(f"probe must lie in the x_range {low}..{high}, got {probe}")
    return Slider(low=low, high=high, value=probe, label=label, note="the point")


def round_range(values: np.ndarray) -> tuple[float, float]:
    """Return round ends around the finite values; zero is kept in view if it is near.

    >>> round_range(np.array([0.1, 0.93, np.inf]))
    (0.0, 1.0)
    """
    finite = values[np.isfinite(values)]
    low, high = float(finite.min()), float(finite.max())
    spread = (high - low) or abs(high) or 1.0
    if 0 < low < spread:
        low = 0.0
    if 0 > high > -spread:
        high = 0.0
    step = nice_step(spread / 5)
    low, high = np.floor(low / step + 1e-9) * step, np.ceil(high / step - 1e-9) * step
    if low == high:
        high = low + step
    return float(f"{low:.9g}"), float(f"{high:.9g}")


def table_digits(table: Table) -> int:
    """Return how many decimals a table's resolution allows."""
    return min(decimals(nice_step(table.resolution)), DIGITS)


def _parse_groups(variable: str, groups: Sequence[Group]) -> list[_Parsed]:
    if not groups:
        raise ValueError("groups must hold at least one group, got none")
    names = [group.name for group in groups]
    if len(set(names)) < len(names):
        raise ValueError(f"groups must have names that differ, got {', '.join(names)}")
    used = [param for group in groups for param in group.params]
    shared = {name for name in used if used.count(name) > 1}
    return [_parse_group(variable, group, shared) for group in groups]


def _parse_group(variable: str, group: Group, shared: set[str]) -> _Parsed:
    from lossbook import style

    if not 1 <= len(group.curves) <= len(style.CURVES):
        raise ValueError(
            f"a drawing must have 1 to {len(style.CURVES)} curves, "
            f"got {len(group.curves)}; more cannot be told apart"
        )
    sliders = {name: as_slider(name, given) for name, given in group.params.items()}
    names = [variable, *sliders]
    curves: dict[str, Any] = {}
    for name, given in group.curves.items():
        if isinstance(given, Table):
            _require_sliders(name, given, list(sliders))
            curves[name] = given
        else:
            curves[name] = expressions.parse(given, names, f"curve {name!r}")
            expressions.js_function(curves[name], names, f"curve {name!r}")
    shade = None
    if group.shade is not None:
        shade = expressions.parse(group.shade.where, names, "the shade")
        expressions.js_function(shade, names, "the shade")
    return _Parsed(
        name=group.name,
        curves=curves,
        sliders=sliders,
        keys={name: _key(group.name, name, shared) for name in sliders},
        shade=shade,
        shade_label=group.shade.label if group.shade else "",
    )


def _require_sliders(curve: str, table: Table, sliders: list[str]) -> None:
    missing = [name for name in table.grids if name not in sliders]
    if missing:
        raise ValueError(
            f"the table of curve {curve!r} varies with {', '.join(missing)}; "
            "add a parameter of that name"
        )


def _key(group: str, param: str, shared: set[str]) -> str:
    if param not in shared:
        return param
    plain = "".join(c if c.isalnum() else "_" for c in group.lower())
    return f"{plain}_{param}"


def _curve(group: _Parsed, name: str) -> sympy.Expr | Table:
    if name not in group.curves:
        raise ValueError(
            f"curve must be one of {', '.join(group.curves)}, got {name!r}"
        )
    return group.curves[name]


def _table_function(table: Table, names: list[str]) -> Callable[..., np.ndarray]:
    def function(x: Any, *params: float) -> np.ndarray:
        given = dict(zip(names, params, strict=True))
        return table.numpy(x, **{name: given[name] for name in table.grids})

    return function
