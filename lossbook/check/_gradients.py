"""Value and gradient: two implementations, autograd, differences, the formula."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from lossbook.card import Arrays, LossCard
from lossbook.check._calls import (
    EXAMPLES,
    WITH_CLASSES,
    covers,
    gap,
    made,
    made_reference,
    nothing,
    rng,
    settled,
    tensors,
    value_and_gradient,
)
from lossbook.evidence import Evidence


def _samples(card: LossCard) -> list[Arrays]:
    """Return ordinary input and the same stretched to +-15, where p_y nears 0 and 1.

    Cosines are stretched to nearly +-1. The two are one call, but for losses of a whole
    batch: there, who is alone in a class would not be alone any more. Soft truth comes
    once more as hard, for which a loss may have a shorter way, and two classes alone
    are tried too.
    """
    arrays = card.sample(rng())
    first = arrays[0]
    reach = 0.999 if card.kind == "cosine" else 15
    stretched = (first * (reach / np.abs(first).max()), *arrays[1:])
    if card.kind == "batch":
        return [arrays, stretched]
    both = tuple(np.concatenate(pair) for pair in zip(arrays, stretched, strict=True))
    samples = [both]
    if card.kind == "binary":
        samples.append((both[0], both[1].round()))
    if card.kind == "targets":
        samples.append((both[0], np.eye(both[1].shape[-1])[both[1].argmax(-1)]))
    if card.kind in WITH_CLASSES:
        samples.append(card.sample(rng(), 8, 2))
    return samples


@covers()
def reference(card: LossCard) -> Evidence:
    """The torch function and the numpy reference give one value and one gradient.

    The value is the same whether a gradient is asked for or not.
    """

    def cases() -> Iterator[tuple[str, float]]:
        samples = _samples(card)
        for params in card.settings():
            gaps = {"loss": 0.0, "gradient": 0.0}
            for arrays in samples:
                found = value_and_gradient(card, arrays, params)
                with np.errstate(all="ignore"):  # the reference has no stability tricks
                    expected = made_reference(card, arrays, params)(*arrays)
                with torch.no_grad():
                    value = made(card, arrays, params)(*tensors(arrays))
                off = [gap(a, b) for a, b in zip(found, expected, strict=True)]
                off[0] = max(off[0], gap(value, expected[0]))
                for part, worst in zip(gaps, off, strict=True):
                    gaps[part] = max(gaps[part], worst)
            worse = max(gaps, key=lambda part: gaps[part])
            yield f"the {worse} at {params}", gaps[worse]

    return settled(card, "value and gradient equal the reference", cases(), 1e-9)


@covers()
def central_differences(card: LossCard) -> Evidence:
    """The reference's gradient, derived by hand, is the slope of its value."""

    def cases() -> Iterator[tuple[str, float]]:
        first, *rest = arrays = card.sample(rng(), 16)
        step = 3e-6 if card.kind == "cosine" else 1e-5  # logits are cosines * scale
        for params in card.settings():
            loss = made_reference(card, arrays, params)
            _, gradient = loss(first, *rest)
            measured = np.zeros_like(first)
            for where in _bumped(card, first):
                bump = np.zeros_like(first)
                bump[where] = step
                up, _ = loss(first + bump, *rest)
                down, _ = loss(first - bump, *rest)
                rise = np.asarray(up) - np.asarray(down)
                whole = rise if card.kind in EXAMPLES else rise.sum()
                measured[where] = whole / (2 * step)
            yield f"the gradient at {params}", gap(measured, gradient)

    return settled(
        card, "the gradient by hand equals central differences", cases(), 1e-8
    )


def _bumped(card: LossCard, first: np.ndarray) -> Iterator[tuple[Any, ...]]:
    """Yield what may be moved at once: a coordinate of every example, or one number.

    The examples of some kinds depend on each other; they are moved one by one.
    """
    if card.kind in EXAMPLES:
        yield from ((slice(None), *axis) for axis in np.ndindex(first.shape[1:]))
    else:
        yield from np.ndindex(first.shape)


@covers()
def gradcheck(card: LossCard) -> Evidence:
    """Autograd's gradient passes torch's own check, over each parameter's range."""

    def cases() -> Iterator[tuple[str, float]]:
        for params in card.settings(5):
            yield f"gradcheck at {params}", _torch_check(card, params, second=False)

    return settled(card, "autograd passes gradcheck", cases(), 0.0)


