"""Losses made of other losses: the one place that may call them."""

from lossbook.losses.combine._active_passive import active_passive
from lossbook.losses.combine._backward_correction import BackwardCorrection
from lossbook.losses.combine._forward_correction import ForwardCorrection
from lossbook.losses.combine._mixture import Mixture

__all__ = ["BackwardCorrection", "ForwardCorrection", "Mixture", "active_passive"]
