"""Hierarchical cross-entropy: the path's decisions, each with its weight."""

import math
from dataclasses import KW_ONLY, dataclass
from typing import Literal, get_args

import numpy as np
import torch

from lossbook import validate
from lossbook.card import LossCard, Param, Properties, SpecialCase
from lossbook.losses.hierarchy._paths import Paths, path_loss
from lossbook.ops import over_classes, rows
from lossbook.shapes import (
    Labels,
    Logits,
    NpLabels,
    NpLogits,
    NpPerExample,
    Parameter,
    PerExample,
)
from lossbook.trees import Hierarchy

Weighting = Literal["depth", "height"]


@dataclass(frozen=True)
class HierarchicalCrossEntropy:
    """-sum_l w(C^l) log P(C^l | C^(l+1)) along the path from leaf C^0 to root C^h.

    P(v) is the sum of softmax(logits) over the classes below v, and P(C^l | C^(l+1))
    the probability of the right turn at C^(l+1). The weight of an edge is
    w(v) = exp(-alpha n(v)), and n(v) is a choice:

    - "depth", the number of edges between v and the root. Coarse decisions weigh more.
      The loss is strictly proper, since siblings have one weight. For alpha > 0 it is
      not convex in the logits, unless a single node of the tree has several children:
      then there is one decision, and the loss is cross-entropy times its weight.
    - "height", the number of edges between v and its deepest leaf. Coarse decisions
      weigh less. The loss is convex, but siblings of different height have different
      weights, and then it is not proper.

    The article writes h for n. Its code counts the edges between v and the root, and
    divides all weights by their sum over the nodes, the root included. Here they are
    not divided: alpha = 0 is cross-entropy, not cross-entropy over the number of nodes.

    Args:
        hierarchy: the tree over the C classes.
        alpha: at least 0; how fast the weights fall with n.
        weighting: "depth" or "height".

    Raises:
        ValueError: for another weighting.

    >>> tree = Hierarchy.from_nested([["cat", "dog"], "car"])
    >>> loss = HierarchicalCrossEntropy(tree, alpha=0.5)
    >>> logits = torch.tensor([[2.0, 1.0, 0.0]])
    >>> loss(logits, torch.tensor([0])), loss(logits, torch.tensor([2]))
    (tensor([0.1725]), tensor([1.4603]))
    """

    hierarchy: Hierarchy
    _: KW_ONLY
    alpha: Parameter = 0.1
    weighting: Weighting = "depth"

    def __post_init__(self) -> None:
        """Turn the tree into arrays, once."""
        if self.weighting not in get_args(Weighting):
            raise ValueError(
                f'weighting must be "depth" or "height", got {self.weighting!r}'
            )
        paths = self.hierarchy.paths[:, :-1]
        counts = getattr(self.hierarchy, f"{self.weighting}s")[paths]
        put = object.__setattr__
        put(self, "_paths", Paths(self.hierarchy))
        put(self, "_counts", torch.tensor(counts, dtype=torch.float64))
        put(self, "_edges", torch.tensor(paths != self.hierarchy.root))

    def __call__(self, logits: Logits, labels: Labels) -> PerExample:
        """Return the loss per example.

        Args:
            logits: (..., C), unnormalized log-probabilities.
            labels: (...), the true class, 0 to C - 1.

        Returns:
            (...), in nats, not negative.

        Raises:
            ValueError: for labels outside of the classes, logits that are nan, or
                logits for another number of classes than the hierarchy has.
        """
        validate.logits_and_labels(logits, labels)
        paths: Paths = self._paths  # type: ignore[attr-defined]
        validate.has_classes(logits, paths.classes, "the hierarchy")
        counts, edges = (
            rows(table.to(logits.device), labels)
            for table in (self._counts, self._edges)  # type: ignore[attr-defined]
        )
        weights = edges * torch.exp(-over_classes(self.alpha) * counts)
        loss = path_loss(logits, labels, weights, paths, self.alpha)
        return validate.explain_nan("logits", logits, loss)


def hierarchical_cross_entropy_ref(
    logits: NpLogits,
    labels: NpLabels,
    *,
    hierarchy: Hierarchy,
    alpha: float = 0.1,
    weighting: Weighting = "depth",
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: at each step, softmax above the turn minus softmax below."""
    tree = hierarchy
    e = np.exp(logits)
    loss, gradient = np.zeros(labels.shape), np.zeros(logits.shape)
    n = {"depth": tree.depths, "height": tree.heights}[weighting]
    for v, parent in enumerate(tree.parents):
        if v == tree.root:
            continue
        below, above = (
            np.isin(np.arange(e.shape[-1]), tree.order[a:b])
            for a, b in (
                (tree.start[v], tree.stop[v]),
                (tree.start[parent], tree.stop[parent]),
            )
        )
        on_path = below[labels]  # of which examples v lies on the path
        mass, mass_above = (e * below).sum(-1), (e * above).sum(-1)
        weight = on_path * np.exp(-alpha * n[v])
        loss -= weight * np.log(mass / mass_above)
        turn = e * above / mass_above[..., None] - e * below / mass[..., None]
        gradient += weight[..., None] * turn
    return loss, gradient


def recovered(
    logits: NpLogits, *, hierarchy: Hierarchy, alpha: float = 0.1
) -> NpLogits:
    """Return the posterior at which these logits are optimal: their softmax."""
    p: NpLogits = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return p


CARD = LossCard(
    name="Hierarchical cross-entropy",
    family="hierarchy",
    kind="labels",
    fn=HierarchicalCrossEntropy,
    ref=hierarchical_cross_entropy_ref,
    summary="Cross-entropy of each turn on the way to the class, coarse ones weighted.",
    cite="bertinetto2020making",
    recovery=recovered,
    closure=lambda rng, classes: {"hierarchy": Hierarchy.random(rng, classes)},
    params={
        "alpha": Param(
            default=0.1, low=0.0, high=1.0, meaning="how much less fine turns weigh"
        )
    },
    options={"weighting": ("depth", "height")},
    special_cases=(SpecialCase(of="cross_entropy", params={"alpha": 0.0}),),
    # Of trees with more than one decision, whose siblings differ in height somewhere.
    properties=Properties(
        convex=lambda alpha, weighting="depth": weighting == "height" or alpha == 0,
        strictly_proper=lambda alpha, weighting="depth": (
            weighting == "depth" or alpha == 0
        ),
        calibrated=lambda alpha: True,  # with depth weights
        symmetric=False,
        monotone=True,
        shift_invariant=True,
        upper=math.inf,
        lipschitz=lambda alpha: math.sqrt(2) * math.exp(-alpha),
    ),
)
