"""Which losses contain which others."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossbook.card import LossCard
from lossbook.losses import CATALOGUE
from lossbook.tables._formulas import exact, without_floats

# Where two formulas are compared first: shares of the domain, none of them special.
PLACES = (0.137, 0.291, 0.467, 0.713)
FAR = 4.0


@dataclass(frozen=True)
class Relation:
    """One loss contains another.

    Attributes:
        loss: the key of the more general loss.
        of: the key of the loss that it becomes.
        at: the parameters at which it does.
        factor: then it is so many times the other loss at its defaults.
        tends: the parameter that only tends to its value, at an open end; or None.
    """

    loss: str
    of: str
    at: Mapping[str, float]
    factor: float = 1.0
    tends: str | None = None

    @property
    def check(self) -> str:
        """The name of the check in `lossbook.check` that tests it."""
        return "limits" if self.tends else "special_cases"


def relations(cards: Iterable[LossCard] | None = None) -> list[Relation]:
    """Return how the cards' losses contain each other, by name.

    Special cases stand on the cards. A limit at a parameter's open end counts if its
    formula is another loss's formula, up to a factor.

    Args:
        cards: the losses to relate; the whole catalogue where not given.

    >>> losses = [CATALOGUE[key] for key in ("gce", "mae", "cross_entropy")]
    >>> for found in relations(losses):
    ...     print(found.loss, dict(found.at), found.of, found.factor, found.tends)
    gce {'q': 1.0} mae 0.5 None
    gce {'q': 0.0} cross_entropy 1.0 q
    """
    given = CATALOGUE.values() if cards is None else cards
    every = sorted(given, key=lambda card: card.key)
    known = {card.key for card in every}
    found = []
    for card in every:
        found += [
            Relation(card.key, case.of, dict(case.params), case.factor)
            for case in card.special_cases
            if case.of in known
        ]
        found += _limits(card, every)
    return found


def _limits(card: LossCard, every: Sequence[LossCard]) -> Iterator[Relation]:
    """Yield the relations that the limits of a card's formula say."""
    if card.formula is None:
        return
    for name, ends in card.formula.limits.items():
        for end, text in ends.items():
            limit = card.formula.parse(text, card.params)
            free = {symbol.name for symbol in limit.free_symbols}
            others = {n: v for n, v in card.defaults().items() if n in free}
            limit = _at(limit, others)
            matches = [
                (other, factor)
                for other in every
                if _comparable(card, other)
                and (factor := _ratio(limit, other)) is not None
            ]
            # A loss without parameters is what a reader knows it by.
            plain = [pair for pair in matches if not pair[0].params]
            for other, factor in plain or matches:
                at = {name: end, **others}
                yield Relation(card.key, other.key, at, factor, tends=name)


def _comparable(card: LossCard, other: LossCard) -> bool:
    return (
        card is not other
        and card.kind == other.kind
        and card.formula is not None
        and other.formula is not None
        and card.formula.variable == other.formula.variable
    )


def _at(expression: Any, params: Mapping[str, float]) -> Any:
    """Return an expression at these parameters, free of floats."""
    import sympy

    values = {sympy.Symbol(n, real=True): exact(v) for n, v in params.items()}
    return without_floats(expression.subs(values))


def _ratio(expression: Any, other: LossCard) -> float | None:
    """Return how many times another loss's formula an expression is, or None.

    Values tell the factor, sympy whether it is one.
    """
    import sympy

    assert other.formula is not None
    target = _at(other.formula.expression(other.params), other.defaults())
    variable = sympy.Symbol(other.formula.variable, real=True)
    low, high = np.clip(other.formula.domain, -FAR, FAR)
    places = [low + share * (high - low) for share in PLACES]
    ours, theirs = (
        np.array([float(each.subs(variable, x)) for x in places])
        for each in (expression, target)
    )
    k = int(np.abs(theirs).argmax())
    factor = ours[k] / theirs[k] if theirs[k] else 0.0
    if not factor or not np.allclose(ours, factor * theirs, rtol=1e-9, atol=1e-12):
        return None
    whole = exact(float(factor))
    return float(whole) if sympy.simplify(expression - whole * target) == 0 else None
