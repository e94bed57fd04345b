"""Asymmetric loss: "no" focused harder than "yes", and cut off. Chapter: focal."""

import math

import numpy as np
import torch
from torch import Tensor

from lossbook.card import LossCard, Param, Properties, SpecialCase
from lossbook.losses.imbalance._focused import turned_down
from lossbook.ops import (
    binary_loss,
    finite,
    log_sigmoids,
    mixed_log,
    power,
    raised,
    softplus_finite,
    underived,
)
from lossbook.shapes import (
    NpPerExample,
    NpScores,
    Parameter,
    PerExample,
    Probabilities,
    Scores,
)


def asymmetric(
    scores: Scores,
    targets: Probabilities,
    *,
    gamma_positive: Parameter = 0.0,
    gamma_negative: Parameter = 4.0,
    clip: Parameter = 0.05,
) -> PerExample:
    """Return -(1 - p)^gamma_positive log p at "yes", with p = sigmoid(scores).

    At "no" it is -q^gamma_negative log(1 - q) with q = max(p - clip, 0). A target
    between the two mixes both losses, t "yes" + (1 - t) "no".

    Args:
        scores: any shape, the log-odds of "yes"; in multi-label tasks (..., C).
        targets: the same shape, probabilities of "yes", 0 to 1.
        gamma_positive: how much easy "yes" are turned down.
        gamma_negative: how much easy "no" are turned down.
        clip: a "no" with p up to this costs nothing and has gradient 0; below 1.

    Returns:
        The same shape.

    Raises:
        ValueError: for targets outside of 0 to 1, or scores that are nan.

    >>> import torch
    >>> asymmetric(torch.tensor([2.0, 2.0, -3.0]), torch.tensor([1.0, 0.0, 0.0]))
    tensor([0.1269, 0.8464, 0.0000])
    """
    return binary_loss(
        scores,
        targets,
        value,
        slope,
        at_once,
        gamma_positive=gamma_positive,
        gamma_negative=gamma_negative,
        clip=clip,
    )


def value(
    scores: Tensor,
    targets: Tensor,
    *,
    gamma_positive: Parameter,
    gamma_negative: Parameter,
    clip: Parameter,
) -> Tensor:
    """Return t "yes" + (1 - t) "no"."""
    log_p, log_not_p = log_sigmoids(scores)
    yes = turned_down(power(-scores, log_not_p, gamma_positive), log_p)
    if (
        underived(scores)
        and isinstance(clip, int | float)
        and isinstance(gamma_negative, int | float)
    ):
        p, not_p = scores.sigmoid(), (-scores).sigmoid()
        q, log_not_q = _cut(p, not_p, log_not_p, clip)
        no = _raised(q, gamma_negative) * log_not_q
    else:
        no = _no(log_p, log_not_p, gamma_negative, clip)
    return 0 - mixed_log(targets, yes, no)


def slope(
    scores: Tensor,
    targets: Tensor,
    *,
    gamma_positive: float,
    gamma_negative: float,
    clip: float,
) -> Tensor:
    """Return the same mixture of the slopes, with dp / df = p (1 - p)."""
    log_p, log_not_p = log_sigmoids(scores)
    p, not_p = scores.sigmoid(), (-scores).sigmoid()
    pull = gamma_positive * p * finite(log_p) - not_p
    yes = raised(not_p, gamma_positive) * pull
    _, no = _no_at_once(p, not_p, log_not_p, gamma_negative, clip)
    return torch.lerp(no, yes, targets)


def at_once(
    wrong: Tensor,
    right: Tensor,
    kept_back: Tensor | None,
    out: Tensor,
    scale: float,
    *,
    gamma_positive: float,
    gamma_negative: float,
    clip: float,
) -> bool:
    """Write the loss to `out`, its slope over the log-odds of the wrong answer."""
    if kept_back is not None or not softplus_finite(wrong, out):
        return False
    p, not_p = wrong.sigmoid(), wrong.neg_().sigmoid_()
    no, pull_of_no = _no_at_once(p, not_p, -out, gamma_negative, clip)
    pull = p
    if gamma_positive:
        power_of_p = raised(p, gamma_positive)
        pull = torch.addcmul(p, not_p, out, value=gamma_positive).mul_(power_of_p)
        out.mul_(power_of_p)
    torch.lerp(no, out, right, out=out)
    torch.lerp(pull_of_no, pull, right, out=wrong).mul_(scale)
    return True


def _no_at_once(
    p: Tensor, not_p: Tensor, log_not_p: Tensor, gamma: float, clip: float
) -> tuple[Tensor, Tensor]:
    """Return the loss of a "no" and its slope in the score, not to be derived."""
    q, log_not_q = _cut(p, not_p, log_not_p, clip)
    power_of_q = _raised(q, gamma)
    if clip:
        # Where q is 0, so is its power; any number divides it.
        q.clamp_(min=torch.finfo(q.dtype).tiny)
        steep = (1 / (not_p + clip) - gamma * log_not_q / q) * p * not_p
    else:
        steep = p - gamma * not_p * log_not_p
    return -power_of_q * log_not_q, power_of_q * steep