@covers()
def gradgradcheck(card: LossCard) -> Evidence:
    """So does the second derivative."""

    def cases() -> Iterator[tuple[str, float]]:
        for params in card.settings(3):
            yield f"gradgradcheck at {params}", _torch_check(card, params, second=True)

    return settled(card, "autograd passes gradgradcheck", cases(), 0.0)


def _torch_check(card: LossCard, params: dict[str, float], *, second: bool) -> float:
    first, *rest = arrays = tensors(card.sample(rng(), 5, 3))
    first.requires_grad_()
    check = torch.autograd.gradgradcheck if second else torch.autograd.gradcheck
    if second and card.states("piecewise_constant", params):
        return 0.0  # a gradient of zeros has no graph to differentiate again

    def call(first_: torch.Tensor) -> Any:
        return made(card, arrays, params)(first_, *rest)

    return 0.0 if check(call, (first,), raise_exception=False) else np.inf


def _variable(card: LossCard, arrays: Arrays) -> tuple[Arrays, np.ndarray]:
    """Return input at which the formula holds, and the formula's variable there."""
    first, truth = arrays
    if card.kind == "margin":
        return arrays, first * truth
    if card.kind == "binary":
        truth = np.round(truth)
        p = 1 / (1 + np.exp(-first * (2 * truth - 1)))
        return (first, truth), p
    if card.kind == "cosine":
        return arrays, np.arccos(first[np.arange(len(truth)), truth])
    labels = truth.argmax(-1) if card.kind == "targets" else truth
    p = np.exp(first) / np.exp(first).sum(-1, keepdims=True)
    p_y = p[np.arange(len(labels)), labels]
    if card.kind == "targets":
        truth = np.eye(first.shape[-1])[labels]
    return (first, truth), p_y


@covers(*EXAMPLES)
def formula(card: LossCard) -> Evidence:
    """The formula on the card, evaluated, is the code."""
    if card.formula is None:
        return nothing("no formula is stated")

    def cases() -> Iterator[tuple[str, float]]:
        assert card.formula is not None
        arrays, variable = _variable(card, card.sample(rng()))
        written = card.formula.numpy(card.params)
        for params in card.settings(options=False):
            loss, _ = value_and_gradient(card, arrays, params)
            value = np.broadcast_to(written(variable, **params), loss.shape)
            if card.kind == "cosine":
                value = _loss_of_target(arrays, value, params["scale"])
            yield f"the formula at {params}", gap(loss, value)

    return settled(card, "the formula on the card equals the code", cases(), 1e-10)


def _loss_of_target(arrays: Arrays, target: np.ndarray, scale: float) -> np.ndarray:
    """Return cross-entropy of the scaled cosines, the true class's logit replaced."""
    cosines, labels = arrays
    logits = scale * cosines
    logits[np.arange(len(labels)), labels] = target
    return np.asarray(np.log(np.exp(logits).sum(-1)) - target)


@covers(*EXAMPLES)
def slope(card: LossCard) -> Evidence:
    """The formula's derivative is the slope of the formula, kinks left aside."""
    if card.formula is None:
        return nothing("no formula is stated")

    def cases() -> Iterator[tuple[str, float]]:
        assert card.formula is not None
        import sympy

        names = [card.formula.variable, *card.params]
        derivative = sympy.lambdify(names, card.formula.slope(card.params), "numpy")
        written = card.formula.numpy(card.params)
        _, variable = _variable(card, card.sample(rng()))
        step = 1e-5 * np.minimum(np.abs(variable), np.abs(1 - variable))
        for params in card.settings(options=False):
            up, down = (
                np.broadcast_to(written(variable + s, **params), variable.shape)
                for s in (step, -step)
            )
            stated = np.broadcast_to(derivative(variable, **params), variable.shape)
            yield f"the slope at {params}", gap((up - down) / (2 * step), stated)

    return settled(card, "the stated derivative is the slope", cases(), 1e-5)


