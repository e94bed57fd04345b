from . import (
    book,
    calibration,
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
from .losses.entropy import (
    binary_cross_entropy,
    confidence_penalty,
    cross_entropy,
    distillation,
    label_smoothing,
    soft_cross_entropy,
)
from .losses.imbalance import focal, poly1
from .losses.margins import logistic, zero_one
from .losses.noise import gce, mae
from .losses.proper import brier, spherical_score

__version__: str
__all__ = [
    "Criterion",
    "binary_cross_entropy",
    "book",
    "brier",
    "calibration",
    "card",
    "check",
    "confidence_penalty",
    "cross_entropy",
    "data",
    "distillation",
    "evidence",
    "experiment",
    "explore",
    "focal",
    "gce",
    "kernels",
    "label_smoothing",
    "logistic",
    "losses",
    "mae",
    "metrics",
    "ops",
    "plots",
    "poly1",
    "soft_cross_entropy",
    "spherical_score",
    "stats",
    "style",
    "tables",
    "zero_one",
]
