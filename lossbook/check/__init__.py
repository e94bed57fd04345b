r"""Public checks of a loss: is the code what its card says?

A check takes a card and tries to break it. It returns `Evidence`, or raises `Refuted`
with what was found. The package's own tests are thin calls to these functions, and so
are the verification cells of the chapters; they work as well on a loss of your own:

>>> from lossbook import check
>>> from lossbook.losses import CATALOGUE
>>> check.reference(CATALOGUE["focal"])
holds: value and gradient equal the reference within 1e-09, over 12 settings

`CHECKS` lists all of them, `applicable(card)` those for a card's kind. Those named in
`MACHINERY` ask whether torch's own machinery takes the loss.

To check a loss of your own, write it twice, in numpy with the gradient by hand:

>>> import numpy as np
>>> def squared_miss(logits, labels):
...     p = logits.softmax(-1)
...     return (1 - p.gather(-1, labels[..., None])[..., 0]) ** 2
>>> def squared_miss_ref(logits, labels):
...     p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
...     e_y = np.eye(logits.shape[-1])[labels]
...     p_y = (p * e_y).sum(-1, keepdims=True)
...     return (1 - p_y[..., 0]) ** 2, 2 * p_y * (1 - p_y) * (p - e_y)

Put on a card what you know of it. What you leave out is not checked:

>>> from lossbook.card import Formula, LossCard, Properties
>>> card = LossCard(
...     name="Squared miss",
...     family="noise",
...     kind="labels",
...     fn=squared_miss,
...     ref=squared_miss_ref,
...     summary="The square of the probability that the true class lacks.",
...     cite="",
...     formula=Formula(expr="(1 - p)**2"),
...     properties=Properties(convex=False, monotone=True, upper=1.0),
... )
>>> check.formula(card)
holds: the formula on the card equals the code within 1e-10, over 1 setting
>>> check.properties(card)
holds: every property on the card stands, over 10 settings

A statement that is not so raises, here that this loss is convex. The message has the
loss, what was to hold, the case that breaks it, and by how much:

>>> from dataclasses import replace
>>> from lossbook.evidence import Refuted
>>> wrong = replace(card, properties=Properties(convex=True))
>>> try:
...     check.property_of(wrong, "convex")
... except Refuted as refuted:
...     print(str(refuted).replace(": ", ":\n"))
Squared miss:
refuter and card agree on 'convex' within 0:
convex = True at {} (violated by 0.248), which is off by 1

So a midpoint lies above its chord by 0.248 of the losses' size, and the one statement
is wrong. Run all checks of the kind, and see which find something:

>>> def finds_something(each):
...     try:
...         each.run(card)
...     except Exception:
...         return True
>>> [each.name for each in check.applicable(card) if finds_something(each)]
['half_precision', 'refusals', 'autocast', 'copies']

All ask for what every loss of this package does: `ops.upcast` computes half precision
in float32, under autocast too; `validate` refuses labels that are no classes, in words;
and a copy needs a function that stands in a module, where pickle finds it.
"""

from lossbook.check._calls import (
    CHECKS,
    MACHINERY,
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
from lossbook.check._surrogates import link, psi_transform
from lossbook.check._torch import autocast, compiles, copies, device, transforms

__all__ = [
    "CHECKS",
    "MACHINERY",
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
    "link",
    "one_class",
    "parameters_broadcast",
    "properties",
    "property_of",
    "psi_calculus",
    "psi_transform",
    "recovery",
    "reference",
    "refusals",
    "ruled_out",
    "slope",
    "special_cases",
    "transforms",
]
