"""Transport that may create and destroy mass, at a price. Chapter: transport."""

from dataclasses import KW_ONLY, dataclass

import numpy as np
import torch
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
class UnbalancedTransport:
    """Entropic transport whose marginals are only asked to be near p and q.

    min over P >= 0 of <P, costs> + epsilon KL(P || p q) + rho KL(P's column sums || p)
    + rho KL(P's row sums || q), with p = softmax(logits), q = targets, and
    KL(a || b) = sum a log(a / b) - a + b, which allows for different masses. To move
    mass further than about 2 rho costs more than to destroy it here and create it
    there, so one expensive error cannot dominate. As rho grows this is `Sinkhorn`.

    Args:
        costs: (C, C), costs[true, predicted] of moving a unit of mass, none negative.
        epsilon: strength of the entropy, in the units of the costs.
        rho: price of wrong marginals, in the units of the costs.
        iterations: how many pairs of steps at most; they end once nothing changes.

    Raises:
        ValueError: for costs that are no square matrix, negative or not finite,
            epsilon or rho that are not positive, or no iterations.

    >>> loss = UnbalancedTransport([[0.0, 1.0], [1.0, 0.0]], epsilon=0.1, rho=0.1)
    >>> loss(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
    tensor([0.1102])
    """

    costs: Tensor
    _: KW_ONLY
    epsilon: Parameter = 0.1
    rho: Parameter = 1.0
    iterations: int = 100

    def __post_init__(self) -> None:
        """Check the costs, and hold them as a tensor."""
        object.__setattr__(self, "costs", transport.cost_matrix(self.costs))
        transport.positive("epsilon", self.epsilon, "ExactTransport needs none")
        transport.positive("rho", self.rho, "Sinkhorn keeps the marginals")
        transport.whole("iterations", self.iterations)

    def __call__(self, logits: Logits, targets: Targets) -> PerExample:
        """Return one loss an example.

        Args:
            logits: (..., C), unnormalized log-probabilities.
            targets: (..., C), probabilities that sum to 1 over the classes.

        Returns:
            (...), in the units of the costs, less than 2 rho + epsilon.

        Raises:
            ValueError: for targets that are negative or do not sum to 1, logits that
                are nan, or another number of classes than costs.
        """
        validate.logits_and_targets(logits, targets)
        validate.has_classes(logits, len(self.costs), "costs")
        z = upcast(logits)
        q = targets.to(z.dtype)
        epsilon, rho = over_classes(self.epsilon), over_classes(self.rho)

        def solve(z: Tensor, multiply: bool) -> tuple[Tensor, Tensor]:
            f, g = transport.potentials(
                z.log_softmax(-1),
                q,
                self.costs.to(z),
                epsilon=self.epsilon,
                iterations=self.iterations,
                damping=self.rho / (self.rho + self.epsilon),
                multiply=multiply,
            )
            # The dual value; the plan's mass follows from the last step.
            slope = -(rho + epsilon) * torch.expm1(-f * epsilon / rho)
            own = -rho * torch.expm1(-g * epsilon / rho)
            return (z.softmax(-1) * slope).sum(-1) + (q * own).sum(-1), slope

        loss = transport.by_envelope(z, solve, q, self.epsilon, self.rho)
        return validate.explain_nan("logits", logits, loss)


def unbalanced_transport_ref(
    logits: NpLogits,
    targets: NpTargets,
    *,
    costs: NpLogits,
    iterations: int = 100,
    epsilon: float = 0.1,
    rho: float = 1.0,
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: the value of the plan, and how it sees p.

    p stands in two terms, epsilon KL(P || p q) and rho KL(columns || p). With the plan
    kept, the first has the derivative epsilon (1 - columns / p) and the second rho
    (1 - columns / p), as q has mass 1.
    """
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    kernel = np.exp(-costs / epsilon)  # a row a true class
    power = rho / (rho + epsilon)
    v = np.ones_like(targets)
    for _ in range(30 * iterations):  # a large rho lets steps alone converge slowly
        u = ((targets * v) @ kernel) ** -power
        v = ((p * u) @ kernel.T) ** -power
    u = ((targets * v) @ kernel) ** -power
    density = v[..., :, None] * kernel * u[..., None, :]
    product = targets[..., :, None] * p[..., None, :]
    plan = product * density
    columns, rows = plan.sum(-2), plan.sum(-1)

    def divergence(a: NpLogits, b: NpLogits) -> NpLogits:
        ratio = np.where(b > 0, a, 1) / np.where(b > 0, b, 1)
        return a * np.log(ratio) - a + b

    loss = (plan * costs).sum((-2, -1))
    loss = loss + epsilon * divergence(plan, product).sum((-2, -1))
    loss = loss + rho * (divergence(columns, p) + divergence(rows, targets)).sum(-1)
    slope = (epsilon + rho) * (1 - columns / p)
    return loss, p * (slope - (p * slope).sum(-1, keepdims=True))


def _closure(rng: np.random.Generator, classes: int) -> dict[str, object]:
    """Draw costs that depend on the direction, and iterations enough to converge."""
    costs = rng.uniform(0.1, 0.3, (classes, classes)) * (1 - np.eye(classes))
    return {"costs": costs, "iterations": 60}


CARD = LossCard(
    name="Unbalanced transport",
    family="divergence",
    kind="targets",
    fn=UnbalancedTransport,
    ref=unbalanced_transport_ref,
    summary="Transport that may also create and destroy mass, at a price.",
    cite="frogner2015learning",
    closure=_closure,
    params={
        "epsilon": Param(
            default=0.1, low=0.1, high=10.0, meaning="strength of the entropy"
        ),
        "rho": Param(default=1.0, low=0.1, high=10.0, meaning="price of a marginal"),
    },
    peers={
        "ot.unbalanced.sinkhorn_unbalanced2": (
            "Returns the cost of the plan alone; its total leaves the masses out of "
            "KL, and is 0 at every solution."
        )
    },
    # Nothing is said of convexity and of the infimum, 0: to look for them takes long.
    properties=Properties(
        symmetric=False, monotone=True, shift_invariant=True, lower=None
    ),
)
