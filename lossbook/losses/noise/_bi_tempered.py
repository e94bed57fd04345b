"""Bi-tempered logistic loss: one temperature bounds it, one makes its tail heavy."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossbook import validate
from lossbook.card import LossCard, Param, Properties, SpecialCase
from lossbook.modes import values_visible
from lossbook.ops import at_label, over_classes, upcast
from lossbook.shapes import (
    Labels,
    Logits,
    NpLabels,
    NpLogits,
    NpPerExample,
    Parameter,
    PerExample,
)

# Newton's steps to the normalizer, at most. They never overshoot, and the last ones
# double the digits: 12 reach full double precision in every case tested.
STEPS = 16


def bi_tempered(
    logits: Logits, labels: Labels, *, t1: Parameter = 0.8, t2: Parameter = 1.2
) -> PerExample:
    """Return -log_t1 p_y - (1 - sum_j p_j^(2 - t1)) / (2 - t1), p from a heavy tail.

    With the tempered logarithm log_t(x) = (x^(1 - t) - 1) / (1 - t) and its inverse
    exp_t, the probabilities are p_j = exp_t2(z_j - c), c such that they sum to 1. At
    t1 = t2 = 1 this is cross-entropy. The loss is a Bregman divergence between one-hot
    label and p, hence strictly proper in these p, which softmax gives only at t2 = 1.

    Args:
        logits: (..., C), of which p is the tempered softmax.
        labels: (...), the true class, 0 to C - 1.
        t1: from 0 to 1; below 1 the loss is bounded.
        t2: 1 or more; above 1 the tail of p is a power of the logit, not exponential.

    Returns:
        (...), between 0 and 1 / (1 - t1).

    Raises:
        ValueError: for labels outside of the classes, or logits that are nan.

    >>> import torch
    >>> bi_tempered(torch.tensor([[2.0, 0.0]]), torch.tensor([0]))
    tensor([0.1096])
    """
    validate.logits_and_labels(logits, labels)
    z = upcast(logits)
    log_p = tempered_log_softmax(z, over_classes(t2))
    own = at_label(log_p, labels)
    power = 1.0 - t1
    powers = ((1 + over_classes(power)) * log_p).exp()
    rivals = powers.scatter(-1, labels[..., None].long(), 0.0).sum(-1)
    # sum_j p_j^(2 - t1) is split, so that 1 - p_y^(2 - t1) keeps its digits near 1.
    loss = _power(own, 1 + power) - _power(own, power) + rivals / (1 + power)
    return validate.explain_nan("logits", z, loss)


def tempered_log_softmax(z: Tensor, t: Parameter) -> Tensor:
    """Return log p with p_j = exp_t(z_j - c) and sum_j p_j = 1, for t >= 1.

    The normalizer is found on values; two more of Newton's steps then carry the graph.
    The first makes its first derivative right, the second the next two.
    """
    k = t - 1.0
    gap = z.detach().amax(-1, keepdim=True) - z
    top = z.detach().argmax(-1, keepdim=True)
    found, start = torch.zeros_like(gap[..., :1]), gap.detach()
    half = torch.finfo(z.dtype).eps ** 0.5
    for _ in range(STEPS):
        last, found = found, _newton(start, found, k, top).detach()
        # A step that is right in half of the digits leads to all of them.
        if values_visible(found) and bool((found - last <= half * (1 + last)).all()):
            break
    for _ in range(2):
        found = _newton(gap, found, k, top)
    return -_stretch(gap + found, k)


def _newton(gap: Tensor, c: Tensor, k: Parameter, top: Tensor) -> Tensor:
    """Return a better c for sum_j exp_t(-gap_j - c) = 1, with k = t - 1.

    -log_t of the sum is (M - 1) / k, where M is a power mean of the 1 + k (gap_j + c):
    concave and rising in c. Newton's steps from c = 0 therefore rise to the root.
    """
    log_p = -_stretch(gap + c, k)
    # The sum minus 1, without subtracting 1 from the largest term's value.
    near_one = log_p.gather(-1, top).expm1()
    surplus = log_p.exp().scatter(-1, top, near_one).sum(-1, keepdim=True)
    slope = ((1 + k) * log_p).exp().sum(-1, keepdim=True)
    return c + (1 + surplus) * _power(surplus.log1p(), k) / slope


def _stretch(x: Tensor, k: Parameter) -> Tensor:
    """Return log(1 + k x) / k, which is x at k = 0: -log of exp_t(-x)."""
    if isinstance(k, int | float):
        return (k * x).log1p() / k if k else x
    nonzero = torch.where(k == 0, 1.0, k)
    return torch.where(k == 0, x, (nonzero * x).log1p() / nonzero)


def _power(log_x: Tensor, a: Parameter) -> Tensor:
    """Return (x^a - 1) / a, which is log x at a = 0."""
    if isinstance(a, int | float):
        return (a * log_x).expm1() / a if a else log_x
    nonzero = torch.where(a == 0, 1.0, a)
    return torch.where(a == 0, log_x, (nonzero * log_x).expm1() / nonzero)


def bi_tempered_ref(
    logits: NpLogits, labels: NpLabels, *, t1: float = 0.8, t2: float = 1.2
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient; d p_j = p_j^t2 (d z_j - sum_i q_i d z_i), q ~ p^t2."""
    p = tempered_softmax(logits, t2)
    e_y = np.eye(logits.shape[-1])[labels]
    p_y = (p * e_y).sum(-1)
    log_t1 = np.log(p_y) if t1 == 1 else (p_y ** (1 - t1) - 1) / (1 - t1)
    loss = -log_t1 - (1 - (p ** (2 - t1)).sum(-1)) / (2 - t1)
    slope = (p - e_y) * p**-t1  # d loss / d p_i = p_i^(1 - t1), less p_y^(-t1) at y
    escort = p**t2 / (p**t2).sum(-1, keepdims=True)
    mean = (escort * slope).sum(-1, keepdims=True)
    return loss, p**t2 * (slope - mean)


