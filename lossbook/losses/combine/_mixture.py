"""A weighted sum of losses, and what can be said of it. Chapter: hybrids."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.special import expit, softmax
from torch import Tensor

from lossbook.card import Formula, Kind, LossCard, Properties
from lossbook.losses import card_of

# Kinds whose losses are one number an example, of which two arrays are all they see.
KINDS: tuple[Kind, ...] = ("labels", "targets", "margin", "binary", "cosine")
CLASSES = 3  # of the inputs at which statements of the sum are looked for
DERIVED = (
    "convex",
    "strictly_proper",
    "calibrated",
    "symmetric",
    "monotone",
    "shift_invariant",
    "piecewise_constant",
)
SEEN = 1e-6  # a gradient of this size is not rounding
Weight = float | Callable[[float], float]


@dataclass(frozen=True)
class Mixture:
    """sum_i w_i L_i: a weighted sum of losses of one kind, itself a loss of that kind.

    `card` says of the sum what follows from the cards of its terms: a sum of convex
    losses is convex, one of strictly proper losses strictly proper, with the posterior
    as its outputs state it (`card.recovery`). What does not follow is not said. Weights
    are not negative: nothing follows for a difference.

    Args:
        losses: at least one; each a loss of this package, an instance of one, a
            mixture, or one of them with its parameters set by `functools.partial`.
        weights: one a loss; a number, 0 or more, or a schedule, a function of progress
            from 0 to 1 such as those of `lossbook.schedules`; all 1 if left out. A
            mixture with schedules is called at a time,
            `mixture.at(0.5)(logits, labels)`.

    >>> from lossbook import cross_entropy, mae
    >>> mixture = Mixture([cross_entropy, mae], weights=[1.0, 0.5])
    >>> mixture(torch.tensor([[2.0, 0.0]]), torch.tensor([0]))
    tensor([0.2461])
    >>> mixture.card.name, mixture.card.properties.symmetric
    ('cross_entropy + 0.5 mae', False)
    >>> late = Mixture([cross_entropy, mae], weights=[1.0, lambda progress: progress])
    >>> late.at(0.5).weights
    (1.0, 0.5)
    """

    losses: Sequence[Callable[..., Tensor]]
    weights: Sequence[Weight] | None = None

    def __post_init__(self) -> None:
        """Refuse what is no sum of losses of one kind."""
        losses = tuple(self.losses)
        if not losses:
            raise ValueError("losses must hold at least one loss, got none")
        weights = (1.0,) * len(losses) if self.weights is None else tuple(self.weights)
        object.__setattr__(self, "losses", losses)
        object.__setattr__(self, "weights", weights)
        if len(weights) != len(losses):
            raise ValueError(
                f"weights must hold one weight a loss, {len(losses)}, got "
                f"{len(weights)}"
            )
        kinds: dict[Kind, str] = {}
        for loss in losses:
            kinds.setdefault(_kind(loss), _name(loss))
        if len(kinds) > 1:
            (kind, name), (other, other_name), *_ = kinds.items()
            raise ValueError(
                f"losses must be of one kind, got {name}, which is of kind {kind}, and "
                f"{other_name}, which is of kind {other}"
            )
        numbers = [w for w in weights if not callable(w)]
        for weight in numbers:
            if not 0 <= weight < math.inf:
                raise ValueError(
                    f"weights must be finite and not negative, got {weight:g}; what "
                    "is subtracted is no part of a mixture"
                )
        if len(numbers) == len(weights) and not any(numbers):
            raise ValueError("weights must not all be 0, got a sum without a term")

    def __call__(self, *arrays: Tensor) -> Tensor:
        """Return the loss of each example.

        Args:
            arrays: what the terms are called with, such as logits and labels.

        Returns:
            What the terms return: one loss an example.

        Raises:
            ValueError: for what a term refuses, or where a weight is a schedule.
        """
        (first, weight), *rest = self._terms()
        total = weight * first(*arrays)
        for loss, weight in rest:
            total = total + weight * loss(*arrays)
        return total

    def at(self, progress: float) -> "Mixture":
        """Return the mixture with each schedule's weight at this progress, 0 to 1."""
        if not 0 <= progress <= 1:
            raise ValueError(
                f"progress must lie between 0 and 1, got {progress:g}; it is the share "
                "of training that is done"
            )
        assert self.weights is not None
        weights = tuple(float(w(progress)) if callable(w) else w for w in self.weights)
        return replace(self, weights=weights)

    @property
    def card(self) -> LossCard:
        """The card of the sum, made from those of its terms.

        A term that closes over data, such as class counts, is spoken of at data drawn
        as its own card draws them.
        """
        return _card(self)

    @property
    def __name__(self) -> str:
        """The sum as one would write it."""
        assert self.weights is not None
        return " + ".join(
            f"{_weight(weight)}{_name(loss)}"
            for loss, weight in zip(self.losses, self.weights, strict=True)
            if weight
        )

    def _terms(self) -> list[tuple[Callable[..., Tensor], float]]:
        """Return the losses that count, and their weights as numbers."""
        assert self.weights is not None
        terms = []
        for loss, weight in zip(self.losses, self.weights, strict=True):
            if callable(weight):
                raise ValueError(
                    f"weights must be numbers here, got a schedule for {_name(loss)}; "
                    "choose a time, as in mixture.at(0.5)"
                )
            if weight:  # 0 times an infinite loss would be nan
                terms.append((loss, float(weight)))
        return terms


