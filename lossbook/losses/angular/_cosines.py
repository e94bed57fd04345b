"""What the losses of cosines share: softmax over a sphere, with a margin.

Each of them replaces the cosine of the true class by a smaller number, f(cos theta_y),
multiplies all by a scale, and takes cross-entropy. f stands for one number an example,
so no angle is ever formed for the other classes.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from lossbook import kernels, validate
from lossbook.ops import over_classes, upcast
from lossbook.shapes import Labels, Logits, Parameter, PerExample

# f and its derivative, as functions of the true class's cosine.
Target = Callable[..., Tensor]


def margin_softmax(
    cosines: Logits,
    labels: Labels,
    target: Target,
    slope: Target,
    *,
    scale: Parameter,
    **params: Parameter,
) -> PerExample:
    """Return log(1 + sum over k != y of exp(scale (cos_k - f(cos_y)))) per example.

    Args:
        cosines: (..., C), of the angles between embedding and class vectors.
        labels: (...), integer classes.
        target: f as a function of (cosine, **params).
        slope: its derivative, for the fused form; autograd differentiates f otherwise.
        scale: what cosines are multiplied with, the inverse of a temperature.
        params: floats, or tensors that broadcast against the loss.

    Returns:
        (...), in float32 or wider.

    >>> def target(cosine, *, margin):
    ...     return cosine - margin
    >>> def slope(cosine, *, margin):
    ...     return torch.ones_like(cosine)
    >>> cosines, labels = torch.tensor([[1.0, 0.0]]), torch.tensor([0])
    >>> margin_softmax(cosines, labels, target, slope, scale=2.0, margin=0.5)
    tensor([0.3133])
    """
    validate.cosines_and_labels(cosines, labels)
    c = upcast(cosines)
    wide = {name: over_classes(param) for name, param in params.items()}
    f, df = partial(target, **wide), partial(slope, **wide)
    plain = partial(_plain, target=f, scale=scale)
    if c.shape[-1] > 1 and kernels.usable(c, labels, scale, *params.values()):
        flat, y = c.reshape(-1, c.shape[-1]), labels.reshape(-1).long()
        loss: Tensor = _MarginSoftmax.apply(flat, y, f, df, scale, plain)
        loss = loss.reshape(labels.shape)
    else:
        loss = plain(c, labels)
    return validate.explain_nan("cosines", c, loss)


def _plain(
    cosines: Tensor, labels: Tensor, *, target: Target, scale: Parameter
) -> Tensor:
    index = labels[..., None].long()
    # Differences first: the scale multiplies their rounding, not that of the cosines.
    behind = over_classes(scale) * (cosines - target(cosines.gather(-1, index)))
    return softplus_of_sum(behind, index)


def softplus_of_sum(behind: Logits, index: Tensor) -> PerExample:
    """Return log(1 + sum of exp(behind)), the entries at `index` left out.

    >>> behind, index = torch.tensor([[9.0, 0.0, 0.0]]), torch.tensor([[0]])
    >>> softplus_of_sum(behind, index)  # log(1 + 2)
    tensor([1.0986])
    """
    # A finite stand-in for -inf: logsumexp has no gradient where all is -inf.
    rivals = behind.scatter(-1, index, torch.finfo(behind.dtype).min / 4)
    # A large logsumexp would round the gradient, which is exp(rivals - logsumexp).
    top = rivals.detach().amax(-1, keepdim=True)
    return -logsigmoid(-(top[..., 0] + (rivals - top).logsumexp(-1)))


class _MarginSoftmax(torch.autograd.Function):
    """The same for (N, C), row block by row block, the gradient in the one buffer."""

    @staticmethod
    def forward(
        ctx: Any,
        cosines: Tensor,
        labels: Tensor,
        target: Target,
        slope: Target,
        scale: float,
        plain: Callable[[Tensor, Tensor], Tensor],
    ) -> Tensor:
        """Return the loss of each row; keep the gradient if one will be asked for."""
        rows = partial(_rows, target=target, slope=slope, scale=scale)
        loss, kept = rows(cosines, labels, gradient=cosines.requires_grad)
        ctx.save_for_backward(cosines, labels)
        ctx.kept, ctx.rows, ctx.plain = kept, rows, plain
        return loss

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient in the cosines; recompute where a graph is wanted."""
        cosines, labels = ctx.saved_tensors
        rest = (None,) * 5
        if torch.is_grad_enabled():
            loss = ctx.plain(cosines, labels)
            return *torch.autograd.grad(
                loss, cosines, upstream[0], create_graph=True
            ), *rest
        # The buffer is used up, so that scaling it needs no second one. A backward
        # pass through a retained graph forms it anew.
        kept, ctx.kept = ctx.kept, None
        if kept is None:
            _, kept = ctx.rows(cosines, labels, gradient=True)
        buffer, factor = kept
        return buffer.mul_((factor * upstream[0])[:, None]), *rest


