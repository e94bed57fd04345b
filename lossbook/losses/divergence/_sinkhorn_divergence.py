"""Entropic transport less its bias: the Sinkhorn divergence. Chapter: transport."""

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
from torch import Tensor

from lossbook import transport, validate
from lossbook.card import LossCard, Param, Properties
from lossbook.ops import over_classes, upcast
from lossbook.shapes import (
    Logits,
    NpLogits,
    NpPerExample,
    NpTargets,
    Parameter,
    PerExample,
    Targets,
)


@dataclass(frozen=True, eq=False)
class SinkhornDivergence:
    """OT(p, q) - OT(p, p) / 2 - OT(q, q) / 2, where OT is the loss of `Sinkhorn`.

    Here p = softmax(logits) and q = targets. What entropic transport pays even where
    p = q is subtracted. As epsilon falls to 0 it becomes the optimal transport, as
    epsilon grows half the energy distance with the costs as distances:
    E c(X, Y) - E c(X, X') / 2 - E c(Y, Y') / 2. It is 0 at p = q, and positive
    elsewhere if the matrix exp(-costs / epsilon) is positive definite, as it is for
    costs |i - j| and for costs of 0 and 1.

    Args:
        costs: (C, C), symmetric costs of moving a unit of mass, none negative.
        epsilon: strength of the entropy, in the units of the costs.
        iterations: how many pairs of steps at most, as in `Sinkhorn`.

    Raises:
        ValueError: for costs that are no symmetric matrix, negative or not finite, an
            epsilon that is not positive, or no iterations.

    >>> import torch
    >>> loss = SinkhornDivergence([[0.0, 1.0], [1.0, 0.0]], epsilon=0.1)
    >>> loss(torch.zeros(2, 2), torch.tensor([[0.9, 0.1], [1.0, 0.0]]))
    tensor([0.3566, 0.4653])
    """

    costs: Tensor
    _: KW_ONLY
    epsilon: Parameter = 0.1
    iterations: int = 100

    def __post_init__(self) -> None:
        """Check the costs, and hold them as a tensor."""
        costs = transport.cost_matrix(self.costs, symmetric=True)
        object.__setattr__(self, "costs", costs)
        transport.positive("epsilon", self.epsilon, "ExactTransport needs none")
        transport.whole("iterations", self.iterations)

    def __call__(self, logits: Logits, targets: Targets) -> PerExample:
        """Return one loss an example.

        Args:
            logits: (..., C), unnormalized log-probabilities.
            targets: (..., C), probabilities that sum to 1 over the classes.

        Returns:
            (...), in the units of the costs.

        Raises:
            ValueError: for targets that are negative or do not sum to 1, logits that
                are nan, or another number of classes than costs.
        """
        validate.logits_and_targets(logits, targets)
        validate.has_classes(logits, len(self.costs), "costs")
        z = upcast(logits)
        q = targets.to(z.dtype)

        def solve(z: Tensor, multiply: bool) -> tuple[Tensor, Tensor]:
            costs, log_p = self.costs.to(z), z.log_softmax(-1)
            how: dict[str, Any] = {
                "epsilon": self.epsilon,
                "iterations": self.iterations,
                "multiply": multiply,
            }
            f, g = transport.potentials(log_p, q, costs, **how)
            of_p, after_p = transport.self_potential(log_p, costs, **how)
            of_q, after_q = transport.self_potential(q.log(), costs, **how)
            # OT of a side with itself is <p, h> twice, at its potential h.
            slope = f - (of_p + after_p) / 2
            own = g - (of_q + after_q) / 2
            loss = (log_p.exp() * slope).sum(-1) + (q * own).sum(-1)
            return self.epsilon * loss, over_classes(self.epsilon) * slope

        loss = transport.by_envelope(z, solve, q, self.epsilon)
        return validate.explain_nan("logits", logits, loss)


def sinkhorn_divergence_ref(
    logits: NpLogits,
    targets: NpTargets,
    *,
    costs: NpLogits,
    iterations: int = 100,
    epsilon: float = 0.1,
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: three plans, and the multipliers of two of them.

    p stands on both sides of the plan that is subtracted by half: its two multipliers
    are one, so that half of their sum is it.
    """
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    kernel = np.exp(-costs / epsilon)

    def solved(a: NpLogits, b: NpLogits) -> tuple[NpPerExample, NpLogits, NpLogits]:
        v = np.ones_like(b)
        for _ in range(10 * iterations):  # steps all the way, not half, are slower
            u = 1 / ((b * v) @ kernel)
            v = 1 / ((a * u) @ kernel)
        u = 1 / ((b * v) @ kernel)
        density = v[..., :, None] * kernel * u[..., None, :]
        plan = b[..., :, None] * a[..., None, :] * density
        cost = (plan * (costs + epsilon * np.log(density))).sum((-2, -1))
        return cost, epsilon * np.log(u), epsilon * np.log(v)

    cost, f, _ = solved(p, targets)
    cost_p, f_p, g_p = solved(p, p)
    cost_q, _, _ = solved(targets, targets)
    slope = f - (f_p + g_p) / 2
    loss = cost - cost_p / 2 - cost_q / 2
    return loss, p * (slope - (p * slope).sum(-1, keepdims=True))


def _closure(rng: np.random.Generator, classes: int) -> dict[str, object]:
    """Place the classes at random in a small square; costs are distances."""
    places = 0.3 * rng.random((classes, 2))
    costs = np.linalg.norm(places[:, None] - places, axis=-1)
    return {"costs": costs, "iterations": 60}


CARD = LossCard(
    name="Sinkhorn divergence",
    family="divergence",
    kind="targets",
    fn=SinkhornDivergence,
    ref=sinkhorn_divergence_ref,
    summary="Entropic transport without its bias: zero where both sides are equal.",
    cite="feydy2019interpolating",
    closure=_closure,
    params={
        "epsilon": Param(
            default=0.1, low=0.1, high=10.0, meaning="strength of the entropy"
        )
    },
    peers={
        "geomloss.SamplesLoss": (
            "Takes points, whose cost is |x - y|^p / p, and has epsilon = blur^p."
        )
    },
    # Whether it is convex or monotone is not stated: to look for it takes a minute.
    properties=Properties(symmetric=False, shift_invariant=True),
)
