"""Tree-Wasserstein distance between two distributions over the classes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lossbook import validate
from lossbook.card import LossCard, Properties
from lossbook.losses.hierarchy._paths import tree_with_lengths
from lossbook.ops import upcast
from lossbook.shapes import (
    Logits,
    NpLogits,
    NpPerExample,
    NpTargets,
    PerExample,
    Targets,
)
from lossbook.trees import Hierarchy


@dataclass(frozen=True)
class SoftTreeWasserstein:
    """sum_v w_v abs(P(v) - Q(v)), with P(v) and Q(v) the probability below node v.

    p = softmax(logits) and q = targets. What lies below v in excess has to leave
    through the edge above v, of length w_v, so the sum over the edges is the least
    work that turns p into q: the Wasserstein distance with the path's length as cost.
    It is 0 for p = q alone, if all edges have a length. Of a single label drawn from
    q it is no proper score: see `TreeWasserstein`.

    Args:
        hierarchy: the tree over the C classes.
        weights: the lengths of the edges, as `Hierarchy.distances` takes them; all 1
            if missing.

    Raises:
        ValueError: for lengths that are negative, or not one a node.

    >>> tree = Hierarchy.from_nested([["cat", "dog"], "car"])
    >>> loss = SoftTreeWasserstein(tree)
    >>> loss(torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([[0.5, 0.5, 0.0]]))
    tensor([0.6006])
    """

    hierarchy: Hierarchy
    weights: Mapping[str, float] | Sequence[float] | np.ndarray | None = None

    def __post_init__(self) -> None:
        """Turn the tree into arrays, once."""
        tree = self.hierarchy
        below = [v for v in range(len(tree.names)) if v != tree.root]
        put = object.__setattr__
        put(self, "_order", torch.tensor(tree.order))
        put(self, "_start", torch.tensor(tree.start[below]))
        put(self, "_stop", torch.tensor(tree.stop[below]))
        put(self, "_lengths", torch.tensor(tree.edge_lengths(self.weights)[below]))

    def __call__(self, logits: Logits, targets: Targets) -> PerExample:
        """Return the loss per example.

        Args:
            logits: (..., C), unnormalized log-probabilities.
            targets: (..., C), probabilities that sum to 1 over the classes.

        Returns:
            (...), between 0 and the largest distance of two classes.

        Raises:
            ValueError: for targets that are negative or do not sum to 1, logits that
                are nan, or logits for another number of classes than the hierarchy
                has.
        """
        validate.logits_and_targets(logits, targets)
        validate.has_classes(logits, len(self.hierarchy.classes), "the hierarchy")
        p = upcast(logits).softmax(-1)
        order, start, stop, lengths = (
            getattr(self, name).to(p.device)
            for name in ("_order", "_start", "_stop", "_lengths")
        )
        # In depth-first order the classes below a node are neighbors.
        excess = (p - targets.to(p.dtype))[..., order].double().cumsum(-1)
        excess = torch.cat([torch.zeros_like(excess[..., :1]), excess], -1)
        flow = excess[..., stop] - excess[..., start]
        loss = (lengths * flow.abs()).sum(-1).to(p.dtype)
        return validate.explain_nan("logits", logits, loss)


def soft_tree_wasserstein_ref(
    logits: NpLogits, targets: NpTargets, *, hierarchy: Hierarchy, weights: Any = None
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: through each edge, the excess, and the side that it is on."""
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    loss, potential = np.zeros(logits.shape[:-1]), np.zeros(logits.shape)
    for v, length in enumerate(hierarchy.edge_lengths(weights)):
        span = hierarchy.order[hierarchy.start[v] : hierarchy.stop[v]]
        excess = (p - targets)[..., span].sum(-1)
        loss += length * np.abs(excess)
        potential[..., span] += length * np.sign(excess)[..., None]
    return loss, p * (potential - (p * potential).sum(-1, keepdims=True))


CARD = LossCard(
    name="Tree-Wasserstein with soft targets",
    family="hierarchy",
    kind="targets",
    fn=SoftTreeWasserstein,
    ref=soft_tree_wasserstein_ref,
    summary="The least work, along the tree, that turns one distribution into another.",
    cite="le2019tree",
    closure=tree_with_lengths,
    peers={
        "ot.emd2": "Takes probabilities and all distances; its solver knows no tree."
    },
    properties=Properties(
        convex=False,
        calibrated=False,
        symmetric=False,
        monotone=True,
        shift_invariant=True,
        upper=1.0,  # the largest distance of two classes, here 1
        lipschitz=math.sqrt(2) / 4,
    ),
)
