"""Losses that speak to rare classes and hard examples."""

from lossbook.losses.imbalance._focal import focal
from lossbook.losses.imbalance._poly1 import poly1

__all__ = ["focal", "poly1"]
