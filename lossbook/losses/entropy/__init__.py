"""Cross-entropy and its relatives."""

from lossbook.losses.entropy._binary_cross_entropy import binary_cross_entropy
from lossbook.losses.entropy._cross_entropy import cross_entropy
from lossbook.losses.entropy._soft_cross_entropy import soft_cross_entropy

__all__ = ["binary_cross_entropy", "cross_entropy", "soft_cross_entropy"]
