"""Binary focal loss: yes-or-no answers, the easy ones turned down. Chapter: focal."""

import math

import numpy as np
import torch
from torch import Tensor

from lossbook.card import LossCard, Param, Properties, SpecialCase
from lossbook.losses.imbalance._focused import turned_down
from lossbook.ops import (
    binary_loss,
    log_sigmoids,
    mixed_log,
    power,
    raised,
    softplus_finite,
    times_log,
)
from lossbook.shapes import (
    NpPerExample,
    NpScores,
    Parameter,
    PerExample,
    Probabilities,
    Scores,
)


def binary_focal(
    scores: Scores,
    targets: Probabilities,
    *,
    gamma: Parameter = 2.0,
    alpha: Parameter | None = 0.25,
) -> PerExample:
    """Return -alpha (1 - p)^gamma log p at "yes", with p = sigmoid(scores).

    At "no" it is -(1 - alpha) p^gamma log(1 - p). A target between the two mixes both
    losses, t "yes" + (1 - t) "no": the expected loss of an answer that is "yes" with
    probability t.

    Args:
        scores: any shape, the log-odds of "yes".
        targets: the same shape, probabilities of "yes", 0 to 1.
        gamma: how much easy answers are turned down; 0 gives weighted cross-entropy.
        alpha: the weight of "yes", 0 to 1; "no" weighs 1 - alpha. None weighs both
            with 1. The article's 0.25 turns the rarer "yes" down, not up: beside
            gamma = 2 the many easy "no" already weigh little.

    Returns:
        The same shape, never more than cross-entropy.

    Raises:
        ValueError: for targets outside of 0 to 1, or scores that are nan.

    >>> import torch
    >>> binary_focal(torch.tensor([2.0, -2.0]), torch.tensor([1.0, 1.0]))
    tensor([0.0005, 0.4125])
    """
    return binary_loss(scores, targets, value, slope, at_once, gamma=gamma, alpha=alpha)


def value(
    scores: Tensor, targets: Tensor, *, gamma: Parameter, alpha: Parameter | None
) -> Tensor:
    """Return t "yes" + (1 - t) "no"."""
    log_p, log_not_p = log_sigmoids(scores)
    yes = turned_down(power(-scores, log_not_p, gamma), log_p)
    no = turned_down(power(scores, log_p, gamma), log_not_p)
    if alpha is not None:
        yes, no = times_log(alpha, yes), times_log(1 - alpha, no)
    return -mixed_log(targets, yes, no)


def slope(
    scores: Tensor, targets: Tensor, *, gamma: float, alpha: float | None
) -> Tensor:
    """Return the same mixture of the slopes, with dp / df = p (1 - p)."""
    yes, no = _pull(scores, gamma), -_pull(-scores, gamma)
    if alpha is not None:
        yes, no = alpha * yes, (1 - alpha) * no
    return torch.lerp(no, yes, targets)


def at_once(
    wrong: Tensor,
    right: Tensor,
    kept_back: Tensor | None,
    out: Tensor,
    scale: float,
    *,
    gamma: float,
    alpha: float | None,
) -> bool:
    """Write -weight (1 - p)^gamma log p to `out`, its slope over the log-odds."""
    if kept_back is not None or not softplus_finite(wrong, out):
        return False
    not_p = wrong.sigmoid_()
    pull = torch.addcmul(out, not_p, out, value=-1)  # p times the loss
    weight = raised(not_p, gamma)
    not_p.add_(pull, alpha=gamma)
    if alpha is not None:
        weight.mul_(_between(1 - alpha, alpha, right, pull))
    out.mul_(weight)
    wrong.mul_(weight).mul_(scale)
    return True


def _between(no: float, yes: float, right: Tensor, out: Tensor) -> Tensor:
    """Write `no` at 0 and `yes` at 1, both to the last digit."""
    start = out.new_tensor(no)
    if start + (yes - no) == out.new_tensor(yes):
        return torch.add(start, right, alpha=yes - no, out=out)
    return torch.mul(right, -no, out=out).add_(no).add_(right, alpha=yes)


def _pull(margin: Tensor, gamma: float) -> Tensor:
    """Return the slope of -(1 - p)^gamma log p in the log-odds of p."""
    p, not_p = margin.sigmoid(), (-margin).sigmoid()
    # Never log 0: where 1 - p rounds to 1, p log p is less than is rounded away.
    log_p = not_p.clamp(max=1 - torch.finfo(p.dtype).eps).neg_().log1p_()
    return raised(not_p, gamma) * (gamma * p * log_p - not_p)


def binary_focal_ref(
    scores: NpScores, targets: NpScores, *, gamma: float = 2.0, alpha: float = 0.25
) -> tuple[NpPerExample, NpScores]:
    """Loss and gradient: the product rule in p, then dp / df = p (1 - p)."""
    p = 1 / (1 + np.exp(-scores))
    yes, yes_slope = _loss_and_slope(p, gamma)
    no, no_slope = _loss_and_slope(1 - p, gamma)
    loss = alpha * targets * yes + (1 - alpha) * (1 - targets) * no
    slope = alpha * targets * yes_slope - (1 - alpha) * (1 - targets) * no_slope
    return loss, slope * p * (1 - p)


def _loss_and_slope(p: NpScores, gamma: float) -> tuple[NpScores, NpScores]:
    """Return -(1 - p)^gamma log p and its derivative, p being the right answer's."""
    power = (1 - p) ** gamma
    return -power * np.log(p), gamma * power / (1 - p) * np.log(p) - power / p


def recovered(scores: NpScores, *, gamma: float = 2.0, alpha: float = 0.25) -> NpScores:
    """Return the posterior of "yes" at which the two expected pulls cancel."""
    p = 1 / (1 + np.exp(-scores))
    up = -alpha * _loss_and_slope(p, gamma)[1]
    down = -(1 - alpha) * _loss_and_slope(1 - p, gamma)[1]
    return down / (up + down)


CARD = LossCard(
    name="Binary focal loss",
    family="imbalance",
    kind="binary",
    fn=binary_focal,
    ref=binary_focal_ref,
    summary="Binary cross-entropy with the easy answers turned down.",
    cite="lin2017focal",
    recovery=recovered,
    params={
        "gamma": Param(default=2.0, low=0.0, high=5.0, meaning="focusing"),
        "alpha": Param(default=0.25, low=0.0, high=1.0, meaning='weight of "yes"'),
    },
    special_cases=(
        SpecialCase(
            of="binary_cross_entropy", params={"gamma": 0.0, "alpha": 0.5}, factor=0.5
        ),
    ),
    peers={
        "fvcore.nn.sigmoid_focal_loss": (
            "Equal at targets 0 and 1 but in float32 only; a soft target enters the "
            "probability itself, and at gamma below 1 the gradient of a confident, "
            "right answer is nan."
        ),
        "keras.losses.binary_focal_crossentropy": (
            "Ignores alpha unless told apply_class_balancing, and averages over the "
            "last axis."
        ),
        "kornia.losses.binary_focal_loss_with_logits": "",
        "optax.losses.sigmoid_focal_loss": (
            "Equal at targets 0 and 1; a soft target enters the probability itself."
        ),
    },
    properties=Properties(
        convex=lambda gamma, alpha: gamma == 0,
        strictly_proper=lambda gamma, alpha: gamma == 0 and alpha == 0.5,
        calibrated=lambda gamma, alpha: alpha == 0.5,
        symmetric=False,
        monotone=True,
        upper=math.inf,
    ),
)