def tempered_softmax(logits: NpLogits, t: float) -> NpLogits:
    """Return exp_t(z - c); c is bisected between max z and max z - log_t(1 / C)."""

    def exp_t(x: NpLogits) -> NpLogits:
        return np.exp(x) if t == 1 else (1 + (1 - t) * x) ** (1 / (1 - t))

    classes = logits.shape[-1]
    width = np.log(classes) if t == 1 else (classes ** (t - 1) - 1) / (t - 1)
    low = logits.max(-1, keepdims=True)
    high = low + width
    for _ in range(100):
        c = (low + high) / 2
        too_much = exp_t(logits - c).sum(-1, keepdims=True) > 1
        low, high = np.where(too_much, c, low), np.where(too_much, high, c)
    return exp_t(logits - high)


def recovered(logits: NpLogits, *, t1: float = 0.8, t2: float = 1.2) -> NpLogits:
    """Return the posterior at which these logits are optimal: p itself."""
    return tempered_softmax(logits, t2)


def _upper(t1: float, t2: float) -> Any:
    """Return 1 / (1 - t1), for all t2; None where the tail is too heavy to see it.

    There, logits of some thousands leave the loss more than 1 % below its bound.
    """
    if t1 == 1:
        return math.inf
    return 1 / (1 - t1) if t2 < 1.3 else None


CARD = LossCard(
    name="Bi-tempered logistic loss",
    family="noise",
    kind="labels",
    fn=bi_tempered,
    ref=bi_tempered_ref,
    summary="Cross-entropy, bounded against outliers, with a heavy tail.",
    cite="amid2019robust",
    recovery=recovered,
    params={
        "t1": Param(default=0.8, low=0.0, high=1.0, meaning="temperature of the loss"),
        "t2": Param(default=1.2, low=1.0, high=2.0, meaning="temperature of softmax"),
    },
    special_cases=(SpecialCase(of="cross_entropy", params={"t1": 1.0, "t2": 1.0}),),
    properties=Properties(
        convex=lambda t1, t2: t1 == t2,
        strictly_proper=lambda t1, t2: t2 == 1,  # in softmax's probabilities
        calibrated=True,
        symmetric=False,
        monotone=True,
        shift_invariant=True,
        upper=_upper,
    ),
)
