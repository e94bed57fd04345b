"""Expected cost of a prediction: optimal transport to a label. Chapter: transport."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from lossbook import transport, validate
from lossbook.card import LossCard, Properties
from lossbook.ops import rows, upcast
from lossbook.shapes import (
    Labels,
    Logits,
    NpLabels,
    NpLogits,
    NpPerExample,
    PerExample,
)


@dataclass(frozen=True, eq=False)
class ExpectedCost:
    """The mean cost of a class drawn from softmax(logits): sum_k p_k costs[y, k].

    This is the optimal transport between p and the label: all mass must go to y, so
    there is one plan and no solver. It is linear in p. In expectation over labels its
    minimum puts all mass on the class of least expected cost, so it is no proper
    score; `p @ costs.T` at a posterior p tells that class directly.

    Args:
        costs: (C, C), costs[true, predicted] of each error, none negative; the
            diagonal is usually 0. Costs of 0 and 1 give 1 - p_y, |i - j| gives the
            Wasserstein distance of ordered classes.

    Raises:
        ValueError: for costs that are no square matrix, negative or not finite.

    >>> import torch
    >>> loss = ExpectedCost([[0, 1], [5, 0]])  # missing class 1 costs five times more
    >>> loss(torch.zeros(2, 2), torch.tensor([0, 1]))
    tensor([0.5000, 2.5000])
    """

    costs: Tensor

    def __post_init__(self) -> None:
        """Check the costs, and hold them as a tensor."""
        object.__setattr__(self, "costs", transport.cost_matrix(self.costs))

    def __call__(self, logits: Logits, labels: Labels) -> PerExample:
        """Return one loss an example.

        Args:
            logits: (..., C), unnormalized log-probabilities.
            labels: (...), the true class, 0 to C - 1.

        Returns:
            (...), in the units of the costs.

        Raises:
            ValueError: for labels outside of the classes, logits that are nan, or
                another number of classes than costs.
        """
        validate.logits_and_labels(logits, labels)
        validate.has_classes(logits, len(self.costs), "costs")
        p = upcast(logits).softmax(-1)
        of_label = rows(self.costs.to(p), labels)
        return validate.explain_nan("logits", logits, (p * of_label).sum(-1))


def expected_cost_ref(
    logits: NpLogits, labels: NpLabels, *, costs: NpLogits
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: each class's cost against the mean, weighted by p."""
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    of_label = costs[labels]
    loss = (p * of_label).sum(-1)
    return loss, p * (of_label - loss[..., None])


def _closure(rng: np.random.Generator, classes: int) -> dict[str, NpLogits]:
    """Draw costs that depend on the direction of the error."""
    return {"costs": rng.uniform(0.2, 1, (classes, classes)) * (1 - np.eye(classes))}


CARD = LossCard(
    name="Expected cost",
    family="divergence",
    kind="labels",
    fn=ExpectedCost,
    ref=expected_cost_ref,
    summary="What a class drawn from the prediction would cost: transport to a label.",
    cite="elkan2001foundations",
    closure=_closure,
    peers={"ot.emd2": "Solves a linear program; at a one-hot target it has one plan."},
    properties=Properties(
        convex=False,
        strictly_proper=False,
        calibrated=False,
        symmetric=False,
        monotone=True,
        shift_invariant=True,
    ),
)
