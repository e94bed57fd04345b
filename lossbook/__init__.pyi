from . import (
    book,
    card,
    check,
    data,
    evidence,
    experiment,
    explore,
    kernels,
    losses,
    metrics,
    ops,
    plots,
    stats,
    style,
    tables,
    trees,
)
from .criterion import Criterion
from .losses.entropy import binary_cross_entropy, cross_entropy, soft_cross_entropy
from .losses.hierarchy import (
    HierarchicalCrossEntropy,
)
from .losses.imbalance import focal, poly1
from .losses.margins import logistic, zero_one
from .losses.noise import gce, mae
from .trees import Hierarchy

__version__: str
__all__ = [
    "Criterion",
    "HierarchicalCrossEntropy",
    "Hierarchy",
    "binary_cross_entropy",
    "book",
    "card",
    "check",
    "cross_entropy",
    "data",
    "evidence",
    "experiment",
    "explore",
    "focal",
    "gce",
    "kernels",
    "logistic",
    "losses",
    "mae",
    "metrics",
    "ops",
    "plots",
    "poly1",
    "soft_cross_entropy",
    "stats",
    "style",
    "tables",
    "trees",
    "zero_one",
]
