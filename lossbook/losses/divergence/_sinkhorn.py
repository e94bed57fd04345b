"""Entropic optimal transport by Sinkhorn's iterations. Chapter: transport."""

from dataclasses import KW_ONLY, dataclass

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
class Sinkhorn:
    """min over plans P of <P, costs> + epsilon KL(P || p q), with p = softmax(logits).

    P[t, k] has the rows' sums q = targets and the columns' sums p. The value lies
    between the optimal transport (epsilon to 0) and the mean cost of independent draws
    from p and q (epsilon to infinity). So it is not 0 at p = q, nor minimal there:
    `SinkhornDivergence` is. At a one-hot target there is one plan, and the value is
    that of `ExpectedCost` for every epsilon.

    The value is the dual one, a bound from below until the iterations converge. The
    number that they need grows like max(costs) / epsilon, and more where masses differ
    a lot: look at `marginal_error`. The gradient is the potential of the predicted
    classes, and as exact as the iterations made it.

    Args:
        costs: (C, C), costs[true, predicted] of moving a unit of mass, none negative.
        epsilon: strength of the entropy, in the units of the costs.
        iterations: how many pairs of steps at most; they end once nothing changes.

    Raises:
        ValueError: for costs that are no square matrix, negative or not finite, an
            epsilon that is not positive, or no iterations.

    >>> import torch
    >>> loss = Sinkhorn([[0.0, 1.0], [1.0, 0.0]], epsilon=0.1)
    >>> loss(torch.zeros(1, 2), torch.tensor([[0.9, 0.1]]))
    tensor([0.4075])
    """

    costs: Tensor
    _: KW_ONLY
    epsilon: Parameter = 0.1
    iterations: int = 100

    def __post_init__(self) -> None:
        """Check the costs, and hold them as a tensor."""
        object.__setattr__(self, "costs", transport.cost_matrix(self.costs))
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
        self._check(logits, targets)
        z = upcast(logits)
        q = targets.to(z.dtype)

        def solve(z: Tensor, multiply: bool) -> tuple[Tensor, Tensor]:
            f, g = self._potentials(z, q, multiply)
            loss = (z.softmax(-1) * f).sum(-1) + (q * g).sum(-1)
            return self.epsilon * loss, over_classes(self.epsilon) * f

        loss = transport.by_envelope(z, solve, q, self.epsilon)
        return validate.explain_nan("logits", logits, loss)

    def plan(self, logits: Logits, targets: Targets) -> Tensor:
        """Return P, (..., C, C): what goes to true class t from predicted class k.

        >>> import torch
        >>> loss = Sinkhorn([[0.0, 1.0], [1.0, 0.0]], epsilon=0.1)
        >>> loss.plan(torch.zeros(2), torch.tensor([1.0, 0.0]))
        tensor([[0.5000, 0.5000],
                [0.0000, 0.0000]])
        """
        self._check(logits, targets)
        z = upcast(logits)
        q = targets.to(z.dtype)
        f, g = self._potentials(z, q, False)
        m = self.costs.to(z) / over_classes(over_classes(self.epsilon))
        log_p = z.log_softmax(-1)
        log_density = (f + log_p)[..., None, :] + (g + q.log())[..., :, None] - m
        return log_density.exp()

    def marginal_error(self, logits: Logits, targets: Targets) -> PerExample:
        """Return the sum of |row sums of the plan - targets|: 0 where converged.

        >>> import torch
        >>> costs = 1 - torch.eye(3)
        >>> z, q = torch.tensor([3.0, 0.0, 0.0]), torch.tensor([0.1, 0.6, 0.3])
        >>> errors = [
        ...     Sinkhorn(costs, epsilon=0.02, iterations=i).marginal_error(z, q)
        ...     for i in (1, 100)
        ... ]
        >>> bool(errors[0] > 0.1), bool(errors[1] < 1e-5)
        (True, True)
        """
        rows = self.plan(logits, targets).sum(-1)
        return (rows - targets.to(rows.dtype)).abs().sum(-1)

    def _check(self, logits: Logits, targets: Targets) -> None:
        validate.logits_and_targets(logits, targets)
        validate.has_classes(logits, len(self.costs), "costs")

    def _potentials(
        self, z: Tensor, q: Tensor, multiply: bool
    ) -> tuple[Tensor, Tensor]:
        return transport.potentials(
            z.log_softmax(-1),
            q,
            self.costs.to(z),
            epsilon=self.epsilon,
            iterations=self.iterations,
            multiply=multiply,
        )


def sinkhorn_ref(
    logits: NpLogits,
    targets: NpTargets,
    *,
    costs: NpLogits,
    iterations: int = 100,
    epsilon: float = 0.1,
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: rows and columns scaled in turn until the sums are right.

    The value is that of the plan itself; the gradient in p is epsilon log u, the
    multiplier of the columns' constraint, through the softmax's Jacobian.
    """
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    kernel = np.exp(-costs / epsilon)  # a row a true class
    v = np.ones_like(targets)
    for _ in range(iterations):
        u = 1 / ((targets * v) @ kernel)
        v = 1 / ((p * u) @ kernel.T)
    u = 1 / ((targets * v) @ kernel)
    density = v[..., :, None] * kernel * u[..., None, :]
    plan = targets[..., :, None] * p[..., None, :] * density
    loss = (plan * (costs + epsilon * np.log(density))).sum((-2, -1))
    f = epsilon * np.log(u)
    return loss, p * (f - (p * f).sum(-1, keepdims=True))


def _closure(rng: np.random.Generator, classes: int) -> dict[str, object]:
    """Draw costs that depend on the direction, and iterations enough to converge."""
    costs = rng.uniform(0.1, 0.3, (classes, classes)) * (1 - np.eye(classes))
    return {"costs": costs, "iterations": 60}


CARD = LossCard(
    name="Entropic optimal transport",
    family="divergence",
    kind="targets",
    fn=Sinkhorn,
    ref=sinkhorn_ref,
    summary="Optimal transport made smooth by the entropy of the plan.",
    cite="cuturi2013sinkhorn",
    closure=_closure,
    params={
        "epsilon": Param(
            default=0.1, low=0.1, high=10.0, meaning="strength of the entropy"
        )
    },
    peers={
        "geomloss.SamplesLoss": (
            "Takes points, whose cost is |x - y|^p / p, has epsilon = blur^p, and "
            "subtracts the bias unless debias=False."
        ),
        "ot.sinkhorn2": "Returns the cost of the plan without its entropy.",
        "ot.solve_batch": (
            "Adds epsilon sum P log P, which is less by epsilon times the entropies of "
            "p and q."
        ),
    },
    properties=Properties(
        convex=False, symmetric=False, monotone=True, shift_invariant=True
    ),
)
