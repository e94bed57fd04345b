"""Every color, dash and marker of the book, once: figures and explorers read them here.

A curve differs from its neighbor by color, by dash and by marker, so that no reader
needs to see color. The colors follow Okabe and Ito's set for color-blind readers,
darkened for white pages and lightened for dark ones.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Stroke:
    """How one curve is drawn, on light and on dark pages."""

    light: str  # color on a white page
    dark: str  # color on a dark page
    dash: tuple[float, ...]  # lengths of strokes and gaps in points; () is solid
    marker: str  # matplotlib's letter


CURVES = (
    Stroke("#0072B2", "#56B4E9", (), "o"),
    Stroke("#C24E00", "#FF8C42", (7, 3), "s"),
    Stroke("#007A5A", "#2FCB9E", (2, 2), "^"),
    Stroke("#A0437F", "#E39BC4", (8, 3, 2, 3), "D"),
    Stroke("#7A5C00", "#E6B800", (12, 4), "v"),
    Stroke("#444444", "#DDDDDD", (4, 2, 1, 2, 1, 2), "P"),
)

# One look a family, the same on every page; dashes part families of one color.
FAMILIES = {
    "margins": CURVES[0],
    "entropy": CURVES[5],
    "imbalance": CURVES[1],
    "angular": CURVES[3],
    "proper": CURVES[4],
    "noise": CURVES[2],
    "embedding": Stroke("#0072B2", "#56B4E9", (2, 2), "X"),
    "hierarchy": Stroke("#C24E00", "#FF8C42", (2, 2), "*"),
    "divergence": Stroke("#A0437F", "#E39BC4", (2, 2), "<"),
    "adaptive": Stroke("#007A5A", "#2FCB9E", (7, 3), ">"),
    "combine": Stroke("#7A5C00", "#E6B800", (2, 2), "p"),
}

# The markers as SVG paths around (0, 0), for the explorers. Keys are matplotlib's.
MARKERS = {
    "o": "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0z",
    "s": "M-4-4H4V4H-4z",
    "^": "M0-5.2L5 3.8H-5z",
    "D": "M0-5.6L5.6 0L0 5.6L-5.6 0z",
    "v": "M0 5.2L5-3.8H-5z",
    "P": "M-1.7-5H1.7V-1.7H5V1.7H1.7V5H-1.7V1.7H-5V-1.7H-1.7z",
}

PAGE = {"light": "#FFFFFF", "dark": "#14181E"}  # the backgrounds that curves meet
SURFACE = "cividis"  # low to high: dark to light, also without color
FIGURE_SIZE = (6.4, 3.6)  # inches


def css_variables() -> str:
    """Return the curves' colors and dashes as CSS custom properties, light and dark.

    The dark values apply to explorers that carry the class `lbx-dark`. An explorer's
    script sets it where the text around is light: the book's pages, JupyterLab, VS Code
    and Colab each name their dark theme differently, and a light page may stand on a
    system that prefers dark. Paper is white, so print is always light.
    """
    light = "".join(f"--curve-{i}:{s.light};" for i, s in enumerate(CURVES))
    dark = "".join(f"--curve-{i}:{s.dark};" for i, s in enumerate(CURVES))
    dashes = "".join(
        f"--dash-{i}:{' '.join(f'{length:g}' for length in s.dash) or 'none'};"
        for i, s in enumerate(CURVES)
    )
    return f".lbx{{{light}{dashes}}}@media screen{{.lbx.lbx-dark{{{dark}}}}}"


def line(stroke: Stroke) -> dict[str, Any]:
    """Return matplotlib's keywords for a line in this stroke, on a white page."""
    return {
        "color": stroke.light,
        "linestyle": (0, stroke.dash) if stroke.dash else "-",
        "linewidth": 2.0,
    }


def matplotlib_settings() -> dict[str, Any]:
    """Return the rcParams of every figure in the book."""
    return {
        "figure.figsize": FIGURE_SIZE,
        "figure.dpi": 100,
        "savefig.dpi": 100,
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.3,
        "legend.frameon": False,
        "svg.hashsalt": "lossbook",
    }