def _bare(loss: Any) -> tuple[Any, dict[str, Any]]:
    """Return a loss without `functools.partial`, and the parameters set by it."""
    if isinstance(loss, partial) and not loss.args:
        inner, params = _bare(loss.func)
        return inner, {**params, **loss.keywords}
    return loss, {}


def _kind(loss: Any) -> Kind:
    """Return the kind of a term; refuse what is none."""
    bare, _ = _bare(loss)
    if isinstance(bare, Mixture):
        return _kind(bare.losses[0])
    card = card_of(bare)
    if card is None or (bare is card.fn and isinstance(bare, type)):
        raise ValueError(
            f"losses must be losses of this package, or instances of them, got {bare!r}"
        )
    if card.kind not in KINDS:
        raise ValueError(
            f"losses must be of kind {', '.join(KINDS)}, got {card.key}, which is of "
            f"kind {card.kind}"
        )
    return card.kind


def _name(loss: Any) -> str:
    """Return a term as one would write it, with the parameters that are not default."""
    bare, params = _bare(loss)
    if isinstance(bare, Mixture):
        return f"({bare.__name__})"
    card = card_of(bare)
    default: dict[str, Any] = {}
    if card is not None:
        if isinstance(card.fn, type):
            params = _held(card, bare)
        default = card.defaults() | {n: words[0] for n, words in card.options.items()}
    name = card.key if card else repr(bare)
    said = [
        f"{n}={_short(v)}" for n, v in params.items() if not _same(v, default.get(n))
    ]
    return f"{name}({', '.join(said)})" if said else name


def _same(value: Any, default: Any) -> bool:
    return isinstance(value, int | float | str) and value == default


def _short(value: Any) -> str:
    if isinstance(value, str):
        return value
    return f"{value:g}" if isinstance(value, int | float) else "..."


def _held(card: LossCard, loss: Any) -> dict[str, Any]:
    """Return the parameters and options that an instance holds."""
    return {name: getattr(loss, name) for name in (*card.params, *card.options)}


def _weight(weight: Weight) -> str:
    if callable(weight):
        return "(schedule) "
    return "" if weight == 1 else f"{weight:g} "


@dataclass(frozen=True)
class _Part:
    """A term's card and parameters, and whether the card speaks of such a loss."""

    card: LossCard
    params: Mapping[str, Any]
    known: bool

    def states(self, name: str) -> Any:
        """Return what the term's card says."""
        return self.card.states(name, self.params) if self.known else None

    def made(self, classes: int) -> Callable[..., Any]:
        """Return the loss; one that closes over data does so as its card draws them."""
        return self.card.make(classes, **self.params)

    def reference(self, classes: int) -> Callable[..., Any]:
        """Return the reference, over the same data."""
        return self.card.reference(classes, **self.params)


def _parts(mixture: Mixture) -> list[tuple[_Part, float]]:
    """Return the terms that count, with their weights."""
    return [(_part(loss), weight) for loss, weight in mixture._terms()]


def _part(loss: Any) -> _Part:
    bare, params = _bare(loss)
    card = card_of(bare)
    assert card is not None  # as `_kind` has seen to
    if isinstance(card.fn, type):
        params = _held(card, bare)
    params = {**card.defaults(), **params}
    known = not any(isinstance(value, Tensor) for value in params.values())
    if is_dataclass(bare) and not isinstance(bare, Mixture):
        spoken = {*params, *card.closed_over()}
        known &= all(
            getattr(bare, field.name) is field.default
            for field in fields(bare)
            if field.init and field.name not in spoken
        )
    return _Part(card, params, known)


