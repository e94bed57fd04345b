"""A loss over two parameters, as shades of one color scale."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from lossbook import style


def surface(
    at: np.ndarray, values: np.ndarray, *, name: str, ax: Axes | None = None
) -> Axes:
    """Draw a loss over a plane, darker where it is lower, with a bar for the scale.

    Args:
        at: (steps,), where along either axis.
        values: (steps, steps); `values[i, j]` is the loss at `at[i]` along the
            horizontal and `at[j]` along the vertical axis, as `diagnose.plane` returns.
        name: the title, what is drawn.
        ax: where to draw.
    """
    ax = plt.gca() if ax is None else ax
    shades = ax.pcolormesh(at, at, values.T, cmap=style.SURFACE, shading="nearest")
    ax.figure.colorbar(shades, ax=ax)
    ax.set_title(name)
    ax.grid(visible=False)
    return ax
