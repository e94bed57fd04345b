"""Fused arithmetic on a CPU.

The plain form of a loss is its definition. The forms here compute the same numbers
faster: as one step of autograd, block by block, so that a block stays in the cache, and
with little memory beside the result.

Two shapes serve the catalogue. `RowLoss` is for losses of (N, C) logits: a `Block`
turns a block of rows into their losses and leaves the gradient in the one large buffer
there is. `ElementLoss` is for losses of one number each: value in the forward pass,
slope in the backward pass.

A fused form runs only where nothing but value and gradient is asked for (`usable`).
Its backward pass recomputes the plain form when a graph is wanted, so second
derivatives are right.
"""

import math
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from lossbook import validate
from lossbook.modes import forward_mode, values_visible
from lossbook.shapes import Parameter

# psi and its gradient factor as functions of (log p_y, log(1 - p_y)).
Scalar = Callable[[Tensor, Tensor], Tensor]
# A function of one number each, by broadcasting: of a margin, of score and truth.
Elementwise = Callable[..., Tensor]
# (log-odds of the wrong answer, right answers, kept back, out, scale) -> all finite?
AtOnce = Callable[[Tensor, Tensor, Tensor | None, Tensor, float], bool | None]
# (logits, truth, out, axis of the classes, scale) -> sums of each row, their axis kept.
# `out` may be the logits themselves. Afterwards it holds the gradient, times the scale
# where it is all of the gradient, else up to a factor for each row.
Block = Callable[[Tensor, Tensor, Tensor, int, float], tuple[Tensor, ...]]
Plain = Callable[[Tensor, Tensor], Tensor]

LARGE = 2**13  # values; below, a call takes as long as its numbers
MIDDLE = 2**10  # values; below, the plain form of few losses is slower
BLOCK = 2**19  # logits a row block: 2 MiB in float32
ELEMENTS = 2**17  # values an elementwise block
PAGES = 2**22  # bytes; from here on numpy asks for large pages
FEW = 16  # classes; below, torch is fast along the examples only
NEAR = 16  # logits up to this size lose nothing in a multiplication
WIDE = 1e17  # sums of exponentials up to this, and down to its inverse, lose nothing
# exp of less than this is slow (denormal numbers) and adds nothing to a sum of >= 1.
FLOOR = {torch.float32: -64.0, torch.float64: -600.0}


class Base(NamedTuple):
    """In which base exponentials and logarithms are taken, whichever is fast.

    Args:
        nat: What log e is in this base.
        power_: Replaces x by base^x.
        log: Its inverse.
    """

    nat: float
    power_: Callable[[Tensor], Tensor]
    log: Callable[[Tensor], Tensor]


NATURAL = Base(1.0, Tensor.exp_, Tensor.log)
BINARY = Base(math.log2(math.e), Tensor.exp2_, Tensor.log2)


def _base(z: Tensor) -> Base:
    """Return the base for logits: e for few, which takes fewer calls."""
    return BASE if is_large(z) else NATURAL


def _processor() -> str:
    """Return what names the maker of the processor, as far as it can be told."""
    with suppress(OSError), Path("/proc/cpuinfo").open() as text:
        return text.read(500)
    return platform.processor()


def quick_base(mkl: bool, processor: str) -> Base:
    """Return the base in which torch is fast.

    torch leaves exp, not exp2, to Intel's library, where it was built with it. That is
    three times as fast on Intel's own processors, and as much slower on others.

    >>> quick_base(True, "AuthenticAMD") is BINARY
    True
    """
    return NATURAL if not mkl or "GenuineIntel" in processor else BINARY


def has_vector_form(name: str) -> bool:
    """Return whether numpy takes many numbers at once in a function of one number.

    On Linux, where the processor has AVX-512, it does so in more functions than torch.

    >>> has_vector_form("no such function")
    False
    """
    with suppress(AttributeError, KeyError):  # numpy 1 does not tell
        found = np.lib.introspect.opt_func_info(func_name=f"^{name}$")
        return not found[name]["ff"]["current"].startswith("baseline")
    return False


def rounds_once() -> bool:
    """Return whether torch rounds once where it multiplies and adds at once.

    Most processors do. Then a multiple of a large logit loses nothing beside another.
    """
    x = torch.full((37,), 1 + 2.0**-12)  # whose square takes two bits too many
    return bool((torch.add(-1 - 2 * (x - 1), x, alpha=1 + 2.0**-12) == 2.0**-24).all())


BASE = quick_base(torch.backends.mkl.is_available(), _processor())
REACH = 1e30 if rounds_once() else NEAR  # logits of which a multiple can be subtracted

Quick = Literal["arctan", "expm1", "log1p"]

# How many of torch's threads numpy's one thread is worth, measured with AVX-512.
QUICK = {
    name: threads if has_vector_form(name) else 0
    for name, threads in {"arctan": 8, "expm1": 3, "log1p": 2}.items()
}

_forced: list[Literal["fused", "plain"]] = []


@contextmanager
def force(form: Literal["fused", "plain"]) -> Iterator[None]:
    """Run every loss in this form, whatever its size, until the block ends.

    >>> with force("plain"):
    ...     pass
    """
    if form not in ("fused", "plain"):
        raise ValueError(f'form must be "fused" or "plain", got {form!r}')
    _forced.append(form)
    try:
        yield
    finally:
        _forced.pop()


