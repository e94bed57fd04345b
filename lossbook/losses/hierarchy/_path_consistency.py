"""Path consistency: do a coarse and a fine model tell the same story?"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lossbook import validate
from lossbook.card import Arrays, LossCard, Properties
from lossbook.losses.hierarchy._paths import group_masses
from lossbook.ops import upcast
from lossbook.shapes import Logits, NpLogits, NpPerExample, PerExample
from lossbook.trees import Hierarchy

CoarseLogits = Float[Tensor, "*batch groups"]


@dataclass(frozen=True)
class PathConsistency:
    """KL(c || P) = sum_g c_g log(c_g / P_g), the coarse head against the fine one.

    c = softmax(coarse_logits) over the groups of one level of the tree, and P_g is
    the sum of softmax(fine_logits) over the classes of group g. It is 0 if and only if
    both heads agree on the groups. A model with one head, as in
    `LevelwiseCrossEntropy` or `ConditionalSoftmax`, cannot disagree and needs no such
    term.

    Args:
        hierarchy: the tree over the C classes.
        depth: the level of the coarse head; its groups are numbered as in
            `Hierarchy.level`.

    Raises:
        ValueError: for a depth beyond the tree's height.

    >>> tree = Hierarchy.from_nested([["cat", "dog"], "car"])
    >>> loss = PathConsistency(tree, depth=1)
    >>> loss(torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([[0.0, 0.0]]))
    tensor([0.5578])
    """

    hierarchy: Hierarchy
    depth: int = 1

    def __post_init__(self) -> None:
        """Number the groups, once."""
        groups = self.hierarchy.level(self.depth)
        object.__setattr__(self, "_groups", torch.tensor(groups))
        object.__setattr__(self, "_count", int(groups.max()) + 1)

    def __call__(self, fine_logits: Logits, coarse_logits: CoarseLogits) -> PerExample:
        """Return the loss per example.

        Args:
            fine_logits: (..., C), of the classes, unnormalized.
            coarse_logits: (..., G), of the groups, unnormalized.

        Returns:
            (...), in nats, not negative but for rounding.

        Raises:
            TypeError: for logits that are no floating tensors.
            ValueError: for another number of classes or groups than the hierarchy
                has, or logits that are nan.
        """
        groups: Tensor = self._groups  # type: ignore[attr-defined]
        count: int = self._count  # type: ignore[attr-defined]
        _refuse(fine_logits, coarse_logits, self.hierarchy, count, self.depth)
        z, group = upcast(fine_logits), groups.to(fine_logits.device)
        tops, rests = group_masses(z, group.expand(z.shape), count)
        log_fine = (tops - tops.amax(-1, keepdim=True) + rests).log_softmax(-1)
        log_coarse = upcast(coarse_logits).log_softmax(-1)
        c = log_coarse.exp()
        # 0 log 0 is 0, with a gradient of 0, also for a group that is ruled out.
        log_c = torch.where(c == 0, 0.0, log_coarse)
        terms = torch.where(c == 0, 0.0, c * (log_c - log_fine))
        return validate.explain_nan("fine_logits", fine_logits, terms.sum(-1))


def path_consistency_ref(
    fine_logits: NpLogits, coarse_logits: NpLogits, *, hierarchy: Hierarchy, depth: int
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: the fine softmax, minus what the coarse head would have."""
    p = np.exp(fine_logits) / np.exp(fine_logits).sum(-1, keepdims=True)
    c = np.exp(coarse_logits) / np.exp(coarse_logits).sum(-1, keepdims=True)
    groups = hierarchy.level(depth)
    member = np.eye(c.shape[-1])[groups]  # (C, G)
    mass = p @ member
    within = p / mass[..., groups]  # softmax inside of each group
    return (c * np.log(c / mass)).sum(-1), p - c[..., groups] * within


def _refuse(
    fine: Any, coarse: Any, hierarchy: Hierarchy, groups: int, depth: int
) -> None:
    for name, value in (("fine_logits", fine), ("coarse_logits", coarse)):
        if not isinstance(value, Tensor) or not value.dtype.is_floating_point:
            got = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise TypeError(f"{name} must be a torch tensor of floats, got {got}")
    validate.has_classes(fine, len(hierarchy.classes), "the hierarchy")
    if coarse.shape != (*fine.shape[:-1], groups):
        raise ValueError(
            f"coarse_logits must have shape {(*fine.shape[:-1], groups)}, one entry a "
            f"group at depth {depth}, got {tuple(coarse.shape)}"
        )


def _closed(rng: np.random.Generator, classes: int) -> dict[str, Any]:
    return {"hierarchy": Hierarchy.random(rng, classes), "depth": 1}


def _draw(rng: np.random.Generator, n: int, classes: int) -> Arrays:
    closed = _closed(np.random.default_rng(0), classes)
    groups = closed["hierarchy"].level(closed["depth"]).max() + 1
    return 3 * rng.normal(size=(n, classes)), 3 * rng.normal(size=(n, groups))


CARD = LossCard(
    name="Path consistency",
    family="hierarchy",
    kind="pair",
    fn=PathConsistency,
    ref=path_consistency_ref,
    summary="Asks a fine and a coarse output to agree on the groups of the classes.",
    cite="kullback1951information",
    closure=_closed,
    draw=_draw,
    properties=Properties(lower=None),  # no check of bounds covers this kind
)
