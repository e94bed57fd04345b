"""Level-wise cross-entropy: one term for the group of the class at each level."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossbook import validate
from lossbook.card import LossCard, Properties
from lossbook.losses.hierarchy._paths import Paths, path_loss
from lossbook.ops import rows
from lossbook.shapes import Labels, Logits, NpLabels, NpLogits, NpPerExample, PerExample
from lossbook.trees import Hierarchy


@dataclass(frozen=True)
class LevelwiseCrossEntropy:
    """-sum_d w_d log P(G_d), where G_d is the group of the true class at depth d.

    P(G) is the sum of softmax(logits) over the classes of a group. A class that lies
    less deep than others is a group of its own at all further depths. So each term is
    the logarithmic score of one partition of the classes, and their sum is strictly
    proper if the deepest level has a positive weight.

    It is hierarchical cross-entropy by another name: log P(G_d) is the sum of the
    turns down to depth d, so that the turn at depth d has the weight w_d + ... + w_h.

    Args:
        hierarchy: the tree over the C classes, of height h.
        level_weights: (h,), not negative, from coarse to fine; all 1 if missing.

    Raises:
        ValueError: for weights that are negative, or not one a level.

    >>> tree = Hierarchy.from_nested([["cat", "dog"], "car"])
    >>> loss = LevelwiseCrossEntropy(tree, level_weights=(1.0, 0.5))
    >>> logits = torch.tensor([[2.0, 1.0, 0.0]])
    >>> loss(logits, torch.tensor([0])), loss(logits, torch.tensor([2]))
    (tensor([0.2981]), tensor([3.6114]))
    """

    hierarchy: Hierarchy
    level_weights: Sequence[float] | np.ndarray | None = None

    def __post_init__(self) -> None:
        """Turn the tree into arrays, once."""
        weights = _weights(self.level_weights, self.hierarchy.height)
        finer = np.cumsum(weights[::-1])[::-1]  # of depth d: w_d + ... + w_h
        paths = self.hierarchy.paths[:, :-1]
        turns = np.append(0.0, finer)[self.hierarchy.depths[paths]]
        object.__setattr__(self, "_paths", Paths(self.hierarchy))
        object.__setattr__(self, "_turns", torch.tensor(turns))

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
        turns: Tensor = self._turns  # type: ignore[attr-defined]
        validate.has_classes(logits, paths.classes, "the hierarchy")
        weights = rows(turns.to(logits.device), labels)
        loss = path_loss(logits, labels, weights, paths)
        return validate.explain_nan("logits", logits, loss)


def levelwise_cross_entropy_ref(
    logits: NpLogits,
    labels: NpLabels,
    *,
    hierarchy: Hierarchy,
    level_weights: Any = None,
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: at each level, softmax minus softmax within the group."""
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    loss, gradient = np.zeros(labels.shape), np.zeros(logits.shape)
    for depth, weight in enumerate(_weights(level_weights, hierarchy.height), start=1):
        group = hierarchy.level(depth)
        inside = p * (group == group[labels][..., None])
        mass = inside.sum(-1)
        loss -= weight * np.log(mass)
        gradient += weight * (p - inside / mass[..., None])
    return loss, gradient


def _weights(given: Any, height: int) -> np.ndarray:
    """Return (height,) weights in float64; refuse anything else."""
    weights = np.ones(height) if given is None else np.array(given, dtype=np.float64)
    if weights.shape != (height,):
        raise ValueError(
            f"level_weights must be one a level, shape ({height},), got shape "
            f"{weights.shape}"
        )
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise ValueError(
            f"level_weights must be finite and not negative, got {weights.tolist()}"
        )
    return weights


def recovered(logits: NpLogits, **closed: Any) -> NpLogits:
    """Return the posterior at which these logits are optimal: their softmax."""
    p: NpLogits = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return p


def _drawn(rng: np.random.Generator, classes: int) -> dict[str, Any]:
    hierarchy = Hierarchy.random(rng, classes)
    return {
        "hierarchy": hierarchy,
        "level_weights": rng.dirichlet(np.ones(hierarchy.height)),
    }


CARD = LossCard(
    name="Level-wise cross-entropy",
    family="hierarchy",
    kind="labels",
    fn=LevelwiseCrossEntropy,
    ref=levelwise_cross_entropy_ref,
    summary="Cross-entropy of the class's group at each level, summed with weights.",
    cite="valmadre2022hierarchical",
    recovery=recovered,
    closure=_drawn,
    properties=Properties(
        convex=False,
        strictly_proper=True,
        calibrated=True,
        symmetric=False,
        monotone=True,
        shift_invariant=True,
        upper=math.inf,
        lipschitz=math.sqrt(2),  # times the sum of the weights, here 1
    ),
)
