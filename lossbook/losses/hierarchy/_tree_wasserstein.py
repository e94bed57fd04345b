"""Tree-Wasserstein distance to a class: the expected length of the way to it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossbook import validate
from lossbook.card import LossCard, Properties
from lossbook.losses.hierarchy._paths import tree_with_lengths
from lossbook.ops import rows, upcast
from lossbook.shapes import Labels, Logits, NpLabels, NpLogits, NpPerExample, PerExample
from lossbook.trees import Hierarchy


@dataclass(frozen=True)
class TreeWasserstein:
    """sum_k p_k D(k, y), with p = softmax(logits) and D the length of the path.

    All of p has to go to y, so the optimal plan is forced: this is the Wasserstein
    distance, for any cost D, and no solver is needed. For probabilities as targets
    see `SoftTreeWasserstein`.

    As a loss it is not proper: it is least if all of p is put on the class with the
    smallest expected distance, which need not be the likeliest one.

    Args:
        hierarchy: the tree over the C classes.
        weights: the lengths of the edges, as `Hierarchy.distances` takes them; all 1
            if missing.

    Raises:
        ValueError: for lengths that are negative, or not one a node.

    >>> tree = Hierarchy.from_nested([["cat", "dog"], "car"])
    >>> loss = TreeWasserstein(tree)
    >>> loss(torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([0]))
    tensor([0.7595])
    """

    hierarchy: Hierarchy
    weights: Mapping[str, float] | Sequence[float] | np.ndarray | None = None

    def __post_init__(self) -> None:
        """Measure the tree, once."""
        apart = torch.tensor(self.hierarchy.distances(self.weights))
        object.__setattr__(self, "_apart", apart)

    def __call__(self, logits: Logits, labels: Labels) -> PerExample:
        """Return the loss per example.

        Args:
            logits: (..., C), unnormalized log-probabilities.
            labels: (...), the true class, 0 to C - 1.

        Returns:
            (...), between 0 and the largest distance of two classes.

        Raises:
            ValueError: for labels outside of the classes, logits that are nan, or
                logits for another number of classes than the hierarchy has.
        """
        validate.logits_and_labels(logits, labels)
        validate.has_classes(logits, len(self.hierarchy.classes), "the hierarchy")
        p = upcast(logits).softmax(-1)
        apart: Tensor = self._apart  # type: ignore[attr-defined]
        cost = rows(apart.to(p), labels)
        return validate.explain_nan("logits", logits, (p * cost).sum(-1))


def tree_wasserstein_ref(
    logits: NpLogits, labels: NpLabels, *, hierarchy: Hierarchy, weights: Any = None
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: each class by how much farther it is than the average."""
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    cost = hierarchy.distances(weights)[labels]
    loss = (p * cost).sum(-1)
    return loss, p * (cost - loss[..., None])


CARD = LossCard(
    name="Tree-Wasserstein",
    family="hierarchy",
    kind="labels",
    fn=TreeWasserstein,
    ref=tree_wasserstein_ref,
    summary="How far, along the tree, probability has to travel to the true class.",
    cite="le2019tree",
    closure=tree_with_lengths,
    peers={
        "ot.emd2": "Takes probabilities and all distances; its solver knows no tree."
    },
    properties=Properties(
        convex=False,
        strictly_proper=False,
        calibrated=False,
        symmetric=False,
        monotone=True,
        shift_invariant=True,
        upper=1.0,  # the largest distance of two classes, here 1
        lipschitz=math.sqrt(2) / 4,
    ),
)
