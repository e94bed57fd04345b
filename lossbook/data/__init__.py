"""Data, with the truth beside it: numpy arrays in a frozen record.

A generator takes its sizes and a `numpy.random.Generator`; nothing is drawn from
global state.
"""

from lossbook.data._gaussians import two_gaussians
from lossbook.data._real import breast_cancer
from lossbook.data._task import Task, repeat, stack

__all__ = ["Task", "breast_cancer", "repeat", "stack", "two_gaussians"]
