"""What the book shows of the cards: properties, relations, formulas, the psi calculus.

>>> from lossbook import tables
>>> from lossbook.losses import CATALOGUE
>>> tables.statement(CATALOGUE["focal"], "convex")
'for gamma = 0'
"""

from lossbook.tables._formulas import formula, gradient, tex
from lossbook.tables._psi import PsiRow, psi_calculus, psi_row
from lossbook.tables._relations import Relation, relations
from lossbook.tables._statements import (
    BOUNDS,
    CALLED_WITH,
    SAID,
    bound,
    properties,
    statement,
)

__all__ = [
    "BOUNDS",
    "CALLED_WITH",
    "SAID",
    "PsiRow",
    "Relation",
    "bound",
    "formula",
    "gradient",
    "properties",
    "psi_calculus",
    "psi_row",
    "relations",
    "statement",
    "tex",
]
