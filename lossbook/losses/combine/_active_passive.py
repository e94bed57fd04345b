"""Active-passive loss: normalized cross-entropy plus reverse cross-entropy."""

from lossbook.card import LossCard, Param, Properties, SpecialCase
from lossbook.losses.noise._nce import draw, nce, nce_ref
from lossbook.losses.noise._rce import rce, rce_ref
from lossbook.shapes import (
    Labels,
    Logits,
    NpLabels,
    NpLogits,
    NpPerExample,
    Parameter,
    PerExample,
)


def active_passive(
    logits: Logits,
    labels: Labels,
    *,
    alpha: Parameter = 1.0,
    beta: Parameter = 1.0,
    log_zero: Parameter = -4.0,
) -> PerExample:
    """Return alpha * nce + beta * rce per example: both parts tolerate noise.

    The active part raises the label's probability; the passive part lowers those of
    the other classes, which the active part alone leaves as they are.

    Args:
        logits: (..., C), unnormalized log-probabilities.
        labels: (...), the true class, 0 to C - 1.
        alpha: weight of normalized cross-entropy, the active part.
        beta: weight of reverse cross-entropy, the passive part.
        log_zero: A, a negative number in the place of log 0. Only beta * A matters.

    Returns:
        (...), between 0 and alpha - beta * A.

    Raises:
        ValueError: for labels outside of the classes, or logits that are nan.

    >>> import torch
    >>> active_passive(torch.tensor([[2.0, 0.0]]), torch.tensor([0]))
    tensor([0.5331])
    """
    active = nce(logits, labels)
    return alpha * active + beta * rce(logits, labels, log_zero=log_zero)


def active_passive_ref(
    logits: NpLogits,
    labels: NpLabels,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    log_zero: float = -4.0,
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: the weighted sums of both parts'."""
    active, passive = (
        nce_ref(logits, labels),
        rce_ref(logits, labels, log_zero=log_zero),
    )
    loss, gradient = (
        alpha * a + beta * b for a, b in zip(active, passive, strict=True)
    )
    return loss, gradient


CARD = LossCard(
    name="Active-passive loss",
    family="combine",
    kind="labels",
    fn=active_passive,
    ref=active_passive_ref,
    summary="Two noise-tolerant losses, of which each does what the other leaves out.",
    cite="ma2020normalized",
    params={
        "alpha": Param(default=1.0, low=0.0, high=10.0, meaning="weight of nce"),
        "beta": Param(
            default=1.0, low=0.0, high=10.0, open_low=True, meaning="weight of rce"
        ),
        "log_zero": Param(
            default=-4.0, low=-10.0, high=-1.0, meaning="stand-in for log 0", tex="A"
        ),
    },
    special_cases=(SpecialCase(of="rce", params={"alpha": 0.0}),),
    properties=Properties(
        convex=False,
        strictly_proper=False,
        calibrated=True,
        symmetric=True,
        monotone=True,
        shift_invariant=True,
        upper=lambda alpha, beta, log_zero: alpha - beta * log_zero,
    ),
    draw=draw,
)
