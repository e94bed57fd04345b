"""Experiments: models that differ in data or parameters, trained in lockstep."""

from lossbook.experiment._lockstep import Models, train

__all__ = ["Models", "train"]
