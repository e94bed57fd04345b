"""Losses for classes that are the leaves of a tree."""

from lossbook.losses.hierarchy._hierarchical_cross_entropy import (
    HierarchicalCrossEntropy,
)

__all__ = ["HierarchicalCrossEntropy"]
