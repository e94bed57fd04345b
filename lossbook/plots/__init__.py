"""Figures: arrays in, marks on an axes out. Nothing here computes or saves.

Every function takes `ax` (default: the current axes) and returns it; `images`, which
needs several, takes and returns a figure. Looks come from
`lossbook.style`: what differs, differs by more than color.
"""

from lossbook.plots._classes import classes, cut
from lossbook.plots._images import images
from lossbook.plots._lines import lines, paired
from lossbook.plots._surface import surface

__all__ = ["classes", "cut", "images", "lines", "paired", "surface"]