def _rows(
    cosines: Tensor,
    labels: Tensor,
    *,
    target: Target,
    slope: Target,
    scale: float,
    gradient: bool,
) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
    """Return the loss of each row and, if wanted, its gradient as buffer * factor."""
    n, classes = cosines.shape
    size = max(1, kernels.BLOCK // classes)
    loss, factor = cosines.new_empty(n), cosines.new_empty(n)
    buffer = kernels.empty(cosines, n if gradient else min(size, n), classes)
    steep = kernels.BASE.nat * scale
    for start in range(0, n, size):
        part = slice(start, min(start + size, n))
        z, y = cosines[part], labels[part, None]
        out = buffer[part] if gradient else buffer[: len(z)]
        c_y = z.gather(1, y)
        torch.sub(z, target(c_y), out=out).mul_(steep).scatter_(1, y, -math.inf)
        top = out.amax(1, keepdim=True).clamp(min=torch.finfo(z.dtype).min / 4)
        others = kernels.power_(out.sub_(top)).scatter_(1, y, 0.0).sum(1, keepdim=True)
        behind = (top + kernels.BASE.log(others)) / kernels.BASE.nat
        out.scatter_(1, y, -others * slope(c_y))
        loss[part] = -logsigmoid(-behind)[:, 0]
        factor[part] = (scale * behind.sigmoid() / others)[:, 0]
    return loss, (buffer, factor) if gradient else None


def multiple_angle(cosine: Tensor, *, margin: Parameter) -> Tensor:
    """Return psi(theta) = (-1)^k cos(m theta) - 2k, with k = floor(m theta / pi).

    cos(m theta) is the Chebyshev polynomial of the cosine, and k counts the corners
    cos(j pi / m) that the cosine lies below: no angle is formed, and the slope is
    finite everywhere.

    >>> multiple_angle(torch.tensor([1.0, 0.0, -1.0]), margin=4)
    tensor([ 1., -3., -7.])
    """
    return _of_margins(cosine, margin, _multiple)


def multiple_angle_slope(cosine: Tensor, *, margin: Parameter) -> Tensor:
    """Return d psi / d cos theta = (-1)^k m sin(m theta) / sin(theta)."""
    return _of_margins(cosine, margin, _multiple_slope)


def annealed_angle(cosine: Tensor, *, margin: Parameter, strength: Parameter) -> Tensor:
    """Return (strength cos theta + psi) / (1 + strength), a weighted mean of the two.

    >>> annealed_angle(torch.tensor([0.0]), margin=4, strength=2.0)
    tensor([-1.])
    """
    return (strength * cosine + multiple_angle(cosine, margin=margin)) / (1 + strength)


def annealed_angle_slope(
    cosine: Tensor, *, margin: Parameter, strength: Parameter
) -> Tensor:
    """Return the same mean of 1 and the slope of psi."""
    slope = multiple_angle_slope(cosine, margin=margin)
    return (strength + slope) / (1 + strength)


MARGINS = (1, 2, 3, 4)


def check_whole_margin(margin: Any) -> None:
    """Refuse a float that is no margin of the multiple angle.

    A tensor is not looked at; entries that are no margin make the loss nan.
    """
    if not isinstance(margin, Tensor) and margin not in MARGINS:
        raise ValueError(
            f"margin must be 1, 2, 3 or 4, a whole multiple of the angle, got {margin}"
        )


def _of_margins(
    cosine: Tensor, margin: Parameter, of: Callable[[Tensor, int], Tensor]
) -> Tensor:
    if not isinstance(margin, Tensor):
        return of(cosine, int(margin))
    result = torch.full_like(cosine, torch.nan)
    for m in MARGINS:
        result = torch.where(margin == m, of(cosine, m), result)
    return result


def _multiple(c: Tensor, m: int) -> Tensor:
    q = _squared_sine(c)
    cos_m = {  # the Chebyshev polynomial T_m
        1: c,
        2: 1 - 2 * q,
        3: c * (1 - 4 * q),
        4: 1 - 8 * c * c * q,
    }[m]
    k = _corners_passed(c, m)
    return (1 - 2 * (k % 2)) * cos_m - 2 * k


def _multiple_slope(c: Tensor, m: int) -> Tensor:
    q = _squared_sine(c)
    ratio = {  # m sin(m theta) / sin(theta), the derivative of T_m
        1: torch.ones_like(c),
        2: 4 * c,
        3: 9 - 12 * q,
        4: 16 * c * (1 - 2 * q),
    }[m]
    return (1 - 2 * (_corners_passed(c, m) % 2)) * ratio


def _squared_sine(c: Tensor) -> Tensor:
    """Return 1 - c^2, its digits kept near c = 1 and -1."""
    return (1 - c) * (1 + c)


def _corners_passed(c: Tensor, m: int) -> Tensor:
    k = torch.zeros_like(c)
    for j in range(1, m):
        k = k + (c < math.cos(j * math.pi / m))
    return k
