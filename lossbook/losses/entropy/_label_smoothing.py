"""Label smoothing: cross-entropy against a softened label. Chapter: label smoothing."""

import math
from typing import Literal

import numpy as np
from torch import Tensor

from lossbook import validate
from lossbook.card import LossCard, Param, Properties, SpecialCase
from lossbook.ops import surprise_loss, times_log
from lossbook.shapes import (
    Labels,
    Logits,
    NpLabels,
    NpLogits,
    NpPerExample,
    Parameter,
    PerExample,
)

Mass = Literal["uniform", "offclass"]


def label_smoothing(
    logits: Logits,
    labels: Labels,
    *,
    epsilon: Parameter = 0.1,
    mass: Mass = "uniform",
) -> PerExample:
    """Return -sum_k q_k log p_k per example, q being the label with mass moved away.

    Two conventions are in use for the C classes. `mass="uniform"` spreads epsilon over
    all of them, the true one included: epsilon / C each, so that the true class keeps
    1 - epsilon + epsilon / C. `mass="offclass"` spreads it over the others only:
    epsilon / (C - 1) each, and the true class keeps 1 - epsilon. The second with
    epsilon is the first with epsilon C / (C - 1).

    Args:
        logits: (..., C), unnormalized log-probabilities.
        labels: (...), the true class, 0 to C - 1.
        epsilon: the mass that is spread, 0 to 1; 0 gives cross-entropy. The likeliest
            class stays the best answer below 1, for "offclass" below (C - 1) / C.
        mass: "uniform" or "offclass".

    Returns:
        (...), in nats; at least the entropy of q, which is 0 only if q is one class.

    Raises:
        ValueError: for labels outside of the classes, logits that are nan, another
            `mass`, or "offclass" with a single class.

    >>> import torch
    >>> label_smoothing(torch.tensor([[2.0, 0.0]]), torch.tensor([0]))
    tensor([0.2269])
    >>> label_smoothing(torch.tensor([[2.0, 0.0]]), torch.tensor([0]), mass="offclass")
    tensor([0.3269])
    """
    validate.logits_and_labels(logits, labels, values=False)
    classes = logits.shape[-1]
    at_others = epsilon / _sharers(mass, classes)
    at_label = 1 - at_others * (classes - 1)
    return surprise_loss(
        logits, labels, value, slopes, of_label=at_label, of_others=at_others
    )


def value(
    at_label: Tensor, at_others: Tensor, *, of_label: Parameter, of_others: Parameter
) -> Tensor:
    """Return the sum of the surprises, each times its mass.

    Each by itself, never as a difference times that of the label: where the label is
    hopeless, it would swallow the other terms.
    """
    own = times_log(-of_label, -at_label)  # nothing where no mass is
    return own + times_log(-of_others, -at_others)


def slopes(
    at_label: Tensor, at_others: Tensor, *, of_label: Parameter, of_others: Parameter
) -> tuple[Parameter, Parameter]:
    """Return the masses."""
    return of_label, of_others


def _sharers(mass: str, classes: int) -> int:
    """Return among how many classes epsilon is shared."""
    if mass not in ("uniform", "offclass"):
        raise ValueError(f'mass must be "uniform" or "offclass", got {mass!r}')
    if mass == "uniform":
        return classes
    if classes < 2:
        raise ValueError(
            'mass="offclass" needs a second class to move mass to, got 1 class; '
            'use mass="uniform"'
        )
    return classes - 1


def label_smoothing_ref(
    logits: NpLogits, labels: NpLabels, *, epsilon: float = 0.1, mass: Mass = "uniform"
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: probabilities minus the smoothed label."""
    classes = logits.shape[-1]
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    e_y = np.eye(classes)[labels]
    spread = np.full(classes, 1 / classes)
    if mass == "offclass":
        spread = (1 - e_y) / (classes - 1)
    q = (1 - epsilon) * e_y + epsilon * spread
    return -(q * np.log(p)).sum(-1), p - q


def recovered(logits: NpLogits, *, epsilon: float = 0.1) -> NpLogits:
    """Return the posterior at which these logits are optimal.

    The best p is the mean smoothed label, (1 - epsilon) eta + epsilon / C.
    """
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return (p - epsilon / logits.shape[-1]) / (1 - epsilon)


CARD = LossCard(
    name="Label smoothing",
    family="entropy",
    kind="labels",
    fn=label_smoothing,
    ref=label_smoothing_ref,
    summary="Cross-entropy against a label that leaves some mass to every class.",
    cite="szegedy2016rethinking",
    recovery=recovered,
    params={
        "epsilon": Param(default=0.1, low=0.0, high=0.9, meaning="mass spread evenly")
    },
    options={"mass": ("uniform", "offclass")},
    special_cases=(SpecialCase(of="cross_entropy", params={"epsilon": 0.0}),),
    properties=Properties(
        convex=True,
        strictly_proper=lambda epsilon: epsilon == 0,
        calibrated=True,
        symmetric=False,
        monotone=lambda epsilon: epsilon == 0,
        shift_invariant=True,
        # The least value is the entropy of q, the steepest gradient has norm
        # sqrt(1 + (1 - epsilon)^2 - epsilon^2 / C): both depend on the classes.
        lower=None,
        upper=math.inf,
    ),
    peers={
        "torch.nn.functional.cross_entropy": (
            "Has `label_smoothing` for epsilon, and the uniform convention only."
        ),
        "optax.losses.smooth_labels": (
            "Returns the targets, of the uniform convention only."
        ),
    },
)
