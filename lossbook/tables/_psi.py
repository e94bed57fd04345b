"""What the psi calculus says of losses of the true class's probability."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossbook.card import LossCard
from lossbook.tables._formulas import gradient, tex


@dataclass(frozen=True)
class PsiRow:
    """What the psi calculus tells of a loss psi(p_y) at given parameters.

    Attributes:
        name: the loss and its parameters.
        psi: the loss in TeX.
        factor: g(p) = -p psi'(p) in TeX; the gradient in the logits is g(p_y)(p - e_y).
        steepest: the largest Euclidean norm of that gradient.
        at: the p_y where it is that steep.
        concave_below: below this p_y the loss is not convex in the logits; 0 if it is
            convex everywhere.
    """

    name: str
    psi: str
    factor: str
    steepest: float
    at: float
    concave_below: float


def psi_row(card: LossCard, **params: float) -> PsiRow:
    """Derive from a card's formula what the psi calculus says of its loss.

    Args:
        card: a card whose formula is in p.
        params: parameters; the card's defaults where not given.

    Raises:
        ValueError: for a card without a formula in p.
    """
    import sympy

    if card.formula is None or card.formula.variable != "p":
        raise ValueError(f"{card.key} must be a function of p_y alone, and is not")
    p = sympy.Symbol("p", real=True)
    values = {**card.defaults(), **params}
    factor = gradient(card)
    names = [sympy.Symbol(name, real=True) for name in values]
    pull = sympy.lambdify([p, *names], factor * (1 - p), "numpy")
    # Evenly spaced in the log-odds: both ends are as fine as the middle.
    grid = 1 / (1 + np.exp(-np.linspace(-30, 30, 600_001)))
    force = np.broadcast_to(pull(grid, *values.values()), grid.shape)
    top = int(force.argmax())
    inside = 0 < top < len(grid) - 1
    at = [f"{name} = {value:g}" for name, value in values.items()]
    return PsiRow(
        name=", ".join([card.name, *at]),
        psi=tex(card, card.formula.expression(card.params)),
        factor=tex(card, factor),
        steepest=math.sqrt(2) * float(force[top]),
        at=float(grid[top]) if inside else 0.0,
        concave_below=float(grid[top]) if inside else 0.0,
    )


def psi_calculus(*rows: PsiRow) -> dict[str, list[Any]]:
    """Return what the psi calculus says of several losses, as columns."""
    return {
        "loss": [row.name for row in rows],
        r"$\psi(p)$": [f"${row.psi}$" for row in rows],
        "$g(p)$": [f"${row.factor}$" for row in rows],
        "steepest": [row.steepest for row in rows],
        "bends below": [row.concave_below for row in rows],
    }
