"""Explorers made from the cards of losses."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import sympy

from lossbook.card import Formula, LossCard
from lossbook.explore import expressions
from lossbook.explore.explorers import Explorer, Group, Shade, round_range
from lossbook.explore.labels import symbol
from lossbook.explore.sliders import Slider

# What an axis shows where a formula's domain has no end.
FAR = 3.0
MARGIN_RANGE = (-6.0, 6.0)
VARIABLES = {
    "p": "probability of the true class, p",
    "m": "margin m",
    "theta": "angle θ (radians)",
    "d": "distance d",
}
NOT_CONVEX = "not convex in the logits"
# Several losses share an axis: shares of their values that may lie below and above it.
IN_VIEW = (0.06, 0.9)


def curves(
    card: LossCard,
    *,
    params: Mapping[str, Any] | None = None,
    alt: str = "",
    **options: Any,
) -> Explorer:
    """Return an explorer of a loss and its slope, from the loss's card.

    Args:
        card: its formula gives the curves, its parameters give the sliders.
        params: sliders to use in the place of the card's.
        alt: what the picture shows; made from the card where not given.
        options: `x_range`, `y_range`, `title`, `x_label`, `y_label` and `probe` of
            `Explorer`.

    Raises:
        ValueError: the card has no formula of one variable.
    """
    formula = _formula(card)
    sliders = _sliders(card) | dict(params or {})
    x_range = options.pop("x_range", _x_range(formula.domain))
    if not alt:
        names = " and ".join(s.label or symbol(name) for name, s in sliders.items())
        alt = (
            f"{card.name}: the loss and its slope over "
            f"{VARIABLES.get(formula.variable, formula.variable)}"
            + (f", with a slider for {names}" if names else "")
        )
    return Explorer(
        variable=formula.variable,
        params=sliders,
        curves=_slope_group(card).curves,
        alt=alt,
        x_range=x_range,
        x_label=options.pop("x_label", VARIABLES.get(formula.variable, "")),
        **options,
    )


def compare(
    cards: Iterable[LossCard], *, alt: str = "", title: str = "", **options: Any
) -> Explorer:
    """Return an explorer of several losses and their slopes, with a menu.

    Args:
        cards: of losses whose formulas are over one variable. All share the axes.
        alt: what the picture shows; a standard text where not given.
        title: a line above the drawing.
        options: `x_range`, `y_range`, `x_label`, `y_label` and `probe` of `Explorer`.

    Raises:
        ValueError: a card has no formula, or their variables differ.
    """
    cards = list(cards)
    each = [curves(card) for card in cards]
    variables = sorted({explorer.variable for explorer in each})
    if len(variables) != 1:
        raise ValueError(
            "the formulas of the cards must be over one variable, got "
            f"{', '.join(variables) or 'no card'}; compare those of each alone"
        )
    variable = variables[0]
    ends = list(zip(*(explorer.x_range for explorer in each), strict=True))
    x_range = options.pop("x_range", (min(ends[0]), max(ends[1])))
    if "y_range" not in options:
        values = np.concatenate(
            [np.ravel(explorer.frame().curves) for explorer in each]
        )
        inside = np.quantile(values[np.isfinite(values)], IN_VIEW)
        options["y_range"] = round_range(inside)
    return Explorer(
        variable=variable,
        groups=[_slope_group(card) for card in cards],
        alt=alt
        or f"A loss and its slope over {VARIABLES.get(variable, variable)}; a menu "
        "chooses the loss",
        title=title,
        x_range=x_range,
        x_label=options.pop("x_label", VARIABLES.get(variable, "")),
        **options,
    )


def psi_calculus(
    cards: Iterable[LossCard],
    *,
    over: str = "p",
    alt: str = "",
    title: str = "",
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] = (0.0, 3.0),
    probe: float | None = None,
) -> Explorer:
    """Return the explorer of losses that look at the true class's probability alone.

    A loss psi(p) pulls on the logits by g(p) (p - e_y) with g(p) = -p psi'(p); the pull
    on the true class's logit is g(p) (1 - p). The loss is not convex in the logits
    where g(p) < g'(p) (1 - p), for any number of classes; this region is shaded.

    Args:
        cards: of losses whose formula is over p. A menu chooses among them.
        over: "p", or "margin" for the log-odds of the true class.
        alt: what the picture shows; a standard text where not given.
        title: a line above the drawing.
        x_range: ends of the x-axis.
        y_range: ends of the y-axis.
        probe: where the point stands at first.

    Raises:
        ValueError: a card's formula is not over p, or `over` is something else.
    """
    if over not in ("p", "margin"):
        raise ValueError(f"over must be 'p' or 'margin', got {over!r}")
    variable = "p" if over == "p" else "m"
    default = (0.0, 1.0) if over == "p" else MARGIN_RANGE
    label = VARIABLES["p"] if over == "p" else "log-odds of the true class, m"
    return Explorer(
        variable=variable,
        groups=[_psi_group(card, variable) for card in cards],
        alt=alt
        or (
            f"A loss, its gradient factor and its pull on the true class over the "
            f"{label}; the region where the loss is not convex is shaded"
        ),
        x_range=x_range or default,
        y_range=y_range,
        x_label=label,
        title=title,
        probe=probe,
    )


def psi_expressions(card: LossCard) -> dict[str, sympy.Expr]:
    """Return psi, g, the pull g (1 - p), and what is negative where not convex.

    All are expressions over p and the card's parameters.
    """
    formula = _formula(card)
    if formula.variable != "p":
        raise ValueError(
            f"the formula of {card.name} must be over p, the probability of the true "
            f"class, got {formula.variable}; use explore.curves"
        )
    p = expressions.real("p")
    names = ["p", *card.params]
    psi = expressions.parse(formula.expression(card.params), names, card.name)
    slope = expressions.parse(formula.slope(card.params), names, card.name)
    # Term by term, so that p cancels against 1/p and nothing is 0 times infinity.
    terms = sympy.Add.make_args(sympy.expand_mul(slope))
    factor = sympy.Add(*(sympy.powsimp(-p * term) for term in terms))
    bend = expressions.derivative(factor, "p")
    return {
        "psi": psi,
        "factor": factor,
        "pull": factor * (1 - p),
        "convexity": factor - bend * (1 - p),
    }


def _slope_group(card: LossCard) -> Group:
    formula = _formula(card)
    return Group(
        name=card.name,
        params=_sliders(card),
        curves={
            "loss": formula.expression(card.params),
            "slope": formula.slope(card.params),
        },
    )


def _psi_group(card: LossCard, variable: str) -> Group:
    found = psi_expressions(card)
    if variable == "m":
        probability = 1 / (1 + sympy.exp(-expressions.real("m")))
        p = expressions.real("p")
        found = {name: expr.subs(p, probability) for name, expr in found.items()}
    return Group(
        name=card.name,
        params=_sliders(card),
        curves={
            "loss ψ": found["psi"],
            "gradient factor g": found["factor"],
            "pull g·(1 − p)": found["pull"],
        },
        shade=Shade(found["convexity"], NOT_CONVEX),
    )


def _formula(card: LossCard) -> Formula:
    if card.formula is None:
        raise ValueError(
            f"the card of {card.name} must have a formula of one variable to be drawn; "
            "give an explore.Explorer a Table"
        )
    return card.formula


def _sliders(card: LossCard) -> dict[str, Slider]:
    return {name: Slider.of(param, name) for name, param in card.params.items()}


def _x_range(domain: tuple[float, float]) -> tuple[float, float]:
    """Return the domain, cut where it has no end."""
    low, high = domain
    if math.isinf(low):
        low = -FAR if math.isinf(high) else high - 2 * FAR
    if math.isinf(high):
        high = FAR if math.isinf(domain[0]) else low + 2 * FAR
    return float(low), float(high)
