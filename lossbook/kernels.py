"""Fused arithmetic for large tensors on a CPU.

The plain form of a loss is its definition. The forms here compute the same numbers
faster: block by block, so that a block stays in the cache, and with little memory
beside the result.

Two shapes serve the catalogue. `RowLoss` is for losses of (N, C) logits: a `Block`
turns a block of rows into their losses and leaves the gradient in the one large buffer
there is. `ElementLoss` is for losses of one number each: value in the forward pass,
slope in the backward pass.

A fused form runs only where nothing but value and gradient is asked for (`usable`).
Its backward pass recomputes the plain form when a graph is wanted, so second
derivatives are right.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from lossbook.modes import forward_mode, values_visible

# psi and its gradient factor as functions of (log p_y, log(1 - p_y)).
Scalar = Callable[[Tensor, Tensor], Tensor]
# A function of one number each, by broadcasting: of a margin, of score and truth.
Elementwise = Callable[..., Tensor]
# (logits, truth, out, axis of the classes) -> (loss, factor), one number a row. `out`
# may be the logits themselves. Afterwards it holds the gradient up to the row's factor,
# which the backward pass applies together with the upstream gradient.
Block = Callable[[Tensor, Tensor, Tensor, int], tuple[Tensor, Tensor]]
Plain = Callable[[Tensor, Tensor], Tensor]

LARGE = 2**13  # values; below, the plain form is as fast
BLOCK = 2**18  # logits a row block: 1 MiB in float32
ELEMENTS = 2**17  # values an elementwise block
FEW = 16  # classes; below, torch is fast along the examples only
# exp of less than this is slow (denormal numbers) and adds nothing to a sum of >= 1.
FLOOR = {torch.float32: -64.0, torch.float64: -600.0}

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


def usable(scores: Tensor, truth: Tensor, *params: Any) -> bool:
    """Return whether the fused form may serve this call.

    A gradient in the truth or in a parameter needs the plain form.
    """
    if _forced:
        if _forced[-1] == "plain" or not scores.numel():
            return False
    elif scores.numel() < LARGE:
        return False
    return (
        scores.dtype in FLOOR
        and not truth.requires_grad
        and all(isinstance(param, int | float) for param in params)
        and values_visible(scores, truth)
        and not forward_mode()
    )


# --- losses of rows ------------------------------------------------------------------


class Kept(NamedTuple):
    """What the backward pass of a row loss needs: gradient = buffer * factor."""

    buffer: Tensor  # (N, C); few classes lie one behind the other in memory
    factor: Tensor  # (N,)


class RowLoss(torch.autograd.Function):
    """One loss a row of (N, C) logits; truth is (N,) labels or (N, C) targets."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, truth: Tensor, block: Block, plain: Plain
    ) -> Tensor:
        """Return the loss of each row; keep the gradient if one will be asked for."""
        loss, kept = _rows(logits, truth, block, logits.requires_grad)
        ctx.save_for_backward(logits, truth)
        ctx.kept = kept
        ctx.recipe = (block, plain)
        return loss

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient in the logits; recompute where a graph is wanted."""
        block, plain = ctx.recipe
        logits, truth = ctx.saved_tensors
        if torch.is_grad_enabled():
            return _with_graph(plain, logits, truth, upstream[0]), None, None, None
        # The buffer is used up, so that scaling it needs no second one. A backward
        # pass through a retained graph forms it anew.
        kept, ctx.kept = ctx.kept, None
        if kept is None:
            _, kept = _rows(logits, truth, block, True)
        gradient = kept.buffer.mul_((kept.factor * upstream[0])[:, None])
        return gradient.contiguous(), None, None, None


def _rows(
    logits: Tensor, truth: Tensor, block: Block, gradient: bool
) -> tuple[Tensor, Kept | None]:
    """Return the loss of each row and, if wanted, what makes its gradient."""
    n, classes = logits.shape
    size = max(1, BLOCK // classes)
    loss, factor = logits.new_empty(n), logits.new_empty(n)
    long = n if gradient else min(size, n)  # without gradient, room for one block
    few = classes < FEW
    buffer = (
        logits.new_empty(classes, long).t() if few else logits.new_empty(long, classes)
    )
    for start in range(0, n, size):
        part = slice(start, min(start + size, n))
        z, y = logits[part], truth[part]
        out = buffer[part] if gradient else buffer[: len(z)]
        if few:
            out = out.t()
            z, y = out.copy_(z.t()), y.t().contiguous()
        loss[part], factor[part] = block(z, y, out, 0 if few else 1)
    return loss, Kept(buffer, factor) if gradient else None


def _with_graph(
    plain: Plain, scores: Tensor, truth: Tensor, upstream: Tensor
) -> Tensor:
    """Return the gradient by autograd through the plain form, differentiable again."""
    (gradient,) = torch.autograd.grad(
        plain(scores, truth), scores, upstream, create_graph=True
    )
    return gradient


def psi_block(
    z: Tensor,
    labels: Tensor,
    out: Tensor,
    axis: int,
    *,
    psi: Scalar,
    factor: Scalar,
    bias: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """psi(p_y), of logits to which each class's bias is added.

    The gradient is g(p_y) (p - e_y): the others' exponentials, minus their sum at the
    label, times g(p_y) over the sum of all.
    """
    y = labels.unsqueeze(axis)
    if bias is not None:
        z = torch.add(z, bias.unsqueeze(1 - axis), out=out)
    torch.sub(z, z.amax(axis, keepdim=True), out=out)
    z_y = out.gather(axis, y)
    # The others' mass is summed, never subtracted from 1: its log stays right
    # where p_y rounds to 1.
    others = exp_(out).scatter_(axis, y, 0.0).sum(axis, keepdim=True)
    margin = z_y - others.log()
    log_p, log_not_p = logsigmoid(margin), logsigmoid(-margin)
    out.scatter_(axis, y, -others)
    scale = factor(log_p, log_not_p) / (others + z_y.exp())
    return psi(log_p, log_not_p).squeeze(axis), scale.squeeze(axis)


def soft_block(
    z: Tensor, targets: Tensor, out: Tensor, axis: int
) -> tuple[Tensor, Tensor]:
    """Minus the sum of q log p; the gradient is p - q, p times the sum of q."""
    torch.sub(z, z.amax(axis, keepdim=True), out=out)
    score = (targets * out).sum(axis, keepdim=True)
    if score.isnan().any():  # a class with target 0 is ruled out
        score = times_log(targets, out).sum(axis, keepdim=True)
    total = exp_(out).sum(axis, keepdim=True)
    mass = targets.sum(axis, keepdim=True)
    out.mul_(mass / total).sub_(targets)
    loss = (mass * total.log() - score).squeeze(axis)
    return loss, torch.ones_like(loss)


def smoothed_block(
    z: Tensor, labels: Tensor, out: Tensor, axis: int, *, epsilon: Any
) -> tuple[Tensor, Tensor]:
    """Cross-entropy with the target (1 - epsilon) e_y + epsilon / C, never formed."""
    y = labels.unsqueeze(axis)
    torch.sub(z, z.amax(axis, keepdim=True), out=out)
    score = (1 - epsilon) * out.gather(axis, y)
    if epsilon:  # 0 times a class that is ruled out is 0
        score += epsilon * out.mean(axis, keepdim=True)
    total = exp_(out).sum(axis, keepdim=True)
    out.div_(total).sub_(epsilon / z.shape[axis])
    out.scatter_add_(axis, y, torch.full_like(total, epsilon - 1))
    loss = (total.log() - score).squeeze(axis)
    return loss, torch.ones_like(loss)


def rival_sum_block(
    z: Tensor,
    labels: Tensor,
    out: Tensor,
    axis: int,
    *,
    value: Elementwise,
    slope: Elementwise,
) -> tuple[Tensor, Tensor]:
    """The sum over the rivals k of value(z_y - z_k)."""
    y = labels.unsqueeze(axis)
    margins = torch.sub(z.gather(axis, y), z, out=out)
    loss = value(margins).scatter_(axis, y, 0.0).sum(axis)
    torch.neg(slope(margins), out=out).scatter_(axis, y, 0.0)
    out.scatter_(axis, y, -out.sum(axis, keepdim=True))
    return loss, torch.ones_like(loss)


def rival_max_block(
    z: Tensor,
    labels: Tensor,
    out: Tensor,
    axis: int,
    *,
    value: Elementwise,
    slope: Elementwise,
) -> tuple[Tensor, Tensor]:
    """value(z_y - z_k) of the strongest rival k, the first of equal ones."""
    y = labels.unsqueeze(axis)
    z_y = z.gather(axis, y)
    best, k = out.copy_(z).scatter_(axis, y, -math.inf).max(axis, keepdim=True)
    margin = z_y - best
    pull = slope(margin)
    out.zero_().scatter_(axis, k, -pull).scatter_(axis, y, pull)
    loss = value(margin).squeeze(axis)
    return loss, torch.ones_like(loss)


# --- losses of one number each -------------------------------------------------------


class ElementLoss(torch.autograd.Function):
    """One loss a number, of (N,) scores and (N,) truth.

    The slope is formed in the backward pass, in the gradient itself. It costs no more
    than to keep it, and the memory of the loss alone.
    """

    @staticmethod
    def forward(
        ctx: Any, scores: Tensor, truth: Tensor, value: Elementwise, slope: Elementwise
    ) -> Tensor:
        """Return value(scores, truth)."""
        ctx.save_for_backward(scores, truth)
        ctx.recipe = (value, slope)
        loss = torch.empty_like(scores)
        for part in _parts(scores):
            loss[part] = value(scores[part], truth[part])
        return loss

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Return slope(scores, truth) times upstream, with a graph where one is due."""
        value, slope = ctx.recipe
        scores, truth = ctx.saved_tensors
        if torch.is_grad_enabled():
            return _with_graph(value, scores, truth, upstream[0]), None, None, None
        gradient = torch.empty_like(scores)
        for part in _parts(scores):
            pull = slope(scores[part], truth[part])
            torch.mul(pull, upstream[0][part], out=gradient[part])
        return gradient, None, None, None


