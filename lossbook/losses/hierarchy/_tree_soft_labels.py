"""Soft labels from a tree: classes near the true one get a share of it."""

import math
from dataclasses import KW_ONLY, dataclass

import numpy as np
import torch
from torch import Tensor

from lossbook import validate
from lossbook.card import LossCard, Param, Properties
from lossbook.ops import over_classes, rows, upcast
from lossbook.shapes import (
    Labels,
    Logits,
    NpLabels,
    NpLogits,
    NpPerExample,
    Parameter,
    PerExample,
    Targets,
)
from lossbook.trees import Hierarchy


@dataclass(frozen=True)
class TreeSoftLabels:
    """-sum_k q_k log p_k, with q_k in ratio exp(-beta d(k, y)) and p = softmax(logits).

    d(k, y) is the height of the lowest common ancestor of the classes k and y, over
    the height of the tree: 0 for y itself, 1 for what meets y at the root alone.

    At its best, p is the posterior blurred by the tree, sum_y P(y) q(. | y): the loss
    is not proper.

    Args:
        hierarchy: the tree over the C classes.
        beta: at least 0. At 0 the targets are uniform; for large beta this is
            cross-entropy.

    >>> tree = Hierarchy.from_nested([["cat", "dog"], "car"])
    >>> loss = TreeSoftLabels(tree, beta=4.0)
    >>> loss.targets(torch.tensor([0]))
    tensor([[0.8668, 0.1173, 0.0159]], dtype=torch.float64)
    >>> loss(torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([0]))
    tensor([0.5567])
    """

    hierarchy: Hierarchy
    _: KW_ONLY
    beta: Parameter = 10.0

    def __post_init__(self) -> None:
        """Measure the tree, once."""
        apart = self.hierarchy.lca_heights / self.hierarchy.height
        object.__setattr__(self, "_apart", torch.tensor(apart))

    def targets(self, labels: Labels) -> Targets:
        """Return (..., C), the soft labels q, in float64."""
        apart: Tensor = self._apart  # type: ignore[attr-defined]
        apart = rows(apart.to(labels.device), labels)
        return (-over_classes(self.beta) * apart).softmax(-1)

    def __call__(self, logits: Logits, labels: Labels) -> PerExample:
        """Return the loss per example.

        Args:
            logits: (..., C), unnormalized log-probabilities.
            labels: (...), the true class, 0 to C - 1.

        Returns:
            (...), in nats; at least the entropy of the soft labels.

        Raises:
            ValueError: for labels outside of the classes, logits that are nan, or
                logits for another number of classes than the hierarchy has.
        """
        validate.logits_and_labels(logits, labels)
        validate.has_classes(logits, len(self.hierarchy.classes), "the hierarchy")
        log_p = upcast(logits).log_softmax(-1)
        q = self.targets(labels).to(log_p.dtype)
        terms = torch.where((q == 0) & log_p.isneginf(), 0.0, q * log_p)
        return validate.explain_nan("logits", logits, -terms.sum(-1))


def tree_soft_labels_ref(
    logits: NpLogits, labels: NpLabels, *, hierarchy: Hierarchy, beta: float = 10.0
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: probabilities minus soft labels."""
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    q = np.exp(-beta * hierarchy.lca_heights[labels] / hierarchy.height)
    q = q / q.sum(-1, keepdims=True)
    return -(q * np.log(p)).sum(-1), p - q


CARD = LossCard(
    name="Soft labels of a tree",
    family="hierarchy",
    kind="labels",
    fn=TreeSoftLabels,
    ref=tree_soft_labels_ref,
    summary="Cross-entropy in which near classes get a share of the label.",
    cite="bertinetto2020making",
    closure=lambda rng, classes: {"hierarchy": Hierarchy.random(rng, classes)},
    params={
        "beta": Param(
            default=10.0, low=0.0, high=20.0, meaning="how fast shares fall with height"
        )
    },
    properties=Properties(
        convex=True,
        strictly_proper=False,
        symmetric=False,
        monotone=False,
        shift_invariant=True,
        lower=None,  # the least entropy of the soft labels
        upper=math.inf,
    ),
)
