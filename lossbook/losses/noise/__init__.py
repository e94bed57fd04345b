"""Losses for labels that are wrong some of the time."""

from lossbook.losses.noise._bi_tempered import bi_tempered
from lossbook.losses.noise._early_learning import EarlyLearning
from lossbook.losses.noise._flooding import flooding
from lossbook.losses.noise._gce import gce
from lossbook.losses.noise._generalized_jensen_shannon import generalized_jensen_shannon
from lossbook.losses.noise._hard_bootstrap import hard_bootstrap
from lossbook.losses.noise._mae import mae
from lossbook.losses.noise._nce import nce
from lossbook.losses.noise._rce import rce
from lossbook.losses.noise._sce import sce
from lossbook.losses.noise._soft_bootstrap import soft_bootstrap
from lossbook.losses.noise._truncated_gce import truncated_gce

__all__ = [
    "EarlyLearning",
    "bi_tempered",
    "flooding",
    "gce",
    "generalized_jensen_shannon",
    "hard_bootstrap",
    "mae",
    "nce",
    "rce",
    "sce",
    "soft_bootstrap",
    "truncated_gce",
]