class Reduced:
    """Let a loss of one number each return their mean, or their sum, where it is fused.

    The losses themselves are not kept then, which saves memory and time. For one call
    of one loss.

    Args:
        mean: Whether it is the mean that is wanted.

    >>> with Reduced(mean=True):
    ...     divisor(torch.zeros(2))
    2
    """

    def __init__(self, *, mean: bool) -> None:
        self.mean = mean

    def __enter__(self) -> None:
        self.token = _wanted.set(self)

    def __exit__(self, *error: object) -> None:
        _wanted.reset(self.token)


_wanted: ContextVar[Reduced | None] = ContextVar("wanted", default=None)


def divisor(scores: Tensor) -> int | None:
    """Return what the sum of the losses is to be divided by, None if each is wanted.

    >>> divisor(torch.zeros(2)) is None
    True
    """
    wanted = _wanted.get()
    if wanted is None:
        return None
    return scores.numel() if wanted.mean else 1


def usable(scores: Tensor, truth: Tensor, *params: Any, least: int = LARGE) -> bool:
    """Return whether the fused form may serve this call, of `least` values on.

    A gradient in the truth or in a parameter needs the plain form.
    """
    if _forced:
        if _forced[-1] == "plain" or not scores.numel():
            return False
    elif scores.numel() < least:
        return False
    return (
        scores.dtype in FLOOR
        and not truth.requires_grad
        and all(isinstance(param, int | float | None) for param in params)
        and values_visible(scores, truth)
        and not forward_mode()
    )


def is_large(values: Tensor) -> bool:
    """Return whether what saves time a value is worth some time a call."""
    return values.numel() >= LARGE or bool(_forced)


def empty(like: Tensor, *shape: int) -> Tensor:
    """Return a new tensor, its numbers not set, of the dtype of another one.

    Where it is large it is numpy's. numpy asks Linux for large pages then, torch does
    not, and getting new memory page by page can take longer than filling it.

    >>> empty(torch.zeros(1), 2, 3).shape
    torch.Size([2, 3])
    """
    if math.prod(shape) * like.element_size() < PAGES:
        return like.new_empty(shape)
    return torch.from_numpy(np.empty(shape, str(like.dtype).removeprefix("torch.")))


# --- losses of rows ------------------------------------------------------------------


class Rows(NamedTuple):
    """The fused form of a loss of rows.

    Args:
        block: Applied to block after block.
        finish: From the sums of a block's rows to (loss, factor), one number a row
            each; no factor stands for 1.
        arrays: How many arrays of its size a block works with; blocks are smaller then.
    """

    block: Block
    finish: Callable[..., tuple[Tensor, Tensor | None]] = lambda loss: (loss, None)
    arrays: int = 1


class Kept(NamedTuple):
    """What the backward pass of a row loss needs: gradient = buffer * factor.

    Of a large batch the buffer is scaled for the mean already: it is the gradient where
    each upstream gradient is `share`, one divided by the number of rows.
    """

    buffer: Tensor  # (N, C)
    factor: Tensor | None  # (N,)
    share: float | None


class RowLoss(torch.autograd.Function):
    """One loss a row of (N, C) logits; truth is (N,) labels or (N, C) targets."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, truth: Tensor, form: Rows, plain: Plain
    ) -> Tensor:
        """Return the loss of each row; keep the gradient if one will be asked for."""
        loss, kept = _rows(logits, truth, form, logits.requires_grad)
        ctx.save_for_backward(logits, truth)
        ctx.kept = kept
        ctx.recipe = (form, plain)
        return loss

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient in the logits; recompute where a graph is wanted."""
        form, plain = ctx.recipe
        scale = upstream[0]
        if torch.is_grad_enabled():
            logits, truth = ctx.saved_tensors
            return _with_graph(plain, logits, truth, scale), None, None, None
        # The buffer is used up, so that scaling it needs no second one. A backward
        # pass through a retained graph forms it anew.
        kept, ctx.kept = ctx.kept, None
        if kept is None:
            logits, truth = ctx.saved_tensors
            _, kept = _rows(logits, truth, form, True)
        if kept.share is not None:
            low, high = torch.aminmax(scale)
            if low == kept.share and high == kept.share:
                return kept.buffer, None, None, None
            scale = scale / kept.share
        if kept.factor is not None:
            scale = kept.factor * scale
        return kept.buffer.mul_(scale.unsqueeze(1)), None, None, None


