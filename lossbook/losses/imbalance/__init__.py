"""Losses that speak to rare classes and hard examples."""

from lossbook.losses.imbalance._adjust_logits import adjust_logits
from lossbook.losses.imbalance._asymmetric import asymmetric
from lossbook.losses.imbalance._balanced_softmax import BalancedSoftmax
from lossbook.losses.imbalance._binary_focal import binary_focal
from lossbook.losses.imbalance._dice import dice
from lossbook.losses.imbalance._equalized import Equalized
from lossbook.losses.imbalance._focal import focal
from lossbook.losses.imbalance._focal_tversky import focal_tversky
from lossbook.losses.imbalance._ldam import LDAM
from lossbook.losses.imbalance._logit_adjusted import LogitAdjusted
from lossbook.losses.imbalance._poly1 import poly1
from lossbook.losses.imbalance._tversky import tversky

__all__ = [
    "LDAM",
    "BalancedSoftmax",
    "Equalized",
    "LogitAdjusted",
    "adjust_logits",
    "asymmetric",
    "binary_focal",
    "dice",
    "focal",
    "focal_tversky",
    "poly1",
    "tversky",
]