def _cut(
    p: Tensor, not_p: Tensor, log_not_p: Tensor, clip: float
) -> tuple[Tensor, Tensor]:
    """Return q = max(p - clip, 0) and log(1 - q), not to be derived."""
    if not clip:
        return p, log_not_p
    return (p - clip).clamp_(min=0), (not_p + clip).clamp_(max=1).log_()


def _raised(q: Tensor, gamma: float) -> Tensor:
    """Return q^gamma where q counts, else 0."""
    return raised(q, gamma) if gamma else (q > 0).to(q.dtype)


def _no(log_p: Tensor, log_not_p: Tensor, gamma: Parameter, clip: Parameter) -> Tensor:
    """Return q^gamma log(1 - q), q = max(p - clip, 0).

    log q = log p + log(1 - clip / p), and 1 - q = (1 - p) + clip: both as logs of
    positive terms, so that nothing vanishes where p rounds to 0 or to 1.
    """
    log_clip = torch.as_tensor(clip, dtype=log_p.dtype, device=log_p.device).log()
    share = (log_clip - log_p).clamp(max=0.0).exp()  # clip / p, at most 1
    counts = share < 1
    # What does not count is kept away from log 0, whose gradient would be nan.
    log_q = log_p + (-share.where(counts, 0.0)).log1p()
    # logaddexp has no second derivative where one of the two is far below.
    both = torch.stack(torch.broadcast_tensors(log_not_p, log_clip))
    log_not_q = both.logsumexp(0)
    return torch.where(counts, (gamma * finite(log_q)).exp() * log_not_q, 0.0)


def asymmetric_ref(
    scores: NpScores,
    targets: NpScores,
    *,
    gamma_positive: float = 0.0,
    gamma_negative: float = 4.0,
    clip: float = 0.05,
) -> tuple[NpPerExample, NpScores]:
    """Loss and gradient: the product rule in p and q, then dp / df = p (1 - p)."""
    p = 1 / (1 + np.exp(-scores))
    yes, yes_slope = _yes_and_slope(p, gamma_positive)
    no, no_slope = _no_and_slope(p, gamma_negative, clip)
    loss = targets * yes + (1 - targets) * no
    slope = targets * yes_slope + (1 - targets) * no_slope
    return loss, slope * p * (1 - p)


def _yes_and_slope(p: NpScores, gamma: float) -> tuple[NpScores, NpScores]:
    power = (1 - p) ** gamma
    return -power * np.log(p), gamma * power / (1 - p) * np.log(p) - power / p


def _no_and_slope(p: NpScores, gamma: float, clip: float) -> tuple[NpScores, NpScores]:
    q = np.where(p > clip, p - clip, 0.5)  # 0.5 stands for any number: not used
    power = q**gamma
    slope = power / (1 - q) - gamma * power / q * np.log(1 - q)
    return (
        np.where(p > clip, -power * np.log(1 - q), 0.0),
        np.where(p > clip, slope, 0.0),
    )


def recovered(
    scores: NpScores,
    *,
    gamma_positive: float = 0.0,
    gamma_negative: float = 4.0,
    clip: float = 0.05,
) -> NpScores:
    """Return the posterior of "yes" at which the two expected pulls cancel."""
    p = 1 / (1 + np.exp(-scores))
    up = -_yes_and_slope(p, gamma_positive)[1]
    down = _no_and_slope(p, gamma_negative, clip)[1]
    return down / (up + down)


def _plain(gamma_positive: float, gamma_negative: float, clip: float) -> bool:
    """Return whether this is binary cross-entropy."""
    return gamma_positive == gamma_negative == clip == 0


CARD = LossCard(
    name="Asymmetric loss",
    family="imbalance",
    kind="binary",
    fn=asymmetric,
    ref=asymmetric_ref,
    summary='Focal loss for many labels, of which most are "no".',
    cite="ridnik2021asymmetric",
    recovery=recovered,
    params={
        "gamma_positive": Param(
            default=0.0, low=0.0, high=5.0, meaning='focusing at "yes"'
        ),
        "gamma_negative": Param(
            default=4.0, low=0.0, high=5.0, meaning='focusing at "no"'
        ),
        "clip": Param(
            default=0.05, low=0.0, high=0.5, meaning="probability that costs nothing"
        ),
    },
    special_cases=(
        SpecialCase(
            of="binary_cross_entropy",
            params={"gamma_positive": 0.0, "gamma_negative": 0.0, "clip": 0.0},
        ),
    ),
    properties=Properties(
        convex=_plain,
        strictly_proper=_plain,
        symmetric=False,
        monotone=True,
        upper=math.inf,
    ),
)
