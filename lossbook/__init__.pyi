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
)
from .criterion import Criterion
from .losses.entropy import binary_cross_entropy, cross_entropy, soft_cross_entropy
from .losses.imbalance import focal, poly1
from .losses.margins import logistic, zero_one
from .losses.noise import gce, mae

__version__: str
__all__ = [
    "Criterion",
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
    "zero_one",
]
