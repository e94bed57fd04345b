"""A loss as torch is used: autocast, transforms, compile, copies, another device."""

import copy
import pickle
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossbook.card import Arrays, Kind, LossCard
from lossbook.check._calls import (
    EXAMPLES,
    covers,
    gap,
    made,
    nothing,
    rng,
    settled,
    tensors,
    value_and_gradient,
)
from lossbook.criterion import Criterion
from lossbook.evidence import Evidence
from lossbook.losses import card_of

ONE_EACH: tuple[Kind, ...] = (*EXAMPLES, "cosine")  # one loss an example
# A memory is written in place, which no transform allows.
PURE: tuple[Kind, ...] = (*ONE_EACH, "pair", "batch")


def _tried(what: str, found: Callable[[], Any], expected: Any) -> tuple[str, float]:
    """Return a case: how far `found()` is off, infinitely far if it raises."""
    try:
        return what, gap(found(), expected)
    # Whatever torch, dynamo or pickle say of a loss that they cannot take.
    except Exception as error:
        told = str(error).strip().split("\n")[0]
        return f"{what} ({type(error).__name__}: {told})", np.inf


@covers()
def autocast(card: LossCard) -> Evidence:
    """Autocast, which computes products of matrices in bfloat16, changes nothing."""

    def cases() -> Iterator[tuple[str, float]]:
        arrays = card.sample(rng())
        for params in card.settings(3):
            for dtype in (torch.float32, torch.bfloat16):
                first, *rest = tensors(arrays, torch.float32)
                if dtype is torch.bfloat16 and card.kind in ONE_EACH:
                    first = first.to(dtype)  # as a linear layer gives it
                outside = made(card, arrays, params)(first, *rest)
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    inside = made(card, arrays, params)(first, *rest)
                if inside.dtype not in (torch.float32, torch.float64):
                    yield f"{dtype} gives {inside.dtype} at {params}", np.inf
                yield f"{dtype} at {params}", gap(inside, outside)

    return settled(card, "autocast changes nothing", cases(), 1e-6)


@contextmanager
def _forward_mode() -> Iterator[None]:
    """Let torch prepare its forward mode without a word.

    The first use in a process scripts torch's own formulas, with a function that torch
    itself calls deprecated.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", r"`torch\.jit\.script` is deprecated", DeprecationWarning
        )
        yield


@covers(*PURE)
def transforms(card: LossCard) -> Evidence:
    """torch.func's grad, jvp, vmap and hessian give what plain autograd gives."""
    if card.opaque:
        return nothing("it must see the numbers, as its card says")

    def cases() -> Iterator[tuple[str, float]]:
        arrays = card.sample(rng(), 4, 3)
        for params in card.settings(3):
            with _forward_mode():
                found = [*_of_the_batch(card, arrays, params)]
                if card.kind in ONE_EACH:
                    found += _of_each_example(card, arrays, params)
            yield from ((f"{case} at {params}", off) for case, off in found)

    return settled(card, "torch.func agrees with autograd", cases(), 1e-9)


def _of_the_batch(
    card: LossCard, arrays: Arrays, params: dict[str, Any]
) -> Iterator[tuple[str, float]]:
    """Yield the transforms of a whole batch, and of a stack of models."""
    first, *rest = tensors(arrays)
    loss = made(card, arrays, params)
    _, gradient = value_and_gradient(card, arrays, params)
    tangent = torch.tensor(rng().normal(size=first.shape))

    def total(first_: Tensor) -> Tensor:
        return loss(first_, *rest).sum()

    yield _tried("grad", lambda: torch.func.grad(total)(first), gradient)
    yield _tried(
        "jvp",
        lambda: torch.func.jvp(total, (first,), (tangent,))[1],
        (gradient * tangent).sum(),
    )
    models = torch.stack([first, -first, first / 2])
    one_by_one = torch.stack([loss(outputs, *rest) for outputs in models])
    over_models = torch.func.vmap(loss, in_dims=(0, *[None] * len(rest)))
    yield _tried("vmap over models", lambda: over_models(models, *rest), one_by_one)
    twice = torch.autograd.functional.hessian(total, first)
    yield _tried("hessian", lambda: torch.func.hessian(total)(first), twice)


def _of_each_example(
    card: LossCard, arrays: Arrays, params: dict[str, Any]
) -> Iterator[tuple[str, float]]:
    """Yield the transforms that take the batch apart, and those of a parameter."""
    batch = tensors(arrays)
    loss = made(card, arrays, params)
    value, gradient = value_and_gradient(card, arrays, params)
    yield _tried("vmap", lambda: torch.func.vmap(loss)(*batch), value)
    slopes = torch.func.vmap(torch.func.grad(loss))
    yield _tried("vmap of grad", lambda: slopes(*batch), gradient)
    twice = torch.func.jacrev(torch.func.jacrev(loss))
    one_by_one = torch.stack(
        [
            torch.autograd.functional.hessian(lambda z, r=rest: loss(z, *r).sum(), one)
            for one, *rest in zip(*batch, strict=True)
        ]
    )
    curved = torch.func.vmap(twice)
    yield _tried("vmap of jacrev of jacrev", lambda: curved(*batch), one_by_one)
    for name, param in card.params.items():
        values = torch.tensor(param.walk(3), dtype=value.dtype)

        def at(setting: Any, name: str = name) -> Tensor:
            return made(card, arrays, params | {name: setting})(*batch)

        yield _tried(
            f"vmap over {name}",
            partial(torch.func.vmap(at), values),
            torch.stack([at(setting) for setting in values.tolist()]),
        )


