"""Losses for classes that are the leaves of a tree."""

from lossbook.losses.hierarchy._conditional_softmax import ConditionalSoftmax
from lossbook.losses.hierarchy._crm_decode import crm_decode
from lossbook.losses.hierarchy._hierarchical_cross_entropy import (
    HierarchicalCrossEntropy,
)
from lossbook.losses.hierarchy._levelwise_cross_entropy import LevelwiseCrossEntropy
from lossbook.losses.hierarchy._path_consistency import PathConsistency
from lossbook.losses.hierarchy._persistence_0d import persistence_0d
from lossbook.losses.hierarchy._soft_tree_wasserstein import SoftTreeWasserstein
from lossbook.losses.hierarchy._tree_soft_labels import TreeSoftLabels
from lossbook.losses.hierarchy._tree_wasserstein import TreeWasserstein

__all__ = [
    "ConditionalSoftmax",
    "HierarchicalCrossEntropy",
    "LevelwiseCrossEntropy",
    "PathConsistency",
    "SoftTreeWasserstein",
    "TreeSoftLabels",
    "TreeWasserstein",
    "crm_decode",
    "persistence_0d",
]
