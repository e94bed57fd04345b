"""Losses of the margin, for two classes: (scores, signs)."""

from lossbook.losses.margins._logistic import logistic
from lossbook.losses.margins._zero_one import zero_one

__all__ = ["logistic", "zero_one"]
