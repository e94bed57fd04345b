"""What cards state of properties and bounds, in words."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise, product
from typing import Any

import numpy as np

from lossbook.card import Kind, LossCard, Param
from lossbook.losses import CATALOGUE
from lossbook.tables._formulas import exact, plain_tex, tex, without_floats

SHOWN = {
    "convex": "convex",
    "strictly_proper": "strictly proper",
    "calibrated": "calibrated",
    "symmetric": "symmetric",
}
# All properties that a card may say or deny, as a reader calls them.
SAID = {**SHOWN, "monotone": "monotone", "shift_invariant": "shift invariant"}
BOUNDS = {
    "lower": "infimum",
    "upper": "supremum",
    "lipschitz": "steepest gradient",
}
# What a loss of each kind is called with.
CALLED_WITH: dict[Kind, str] = {
    "labels": "logits and integer labels",
    "targets": "logits and probabilities of the classes",
    "margin": "scores of two classes and signs, −1 or +1",
    "binary": "scores and targets between 0 and 1, elementwise",
    "cosine": "cosines and integer labels",
    "pair": "embeddings and how they relate",
    "batch": "a batch as a whole: it is no sum over examples",
    "stateful": "what its call says; it remembers, or learns weights of its own",
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
        columns[title] = [statement(card, name) for card in cards]
    columns["largest value"] = [_stated(card, "upper") for card in cards]
    columns["steepest gradient"] = [_stated(card, "lipschitz") for card in cards]
    return columns


def _stated(card: LossCard, name: str) -> bool | float | str:
    stated = card.states(name, card.defaults())
    return "" if stated is None else stated


def statement(card: LossCard, name: str) -> str:
    """Return yes, no, or for which parameters a property holds; "" if not stated.

    A condition on a parameter is found from the card's statements alone: by a walk
    along its range, and by bisection between values that differ.

    >>> statement(CATALOGUE["focal"], "convex"), statement(CATALOGUE["mae"], "convex")
    ('for gamma = 0', 'no')
    """
    names = list(card.params)
    axes = [_values(card, n, {1: 101, 2: 21}.get(len(names), 7)) for n in names]
    said = np.empty([len(axis) for axis in axes], dtype=object)
    for place in np.ndindex(said.shape):
        values = [axis[i] for axis, i in zip(axes, place, strict=True)]
        said[place] = _said(card, name, dict(zip(names, values, strict=True)))
    yes, no = np.asarray(said == True), np.asarray(said == False)  # noqa: E712
    if not (yes | no).any():
        return ""
    if yes.all() or no.all():
        return "yes" if yes.all() else "no"
    word = bool(yes.any())
    where = _where(card, name, word, axes, yes if word else no)
    rest = "" if (yes | no).all() else "; otherwise not stated"
    return f"{'' if word else 'no '}{where}{rest}"


def _said(card: LossCard, name: str, params: Mapping[str, float]) -> bool | None:
    stated = card.states(name, params)
    return None if stated is None else bool(stated)


def _where(
    card: LossCard, name: str, word: bool, axes: list[list[float]], wanted: np.ndarray
) -> str:
    """Return `for a = 0 and b ≤ 1`, or on which parameters it depends.

    Args:
        card: the card that states it.
        name: the property.
        word: what is stated there.
        axes: values of each parameter.
        wanted: over the product of the axes, where the word is stated.
    """
    names = list(card.params)
    matter = [k for k in range(len(axes)) if (wanted != wanted.take([0], axis=k)).any()]
    for joint, over, joined in (
        ("and", np.any, np.logical_and.reduce),
        ("or", np.all, np.logical_or.reduce),
    ):
        # What each parameter says where the others leave the decision to it.
        alone = [
            over(wanted, axis=tuple({*range(wanted.ndim)} - {k}), keepdims=True)
            for k in matter
        ]
        if not (joined(np.broadcast_arrays(*alone)) == wanted).all():
            continue
        point = card.defaults()
        for k, holds in zip(matter, alone, strict=True):
            place = int(holds.argmax() if joint == "and" else holds.argmin())
            point[names[k]] = axes[k][place]
        parts = [
            f"{names[k]} {_condition(card, name, word, names[k], point)}"
            for k in matter
        ]
        return "for " + f" {joint} ".join(parts)
    return f"depends on {' and '.join(names[k] for k in matter)}"


def _values(card: LossCard, name: str, steps: int) -> list[float]:
    """Return values of a parameter: a walk, and those that mean something."""
    param = card.params[name]
    special = [case.params[name] for case in card.special_cases if name in case.params]
    whole = range(math.ceil(param.low), math.floor(param.high) + 1)[:steps]
    listed = {*param.walk(steps), *special, param.default, *map(float, whole)}
    return sorted(value for value in listed if _inside(param, value))


def _inside(param: Param, value: float) -> bool:
    above = value > param.low or (value == param.low and not param.open_low)
    below = value < param.high or (value == param.high and not param.open_high)
    return above and below


def _condition(
    card: LossCard, name: str, word: bool, param: str, point: Mapping[str, float]
) -> str:
    """Write the values of one parameter at which the card says this word."""

    def holds(value: float) -> bool:
        return _said(card, name, {**point, param: value}) is word

    values = _values(card, param, 501)
    inside = [holds(value) for value in values]
    runs = _runs(inside)
    outside = _runs([not each for each in inside])
    if len(outside) == 1 and len(runs) == 2:
        (low, _), (high, _) = _ends(values, outside[0], lambda v: not holds(v))
        if low == high:
            return f"≠ {low:g}"
    return " or ".join(_interval(values, run, holds) for run in runs)


def _runs(holds: Sequence[bool]) -> list[tuple[int, int]]:
    """Return the first and the last place of each stretch that holds."""
    padded = [False, *holds, False]
    starts = [i for i, (a, b) in enumerate(pairwise(padded)) if b and not a]
    ends = [i - 1 for i, (a, b) in enumerate(pairwise(padded)) if a and not b]
    return list(zip(starts, ends, strict=True))


def _interval(
    values: Sequence[float], run: tuple[int, int], holds: Callable[[float], bool]
) -> str:
    (low, with_low), (high, with_high) = _ends(values, run, holds)
    if low == high:
        return f"= {low:g}"
    above = f"{'≥' if with_low else '>'} {low:g}"
    below = f"{'≤' if with_high else '<'} {high:g}"
    if run[0] == 0:
        return below
    return above if run[1] == len(values) - 1 else f"{above} and {below}"


def _ends(
    values: Sequence[float], run: tuple[int, int], holds: Callable[[float], bool]
) -> list[tuple[float, bool]]:
    """Return where a stretch begins and ends, and whether the ends belong to it."""
    found = []
    for place, beyond in zip(run, (run[0] - 1, run[1] + 1), strict=True):
        near = values[place]
        if 0 <= beyond < len(values):
            far = values[beyond]
            for _ in range(60):
                middle = (near + far) / 2
                near, far = (middle, far) if holds(middle) else (near, middle)
            rounded = float(f"{round(near, 9):.6g}")
            if math.isclose(rounded, near, rel_tol=1e-9, abs_tol=1e-9):
                near = rounded
        found.append((near, holds(near)))
    return found


def bound(card: LossCard, name: str) -> str:
    r"""Return a bound in TeX, "" if none is stated.

    It is exact, or a function of the parameters. Where the card's function cannot be
    read as a formula, it is the value at the defaults, which are named.

    >>> bound(CATALOGUE["gce"], "upper"), bound(CATALOGUE["mae"], "lipschitz")
    ('$\\frac{1}{q}$', '$\\sqrt{2} / 2$')
    """
    stated = getattr(card.properties, name)
    values = [(params, card.states(name, params)) for params in _settings(card)]
    default = card.states(name, card.defaults())
    if default is None:
        return ""
    if all(value == default for _, value in values):
        return f"${_number(float(default))}$"
    found = _read(card, stated, values)
    if found is not None:
        return f"${tex(card, found)}$"
    at = ", ".join(f"{name} = {value:g}" for name, value in card.defaults().items())
    return f"${_number(float(default))}$ at {at}"


def _settings(card: LossCard) -> Iterator[dict[str, float]]:
    """Yield the product of the parameters' ranges, coarsely."""
    axes = [_values(card, name, 5) for name in card.params]
    for values in product(*axes):
        yield dict(zip(card.params, values, strict=True))


def _read(
    card: LossCard,
    stated: Callable[..., Any],
    values: Sequence[tuple[dict[str, float], Any]],
) -> Any:
    """Return a function of the parameters as an expression, or None.

    The function is called with symbols. One that compares them cannot be read, or only
    in part; so each value is compared.
    """
    import sympy

    symbols = {name: sympy.Symbol(name, real=True) for name in card.params}
    try:
        expression = without_floats(stated(**symbols))
    except Exception:  # whatever a function of floats does with symbols
        return None
    for params, value in values:
        at = expression.subs({symbols[n]: v for n, v in params.items()})
        same = value is not None and at.is_number and at.is_extended_real
        if not (same and math.isclose(float(at), value, rel_tol=1e-9, abs_tol=1e-12)):
            return None
    return expression


def _number(value: float) -> str:
    import sympy

    if math.isinf(value):
        return r"\infty" if value > 0 else r"-\infty"
    found = exact(value)
    if isinstance(found, sympy.Float):
        return f"{value:.4g}"
    return plain_tex(found, fold_short_frac=True)
