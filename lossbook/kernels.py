"""Fused arithmetic for large tensors on a CPU.

The plain form of a loss is its definition. The forms here compute the same numbers
faster: row block by row block, so that a block stays in the cache, and with the
gradient formed in the forward pass, in the only large buffer there is.

A fused form runs only where nothing but value and gradient is asked for (`usable`).
Its backward pass recomputes the plain form when a graph is wanted, so second
derivatives are right.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor

from lossbook.modes import forward_mode, values_visible

# psi and its gradient factor as functions of (log p_y, log(1 - p_y)).
Scalar = Callable[[Tensor, Tensor], Tensor]

LARGE = 2**17  # logits; below, the plain form is as fast
BLOCK = 2**18  # logits a row block: 1 MiB in float32
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


def usable(logits: Tensor, labels: Tensor, *params: Any) -> bool:
    """Return whether the fused form may serve this call."""
    if _forced and _forced[-1] == "plain":
        return False
    possible = (
        values_visible(logits, labels)
        and not forward_mode()
        and logits.dtype in FLOOR
        and logits.shape[-1] > 1
        and logits.numel() > 0
        and all(isinstance(param, int | float) for param in params)
    )
    return possible and (bool(_forced) or logits.numel() >= LARGE)


class PsiLoss(torch.autograd.Function):
    """psi(p_y) of (N, C) logits, with the gradient g(p_y) (p - e_y)."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        labels: Tensor,
        psi: Scalar,
        factor: Scalar,
        plain: Callable[[Tensor, Tensor], Tensor],
    ) -> Tensor:
        """Return the loss of each row; keep the gradient if one will be asked for."""
        loss, gradient = _psi_rows(logits, labels, psi, factor, logits.requires_grad)
        ctx.save_for_backward(logits, labels)
        ctx.gradient = gradient
        ctx.recipe = (psi, factor, plain)
        return loss

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient in the logits; recompute where a graph is wanted."""
        psi, factor, plain = ctx.recipe
        if torch.is_grad_enabled():
            logits, labels = ctx.saved_tensors
            (gradient,) = torch.autograd.grad(
                plain(logits, labels), logits, upstream[0], create_graph=True
            )
            return gradient, None, None, None, None
        # The buffer is used up, so that scaling it needs no second one. A backward
        # pass through a retained graph forms it anew.
        gradient, ctx.gradient = ctx.gradient, None
        if gradient is None:
            logits, labels = ctx.saved_tensors
            _, gradient = _psi_rows(logits, labels, psi, factor, True)
        return gradient.mul_(upstream[0][:, None]), None, None, None, None


def _psi_rows(
    logits: Tensor, labels: Tensor, psi: Scalar, factor: Scalar, gradient: bool
) -> tuple[Tensor, Tensor | None]:
    """Return psi of each row and, if wanted, its gradient."""
    n, classes = logits.shape
    rows = max(1, BLOCK // classes)
    loss = logits.new_empty(n)
    buffer = logits.new_empty(n if gradient else min(rows, n), classes)
    for start in range(0, n, rows):
        block = slice(start, min(start + rows, n))
        size = block.stop - block.start
        e = buffer[block] if gradient else buffer[:size]
        loss[block] = _psi_block(logits[block], labels[block], psi, factor, e, gradient)
    return loss, buffer if gradient else None


def _psi_block(
    z: Tensor, labels: Tensor, psi: Scalar, factor: Scalar, e: Tensor, gradient: bool
) -> Tensor:
    """Return psi of a block of rows; leave the gradient in `e`."""
    y = labels[:, None]
    torch.sub(z, z.amax(1, keepdim=True), out=e)
    z_y = e.gather(1, y)
    e.clamp_(min=FLOOR[z.dtype]).exp_()
    # The others' mass is summed, never subtracted from 1: its log stays right
    # where p_y rounds to 1.
    e.scatter_(1, y, 0.0)
    others = e.sum(1, keepdim=True)
    margin = z_y - others.log()
    log_p = torch.nn.functional.logsigmoid(margin)
    log_not_p = torch.nn.functional.logsigmoid(-margin)
    if gradient:
        g = factor(log_p, log_not_p)
        e.mul_(g / (others + z_y.exp()))
        e.scatter_(1, y, -g * log_not_p.exp())
    return psi(log_p, log_not_p)[:, 0]
