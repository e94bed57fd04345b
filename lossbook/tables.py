"""What the book shows of the cards: properties, special cases, the psi calculus."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossbook.card import LossCard
from lossbook.losses import CATALOGUE

SHOWN = {
    "convex": "convex",
    "strictly_proper": "strictly proper",
    "calibrated": "calibrated",
    "symmetric": "symmetric",
}


def properties(cards: Sequence[LossCard] | None = None) -> dict[str, list[Any]]:
    """Return the properties of the cards at their defaults, as columns.

    >>> columns = properties([CATALOGUE["mae"]])
    >>> columns["loss"], columns["symmetric"], columns["largest value"]
    (['`mae`'], ['yes'], [2.0])
    """
    cards = list(CATALOGUE.values()) if cards is None else cards
    columns: dict[str, list[Any]] = {"loss": [f"`{card.key}`" for card in cards]}
    for name, title in SHOWN.items():
        columns[title] = [_word(card, name) for card in cards]
    columns["largest value"] = [_stated(card, "upper") for card in cards]
    columns["steepest gradient"] = [_stated(card, "lipschitz") for card in cards]
    return columns


def _stated(card: LossCard, name: str) -> bool | float | str:
    stated = card.states(name, card.defaults())
    return "" if stated is None else stated


def _word(card: LossCard, name: str) -> str:
    """Return yes, no, or for which values of the parameter the property holds."""
    if card.states(name, card.defaults()) is None:
        return ""
    if not card.params:
        return "yes" if card.states(name, {}) else "no"
    (param, spec), *others = card.params.items()
    whole = range(math.ceil(spec.low), math.floor(spec.high) + 1)
    values = sorted({*spec.walk(501), *map(float, whole)})
    holds = [bool(card.states(name, card.defaults() | {param: v})) for v in values]
    if all(holds) or not any(holds):
        return "yes" if all(holds) else "no"
    if others:
        return f"depends on {', '.join(card.params)}"
    return f"for {param} {_range_of(values, holds)}"


def _range_of(values: list[float], holds: list[bool]) -> str:
    """Write the values that hold as `= a`, `≤ a`, `≥ a` or `from a to b`."""
    first, last = holds.index(True), len(holds) - 1 - holds[::-1].index(True)
    low, high = values[first], values[last]
    if first == last:
        return f"= {low:g}"
    if first == 0:
        return f"≤ {high:g}"
    return f"≥ {low:g}" if last == len(values) - 1 else f"from {low:g} to {high:g}"


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
    expression = card.formula.expression(card.params)
    factor = sympy.powsimp(sympy.expand(-p * card.formula.slope(card.params)))
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
        psi=_tex(expression),
        factor=_tex(factor),
        steepest=math.sqrt(2) * float(force[top]),
        at=float(grid[top]) if inside else 0.0,
        concave_below=float(grid[top]) if inside else 0.0,
    )


def _tex(expression: Any) -> str:
    """Write a formula in p as the chapters do: ln p without brackets."""
    import sympy

    text = sympy.latex(expression, ln_notation=True)
    return text.replace(r"\ln{\left(p \right)}", r"\ln p").replace("- \\ln", "-\\ln")


def psi_calculus(*rows: PsiRow) -> dict[str, list[Any]]:
    """Return what the psi calculus says of several losses, as columns."""
    return {
        "loss": [row.name for row in rows],
        r"$\psi(p)$": [f"${row.psi}$" for row in rows],
        "$g(p)$": [f"${row.factor}$" for row in rows],
        "steepest": [row.steepest for row in rows],
        "bends below": [row.concave_below for row in rows],
    }
