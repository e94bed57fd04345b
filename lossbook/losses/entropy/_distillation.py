"""Distillation: match a teacher's softened probabilities. Chapter: label smoothing."""

import math

import numpy as np
from scipy.special import rel_entr

from lossbook.card import LossCard, Param, Properties
from lossbook.ops import divergence_loss
from lossbook.shapes import (
    Logits,
    NpLogits,
    NpPerExample,
    NpTargets,
    Parameter,
    PerExample,
    Targets,
)


def distillation(
    logits: Logits, targets: Targets, *, temperature: Parameter = 4.0
) -> PerExample:
    """Return T^2 KL(q_T || p_T) per example: teacher q and student p at temperature T.

    Softening acts on probabilities as well as on logits: softmax(t / T) is q^(1/T),
    divided by its sum, with q = softmax(t). So the teacher is given by its
    probabilities, in the dtype of the softmax that made them: a probability that has
    become 0 stays 0 at every temperature.

    The truth that it is least at is the teacher's: p = q, at every temperature. Labels
    in the place of a teacher are another matter. A one-hot q stays one-hot, so that in
    expectation over labels p_T, and not p, is to be their posterior: above T = 1 it is
    no proper score of labels.

    Args:
        logits: (..., C), of the student, unnormalized log-probabilities.
        targets: (..., C), the teacher's probabilities at temperature 1.
        temperature: T, above 0, of student and teacher alike. The gradient is
            T (p_T - q_T), and the factor T^2 keeps its size: as T grows, it tends to
            the difference of the centered logits, divided by C.

    Returns:
        (...), in nats; 0 where the student's probabilities are the teacher's.

    Raises:
        ValueError: for targets that are negative or do not sum to 1, or logits that
            are nan.

    >>> import torch
    >>> distillation(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.5, 0.5]]))
    tensor([0.4949])
    """
    return divergence_loss(logits, targets, temperature=temperature)


def distillation_ref(
    logits: NpLogits, targets: NpTargets, *, temperature: float = 4.0
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: T^2 times (p_T - q_T) / T."""
    powers = targets ** (1 / temperature)
    q = powers / powers.sum(-1, keepdims=True)
    e = np.exp(logits / temperature)
    p = e / e.sum(-1, keepdims=True)
    divergence = rel_entr(q, p).sum(-1)  # q log(q / p), with 0 log 0 = 0
    return temperature**2 * divergence, temperature * (p - q)


CARD = LossCard(
    name="Distillation",
    family="entropy",
    kind="targets",
    fn=distillation,
    ref=distillation_ref,
    summary="The divergence from a teacher's probabilities, both softened alike.",
    cite="hinton2015distilling",
    params={
        "temperature": Param(
            default=4.0, low=1.0, high=20.0, meaning="softening", tex="T"
        )
    },
    properties=Properties(
        convex=True,
        # For the teacher as the truth. Over labels drawn from a posterior, the best
        # softmax(logits) is that posterior to the power T, divided by its sum.
        strictly_proper=True,
        calibrated=True,
        symmetric=False,
        monotone=True,
        shift_invariant=True,
        upper=math.inf,
        lipschitz=lambda temperature: math.sqrt(2) * temperature,
    ),
    peers={
        "torch.nn.functional.kl_div": (
            "Takes log-probabilities of the student, has no temperature, and returns "
            "one term a class."
        ),
        "optax.losses.kl_divergence": (
            "Takes log-probabilities of the student, and has no temperature."
        ),
    },
)