def mixture_ref(
    *arrays: Any, losses: Sequence[Any], weights: Sequence[float]
) -> tuple[Any, Any]:
    """Loss and gradient: the weighted sums of the terms' own."""
    classes = arrays[0].shape[-1]
    terms = _parts(Mixture(losses, weights))
    each = [part.reference(classes)(*arrays) for part, _ in terms]
    factors = [weight for _, weight in terms]
    loss = sum(w * a for w, (a, _) in zip(factors, each, strict=True))
    return loss, sum(w * b for w, (_, b) in zip(factors, each, strict=True))


def _card(mixture: Mixture) -> LossCard:
    """Return the card of a sum."""
    terms, name = _parts(mixture), mixture.__name__
    parts = [part for part, _ in terms]
    draws = [part.card.draw for part in parts if part.card.draw is not None]

    def closure(rng: np.random.Generator, classes: int) -> Mapping[str, Any]:
        weights = tuple(weight for _, weight in terms)
        return {"losses": [p.made(classes) for p in parts], "weights": weights}

    card = LossCard(
        name=name,
        family="combine",
        kind=parts[0].card.kind,
        fn=Mixture,
        ref=mixture_ref,
        summary=f"The weighted sum {name}.",
        cite="",
        formula=_formula(terms),
        stackable=all(part.card.stackable for part in parts),
        closure=closure,
        reach=min(part.card.reach for part in parts),
        draw=draws[0] if draws else None,
    )
    properties = _properties(terms, card)
    return replace(card, properties=properties, recovery=_recovery(terms, properties))


def _recovery(
    terms: list[tuple[_Part, float]], properties: Properties
) -> Callable[..., Any] | None:
    """Return what leads from outputs to their posterior, where it is known.

    A strictly proper sum states the posterior itself, a single term what its card says.
    """
    part, _ = terms[0]
    if properties.strictly_proper and part.card.kind != "targets":
        return _as_stated
    own = part.card.recovery
    if own is None or not part.known or len(terms) > 1:
        return None
    taken = part.card.taken(own, part.params)
    if taken is None:
        return None

    def of_the_term(outputs: Any, **closed: Any) -> Any:
        classes = outputs.shape[-1] if outputs.ndim > 1 else 2
        return own(outputs, **part.card.closed_over(classes), **taken)

    return of_the_term


def _as_stated(outputs: Any, **closed: Any) -> Any:
    """Return softmax of logits, or the logistic function of scores."""
    if outputs.ndim == 1:
        return expit(outputs)
    return softmax(outputs, axis=-1)


def _formula(terms: list[tuple[_Part, float]]) -> Formula | None:
    """Return the sum of the formulas, if all have one of the same variable.

    That of a loss of cosines is a logit, and adds up to nothing.
    """
    first = terms[0][0].card.formula
    if first is None or terms[0][0].card.kind == "cosine":
        return None
    import sympy

    total, slope = sympy.Integer(0), sympy.Integer(0)
    for part, weight in terms:
        formula, params = part.card.formula, part.card.params
        numbers = all(isinstance(part.params[n], int | float) for n in params)
        if formula is None or formula.variable != first.variable:
            return None
        if not numbers or not part.known:
            return None
        formula = _at_open_end(formula, part)
        values = {sympy.Symbol(n, real=True): part.params[n] for n in params}
        total += weight * formula.expression(params).subs(values)
        slope += weight * formula.slope(params).subs(values)
    if total.has(sympy.nan, sympy.zoo, sympy.oo):
        return None  # at a parameter where a formula holds as a limit only
    return Formula(
        expr=str(total),
        variable=first.variable,
        domain=first.domain,
        derivative=str(slope),
    )


def _at_open_end(formula: Formula, part: _Part) -> Formula:
    """Return the limit of the formula, if a parameter is at an end with a limit."""
    for name, ends in formula.limits.items():
        for end, text in ends.items():
            if part.params[name] == end:
                return replace(formula, expr=text, derivative=None)
    return formula


