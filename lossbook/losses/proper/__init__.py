"""Strictly proper scores beside the logarithmic one."""

from lossbook.losses.proper._brier import brier
from lossbook.losses.proper._spherical_score import spherical_score

__all__ = ["brier", "spherical_score"]
