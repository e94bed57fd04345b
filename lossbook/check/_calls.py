"""How checks call a loss, and the checks of plain calls: shapes, dtypes, extremes."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossbook.card import KINDS, Arrays, Kind, LossCard
from lossbook.evidence import Evidence, array
from lossbook.losses import CATALOGUE

SEED = 0
WITH_CLASSES: tuple[Kind, ...] = ("labels", "targets", "cosine")
EXAMPLES: tuple[Kind, ...] = ("labels", "targets", "margin", "binary", "cosine")


@dataclass(frozen=True)
class Check:
    """A check, and the kinds of losses that it covers."""

    run: Callable[[LossCard], Evidence]
    kinds: tuple[Kind, ...]

    @property
    def name(self) -> str:
        """Return the public name, `lossbook.check.<name>`."""
        return str(self.run.__name__)


CHECKS: dict[str, Check] = {}
MACHINERY = ("transforms", "compiles")


def covers(
    *kinds: Kind,
) -> Callable[[Callable[[LossCard], Evidence]], Callable[[LossCard], Evidence]]:
    """Enter a check into `CHECKS` for these kinds; none named means all."""

    def enter(run: Callable[[LossCard], Evidence]) -> Callable[[LossCard], Evidence]:
        CHECKS[run.__name__] = Check(run, kinds or KINDS)
        return run

    return enter


def applicable(card: LossCard, *, machinery: bool = True) -> list[Check]:
    """Return the checks that cover this card's kind.

    Args:
        card: of the loss to check.
        machinery: also the two that ask whether torch's own machinery takes the loss,
            `transforms` and `compiles`.
    """
    covered = [check for check in CHECKS.values() if card.kind in check.kinds]
    return [each for each in covered if machinery or each.name not in MACHINERY]


def rng() -> np.random.Generator:
    """Return the generator that every check starts from."""
    return np.random.default_rng(SEED)


def value_and_gradient(
    card: LossCard,
    arrays: Arrays,
    params: Mapping[str, Any],
    dtype: torch.dtype = torch.float64,
) -> tuple[Tensor, Tensor]:
    """Return the loss per example and the gradient of its sum in the first array."""
    first, *rest = tensors(arrays, dtype)
    first.requires_grad_()
    loss = made(card, arrays, params)(first, *rest)
    (gradient,) = torch.autograd.grad(loss.sum(), first)
    return loss.detach(), gradient


def made(
    card: LossCard, arrays: Sequence[Any], params: Mapping[str, Any]
) -> Callable[..., Tensor]:
    """Return the loss at these parameters, for as many classes as the arrays have.

    A loss with a memory starts with it as it was: each call makes a new one.
    """
    return card.make(classes_of(card, arrays), **params)


def made_reference(
    card: LossCard, arrays: Sequence[Any], params: Mapping[str, Any]
) -> Callable[..., tuple[Any, Any]]:
    """Return the numpy reference of `made`."""
    return card.reference(classes_of(card, arrays), **params)


def classes_of(card: LossCard, arrays: Sequence[Any]) -> int:
    """Return the number of classes: the last axis of logits, two for scores."""
    two = card.kind in ("margin", "binary") or arrays[0].ndim < 2
    return 2 if two else int(arrays[0].shape[-1])


def tensors(arrays: Arrays, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Return the arrays as tensors; floating ones in `dtype`."""
    return [
        torch.tensor(a, dtype=dtype if a.dtype.kind == "f" else torch.int64)
        for a in map(np.asarray, arrays)
    ]