def _parts(values: Tensor) -> Iterator[slice]:
    for start in range(0, len(values), ELEMENTS):
        yield slice(start, start + ELEMENTS)


# --- scalars, fast where no derivative can be asked for ------------------------------


def exp_(x: Tensor) -> Tensor:
    """Replace x by e^x, tiny results by the least that is fast.

    2^(x log2 e) has the digits that a sum needs. torch leaves exp to a library that is
    slow on some processors, exp2 not.

    >>> exp_(torch.tensor([0.0, -1e4])) > 0
    tensor([True, True])
    """
    return x.clamp_(min=FLOOR[x.dtype]).mul_(math.log2(math.e)).exp2_()


def log_sigmoids(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return log sigmoid(x) and log sigmoid(-x): log p and log(1 - p).

    >>> log_sigmoids(torch.tensor([0.0, 50.0]))[1]
    tensor([ -0.6931, -50.0000])
    """
    if not _underived(x) or x.dtype not in FLOOR:
        return logsigmoid(x), logsigmoid(-x)
    # One logarithm for both. Its derivatives at 0 would be wrong.
    shared = exp_(x.abs().neg_()).log1p_()
    return x.clamp(max=0).sub_(shared), shared.add_(x.clamp(min=0)).neg_()


def times_log(weight: Tensor, log: Tensor) -> Tensor:
    """Return weight * log, where 0 * -inf is 0: what cannot be costs nothing unasked.

    >>> times_log(torch.tensor([0.0, 1.0]), torch.tensor([-torch.inf, -2.0]))
    tensor([ 0., -2.])
    """
    return torch.where((weight == 0) & log.isneginf(), 0.0, weight * log)


def mixed_log(t: Tensor, log_p: Tensor, log_not_p: Tensor) -> Tensor:
    """Return t log p + (1 - t) log(1 - p), where 0 * -inf is 0.

    >>> mixed_log(torch.tensor(0.5), torch.tensor(-2.0), torch.tensor(-1.0))
    tensor(-1.5000)
    """
    if _underived(t, log_p, log_not_p):
        mixed = torch.lerp(log_not_p, log_p, t)
        if not mixed.numel() or not mixed.amax().isnan():
            return mixed
    return times_log(t, log_p) + times_log(1 - t, log_not_p)


def _underived(*tensors: Tensor) -> bool:
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
