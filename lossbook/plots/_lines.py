"""Lines over a variable, and results of the same seeds side by side."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from lossbook import style


def lines(
    x: np.ndarray, curves: Mapping[str, np.ndarray], *, ax: Axes | None = None
) -> Axes:
    """Draw named curves over `x`; a curve of shape (K, n) is a bundle of K thin lines.

    Args:
        x: (n,) for all curves, or (K, n) for bundles that have their own.
        curves: (n,) or (K, n) each.
        ax: where to draw.
    """
    ax = plt.gca() if ax is None else ax
    for stroke, (name, y) in zip(style.CURVES, curves.items(), strict=False):
        look = style.line(stroke)
        if np.ndim(y) == 1:
            ax.plot(x[0] if np.ndim(x) == 2 else x, y, label=name, **look)
            continue
        look |= {"linewidth": 0.9, "alpha": 0.7}
        for i, row in enumerate(y):
            own = x[i] if np.ndim(x) == 2 else x
            ax.plot(own, row, label=name if i == 0 else None, **look)
    ax.legend()
    return ax


def paired(
    columns: Mapping[str, np.ndarray], *, ylabel: str, ax: Axes | None = None
) -> Axes:
    """Draw one column of markers an arm; a thin line joins what shares a seed.

    Args:
        columns: (seeds,) numbers an arm, the same seeds in the same order.
        ylabel: what was measured, with its unit.
        ax: where to draw.
    """
    ax = plt.gca() if ax is None else ax
    values = np.stack(list(columns.values()))
    ax.plot(values, color=style.CURVES[5].light, linewidth=0.8, alpha=0.5)
    for i, column in enumerate(values):
        stroke = style.CURVES[i]
        ax.plot(
            np.full(len(column), i),
            column,
            linestyle="none",
            marker=stroke.marker,
            color=stroke.light,
        )
    ax.set(xticks=range(len(values)), xticklabels=list(columns), ylabel=ylabel)
    ax.set_xlim(-0.5, len(values) - 0.5)
    return ax
