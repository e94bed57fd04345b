"""Explorers and labs: figures that answer to the reader.

They work on any page, without a kernel and without another host. `.live()` gives the
same drawing as a widget in a running notebook.

An explorer draws curves over one variable; its sliders are parameters:

>>> from lossbook import explore
>>> huber = explore.Explorer(
...     variable="r",
...     params={"delta": explore.Slider(low=0.1, high=3, value=1, note="threshold")},
...     curves={
...         "loss": "Piecewise((r**2/2,Abs(r)<delta), (delta*(Abs(r)-delta/2), True))",
...         "slope": "Max(-delta, Min(delta, r))",
...     },
...     x_range=(-4, 4),
...     x_label="residual r",
...     alt="The Huber loss and its slope over the residual",
... )
>>> huber
Explorer(loss, slope over r; sliders: delta)

Formulas are sympy's. They are written as JavaScript for the page, and as numpy and
torch functions (`huber.numpy("loss")`) for tests. What has no formula is a table:

>>> import numpy as np
>>> table = explore.Table.of(
...     lambda x, width: np.tanh(x / width),
...     x=np.linspace(-3, 3, 121),
...     grids={"width": np.linspace(0.5, 2, 16)},
... )

and `curves={"smooth sign": table}`. From a loss's card, `explore.curves(card)` draws
the loss and its slope; `explore.compare(cards)` does so for several, with a menu
(`groups=[explore.Group(...), ...]`); `explore.psi_calculus(cards)` compares losses of
the true class's probability, with a shaded region. `explore.threshold()` cuts between
two Gaussians and shows what the cut costs, `explore.conditional_risk(cards)` what a
score costs where the class is uncertain.

A lab trains a model for each setting of its controls, all settings at once:

>>> def train(weight):  # an array with one entry a setting
...     x = np.linspace(0, 1, 51)
...     curves = {"fit": weight[:, None] * x}
...     return explore.Result(x=x, curves=curves, numbers={"slope": weight})
>>> explore.lab(train, {"weight": [1, 3, 10]}, alt="A line through zero")
Lab(fit, slope; controls: weight)

On the page its sliders walk through the trained settings; `.live()` trains anew.

Sizes are held: 10 KB gzipped for an explorer, 20 KB with tables; a table has at most
two parameters, a lab at most two controls and 60 settings.
"""

from lossbook.explore.decisions import conditional_risk, threshold
from lossbook.explore.explorers import Explorer, Group, Shade
from lossbook.explore.from_cards import compare, curves, psi_calculus
from lossbook.explore.labs import Control, Lab, Result, lab
from lossbook.explore.sliders import Slider
from lossbook.explore.tables import Table

__all__ = [
    "Control",
    "Explorer",
    "Group",
    "Lab",
    "Result",
    "Shade",
    "Slider",
    "Table",
    "compare",
    "conditional_risk",
    "curves",
    "lab",
    "psi_calculus",
    "threshold",
]
