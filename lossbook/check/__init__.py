"""Public checks of a loss: is the code what its card says?

A check takes a card and tries to break it. It returns `Evidence`, or raises `Refuted`
with what was found. The package's own tests are thin calls to these functions, and so
are the verification cells of the chapters; they work as well on a loss of your own:

>>> from lossbook import check
>>> from lossbook.losses import CATALOGUE
>>> check.reference(CATALOGUE["focal"])
holds: value and gradient equal the reference within 1e-09, over 12 settings

`CHECKS` lists all of them, `applicable(card)` those for a card's kind.
"""

from lossbook.check._calls import (
    CHECKS,
    Check,
    applicable,
    batch_permutation,
    defaults,
    empty_batch,
    extremes,
    half_precision,
    one_class,
    parameters_broadcast,
    ruled_out,
    special_cases,
)
from lossbook.check._gradients import (
    central_differences,
    formula,
    gradcheck,
    gradgradcheck,
    limits,
    psi_calculus,
    reference,
    slope,
)
from lossbook.check._properties import PROPERTIES, properties, property_of, recovery
from lossbook.check._refusals import refusals
from lossbook.check._torch import autocast, compiles, copies, device, transforms

__all__ = [
    "CHECKS",
    "PROPERTIES",
    "Check",
    "applicable",
    "autocast",
    "batch_permutation",
    "central_differences",
    "compiles",
    "copies",
    "defaults",
    "device",
    "empty_batch",
    "extremes",
    "formula",
    "gradcheck",
    "gradgradcheck",
    "half_precision",
    "limits",
    "one_class",
    "parameters_broadcast",
    "properties",
    "property_of",
    "psi_calculus",
    "recovery",
    "reference",
    "refusals",
    "ruled_out",
    "slope",
    "special_cases",
    "transforms",
]