def settled(
    card: LossCard, what: str, cases: Iterator[tuple[str, float]], bound: float
) -> Evidence:
    """Return evidence that each case's residual stays within `bound`, or raise."""
    count = 0
    for count, (case, residual) in enumerate(cases, start=1):  # noqa: B007
        if not residual <= bound:
            return Evidence(
                False, what, f"{bound:g}", f"{case} is off by {residual:.3g}"
            ).require(f"{card.name}: {what} within {bound:g}")
    if not count:
        raise ValueError(f"{card.name}: there was nothing to check for '{what}'")
    within = f" within {bound:g}" if bound else ""
    times = "1 setting" if count == 1 else f"{count} settings"
    tolerance = f"{bound:g}" if bound else "exact"
    return Evidence(True, f"{what}{within}, over {times}", tolerance, "")


def nothing(text: str) -> Evidence:
    """Return evidence for a card that states nothing of the kind."""
    return Evidence(True, text, "exact", "")


def gap(a: Any, b: Any) -> float:
    """Return the largest |a - b| / (1 + |b|); nan counts as infinite."""
    a, b = array(a), array(b)
    if a.shape != b.shape:
        return np.inf
    if not a.size:
        return 0.0
    with np.errstate(invalid="ignore"):  # inf - inf, where both are inf
        difference = np.where(a == b, 0.0, np.abs(a - b) / (1 + np.abs(b)))
    return float(np.nan_to_num(difference, nan=np.inf).max())


@covers()
def batch_permutation(card: LossCard) -> Evidence:
    """Reordering the examples reorders losses and gradients, and nothing else."""

    def cases() -> Iterator[tuple[str, float]]:
        arrays = card.sample(rng())
        order = rng().permutation(len(arrays[0]))
        for params in card.settings(3):
            loss, gradient = value_and_gradient(card, arrays, params)
            # What has another length than the batch is no example: it stays.
            shuffled = tuple(a[order] if len(a) == len(order) else a for a in arrays)
            loss_2, gradient_2 = value_and_gradient(card, shuffled, params)
            expected = loss[order] if loss.ndim else loss  # one loss for all
            yield (
                f"a permuted batch at {params}",
                max(gap(loss_2, expected), gap(gradient_2, gradient[order])),
            )

    return settled(card, "a permuted batch gives the permuted result", cases(), 1e-12)


@covers()
def defaults(card: LossCard) -> Evidence:
    """Called without parameters, the code uses the defaults of the card.

    A parameter that has no default in the code must be given, and is.
    """

    def cases() -> Iterator[tuple[str, float]]:
        arrays = card.sample(rng())
        closed = card.closed_over(classes_of(card, arrays))
        for what, code in (
            ("the loss", card.fn),
            ("the reference", card.ref),
            ("the recovery", card.recovery),
        ):
            if code is None:
                continue
            known = inspect.signature(code).parameters
            needed = {
                name: value
                for name, value in card.defaults().items()
                if known[name].default is inspect.Parameter.empty
            }

            def result(params: Mapping[str, Any], code: Any = code) -> np.ndarray:
                if code is card.fn:
                    return array(made(card, arrays, params)(*tensors(arrays)))
                if code is card.ref:
                    return np.asarray(code(*arrays, **closed, **params)[0])
                return np.asarray(code(arrays[0], **closed, **params))

            same = np.array_equal(
                result(needed), result(card.defaults()), equal_nan=True
            )
            declared = all(
                name in needed or known[name].default == value
                for name, value in card.defaults().items()
            )
            yield f"{what} without parameters", 0.0 if same and declared else np.inf

    return settled(card, "the card's defaults are the code's", cases(), 0.0)


@covers(*EXAMPLES)
def empty_batch(card: LossCard) -> Evidence:
    """No examples give no losses and no error."""

    def cases() -> Iterator[tuple[str, float]]:
        arrays = tuple(a[:0] for a in card.sample(rng()))
        loss, gradient = value_and_gradient(card, arrays, card.defaults())
        yield "the empty batch", float(loss.numel() + gradient.numel())

    return settled(card, "an empty batch gives an empty result", cases(), 0.0)