def _properties(terms: list[tuple[_Part, float]], card: LossCard) -> Properties:
    """Return what follows for the sum; nothing where a card says nothing of a term."""
    if not all(part.known for part, _ in terms):
        return Properties(lower=None)
    stated = {name: [part.states(name) for part, _ in terms] for name in DERIVED}
    if len(terms) == 1:
        said = {name: values[0] for name, values in stated.items()}
    else:
        said = {name: True if all(stated[name]) else None for name in DERIVED}
        # Of calibrated losses each may have its own way to be right.
        said["calibrated"] = None
        for name in ("symmetric", "shift_invariant"):
            # What varies, added to what does not, varies.
            varies = [value for value in stated[name] if value is not True]
            if varies == [False]:
                said[name] = False
    if card.kind == "cosine":
        # Cosines state a posterior by a scale, of which the sum may have several.
        said["strictly_proper"] = None
    elif said["strictly_proper"] is None and _slope_at_truth(card) > SEEN:
        said["strictly_proper"] = False  # the truth is not even a resting place
    if said["piecewise_constant"] is None and _range(card)[2] > SEEN:
        said["piecewise_constant"] = False
    # A convex loss of the margin is calibrated if it falls at 0, and so does the sum.
    falls = card.kind == "margin" and said["convex"] and all(stated["calibrated"])
    if said["calibrated"] is None and (said["strictly_proper"] or falls):
        said["calibrated"] = True
    return Properties(**said, **_bounds(terms, card))


def _bounds(terms: list[tuple[_Part, float]], card: LossCard) -> dict[str, Any]:
    """Return infimum, supremum and the steepest gradient, where they are sure.

    The sum of the terms' bounds is a bound. It is stated where an input attains it, or
    where one term has none and the others cannot make up for it.
    """
    low, high, steepest = _range(card)
    found: dict[str, Any] = {}
    for name, reached, opposite in (
        ("lower", low, "upper"),
        ("upper", high, "lower"),
        ("lipschitz", steepest, "lipschitz"),
    ):
        stated = [part.states(name) for part, _ in terms]
        others = [part.states(opposite) for part, _ in terms]
        found[name] = None
        if all(bound is not None and math.isfinite(bound) for bound in stated):
            total = sum(w * b for b, (_, w) in zip(stated, terms, strict=True))
            if len(terms) == 1 or abs(reached - total) <= 1e-6 * (1 + abs(total)):
                found[name] = total
        for i, bound in enumerate(stated):
            rest = others[:i] + others[i + 1 :]
            held = all(r is not None and math.isfinite(r) for r in rest)
            if bound is not None and math.isinf(bound) and held:
                found[name] = bound
    return found


def _range(card: LossCard) -> tuple[float, float, float]:
    """Return the least loss, the largest and the steepest gradient on one walk.

    It leads from certainly wrong to certainly right; where there are classes, the true
    one meets one rival, and the third is ruled out.
    """
    if card.kind == "cosine":
        return math.nan, math.nan, math.nan
    walk = np.concatenate([[-1e3], np.linspace(-60, 60, 2401), [1e3]])
    walk = walk[np.abs(walk) <= card.reach]
    truth: Any = np.ones_like(walk)
    if card.kind in ("labels", "targets"):
        walk = np.stack([walk, 0 * walk, 0 * walk - 200], -1)
        truth = np.zeros(len(walk), dtype=int)
        truth = np.eye(CLASSES)[truth] if card.kind == "targets" else truth
    first = torch.tensor(walk, requires_grad=True)
    with torch.enable_grad():
        loss = card.make(CLASSES)(first, torch.tensor(truth))
        (gradient,) = torch.autograd.grad(loss.sum(), first)
    sizes = gradient.abs() if gradient.ndim == 1 else gradient.norm(dim=-1)
    loss = loss.detach()
    return float(loss.min()), float(loss.max()), float(sizes.max())


def _slope_at_truth(card: LossCard) -> float:
    """Return the largest expected gradient where the outputs state the posterior."""
    if card.kind == "cosine":
        return 0.0
    classes = CLASSES if card.kind in ("labels", "targets") else 2
    truths = np.random.default_rng(0).dirichlet(np.ones(classes), size=8)
    truths = 0.1 / classes + 0.9 * truths
    reference = card.reference(classes)
    if card.kind == "targets":
        return float(np.abs(reference(np.log(truths), truths)[1]).max())
    outputs = np.log(truths)
    if card.kind != "labels":
        outputs = outputs[:, 1] - outputs[:, 0]
    expected = np.zeros_like(outputs)
    for label in range(classes):
        truth: Any = np.full(len(truths), label)
        if card.kind != "labels":
            truth = 2.0 * truth - 1 if card.kind == "margin" else truth.astype(float)
        share = truths[:, label].reshape(-1, *[1] * (outputs.ndim - 1))
        expected = expected + share * reference(outputs, truth)[1]
    return float(np.abs(expected).max())