def _rows(
    logits: Tensor, truth: Tensor, form: Rows, gradient: bool
) -> tuple[Tensor, Kept | None]:
    """Return the loss of each row and, if wanted, what makes its gradient."""
    n, classes = logits.shape
    size = min(n, max(1, BLOCK // (form.arrays * classes)))
    large = is_large(logits) or n > size
    few = classes < FEW and large
    buffer = empty(logits, n if gradient else size, classes)
    # Few classes lie one behind the other in memory, block by block.
    room = logits.new_empty((classes, size)) if few else buffer
    axis = 0 if few else 1
    share = 1 / n if gradient and large else None

    def of_block(z: Tensor, y: Tensor, out: Tensor) -> tuple[Tensor, Tensor | None]:
        work = out
        if few:
            z = work = _transposed(z, room[:, : len(z)])
            y = y.t().contiguous()
        sums = form.block(z, y, work, axis, share or 1.0)
        loss, factor = form.finish(*[each.view(-1) for each in sums])
        if share is not None and factor is not None:
            work *= (factor * share).unsqueeze(axis)
        if few and gradient:
            _transposed(work, out)
        return loss, factor

    if n <= size:
        loss, factor = of_block(logits, truth, buffer)
    else:
        losses = []
        for start in range(0, n, size):
            z, y = logits[start : start + size], truth[start : start + size]
            out = buffer[start : start + size] if gradient else buffer[: len(z)]
            losses.append(of_block(z, y, out)[0])
        loss, factor = torch.cat(losses), None
    if not gradient:
        return loss, None
    return loss, Kept(buffer, factor if share is None else None, share)


def _transposed(x: Tensor, out: Tensor) -> Tensor:
    """Write x.T to `out`. With few rows or columns numpy takes half of torch's time."""
    np.copyto(out.numpy(), x.detach().numpy().T)
    return out


def _with_graph(
    plain: Plain, scores: Tensor, truth: Tensor, upstream: Tensor
) -> Tensor:
    """Return the gradient by autograd through the plain form, differentiable again."""
    (gradient,) = torch.autograd.grad(
        plain(scores, truth), scores, upstream, create_graph=True
    )
    return gradient


def psi_rows(
    psi: Scalar,
    factor: Scalar,
    bias: Tensor | None = None,
    large: bool = True,
    of_rivals: bool = False,
) -> Rows:
    """psi(p_y), of logits to which each class's bias is added.

    `of_rivals`: only as a rival of the label it has the bias, which is 0 or less.

    The gradient is g(p_y) (p - e_y): the others' exponentials, minus their sum at the
    label, times g(p_y) over the sum of all.
    """
    base = BASE if large else NATURAL  # as `_base` of the logits
    wide = False  # whether a row's largest logit may be another one with the bias
    if bias is not None:
        if large and not of_rivals:  # else one addition takes fewer calls
            bias = bias - bias.amax()
        wide = not large or bias.amin().item() < FLOOR[bias.dtype] / 3

    def of_others(out: Tensor, y: Tensor, axis: int) -> Tensor:
        # The others' mass is summed, never subtracted from 1: its log stays right
        # where p_y rounds to 1.
        others = out.scatter_(axis, y, 0.0).sum(axis, keepdim=True)
        out.scatter_(axis, y, -others)
        return others

    def block(
        z: Tensor, labels: Tensor, out: Tensor, axis: int, scale: float
    ) -> tuple[Tensor, ...]:
        y = labels.unsqueeze(axis)
        row = bias if bias is None else bias.unsqueeze(1 - axis)
        if not wide and one_shift(z, out, base, row):
            label, others = out.gather(axis, y), of_others(out, y, axis)
            if bias is not None and of_rivals:
                label *= bias.neg().exp_()[labels].unsqueeze(axis)
            if not large or moderate(label, others):
                return (label / others).log_(), label + others
        exponents(z, out, axis, base)
        if row is not None and not of_rivals:
            out.add_(row, alpha=base.nat)
        z_y = out.gather(axis, y)
        if row is not None and of_rivals:
            out.add_(row, alpha=base.nat)
        if wide:
            top = out.amax(axis, keepdim=True)
            out -= top
            z_y -= top
        others = of_others(exponentials_(out, base, floor=large), y, axis)
        margin = z_y.sub(log_of_sum(others, base))
        if base.nat != 1:
            margin /= base.nat
        return margin, others + base.power_(z_y)

    def finish(margin: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
        log_p, log_not_p = logsigmoid(margin), logsigmoid(-margin)
        return psi(log_p, log_not_p), factor(log_p, log_not_p) / total

    return Rows(block, finish)


def soft_block(
    z: Tensor, targets: Tensor, out: Tensor, axis: int, scale: float, *, room: float
) -> tuple[Tensor, ...]:
    """Minus the sum of q log p; the gradient is p - q, p times the sum of q.

    Targets whose sums are further from 1 than `room` are refused.
    """
    mass = targets.sum(axis, keepdim=True)
    validate.simplex(targets.amin(), mass, room)
    base = _base(z)
    exponents(z, out, axis, base)
    score = products(targets, out, axis)
    if math.isnan(score.sum().item()):  # a class with target 0 is ruled out
        score = times_log(targets, out).sum(axis, keepdim=True)
    # Below the floor there is nothing but time to lose: the sum is at least 1.
    few = out[::16] if axis else out[:, ::16]
    floor = is_large(z) and few.amin().item() < FLOOR[z.dtype] * base.nat
    total = exponentials_(out, base, floor=floor).sum(axis, keepdim=True)
    out.mul_(times(mass / total, scale)).sub_(targets, alpha=scale)
    return (times(mass * base.log(total) - score, 1 / base.nat),)


def surplus_block(
    z: Tensor,
    truth: Tensor,
    out: Tensor,
    axis: int,
    scale: float,
    *,
    value: Elementwise,
    slope: Elementwise,
    ordered: bool = False,
    room: float = 0.0,
) -> tuple[Tensor, ...]:
    """The sum over the classes of value(p - q), or of value(cumulative p - q).

    The truth is targets q or labels, whose q is not formed. Targets whose sums are
    further from 1 than `room` are refused.
    """
    if truth.is_floating_point():
        validate.simplex(truth.amin(), truth.sum(axis), room)
    large, base, total = is_large(z), _base(z), None
    if one_shift(z, out, base):
        total = out.sum(axis, keepdim=True)
    if total is None or (large and not moderate(total)):
        e = exponentials_(exponents(z, out, axis, base), base, floor=large)
        total = e.sum(axis, keepdim=True)
    p = out.div_(total)
    surplus = torch.empty_like(p)
    if not truth.is_floating_point():
        y = truth.unsqueeze(axis)
        p_y = p.gather(axis, y)
        missed = p.scatter_(axis, y, 0.0).sum(axis, keepdim=True)
        p.scatter_(axis, y, p_y)
        surplus.copy_(p).scatter_(axis, y, -missed)  # 1 - p_y with all digits
    elif ordered:  # sum k is that of the classes before k
        rest = z.shape[axis] - 1
        torch.sub(
            p.narrow(axis, 0, rest),
            truth.narrow(axis, 0, rest),
            out=surplus.narrow(axis, 1, rest),
        )
        surplus.narrow(axis, 0, 1).zero_()
        surplus.cumsum_(axis)
    else:
        torch.sub(p, truth, out=surplus)
    loss = value(surplus).sum(axis, keepdim=True)
    pull = slope(surplus)
    if ordered:  # p_k stands in the sums after k: in all, less those up to k
        pull.cumsum_(axis).mul_(-scale)
    mean = pull.mul_(p).sum(axis, keepdim=True)
    torch.addcmul(pull, p, mean, value=-1, out=out)
    if not ordered:
        times(out, scale)
    if not truth.is_floating_point():  # no digits are lost in the sum of the others
        others = out.scatter_(axis, y, 0.0).sum(axis, keepdim=True)
        out.scatter_(axis, y, -others)
    return (loss,)


def divergence_block(
    z: Tensor,
    targets: Tensor,
    out: Tensor,
    axis: int,
    scale: float,
    *,
    temperature: Any,
    room: float,
) -> tuple[Tensor, ...]:
    """T^2 KL(q_T || p_T), of targets and softmax, both softened at temperature T.

    With x = log q / T and y = z / T, each less its largest, it is the mean of x - y
    under q_T, less what normalizes them. The gradient is T (p_T - q_T). Targets whose
    sums are further from 1 than `room` are refused.
    """
    validate.simplex(targets.amin(), targets.sum(axis), room)

    def softened(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        # e^(x / T), the sum, and its logarithm, in which nothing near 0 is lost.
        x.sub_(x.amax(axis, keepdim=True)).div_(temperature)
        e = _exp(x, torch.empty_like(x))
        sums = e.sum(axis, keepdim=True, dtype=torch.float64)
        return e, sums.to(x.dtype), (sums - 1).log1p_()

    # What is impossible adds nothing: its logarithm stays finite.
    x = targets.log().clamp_(min=torch.finfo(targets.dtype).min / 4)
    q, sum_q, log_q = softened(x)
    p, sum_p, log_p = softened(out.copy_(z))
    terms = x.sub_(out).mul_(q)
    mean = terms.sum(axis, keepdim=True)
    if mean.isnan().any():  # a class with target 0 is ruled out
        mean = terms.masked_fill_(targets == 0, 0.0).sum(axis, keepdim=True)
    pull = scale * temperature
    torch.div(p, sum_p / pull, out=out).sub_(q.div_(sum_q / pull))
    apart = (log_q - log_p).to(z.dtype)  # from all digits: both may be alike
    return (temperature**2 * (mean / sum_q - apart),)


def surprise_block(
    z: Tensor,
    labels: Tensor,
    out: Tensor,
    axis: int,
    scale: float,
    *,
    value: Elementwise,
    slopes: Callable[[Tensor, Tensor], tuple[Any, Any]],
    bounded: bool,
) -> tuple[Tensor, ...]:
    """A function of -log p_y and of the sum of -log p_k over the other classes.

    `bounded`: of a class that is ruled out it is huge, not infinite.
    """
    y, rivals, base = labels.unsqueeze(axis), z.shape[axis] - 1, _base(z)
    exponents(z, out, axis, base)
    z_y = out.gather(axis, y)
    rest = out.scatter_(axis, y, 0.0).sum(axis, keepdim=True)
    if bounded and torch.minimum(rest, z_y).amin() == -math.inf:
        least = ruled_out(z)
        z_y.clamp_(min=least)
        rest = out.clamp_(min=least).sum(axis, keepdim=True)
    e = exponentials_(out, base, floor=is_large(z))
    others = e.scatter_(axis, y, 0.0).sum(axis, keepdim=True)
    margin = (z_y - log_of_sum(others, base)).div_(base.nat)
    label = base.power_(z_y)
    total = others + label
    at_label = -logsigmoid(margin)
    at_others = (rivals * base.log(total) - rest).div_(base.nat)
    loss = value(at_label, at_others)
    # The slope in -log p_y pulls by p - e_y, that in the other sum by the sum of all
    # p - e_k of the others. Nothing is subtracted near 1.
    own, other = slopes(at_label, at_others)
    if scale != 1:
        own, other = scale * own, scale * other
    out.mul_((own + rivals * other) / total).sub_(other)
    out.scatter_(axis, y, (rivals * other * label - own * others) / total)
    return (loss,)


def entropy_block(
    z: Tensor,
    labels: Tensor,
    out: Tensor,
    axis: int,
    scale: float,
    *,
    of_label: Any,
    of_entropy: Any,
) -> tuple[Tensor, ...]:
    """A multiple of -log p_y and one of the entropy of p, which have the same sums.

    With x = z - max, T the sum of e^x and m the mean of x under p, they are log T - x_y
    and log T - m. Class k's gradient is p_k (of_label - of_entropy (x_k - m)), and the
    label's is minus the sum of all others. The second result divides it by T.
    """
    y, base = labels.unsqueeze(axis), _base(z)
    x = torch.sub(z, z.amax(axis, keepdim=True), out=out)
    x_y = x.gather(axis, y)
    e = exponentials_(x * base.nat, base, floor=is_large(z))
    e_y = e.gather(axis, y)
    others = e.scatter_(axis, y, 0.0).sum(axis, keepdim=True)
    e.scatter_(axis, y, e_y)
    total = others + e_y
    # No digit of a small loss is lost: there the label's e is the largest, which is 1.
    log_total = torch.where(x_y == 0, others, total - 1).log1p_()
    mean = products(e, x, axis)
    if not mean.amin().item() > -math.inf:  # a class is ruled out
        mean = products(e, x.clamp_(min=FLOOR[x.dtype]), axis)
    mean /= total
    loss = (of_label + of_entropy) * log_total - of_entropy * mean
    loss -= times_log(of_label, x_y)
    torch.add(of_label + of_entropy * mean, x, alpha=-of_entropy, out=out).mul_(e)
    pulls = out.scatter_(axis, y, 0.0).sum(axis, keepdim=True)
    out.scatter_(axis, y, -pulls)
    return loss, total


def ruled_out(z: Tensor) -> float:
    """Return what stands for the logit of a class that is ruled out.

    The sum of all classes' -log p stays finite with it.
    """
    return torch.finfo(z.dtype).min / (8 * z.shape[-1])


def rival_sum_block(
    z: Tensor,
    labels: Tensor,
    out: Tensor,
    axis: int,
    scale: float,
    *,
    value: Elementwise,
    slope: Elementwise,
    ahead: float,
) -> tuple[Tensor, ...]:
    """The sum over the rivals k of value(z_k - z_y + ahead)."""
    y = labels.unsqueeze(axis)
    z_y = z.gather(axis, y)
    ends = torch.aminmax(z_y)
    low, high = ends.min.item(), ends.max.item()
    if low == -math.inf:  # must not meet that of a rival
        z = z.clamp(min=torch.finfo(z.dtype).min / 4)
    if max(-low, high) < NEAR:  # it is not rounded away
        torch.sub(z, z_y - ahead, out=out)
    else:
        torch.sub(z, z_y, out=out).add_(ahead)
    # All in place, unless value wants a new array.
    losses = value(out).scatter_(axis, y, 0.0)
    loss = losses.sum(axis, keepdim=True)
    pull = times(slope(losses).scatter_(axis, y, 0.0), scale)
    pull.scatter_(axis, y, -pull.sum(axis, keepdim=True))
    if pull is not out:
        out.copy_(pull)
    return (loss,)


def rival_max_block(
    z: Tensor,
    labels: Tensor,
    out: Tensor,
    axis: int,
    scale: float,
    *,
    value: Elementwise,
    slope: Elementwise,
) -> tuple[Tensor, ...]:
    """value(z_y - z_k) of the strongest rival k; equal ones share the slope."""
    y = labels.unsqueeze(axis)
    z_y = z.gather(axis, y)
    rivals = out.copy_(z).scatter_(axis, y, torch.finfo(z.dtype).min / 4)
    best = rivals.amax(axis, keepdim=True)
    margin = z_y - best
    pull = times(slope(margin), scale)
    torch.eq(rivals, best, out=out)
    out.mul_(-pull / out.sum(axis, keepdim=True)).scatter_(axis, y, pull)
    return (value(margin),)


# --- losses of one number each -------------------------------------------------------


class Elements(NamedTuple):
    """The fused form of a loss of one number each.

    Args:
        value: Of (scores, truth).
        slope: Its derivative in the scores; None where `at_once` never declines.
        check: Of (scores, truth). It raises an error for truth that is not allowed.
        at_once: Both, of (log-odds of the wrong answer, the right answers 0 or 1, what
            targets keep back, out, scale). It writes the loss to `out` and a multiple
            of the slope in the log-odds over them. It returns whether each loss is
            finite, None where it has not looked. False declines: what it wrote does not
            count. What targets keep back, at most 1/2, is None where each is 0 or 1.
        signs: The truth is -1 or +1, and the right answers are.
    """

    value: Elementwise
    slope: Elementwise | None
    check: Callable[[Tensor, Tensor], None]
    at_once: AtOnce | None = None
    signs: bool = False

    def is_hard(self, s: Tensor, t: Tensor, room: Tensor) -> bool:
        """Return whether the truth is 0 or 1, or a sign; refuse what is not allowed."""
        if each_is("-1 or +1" if self.signs else "0 or 1", t, room):
            return True
        self.check(s, t)
        return False

    def both(
        self,
        s: Tensor,
        t: Tensor,
        loss: Tensor,
        pull: Tensor,
        hard: bool,
        scale: float = 1.0,
    ) -> bool | None:
        """Write losses and scaled slopes at once; return what `at_once` does."""
        if self.at_once is None:
            return False
        if self.signs:
            torch.mul(s, t, out=pull).neg_()
            finite = self.at_once(pull, t, None, loss, -scale)
            pull.mul_(t)
            return finite
        right, kept_back = t, None
        if not hard:
            right = t.round()
            kept_back = torch.sub(t, right).abs_()
        torch.addcmul(s, right, s, value=-2, out=pull)
        finite = self.at_once(pull, right, kept_back, loss, scale)
        pull.addcmul_(right, pull, value=-2)
        return finite

    def apart(
        self, s: Tensor, t: Tensor, loss: Tensor, pull: Tensor | None, scale: float
    ) -> None:
        """Write losses, and scaled slopes where there is room for them."""
        loss.copy_(self.value(s, t))
        if pull is not None and self.slope is not None:
            torch.mul(self.slope(s, t), scale, out=pull)


class ElementLoss(torch.autograd.Function):
    """One loss a number, of scores and truth of one shape, or the sum of them all.

    The slope is formed with the losses where both come at once, or where only their sum
    is asked for; else in the backward pass, in the gradient itself.
    """

    @staticmethod
    def forward(
        ctx: Any, scores: Tensor, truth: Tensor, form: Elements, divisor: int | None
    ) -> tuple[Tensor, bool]:
        """Return value(scores, truth), and whether each is known to be finite.

        With a divisor it is their sum, divided by it. Keep the slope if it has been
        formed. Refuse truth that is not allowed.
        """
        ctx.save_for_backward(scores, truth)
        ctx.form, ctx.divisor, ctx.hard, ctx.kept = form, divisor, [], None
        losses = empty(scores, *scores.shape) if divisor is None else None
        if scores.requires_grad and (divisor or form.at_once):
            ctx.kept = empty(scores, *scores.shape)
        room, spare, share = _spare(scores), _spare(scores), 1 / (divisor or 1)
        sums, finite = [], True
        for s, t, each, kept in _parts(scores, truth, losses, ctx.kept):
            loss = _fit(room, s) if each is None else each
            pull = _fit(spare, s) if kept is None else kept
            hard = form.is_hard(s, t, loss)
            known = form.both(s, t, loss, pull, hard, share)
            if known is False:
                form.apart(s, t, loss, kept, share)
            ctx.hard.append(hard)
            finite = finite and known is True
            if divisor:
                sums.append(loss.sum())
        if losses is not None:
            return losses, finite
        total = sums[0] if len(sums) == 1 else torch.stack(sums).sum()
        return times(total, share), finite

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Return slope(scores, truth) times upstream, with a graph where one is due."""
        form, share, scale = ctx.form, 1 / (ctx.divisor or 1), upstream[0]
        if torch.is_grad_enabled():  # each loss has the gradient of their sum
            scores, truth = ctx.saved_tensors
            every = scale.mul(share).expand(scores.shape)
            gradient = _with_graph(form.value, scores, truth, every)
            return gradient, None, None, None
        # What is kept is used up, so that a second backward pass forms it anew.
        kept, ctx.kept = ctx.kept, None
        if kept is not None:
            if ctx.divisor is None or scale != 1:
                kept.mul_(scale)
            return kept, None, None, None
        scores, truth = ctx.saved_tensors
        gradient, spare = empty(scores, *scores.shape), _spare(scores)
        each = scale if ctx.divisor is None else None
        parts = zip(ctx.hard, _parts(scores, truth, gradient, each), strict=True)
        for hard, (s, t, pull, factor) in parts:
            # To the last digit the same as before.
            loss = _fit(spare, s)
            if form.both(s, t, loss, pull, hard, share) is False:
                form.apart(s, t, loss, pull, share)
            pull *= scale if factor is None else factor
        return gradient, None, None, None


def each_is(
    allowed: Literal["0 or 1", "-1 or +1"], values: Tensor, room: Tensor
) -> bool:
    """Return whether each value is allowed, to 1e-23; `room` is written over.

    >>> each_is("0 or 1", torch.tensor([0.0, 1.0]), torch.empty(2))
    True
    >>> each_is("-1 or +1", torch.tensor([0.0, 1.0]), torch.empty(2))
    False
    """
    if allowed == "0 or 1":
        torch.addcmul(values, values, values, value=-1, out=room)
    else:
        torch.mul(values, values, out=room).sub_(1)
    return room.dot(room).item() == 0


def _spare(values: Tensor) -> Tensor:
    """Return room for one block."""
    return values.new_empty(_size(values))


def _fit(room: Tensor, values: Tensor) -> Tensor:
    """Return as much room as the values of a block need."""
    n = values.numel()
    return room if room.numel() == n else room[:n]


def _parts(first: Tensor, *others: Tensor | None) -> Iterator[list[Any]]:
    """Yield block after block of arrays of one shape, flattened; None where is none."""
    flat = [each if each is None else each.reshape(-1) for each in (first, *others)]
    n, size = first.numel(), _size(first)
    if n <= size:
        yield flat
        return
    for start in range(0, n, size):
        part = slice(start, start + size)
        yield [each if each is None else each[part] for each in flat]


def _size(values: Tensor) -> int:
    """Return how many values a block has: all have about as many."""
    n = values.numel()
    return math.ceil(n / max(1, round(n / ELEMENTS)))


# --- scalars, fast where no derivative can be asked for ------------------------------


def exponents(z: Tensor, out: Tensor, axis: int, base: Base | None = None) -> Tensor:
    """Write z - max to `out`, as exponents of a base, by default of BASE.

    >>> z = torch.tensor([0.0, -6.9315])
    >>> exponents(z, torch.empty(2), 0) / BASE.nat
    tensor([ 0.0000, -6.9315])
    """
    top = z.amax(axis, keepdim=True)
    nat = (base or BASE).nat
    if nat == 1:
        return torch.sub(z, top, out=out)
    if not is_large(z) or top.abs().amax().item() > REACH:
        return torch.sub(z, top, out=out).mul_(nat)
    return torch.add(-nat * top, z, alpha=nat, out=out)  # in one pass


def one_shift(z: Tensor, out: Tensor, base: Base, bias: Tensor | None = None) -> bool:
    """Write e^(z + bias - c) to `out`, c being one number, if that is fast and right.

    The largest logit of each example need not be found and subtracted then. Of a large
    batch it looks at few of them: whether the sums are `moderate` is seen afterwards.
    Of a small one it looks at all, and they are. In base e there is no subtraction at
    all, and c is 0. In base 2, what changes the base subtracts c as well, and adds the
    bias; near the largest logit that rounds little.
    """
    if z is out:
        return False
    large = is_large(z)
    ends = torch.aminmax(z[::16] if large else z)
    low, high = ends.min.item(), ends.max.item()
    floor, top = FLOOR[torch.float32], math.log(WIDE)
    if not large:  # no sum of so many leaves what is moderate
        top -= math.log(LARGE)
        floor = -top
    if base.nat == 1:
        if low > floor and high < top:
            torch.exp(z, out=out)
            if bias is not None:
                out *= bias.exp()
            return True
    elif low - high > floor and abs(high) < (REACH if bias is None else NEAR):
        shift = -ends.max if bias is None else bias - ends.max
        base.power_(torch.add(base.nat * shift, z, alpha=base.nat, out=out))
        return True
    return False


def moderate(*sums: Tensor) -> bool:
    """Return whether the sums, and their ratios, are far from the ends of float32."""
    low, high = torch.aminmax(torch.cat(sums))
    return low.item() > 1 / WIDE and high.item() < WIDE


def times(x: Tensor, scale: float) -> Tensor:
    """Multiply x by a scale, in place, which for 1 is nothing.

    >>> times(torch.tensor([1.0, 2.0]), 2.0)
    tensor([2., 4.])
    """
    return x if scale == 1 else x.mul_(scale)


def products(a: Tensor, b: Tensor, axis: int) -> Tensor:
    """Return the sums of a * b of each example, their axis kept.

    Along the classes numpy adds the products up as it goes, in one thread.

    >>> products(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]]), 1)
    tensor([[11.]])
    """
    if axis == 0 or torch.get_num_threads() > 1 or not is_large(a):
        return (a * b).sum(axis, keepdim=True)
    with np.errstate(all="ignore"):
        sums = np.einsum("ij,ij->i", a.numpy(), b.numpy())
    return torch.from_numpy(sums).unsqueeze(1)


def power_(x: Tensor, base: Base | None = None) -> Tensor:
    """Replace x by base^x, by default of BASE, tiny results by the least that is fast.

    >>> power_(torch.tensor([0.0, -1e4])) > 0
    tensor([True, True])
    """
    base = base or BASE
    return base.power_(x.clamp_(min=FLOOR[x.dtype] * base.nat))


def exponentials_(x: Tensor, base: Base, *, floor: bool) -> Tensor:
    """Replace x by base^x, with a floor as in `power_`, or with none.

    >>> exponentials_(torch.tensor([0.0, -torch.inf]), NATURAL, floor=False)
    tensor([1., 0.])
    """
    return power_(x, base) if floor else base.power_(x)


def log_of_sum(sums: Tensor, base: Base) -> Tensor:
    """Return the logarithm of a sum of exponentials, a finite one of 0.

    >>> log_of_sum(torch.zeros(1), NATURAL)
    tensor([-87.3365])
    """
    return base.log(sums.clamp(min=torch.finfo(sums.dtype).tiny))


def log_sigmoids(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return log sigmoid(x) and log sigmoid(-x): log p and log(1 - p).

    >>> log_sigmoids(torch.tensor([0.0, 50.0]))[1]
    tensor([ -0.6931, -50.0000])
    """
    if not underived(x) or x.dtype not in FLOOR:
        return logsigmoid(x), logsigmoid(-x)
    # One logarithm for both. Its derivatives at 0 would be wrong.
    shared = exponentials_(x.abs().mul_(-BASE.nat), BASE, floor=is_large(x))
    quick_(shared, "log1p")
    return x.clamp(max=0).sub_(shared), shared.add_(x.clamp(min=0)).neg_()


def softplus_finite(x: Tensor, out: Tensor) -> bool:
    """Write log(1 + e^x) to `out`; return whether each is finite.

    >>> softplus_finite(torch.tensor([0.0, 100.0]), torch.empty(2))
    True
    >>> softplus_finite(torch.tensor([0.0, torch.inf]), torch.empty(2))
    False
    """
    top = x.amax().item()
    if top < -FLOOR[x.dtype]:
        quick_(_exp(x, out), "log1p")
        return True
    return _softplus_far(x, out, top)


def softplus_and_slope(x: Tensor, out: Tensor, scale: float) -> bool:
    """Write log(1 + e^x) to `out`, `scale` times its slope over x; is each finite?

    >>> x, out = torch.zeros(1), torch.zeros(1)
    >>> softplus_and_slope(x, out, 10.0), x
    (True, tensor([5.]))
    """
    top = x.amax().item()
    if top < -FLOOR[x.dtype]:
        e = _exp(x, out)
        if not is_large(x):
            x.sigmoid_().mul_(scale)
        else:  # e / (1 + e), with no pass for the scale
            inverse = 1 / scale
            torch.add(x.new_tensor(inverse), e, alpha=inverse, out=x)
            torch.div(e, x, out=x)
        quick_(e, "log1p")
        return True
    finite = _softplus_far(x, out, top)
    x.sigmoid_().mul_(scale)
    return finite


def _softplus_far(x: Tensor, out: Tensor, top: float) -> bool:
    """Write log(1 + e^x) to `out`, the largest x being `top`, however large that is."""
    least = FLOOR[x.dtype]
    e = _exp(x.clamp(least, -least), out)
    if by_numpy("log1p"):
        quick_(e, "log1p")
    else:  # torch's is slow of a tiny e, of which log(1 + e) is e
        log = e.clamp(min=torch.finfo(x.dtype).eps).log1p_()
        torch.minimum(e, log, out=out)
    torch.maximum(out, x, out=out)  # of a large x it is x itself, to the last digit
    return top < math.inf  # not nan either


def by_numpy(name: Quick) -> bool:
    """Return whether numpy's function is faster than torch's with all its threads."""
    return torch.get_num_threads() < QUICK[name]


def quick_(x: Tensor, name: Quick) -> Tensor:
    """Replace x by a function of it: by numpy's where that is the faster one.

    A result must not be too large for its dtype: numpy would warn.

    >>> quick_(torch.tensor([0.0, 1.0]), "log1p")
    tensor([0.0000, 0.6931])
    """
    if by_numpy(name) and x.numel() >= MIDDLE:
        values = x.numpy()
        getattr(np, name)(values, out=values)
    else:
        getattr(torch, name)(x, out=x)
    return x


def _exp(x: Tensor, out: Tensor) -> Tensor:
    """Write e^x to `out`, by way of BASE."""
    if BASE.nat == 1:
        return torch.exp(x, out=out)
    return BASE.power_(torch.mul(x, BASE.nat, out=out))


def sigmoid(x: Tensor) -> Tensor:
    """Return p, the inverse of the log-odds.

    Its derivative goes through the logarithm: torch's is 0 where p rounds to 1.

    >>> sigmoid(torch.tensor([0.0, 50.0]))
    tensor([0.5000, 1.0000])
    """
    return x.sigmoid() if underived(x) else logsigmoid(x).exp()


def power(x: Tensor, log_p: Tensor, gamma: Any) -> Tensor:
    """Return p^gamma with p = sigmoid(x), given log p.

    Where no derivative can be asked for, no exponential is taken.

    >>> power(torch.tensor(0.0), torch.tensor(0.5).log(), 2.0)
    tensor(0.2500)
    """
    if underived(x) and isinstance(gamma, int | float):
        return raised(x.sigmoid(), gamma)
    return (gamma * finite(log_p)).exp()


def raised(p: Tensor, gamma: float) -> Tensor:
    """Return p^gamma; torch itself is fast at 2 and 3."""
    return p.square().square_() if gamma == 4 else p.pow(gamma)


def below(x: Tensor, limit: float) -> Tensor:
    """Return 1 where x < limit, else 0, in the dtype of x; not to be derived.

    >>> below(torch.tensor([0.5, 1.0, 2.0]), 1)
    tensor([1., 0., 0.])
    """
    return torch.lt(x, limit, out=torch.empty_like(x))  # no mask in between


def finite(log: Tensor) -> Tensor:
    """Return logarithms with a finite one in the place of log 0: 0 times it is 0.

    A multiple of it is finite too.

    >>> finite(torch.tensor([-1.0, -torch.inf])).isfinite()
    tensor([True, True])
    """
    return log.clamp(min=-(torch.finfo(log.dtype).max ** 0.5))


def times_log(weight: Parameter, log: Tensor) -> Tensor:
    """Return weight * log, where 0 * -inf is 0: what cannot be costs nothing unasked.

    >>> times_log(torch.tensor([0.0, 1.0]), torch.tensor([-torch.inf, -2.0]))
    tensor([ 0., -2.])
    """
    if isinstance(weight, int | float) and weight:
        return weight * log
    return torch.where((weight == 0) & log.isneginf(), 0.0, weight * log)


def mixed_log(t: Tensor, log_p: Tensor, log_not_p: Tensor) -> Tensor:
    """Return t log p + (1 - t) log(1 - p), where 0 * -inf is 0.

    >>> mixed_log(torch.tensor(0.5), torch.tensor(-2.0), torch.tensor(-1.0))
    tensor(-1.5000)
    """
    if underived(t, log_p, log_not_p):
        mixed = torch.lerp(log_not_p, log_p, t)
        if not mixed.numel() or not mixed.amax().isnan():
            return mixed
    return times_log(t, log_p) + times_log(1 - t, log_not_p)


def underived(*tensors: Tensor) -> bool:
    """Return whether no derivative can be asked for and numbers may be looked at."""
    wanted = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    return not wanted and values_visible(*tensors) and not forward_mode()


def plain_forced() -> bool:
    """Return whether `force("plain")` is in effect.

    >>> with force("plain"):
    ...     plain_forced()
    True
    """
    return _forced[-1:] == ["plain"]