@covers(*EXAMPLES)
def limits(card: LossCard) -> Evidence:
    """At a parameter's open end, the formula tends to the stated limit."""
    stated = card.formula.limits if card.formula else {}
    open_ends = [
        (name, end)
        for name, param in card.params.items()
        for is_open, end in (
            (param.open_low, param.low),
            (param.open_high, param.high),
        )
        if is_open and card.formula
    ]
    if not stated and not open_ends:
        return nothing("no parameter has an open end")

    def cases() -> Iterator[tuple[str, float]]:
        for name, end in open_ends:
            if end not in stated.get(name, {}):
                yield f"a limit of {name} at {end:g} (not on the card)", np.inf
        for name, ends in stated.items():
            for end, text in ends.items():
                remaining = _limit_gap(card, name, end, text)
                yield f"the limit of {name} at {end:g}", float(not remaining <= 0.5)

    return settled(card, "the formula tends to its stated limits", cases(), 0.0)


def _limit_gap(card: LossCard, name: str, end: float, text: str) -> float:
    """Return how much of the distance to the limit is left when it should halve.

    A tenth of the way in the parameter must bring the formula closer by more than a
    half; a wrong limit keeps its distance.
    """
    import sympy

    assert card.formula is not None
    names = [card.formula.variable, *card.params]
    target = sympy.lambdify(names, card.formula.parse(text, card.params), "numpy")
    written = card.formula.numpy(card.params)
    _, variable = _variable(card, card.sample(rng()))
    param = card.params[name]
    away = 1e-3 * (param.high - param.low) * (1 if end == param.low else -1)
    far, near = (
        gap(
            written(variable, **at),
            np.broadcast_to(target(variable, **at), variable.shape),
        )
        for at in (
            card.defaults() | {name: end + away},
            card.defaults() | {name: end + away / 10},
        )
    )
    return near / far


@covers("labels")
def psi_calculus(card: LossCard) -> Evidence:
    """A loss psi(p_y) has gradient g (p - e_y) and Hessian g J - p g' d d^T.

    Here d = p - e_y, J = diag(p) - p p^T, and g(p) = -p psi'(p) comes from the card's
    formula; gradient and Hessian come from torch.
    """
    if card.formula is None or card.formula.variable != "p":
        return nothing("no function of p_y alone")

    def cases() -> Iterator[tuple[str, float]]:
        g, slope_of_g = _factor(card)
        logits, labels = card.sample(rng(), 20)
        p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        e_y = np.eye(p.shape[-1])[labels]
        p_y, d = p[e_y == 1], p - e_y
        spread = p[:, :, None] * np.eye(p.shape[-1]) - p[:, :, None] * p[:, None, :]
        for params in card.settings(5, options=False):
            g_y = np.broadcast_to(g(p_y, **params), p_y.shape)
            slope_y = np.broadcast_to(slope_of_g(p_y, **params), p_y.shape)
            _, gradient = value_and_gradient(card, (logits, labels), params)
            yield f"the gradient at {params}", gap(gradient, g_y[:, None] * d)
            outer = d[:, :, None] * d[:, None, :]
            derived = (
                g_y[:, None, None] * spread - (p_y * slope_y)[:, None, None] * outer
            )
            yield (
                f"the Hessian at {params}",
                gap(_hessian(card, logits, labels, params), derived),
            )

    return settled(
        card, "gradient g(p - e_y) and Hessian as the psi calculus says", cases(), 1e-9
    )


def _factor(card: LossCard) -> tuple[Any, Any]:
    """Return g(p) = -p psi'(p) and its derivative, from the formula, in numpy."""
    import sympy

    assert card.formula is not None
    p = sympy.Symbol("p", real=True)
    names = ["p", *card.params]
    g = -p * card.formula.slope(card.params)
    return sympy.lambdify(names, g, "numpy"), sympy.lambdify(names, g.diff(p), "numpy")


def _hessian(card: LossCard, logits: Any, labels: Any, params: Any) -> torch.Tensor:
    loss = made(card, (logits, labels), params)

    def one(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return loss(z, y)

    # torch.func.hessian warns of its use of torch.jit; reverse over reverse does not.
    twice = torch.func.jacrev(torch.func.jacrev(one))
    hessian: torch.Tensor = torch.func.vmap(twice)(*tensors((logits, labels)))
    return hessian
