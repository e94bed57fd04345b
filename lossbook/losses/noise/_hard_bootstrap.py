"""Hard bootstrapping: part of the target is the class that the model predicts."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossbook import validate
from lossbook.card import LossCard, Param, Properties, SpecialCase
from lossbook.ops import psi_loss
from lossbook.shapes import (
    Labels,
    Logits,
    NpLabels,
    NpLogits,
    NpPerExample,
    Parameter,
    PerExample,
)


def hard_bootstrap(
    logits: Logits, labels: Labels, *, beta: Parameter = 0.8
) -> PerExample:
    """Return -beta log p_y - (1 - beta) log p_k, where k is the predicted class.

    The choice of k has no gradient. Of tied classes the first is the predicted one;
    the loss does not depend on the choice, its gradient does.

    Args:
        logits: (..., C), unnormalized log-probabilities.
        labels: (...), the true class, 0 to C - 1.
        beta: weight of the given label; 1 gives cross-entropy, 0 would ignore labels.

    Returns:
        (...), not negative, never more than cross-entropy.

    Raises:
        ValueError: for labels outside of the classes, or logits that are nan.

    >>> import torch
    >>> hard_bootstrap(torch.tensor([[2.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 0]))
    tensor([0.1269, 1.7269])
    """
    validate.logits_and_labels(logits, labels, values=False)
    own = psi_loss(logits, labels, psi, factor)
    best = psi_loss(logits, logits.detach().argmax(-1), psi, factor)
    return beta * own + (1 - beta) * best


def psi(log_p: Tensor, log_not_p: Tensor) -> Tensor:
    """Return -log p."""
    return -log_p


def factor(log_p: Tensor, log_not_p: Tensor) -> Tensor:
    """Return g(p) = 1."""
    return torch.ones_like(log_p)


def hard_bootstrap_ref(
    logits: NpLogits, labels: NpLabels, *, beta: float = 0.8
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: cross-entropy to a target that is held fixed."""
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    unit = np.eye(logits.shape[-1])
    target = beta * unit[labels] + (1 - beta) * unit[p.argmax(-1)]
    return -(target * np.log(p)).sum(-1), p - target


def recovered(logits: NpLogits, *, beta: float = 0.8) -> NpLogits:
    """Return the posterior at which these logits are optimal, nan where none is.

    At the optimum p = beta eta + (1 - beta) e_k with k the likeliest class of eta:
    of all such p this one has the least entropy, which is the risk.
    """
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    k = p.argmax(-1)
    eta = (p - (1 - beta) * np.eye(p.shape[-1])[k]) / beta
    return np.where((eta.argmax(-1) == k)[..., None], eta, np.nan)


def _lipschitz(beta: float) -> Any:
    """Return sqrt(2) beta, the pull of a label that is held for impossible.

    Below sqrt(1/2) many even classes pull harder, and how hard depends on C.
    """
    return math.sqrt(2) * beta if beta >= math.sqrt(0.5) else None


CARD = LossCard(
    name="Hard bootstrapping",
    family="noise",
    kind="labels",
    fn=hard_bootstrap,
    ref=hard_bootstrap_ref,
    summary="Cross-entropy to a mixture of the label and the class predicted now.",
    cite="reed2015training",
    recovery=recovered,
    params={
        "beta": Param(default=0.8, low=0.1, high=1.0, meaning="trust in the label")
    },
    special_cases=(SpecialCase(of="cross_entropy", params={"beta": 1.0}),),
    properties=Properties(
        convex=lambda beta: beta == 1,
        strictly_proper=lambda beta: beta == 1,
        calibrated=True,
        symmetric=False,
        monotone=lambda beta: beta >= 0.5,  # a rival's p_k - beta < 1/2 - beta
        shift_invariant=True,
        upper=math.inf,
        lipschitz=_lipschitz,
    ),
)
