"""Points of two or more classes in the plane, and where a model cuts between them."""

from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from lossbook import style


def classes(
    inputs: np.ndarray,
    labels: np.ndarray,
    *,
    names: Sequence[str],
    ax: Axes | None = None,
) -> Axes:
    """Draw (n, 2) points, a color and a marker a class; rare classes stand in front.

    Args:
        inputs: (n, 2).
        labels: (n,), integer classes.
        names: one a class, for the legend.
        ax: where to draw.
    """
    ax = plt.gca() if ax is None else ax
    counts = np.bincount(labels, minlength=len(names))
    for label in np.argsort(-counts):
        stroke = style.CURVES[label]
        crowded = counts[label] > 500
        x, y = inputs[labels == label].T
        ax.scatter(
            x,
            y,
            s=6 if crowded else 26,
            alpha=0.25 if crowded else 0.9,
            marker=stroke.marker,
            color=stroke.light,
            linewidths=0,
        )
        ax.scatter(  # the legend's marker, as large and clear as any other
            [],
            [],
            marker=stroke.marker,
            color=stroke.light,
            label=names[label],
        )
    return ax


def cut(
    predict: Callable[[np.ndarray], np.ndarray],
    level: float,
    *,
    curve: int,
    name: str,
    ax: Axes | None = None,
) -> Axes:
    """Draw where a model's prediction crosses `level`, within the axes' limits.

    Args:
        predict: (n, 2) points to (n,) predictions.
        level: the value to cut at.
        curve: which of `style.CURVES` to draw with.
        name: for the legend.
        ax: where to draw; set its limits first.
    """
    ax = plt.gca() if ax is None else ax
    x, y = np.meshgrid(
        np.linspace(*ax.get_xlim(), 121), np.linspace(*ax.get_ylim(), 81)
    )
    values = predict(np.stack([x.ravel(), y.ravel()], -1)).reshape(x.shape)
    look = style.line(style.CURVES[curve])
    ax.contour(
        x,
        y,
        values,
        levels=[level],
        colors=[look["color"]],
        linestyles=[look["linestyle"]],
        linewidths=look["linewidth"],
    )
    ax.plot([], [], label=name, **look)  # contours have no legend of their own
    return ax
