"""Barron's general robust loss: from least squares to no pull of outliers at all.

Chapter: weighting.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossbook.card import Formula, LossCard, Param, Properties, SpecialCase
from lossbook.ops import expm1, margin_loss, quick_
from lossbook.shapes import (
    NpPerExample,
    NpScores,
    NpSigns,
    Parameter,
    PerExample,
    Scores,
    Signs,
)

SMALL = 0.1  # below, (e^t - 1) / t is summed as a series
ORDER = 12  # of that series: the rest is under 1e-19


def barron(
    scores: Scores, signs: Signs, *, alpha: Parameter = 1.0, scale: Parameter = 1.0
) -> PerExample:
    """Return rho(1 - m) per example, with the margin m = sign * score.

    rho(x) = b / alpha ((u / b + 1)^(alpha / 2) - 1), u = (x / scale)^2, b = 2 - alpha.
    Its limits: u / 2 at alpha = 2, log(1 + u / 2) at 0 (Cauchy), 1 - exp(-u / 2) at
    minus infinity (Welsch); at 1 it is sqrt(1 + u) - 1 (pseudo-Huber), at -2
    2 u / (u + 4) (Geman and McClure).

    rho was made for regression. Here x = 1 - m, which is sign - score up to its own
    sign, so this is regression on the signs, and it pulls back a margin above 1. Its
    use for classification is as a lesson: what alpha says of how far an example may
    be off and still pull.

    Args:
        scores: (...), one real number an example.
        signs: (...), the true class, -1 or +1.
        alpha: at most 2; -inf is allowed. From 1 up the loss is convex; below 0 it is
            bounded by 1 - 2 / alpha.
        scale: above 0, the size of x from which on alpha matters.

    Returns:
        (...), not negative; 0 at margin 1.

    Raises:
        ValueError: for signs other than -1 and +1, or scores that are nan.

    >>> import torch
    >>> scores, signs = torch.tensor([1.0, 0.0, -9.0]), torch.tensor([1, 1, 1])
    >>> barron(scores, signs, alpha=2.0)
    tensor([ 0.0000,  0.5000, 50.0000])
    >>> barron(scores, signs, alpha=-float("inf"))
    tensor([0.0000, 0.3935, 1.0000])
    """
    return margin_loss(scores, signs, value, at_once, alpha=alpha, scale=scale)


def value(margin: Tensor, *, alpha: Parameter, scale: Parameter) -> Tensor:
    """Return rho(1 - m)."""
    u = ((1 - margin) / scale).square()
    return _rho(u, torch.as_tensor(alpha, dtype=u.dtype, device=u.device))


def at_once(
    x: Tensor, out: Tensor, factor: float, *, alpha: float, scale: float
) -> None:
    """Write rho(1 + x) to `out`; its slope is x / scale^2 e^((alpha / 2 - 1) L).

    L = log(1 + u / b). At alpha = 2 the slope is x / scale^2.
    """
    u = torch.mul(x.add_(1), x, out=out).div_(scale**2)
    x *= factor / scale**2
    at_square, at_welsch = _at_its_limits(alpha, x.dtype)
    if at_square:
        u /= 2
    elif at_welsch:
        x *= u.div_(-2).exp()
        quick_(u, "expm1").neg_()
    else:
        b = 2 - alpha
        log = quick_(u.div_(b), "log1p")
        x *= log.mul(alpha / 2 - 1).exp_()
        if alpha:
            quick_(log.mul_(alpha / 2), "expm1").mul_(b / alpha)


def _at_its_limits(alpha: Parameter, dtype: torch.dtype) -> tuple[Any, Any]:
    """Return whether rho is that of alpha = 2, of minus infinity, to the last digit."""
    eps = torch.finfo(dtype).eps
    return 2 - alpha < eps**2, alpha < -(eps**-2)


def _rho(u: Tensor, alpha: Tensor) -> Tensor:
    """Return rho as a function of u = (x / scale)^2; nothing cancels near a limit.

    With L = log(1 + u / b) and t = alpha L / 2, rho is b / alpha (e^t - 1), and for
    small t as well b L / 2 (1 + t / 2 + t^2 / 6 + ...), where alpha may be 0.
    """
    square, welsch = _at_its_limits(alpha, u.dtype)
    between = torch.where(square | welsch, 1.0, alpha)
    b = 2 - between
    log = (u / b).log1p()
    t = between * log / 2
    near = t.abs() < SMALL
    # Each branch meets numbers that it can take where the other is chosen.
    series = b * log / 2 * _expm1_ratio(torch.where(near, t, 0.0))
    a = torch.where(between == 0, 1.0, between)
    power = b / a * expm1(torch.where(near, 1.0, t))
    rho = torch.where(near, series, power)
    rho = torch.where(square, u / 2, rho)
    return torch.where(welsch, -expm1(-u / 2), rho)


def _expm1_ratio(t: Tensor) -> Tensor:
    """Return (e^t - 1) / t for small t, as the sum of t^n / (n + 1)!."""
    total = torch.ones_like(t)
    for n in range(ORDER, 1, -1):
        total = 1 + t / n * total
    return total


def barron_ref(
    scores: NpScores, signs: NpSigns, *, alpha: float = 1.0, scale: float = 1.0
) -> tuple[NpPerExample, NpScores]:
    """Loss and gradient: rho'(x) = x / scale^2 (u / b + 1)^(alpha / 2 - 1)."""
    x = 1 - signs * scores
    u = (x / scale) ** 2
    if alpha == 2:
        loss, weight = u / 2, np.ones_like(u)
    elif alpha == 0:
        loss, weight = np.log(1 + u / 2), 1 / (1 + u / 2)
    elif alpha == -math.inf:
        loss, weight = 1 - np.exp(-u / 2), np.exp(-u / 2)
    else:
        b = 2 - alpha
        loss = b / alpha * ((u / b + 1) ** (alpha / 2) - 1)
        weight = (u / b + 1) ** (alpha / 2 - 1)
    return loss, -signs * x / scale**2 * weight


CARD = LossCard(
    name="Barron's general loss",
    family="adaptive",
    kind="margin",
    fn=barron,
    ref=barron_ref,
    summary="One family from least squares to losses that outliers no longer pull.",
    cite="barron2019general",
    formula=Formula(
        expr="(2 - alpha) / alpha"
        " * (((1 - m)**2 / scale**2 / (2 - alpha) + 1)**(alpha / 2) - 1)",
        variable="m",
        domain=(-4.0, 4.0),
        limits={"alpha": {2.0: "(1 - m)**2 / scale**2 / 2"}},
    ),
    params={
        # 0 is no step of a walk: the formula has its limit there, the code its value.
        "alpha": Param(
            default=1.0, low=-10.0, high=2.0, open_high=True, meaning="shape"
        ),
        "scale": Param(default=1.0, low=0.1, high=5.0, meaning="scale of x", tex="c"),
    },
    special_cases=(SpecialCase(of="squared", params={"alpha": 2.0}, factor=0.5),),
    peers={
        "kornia.losses.cauchy_loss": "Equal at alpha = 0.",
        "kornia.losses.charbonnier_loss": "",
        "kornia.losses.geman_mcclure_loss": "Equal at alpha = -2.",
        "kornia.losses.welsch_loss": "Equal at alpha = -inf.",
    },
    properties=Properties(
        convex=lambda alpha, scale: alpha >= 1,
        strictly_proper=False,
        # Of two scores f and -f, that of the likelier sign costs less.
        calibrated=True,
        symmetric=False,
        monotone=False,
    ),
)