@covers(*WITH_CLASSES)
def one_class(card: LossCard) -> Evidence:
    """With a single class there is nothing to learn: the gradient is 0."""

    def cases() -> Iterator[tuple[str, float]]:
        arrays = card.sample(rng(), 8, 1)
        # An option may ask for a second class.
        for params in card.settings(3, options=False):
            loss, gradient = value_and_gradient(card, arrays, params)
            yield (
                f"one class at {params}",
                max(gap(gradient, torch.zeros(8, 1)), gap(loss, loss[:1].expand(8))),
            )

    return settled(card, "a single class has no gradient", cases(), 1e-12)


@covers(*EXAMPLES)
def parameters_broadcast(card: LossCard) -> Evidence:
    """A tensor of parameters, one a model, gives what each float gives alone."""

    def cases() -> Iterator[tuple[str, float]]:
        arrays = card.sample(rng(), 8)
        for name, param in card.params.items():
            values = param.walk(5)
            stacked = tuple(np.stack([a] * len(values)) for a in arrays)
            column = torch.tensor(values, dtype=torch.float64)[:, None]
            loss, gradient = value_and_gradient(
                card, stacked, card.defaults() | {name: column}
            )
            for i, value in enumerate(values):
                alone = value_and_gradient(
                    card, arrays, card.defaults() | {name: value}
                )
                yield (
                    f"{name} = {value:g} in a stack",
                    max(gap(loss[i], alone[0]), gap(gradient[i], alone[1])),
                )
        if not card.params:
            stacked = tuple(np.stack([a] * 3) for a in arrays)
            loss, _ = value_and_gradient(card, stacked, {})
            alone_loss, _ = value_and_gradient(card, arrays, {})
            yield "a stack of models", gap(loss[2], alone_loss)

    return settled(card, "models in a stack are as models alone", cases(), 1e-12)


@covers(*EXAMPLES)
def extremes(card: LossCard) -> Evidence:
    """Value and gradient are finite at ±1e4, and float32 agrees with float64.

    A card may state a shorter `reach`, as the exponential loss must. Cosines reach
    from -1 to 1, both included.
    """

    def cases() -> Iterator[tuple[str, float]]:
        arrays = extreme_input(card.kind, card.reach)
        for params in card.settings():
            wide = value_and_gradient(card, arrays, params, torch.float64)
            narrow = value_and_gradient(card, arrays, params, torch.float32)
            for dtype, (loss, gradient) in (("64", wide), ("32", narrow)):
                finite = bool(loss.isfinite().all() and gradient.isfinite().all())
                yield f"float{dtype} at {params}", 0.0 if finite else np.inf
            yield (
                f"float32 against float64 at {params}",
                max(gap(narrow[0], wide[0]), gap(narrow[1], wide[1])),
            )

    reach = "cosines of ±1" if card.kind == "cosine" else f"logits of {card.reach:g}"
    what = f"finite up to {reach}, float32 as float64"
    return settled(card, what, cases(), 1e-5)


def extreme_input(kind: Kind, reach: float = 1e4) -> Arrays:
    """Return logits or scores that are far ahead, far behind, and all huge.

    Of cosines, those at the ends and next to them, each against each.
    """
    if kind == "cosine":
        ends = np.array([-1.0, 2**-10 - 1, -0.5, 0.0, 0.5, 1 - 2**-10, 1.0])
        first, second = (grid.ravel() for grid in np.meshgrid(ends, ends))
        cosines = np.stack([first, second, 0 * first, 0 * first], -1)
        return cosines, np.arange(len(cosines)) % 2
    gaps = np.array([0.0, 20.0, 50.0, 100.0, 1000.0, 1e4])
    gaps = np.concatenate([gaps[gaps < reach], [reach]])
    gaps = np.concatenate([gaps, -gaps])
    if kind in ("margin", "binary"):
        scores = np.concatenate([gaps, gaps])
        truth = np.repeat([1.0, -1.0], len(gaps))
        return scores, truth if kind == "margin" else (truth + 1) / 2
    ahead = gaps[:, None] * np.eye(4)[0]
    logits = np.concatenate([ahead, ahead + reach, ahead - reach])
    labels = np.arange(len(logits)) % 3
    logits = np.concatenate([logits, logits])
    labels = np.concatenate([labels, np.zeros_like(labels)])
    return logits, np.eye(4)[labels] if kind == "targets" else labels


