"""Images and masks side by side."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure


def images(panels: Mapping[str, np.ndarray], *, figure: Figure | None = None) -> Figure:
    """Draw images in a row, each in its own range of grays, titled by name.

    Args:
        panels: name -> (height, width); the largest value is dark.
        figure: where to draw; the current one where not given.
    """
    figure = plt.gcf() if figure is None else figure
    places = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, (name, values) in zip(places, panels.items(), strict=True):
        ax.imshow(values, cmap="Greys", interpolation="nearest")
        ax.set(title=name, xticks=[], yticks=[])
        ax.grid(visible=False)
    return figure
