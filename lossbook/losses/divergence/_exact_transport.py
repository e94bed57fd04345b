"""Optimal transport for any costs, solved exactly. Chapter: transport."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from lossbook import transport, validate
from lossbook.card import LossCard, Properties
from lossbook.modes import values_visible
from lossbook.ops import upcast
from lossbook.shapes import (
    Logits,
    NpLogits,
    NpPerExample,
    NpTargets,
    PerExample,
    Targets,
)


@dataclass(frozen=True, eq=False)
class ExactTransport:
    """min over plans P of <P, costs>: row sums q = targets, column sums p = softmax.

    The cheapest way to move the predicted mass to the true one, by a linear program
    for each example. The gradient in p is the potential f of the predicted classes,
    and so that in the logits is p (f - its mean). Where several potentials are
    optimal, at a kink, it is one of them.

    At one-hot targets there is one plan: `ExpectedCost` needs no program. For costs
    |i - j| there is `wasserstein_1d`.

    Args:
        costs: (C, C), costs[true, predicted] of moving a unit of mass, none negative.
        solver: "scipy" (its linear program), or "pot" (the network simplex of the
            package POT, which is much faster for many classes).

    Raises:
        ValueError: for costs that are no square matrix, negative or not finite, or an
            unknown solver.
        ImportError: for the solver "pot" where POT is not installed.

    >>> loss = ExactTransport([[0.0, 1.0, 4.0], [1.0, 0.0, 1.0], [4.0, 1.0, 0.0]])
    >>> loss(torch.zeros(1, 3), torch.tensor([[0.5, 0.5, 0.0]]))
    tensor([0.5000])
    """

    costs: Tensor
    _: KW_ONLY
    solver: Literal["scipy", "pot"] = "scipy"

    def __post_init__(self) -> None:
        """Check the costs, hold them as a tensor, and find the solver."""
        object.__setattr__(self, "costs", transport.cost_matrix(self.costs))
        _solver(self.solver)

    def __call__(self, logits: Logits, targets: Targets) -> PerExample:
        """Return one loss an example.

        The programs are solved one by one on the CPU, in float64.

        Args:
            logits: (..., C), unnormalized log-probabilities.
            targets: (..., C), probabilities that sum to 1 over the classes.

        Returns:
            (...), in the units of the costs.

        Raises:
            ValueError: for targets that are negative or do not sum to 1, logits that
                are nan, or another number of classes than costs.
            RuntimeError: inside of `torch.func` transforms and `torch.compile`.
        """
        validate.logits_and_targets(logits, targets)
        validate.has_classes(logits, len(self.costs), "costs")
        if not values_visible():
            raise RuntimeError(
                "ExactTransport must see the numbers, and torch.func and torch.compile "
                "hide them; use Sinkhorn there"
            )
        z = upcast(logits)
        p, q = z.softmax(-1), targets.to(z.dtype)
        if bool(p.isnan().any()):
            return validate.explain_nan("logits", logits, p.sum(-1))
        f = self._potentials(p.detach(), q.detach()).to(z)
        # At the optimal f, the best g: their sum is the cost, by strong duality. Both
        # are constants for autograd, and f is the gradient in p.
        g = (self.costs.to(z) - f[..., None, :]).amin(-1)
        loss = (p * f).sum(-1) + (q * g).sum(-1)
        return validate.explain_nan("logits", logits, loss)

    def _potentials(self, p: Tensor, q: Tensor) -> Tensor:
        """Return f, (..., C)."""
        solve, costs = _solver(self.solver), self.costs.cpu().numpy()
        rows = [a.double().reshape(-1, len(costs)).cpu().numpy() for a in (p, q)]
        pairs = zip(*(a / a.sum(-1, keepdims=True) for a in rows), strict=True)
        f = [solve(one_p, one_q, costs) for one_p, one_q in pairs]
        return torch.from_numpy(np.reshape(f, p.shape))


def _solver(name: str) -> Callable[..., Any]:
    if name == "scipy":
        return transport.exact
    if name != "pot":
        raise ValueError(f'solver must be "scipy" or "pot", got {name!r}')
    try:
        import ot
    except ImportError as error:
        raise ImportError(
            'solver "pot" needs the package POT; pip install POT, or use "scipy"'
        ) from error

    def by_pot(p: np.ndarray, q: np.ndarray, costs: np.ndarray) -> np.ndarray:
        _, log = ot.emd(q, p, costs, log=True)
        return transport.best_potential(log["u"], q, costs)

    return by_pot


def exact_transport_ref(
    logits: NpLogits, targets: NpTargets, *, costs: NpLogits
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: Kantorovich's dual, the dearest potentials that costs allow.

    Maximize p f + q g where f_k + g_t <= costs[t, k]; f is the gradient in p.
    """
    from scipy.optimize import linprog

    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    n = len(costs)
    allowed = np.concatenate(
        [np.repeat(np.eye(n), n, 0), np.tile(np.eye(n), (n, 1))], 1
    )
    loss, gradient = np.empty(len(p)), np.empty_like(p)
    for i, (a, b) in enumerate(zip(p, targets, strict=True)):
        at = linprog(
            -np.concatenate([b, a]),
            A_ub=allowed,
            b_ub=costs.ravel(),
            # The potentials are unique up to a constant, and no further apart.
            bounds=[(0, 0)] + [(-2 * costs.max(), 2 * costs.max())] * (2 * n - 1),
        ).x
        # A class with next to no mass is next to nothing to the program: its f is
        # what g allows, of the classes that have some.
        f = (costs - at[:n, None])[b > 0].min(0)
        g = (costs - f).min(1)
        loss[i] = a @ f + b @ g
        gradient[i] = a * (f - a @ f)
    return loss, gradient


def _closure(rng: np.random.Generator, classes: int) -> dict[str, NpLogits]:
    """Draw costs that depend on the direction of the error."""
    return {"costs": rng.uniform(0.2, 1, (classes, classes)) * (1 - np.eye(classes))}


CARD = LossCard(
    name="Exact optimal transport",
    family="divergence",
    kind="targets",
    fn=ExactTransport,
    opaque=True,
    ref=exact_transport_ref,
    summary="The least work that turns the prediction into the truth, for any costs.",
    cite="peyre2019computational",
    closure=_closure,
    stackable=False,
    peers={"ot.emd2": "Takes probabilities, the true ones first, one pair at a time."},
    # Its checks would solve tens of thousands of programs; at labels it is
    # ExpectedCost, whose card states what holds, and the tests show that they agree.
    properties=Properties(lower=None),
)