@covers("labels", "targets")
def ruled_out(card: LossCard) -> Evidence:
    """A class with logit -inf is as one that is far behind, if that has a limit.

    It is not the true class, nor has it any of the target. A loss that grows without
    bound as a wrong class falls behind has no such limit, and is left aside.
    """

    def cases() -> Iterator[tuple[str, float]]:
        logits, truth = card.sample(rng())
        out = np.eye(logits.shape[-1], dtype=bool)[
            (truth if card.kind == "labels" else truth.argmax(-1)) - 1
        ]
        if card.kind == "targets":
            truth = np.where(out, 0.0, truth)
            truth = truth / truth.sum(-1, keepdims=True)
        for params in card.settings(3):
            farther, far = (
                value_and_gradient(card, (np.where(out, z, logits), truth), params)
                for z in (-2e4, -1e4)
            )
            known = not any(bool(each.isnan().any()) for each in (*farther, *far))
            if not known or max(map(gap, farther, far)) <= 1e-12:
                gone = np.where(out, -np.inf, logits)
                off = value_and_gradient(card, (gone, truth), params)
                yield f"a class that is out at {params}", max(map(gap, off, far))
            else:
                yield f"no limit at {params}", 0.0

    return settled(card, "a class at -inf is as one far behind", cases(), 1e-12)


@covers(*EXAMPLES)
def half_precision(card: LossCard) -> Evidence:
    """Half-precision input is computed in float32, and the result stays there.

    The gradient is finite wherever its size is one that the input's dtype has.
    """

    def cases() -> Iterator[tuple[str, float]]:
        for arrays in (card.sample(rng()), extreme_input(card.kind, card.reach)):
            for dtype in (torch.float16, torch.bfloat16):
                first, *rest = tensors(arrays, dtype)
                if card.kind == "targets":  # halves do not sum to 1 any better
                    rest = [rest[0].float()]
                first.requires_grad_()
                loss = made(card, arrays, card.defaults())(first, *rest)
                wider = first.detach().float().requires_grad_()
                wide = made(card, arrays, card.defaults())(wider, *rest)
                (gradient,) = torch.autograd.grad(loss.sum(), first)
                (slope,) = torch.autograd.grad(wide.sum(), wider)
                too_large = slope.abs() > torch.finfo(dtype).max
                if loss.dtype is not torch.float32 or gradient.dtype is not dtype:
                    yield f"{dtype} gives {loss.dtype} and {gradient.dtype}", np.inf
                yield f"{dtype} against float32", gap(loss.detach(), wide.detach())
                finite = bool((gradient.isfinite() | too_large).all())
                yield f"the gradient in {dtype}", 0.0 if finite else np.inf

    return settled(card, "half precision is computed in float32", cases(), 1e-6)


@covers()
def special_cases(card: LossCard) -> Evidence:
    """At the parameters that its card names, the loss is another loss."""
    if not card.special_cases:
        return nothing("no special case is stated")

    def cases() -> Iterator[tuple[str, float]]:
        arrays = card.sample(rng())
        for case in card.special_cases:
            other = CATALOGUE[case.of]
            params = {**card.defaults(), **case.params}
            mine = value_and_gradient(card, arrays, params)
            theirs = value_and_gradient(other, arrays, other.defaults())
            yield (
                f"{case.of} at {dict(case.params)}",
                max(gap(m, case.factor * t) for m, t in zip(mine, theirs, strict=True)),
            )

    return settled(card, "special cases are the losses they are named", cases(), 1e-12)
