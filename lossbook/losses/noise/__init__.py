"""Losses for labels that are wrong some of the time."""

from lossbook.losses.noise._gce import gce
from lossbook.losses.noise._mae import mae

__all__ = ["gce", "mae"]
