"""Cross-entropy and its relatives."""

from lossbook.losses.entropy._binary_cross_entropy import binary_cross_entropy
from lossbook.losses.entropy._confidence_penalty import confidence_penalty
from lossbook.losses.entropy._cross_entropy import cross_entropy
from lossbook.losses.entropy._distillation import distillation
from lossbook.losses.entropy._label_smoothing import label_smoothing
from lossbook.losses.entropy._soft_cross_entropy import soft_cross_entropy

__all__ = [
    "binary_cross_entropy",
    "confidence_penalty",
    "cross_entropy",
    "distillation",
    "label_smoothing",
    "soft_cross_entropy",
]