@covers()
def compiles(card: LossCard) -> Evidence:
    """torch.compile takes the loss as one graph, which gives the same."""
    if card.opaque:
        return nothing("it must see the numbers, as its card says")

    def cases() -> Iterator[tuple[str, float]]:
        arrays = card.sample(rng(), 8)
        params = card.defaults()
        value, gradient = value_and_gradient(card, arrays, params)
        first, *rest = tensors(arrays)
        first.requires_grad_()
        loss = made(card, arrays, params)

        def compiled() -> Tensor:
            # "eager" runs the traced graph as it is: no C compiler is needed.
            graph = torch.compile(lambda *a: loss(*a), backend="eager", fullgraph=True)
            out: Tensor = graph(first, *rest)
            (slope,) = torch.autograd.grad(out.sum(), first)
            return torch.cat([out.flatten(), slope.flatten()])

        torch.compiler.reset()
        expected = torch.cat([value.flatten(), gradient.flatten()])
        yield _tried(f"one graph at {params}", compiled, expected)
        torch.compiler.reset()

    return settled(card, "torch.compile gives the same from one graph", cases(), 1e-12)


@covers()
def copies(card: LossCard) -> Evidence:
    """A loss that went through pickle or deepcopy is the same, in a Criterion too."""

    def cases() -> Iterator[tuple[str, float]]:
        arrays = card.sample(rng(), 8)
        batch = tensors(arrays)
        for params in card.settings(2):
            loss = made(card, arrays, params)
            loss(*batch)  # a memory is to be copied with what it holds
            originals = {"the loss": loss}
            # A criterion knows a loss by its card in the catalogue.
            if card_of(card.fn) is card and len(batch) == 2:
                originals["a criterion"] = _criterion(card, loss, params)
            for what, original in originals.items():
                for way, copied in COPIES.items():

                    def apart(original: Any = original, copied: Any = copied) -> float:
                        twin = copied(original)  # before a memory changes again
                        return gap(twin(*batch), original(*batch))

                    yield _tried(f"{what} after {way} at {params}", apart, 0.0)

    return settled(card, "copies give the same", cases(), 0.0)


def _criterion(
    card: LossCard, loss: Callable[..., Tensor], params: dict[str, Any]
) -> Criterion:
    """Return the criterion of this loss: an instance has its parameters already."""
    if isinstance(card.fn, type):
        return Criterion(loss)
    return Criterion(card.fn, **params)


COPIES: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda loss: pickle.loads(pickle.dumps(loss)),
    "deepcopy": copy.deepcopy,
}


@covers()
def device(card: LossCard) -> Evidence:
    """On a GPU, value and gradient are the CPU's.

    Where there is none, the loss is run on torch's meta device, which has shapes and
    no numbers: it refuses what meets a tensor that was left on the CPU.
    """
    if card.opaque:
        return nothing("it must see the numbers, as its card says")
    gpu = torch.cuda.is_available()
    if not gpu and card.kind not in ONE_EACH:
        return nothing("there is nothing to compare without a GPU")
    place = torch.device("cuda" if gpu else "meta")

    def cases() -> Iterator[tuple[str, float]]:
        arrays = card.sample(rng())
        for params in card.settings(3):
            expected = torch.cat(
                [each.flatten() for each in value_and_gradient(card, arrays, params)]
            )
            yield _tried(
                f"the {place.type} device at {params}",
                partial(_elsewhere, card, arrays, params, place),
                expected if gpu else torch.zeros_like(expected),
            )

    what = "another device, a GPU where there is one, gives the same"
    return settled(card, what, cases(), 1e-9)


def _elsewhere(
    card: LossCard, arrays: Arrays, params: dict[str, Any], place: torch.device
) -> Tensor:
    """Return value and gradient from another device; zeros for what has no numbers."""
    first, *rest = (each.to(place) for each in tensors(arrays))
    first.requires_grad_()
    loss = made(card, arrays, params)
    if isinstance(loss, torch.nn.Module):
        loss = loss.to(place)
    value = loss(first, *rest)
    (gradient,) = torch.autograd.grad(value.sum(), first)
    found = torch.cat([value.detach().flatten(), gradient.flatten()])
    if found.device.type != place.type or found.dtype is not first.dtype:
        raise RuntimeError(f"the result is {found.dtype} on {found.device.type}")
    return torch.zeros_like(found, device="cpu") if found.is_meta else found
