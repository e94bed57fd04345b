"""The first frame: axes, labels and curves as an SVG text, drawn by Python.

The page shows it as an image. The script takes the same SVG out of the image and only
moves its curves, so what stands still is drawn here and nowhere else.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lossbook import style
from lossbook.explore.labels import decimals, number

WIDTH, HEIGHT = 640, 400
RIGHT = 24  # room around the drawing area
TOP, TOP_WITH_LABEL = 14, 36
BOTTOM, BOTTOM_WITH_LABEL = 36, 62
LETTER = 7.0  # width of a letter of the legend, estimated
LEGEND_LINE = 22
INK, PAPER = "#222222", style.PAGE["light"]
STRAIGHT = 0.15  # pixels that a point may lie off a line and still be left out
OFF_CHART = 1e4  # beyond this many pixels, further makes no difference


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis: its ends and its label."""

    low: float
    high: float
    label: str

    def ticks(self, most: int) -> list[float]:
        """Return round numbers between the ends, at most `most` + 1 of them."""
        power = math.floor(math.log10((self.high - self.low) / most))
        steps = (float(f"{factor}e{power}") for factor in (1, 2, 5, 10))
        step = next(s for s in steps if (self.high - self.low) / s <= most + 1e-9)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(i * step, 12) for i in range(first, last + 1)]

    def tick_labels(self, most: int) -> list[tuple[float, str]]:
        """Return the ticks and their texts, all with the same decimals."""
        ticks = self.ticks(most)
        digits = decimals(ticks[1] - ticks[0]) if len(ticks) > 1 else 2
        return [(tick, number(tick, digits)) for tick in ticks]


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Everything the first frame shows."""

    alt: str
    x: Axis
    y: Axis
    names: Sequence[str]  # of the curves drawn first, for the legend
    curves: Sequence[np.ndarray]  # (n,) each, over evenly spaced x
    most_curves: int  # over all groups: so many paths are laid out
    caption: str = ""  # the setting, such as "γ = 2.00"
    shade: np.ndarray | None = None  # (n,), shaded where negative
    shade_label: str = ""
    shadeable: bool = False  # some group has a shade
    points: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def left(self) -> int:
        """Room for the longest number beside the y-axis."""
        longest = max(len(text) for _, text in self.y.tick_labels(6))
        return 24 + 11 * longest

    @property
    def legend_rows(self) -> list[list[tuple[str, str]]]:
        """The legend as rows of (kind of sample, text)."""
        entries = [(f"curve {k}", name) for k, name in enumerate(self.names)]
        entries += [(f"points {k}", name) for k, name in self._point_kinds()]
        if self.shade is not None:
            entries.append(("shade", self.shade_label))
        if self.caption:
            entries.append(("text", self.caption))
        rows: list[list[tuple[str, str]]] = [[]]
        used = 0.0
        for entry in entries:
            width = _entry_width(entry)
            if rows[-1] and used + width > WIDTH - self.left - RIGHT:
                rows.append([])
                used = 0.0
            rows[-1].append(entry)
            used += width
        return rows

    @property
    def legend_height(self) -> int:
        """How far the legend pushes the drawing down; the live drawing has none."""
        return LEGEND_LINE * len(self.legend_rows)

    def sx(self, x: Any) -> Any:
        """Return the horizontal place of `x`."""
        share = (x - self.x.low) / (self.x.high - self.x.low)
        return self.left + share * (WIDTH - self.left - RIGHT)

    def sy(self, y: Any) -> Any:
        """Return the vertical place of `y`."""
        share = (y - self.y.low) / (self.y.high - self.y.low)
        return self.bottom - share * (self.bottom - self.top)

    @property
    def top(self) -> int:
        """The upper edge of the drawing area."""
        return self.legend_height + (TOP_WITH_LABEL if self.y.label else TOP)

    @property
    def bottom(self) -> int:
        """The lower edge of the drawing area."""
        room = BOTTOM_WITH_LABEL if self.x.label else BOTTOM
        return self.legend_height + HEIGHT - room

    def spec(self) -> dict[str, Any]:
        """Return the geometry that the script needs."""
        return {
            "left": self.left,
            "right": WIDTH - RIGHT,
            "top": self.top,
            "bottom": self.bottom,
            "low": self.y.low,
            "high": self.y.high,
            "view": f"0 {self.legend_height} {WIDTH} {HEIGHT}",
        }

    def svg(self) -> str:
        """Return the frame as an SVG text.

        Ids begin with `lbx-id`; the script puts a number of its own in the place of
        it, so that several explorers can live in one page.
        """
        height = HEIGHT + self.legend_height
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" '
            f'aria-label="{escape(self.alt)}" viewBox="0 0 {WIDTH} {height}" '
            f'width="{WIDTH}" height="{height}" fill="{INK}" '
            'font-family="system-ui,sans-serif" font-size="13">',
            f'<rect class="paper" width="{WIDTH}" height="{height}" rx="6" '
            f'fill="{PAPER}"/>',
            self._definitions(),
            *self._axes(),
            '<g clip-path="url(#lbx-id-clip)" fill="none" stroke-width="2.5" '
            'stroke-linejoin="round">',
            *self._shade(),
            *self._points(),
            '<path class="probe" d=""/>',
            *self._curves(),
            "</g>",
            self._markers(),
            *self._legend(),
            "</svg>",
        ]
        return "".join(parts)

    def _definitions(self) -> str:
        clip = (
            f'<clipPath id="lbx-id-clip"><rect x="{self.left}" y="{self.top}" '
            f'width="{WIDTH - RIGHT - self.left}" '
            f'height="{self.bottom - self.top}"/></clipPath>'
        )
        hatch = (
            '<pattern id="lbx-id-hatch" width="8" height="8" '
            'patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
            f'<path class="hatch" d="M0 0V8" stroke="{INK}" stroke-opacity=".3" '
            'stroke-width="2"/></pattern>'
        )
        wanted = self.shadeable or self.shade is not None
        return f"<defs>{clip}{hatch if wanted else ''}</defs>"

    def _axes(self) -> list[str]:
        """Return lines and numbers, grouped: the image is stored in base64."""
        ends = f"{self.left} %sH{WIDTH - RIGHT}"
        rows = [(y, _short(self.sy(y)), text) for y, text in self.y.tick_labels(6)]
        columns = [(_short(self.sx(x)), text) for x, text in self.x.tick_labels(7)]
        grid = "".join("M" + ends % place for y, place, _ in rows if y)
        inside = self.y.low < 0 < self.y.high
        zero = f"M{ends % _short(self.sy(0))}" if inside else ""
        ticks = "".join(f"M{place} {self.bottom}v5" for place, _ in columns)
        axis = f"M{ends % self.bottom}{zero}{ticks}"
        middle = _short((self.left + WIDTH - RIGHT) / 2)
        heights = "".join(
            f'<text x="{self.left - 10}" y="{place}">{text}</text>'
            for _, place, text in rows
        )
        places = "".join(
            f'<text x="{place}" y="{self.bottom + 9}">{text}</text>'
            for place, text in columns
        )
        y_label = (
            f'<text x="{self.left - 10}" y="{self.top - 16}">'
            f"{escape(self.y.label)}</text>"
        )
        return [
            f'<path class="grid" d="{grid}" stroke="{INK}" stroke-opacity=".13"/>'
            f'<path class="axis" d="{axis}" stroke="{INK}" stroke-opacity=".5"/>',
            f'<g text-anchor="end" dominant-baseline="central">{heights}</g>',
            f'<g text-anchor="middle"><g dominant-baseline="hanging">{places}</g>'
            f'<text x="{middle}" y="{self.legend_height + HEIGHT - 8}">'
            f"{escape(self.x.label)}</text></g>",
            y_label if self.y.label else "",
        ]

    def _shade(self) -> list[str]:
        if not self.shadeable and self.shade is None:
            return []
        d = "" if self.shade is None else self._shaded_rectangles(self.shade)
        return [f'<path class="shade" fill="url(#lbx-id-hatch)" d="{d}"/>']

    def _shaded_rectangles(self, values: np.ndarray) -> str:
        """Return rectangles over the stretches of x where `values` is negative."""
        places = self.sx(np.linspace(self.x.low, self.x.high, len(values)))
        parts = []
        for start, end in negative_stretches(places, values):
            parts.append(
                f"M{_short(start)} {self.top}H{_short(end)}V{self.bottom}"
                f"H{_short(start)}z"
            )
        return "".join(parts)

    def _point_kinds(self) -> list[tuple[int, str]]:
        """Return (number of the stroke, name): points go on where curves end."""
        return list(enumerate(self.points, start=self.most_curves))

    def _points(self) -> list[str]:
        """Return a group for each kind of points; each point is its marker, moved."""
        parts = []
        for k, name in self._point_kinds():
            stroke = _stroke(k)
            shape = f"lbx-id-point{k}"
            parts.append(
                f'<g class="p{k}" fill="{stroke.light}" fill-opacity=".6" '
                f'stroke="none"><defs><path id="{shape}" transform="scale(.7)" '
                f'd="{style.MARKERS[stroke.marker]}"/></defs>'
            )
            parts += [
                f'<use href="#{shape}" x="{self.sx(x):.0f}" y="{self.sy(y):.0f}"/>'
                for x, y in self.points[name]
            ]
            parts.append("</g>")
        return parts

    def _curves(self) -> list[str]:
        parts = []
        for k in range(self.most_curves):
            stroke = _stroke(k)
            dash = " ".join(f"{length:g}" for length in stroke.dash)
            dashed = f' stroke-dasharray="{dash}"' if dash else ""
            d = self._path(self.curves[k]) if k < len(self.curves) else ""
            parts.append(
                f'<path class="c{k}" stroke="{stroke.light}"{dashed} d="{d}"/>'
            )
        return parts

    def _path(self, values: np.ndarray) -> str:
        """Return the line through `values`, broken where they are not finite."""
        places = self.sx(np.linspace(self.x.low, self.x.high, len(values)))
        heights = np.clip(self.sy(values), -OFF_CHART, OFF_CHART)
        commands = []
        for run in np.ma.clump_unmasked(np.ma.masked_invalid(values)):
            points = _thinned(np.stack([places[run], heights[run]], axis=1))
            texts = [f"{_short(x)} {_short(y)}" for x, y in points]
            commands.append("M" + "L".join(texts))
        return "".join(commands)

    def _markers(self) -> str:
        """Return the markers at the probe, for the script to place and to show."""
        marks = "".join(
            f'<path class="m{k}" d="{style.MARKERS[_stroke(k).marker]}"/>'
            for k in range(self.most_curves)
        )
        return f'<g class="marks" visibility="hidden">{marks}</g>'

    def _legend(self) -> list[str]:
        parts = ['<g class="legend" stroke-width="2.5">']
        for row, entries in enumerate(self.legend_rows):
            x, y = float(self.left), 18 + LEGEND_LINE * row
            for kind, text in entries:
                sample = _sample(kind, x, y)
                start = x if kind == "text" else x + 34
                parts.append(
                    f'{sample}<text x="{_short(start)}" y="{y}" '
                    f'dominant-baseline="central">{escape(text)}</text>'
                )
                x += _entry_width((kind, text))
        return [*parts, "</g>"]


def negative_stretches(
    places: np.ndarray, values: np.ndarray
) -> list[tuple[float, float]]:
    """Return (start, end) of each stretch of `places` where `values` is negative.

    Between two places the sign changes where the straight line between them is zero.
    """
    stretches = []
    start: float | None = None
    for i in range(len(values)):
        inside = bool(values[i] < 0)
        if inside and start is None:
            start = _crossing(places, values, i) if i else float(places[i])
        if start is not None and not inside:
            stretches.append((start, _crossing(places, values, i)))
            start = None
    if start is not None:
        stretches.append((start, float(places[-1])))
    return stretches


def _crossing(places: np.ndarray, values: np.ndarray, i: int) -> float:
    """Return where the values change sign between i - 1 and i."""
    before, after = values[i - 1], values[i]
    share = before / (before - after)
    if not math.isfinite(share):
        return float(places[i])
    return float(places[i - 1] + share * (places[i] - places[i - 1]))


def _thinned(points: np.ndarray) -> np.ndarray:
    """Leave out points that lie on the line between those kept (Douglas-Peucker)."""
    if len(points) < 3:
        return points
    start, along = points[0], points[-1] - points[0]
    away = points - start
    distance = np.abs(along[0] * away[:, 1] - along[1] * away[:, 0]) / np.hypot(*along)
    far = int(distance.argmax())
    if distance[far] <= STRAIGHT:
        return points[[0, -1]]
    return np.concatenate([_thinned(points[: far + 1])[:-1], _thinned(points[far:])])


def escape(text: str) -> str:
    """Return `text` for use in an attribute or element of SVG and HTML."""
    for char, name in (("&", "amp"), ("<", "lt"), (">", "gt"), ('"', "quot")):
        text = text.replace(char, f"&{name};")
    return text


def _stroke(k: int) -> style.Stroke:
    return style.CURVES[k % len(style.CURVES)]


def _sample(kind: str, x: float, y: float) -> str:
    if kind == "text":
        return ""
    if kind == "shade":
        return (
            f'<rect x="{_short(x)}" y="{y - 7}" width="26" height="14" '
            'fill="url(#lbx-id-hatch)"/>'
        )
    what, index = kind.split()
    stroke = _stroke(int(index))
    if what == "points":
        return (
            f'<path transform="translate({_short(x + 13)} {y}) scale(.8)" '
            f'd="{style.MARKERS[stroke.marker]}" fill="{stroke.light}"/>'
        )
    dash = " ".join(f"{length:g}" for length in stroke.dash) or "none"
    return (
        f'<path d="M{_short(x)} {y}h26" stroke="{stroke.light}" '
        f'stroke-dasharray="{dash}"/>'
    )


def _entry_width(entry: tuple[str, str]) -> float:
    kind, text = entry
    return LETTER * len(text) + (20 if kind == "text" else 54)


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
