"""Conditional softmax: one softmax a group of siblings."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossbook import validate
from lossbook.card import LossCard, Properties
from lossbook.losses.hierarchy._paths import group_masses
from lossbook.ops import rows, upcast
from lossbook.shapes import Labels, Logits, NpLabels, NpLogits, NpPerExample, PerExample
from lossbook.trees import Hierarchy


@dataclass(frozen=True)
class ConditionalSoftmax:
    """-sum_l log p(C^l | C^(l+1)) along the path from node C^0 up to the root.

    The logits belong to nodes, not to classes: siblings share a softmax, which is
    their probability given their parent. The probability of a class is the product
    along its path, so probabilities of all levels agree, whatever the logits are. The
    loss is convex in the logits.

    The nodes below the root are numbered with the classes first, 0 to C - 1, then the
    inner nodes in the order of the hierarchy; `nodes` holds their names. A label may
    be any of them: that of an inner node says that no more is known of the example.

    Args:
        hierarchy: the tree over the C classes, with M nodes below the root.

    >>> tree = Hierarchy.from_nested([["cat", "dog"], "car"])
    >>> loss = ConditionalSoftmax(tree)
    >>> loss.nodes
    ('cat', 'dog', 'car', 'root.0')
    >>> logits = torch.tensor([[2.0, 0.0, 0.0, 1.0]])
    >>> loss(logits, torch.tensor([0])), loss(logits, torch.tensor([3]))
    (tensor([0.4402]), tensor([0.3133]))
    >>> loss.probabilities(logits)
    tensor([[0.6439, 0.0871, 0.2689]])
    """

    hierarchy: Hierarchy

    def __post_init__(self) -> None:
        """Number the nodes, and turn the tree into arrays, once."""
        nodes, family, climbs = _numbered(self.hierarchy)
        put = object.__setattr__
        put(self, "nodes", tuple(self.hierarchy.names[v] for v in nodes))
        put(self, "_family", torch.tensor(family))
        put(self, "_families", int(family.max()) + 1)
        put(self, "_climbs", torch.tensor(climbs))

    def __call__(self, logits: Logits, labels: Labels) -> PerExample:
        """Return the loss per example.

        Args:
            logits: (..., M), one a node below the root, unnormalized.
            labels: (...), the true node, 0 to M - 1; a class is its own index.

        Returns:
            (...), in nats, not negative.

        Raises:
            ValueError: for labels that are no node's, logits that are nan, or logits
                for another number of nodes than the hierarchy has.
        """
        validate.logits_and_labels(logits, labels)
        climbs: Tensor = self._climbs  # type: ignore[attr-defined]
        steps = rows(climbs.to(logits.device), labels)
        turns = self._log_turns(logits).gather(-1, steps)
        return validate.explain_nan("logits", logits, -turns.sum(-1))

    def log_probabilities(self, logits: Logits) -> Logits:
        """Return (..., C), the logarithm of each class's probability."""
        climbs: Tensor = self._climbs[: len(self.hierarchy.classes)]  # type: ignore[attr-defined]
        steps = climbs.to(logits.device)
        return self._log_turns(logits)[..., steps].sum(-1)

    def probabilities(self, logits: Logits) -> Logits:
        """Return (..., C), the probability of each class; they sum to 1."""
        return self.log_probabilities(logits).exp()

    def _log_turns(self, logits: Logits) -> Tensor:
        """Return (..., M + 1): log p(node | parent), and a 0 for what has no turn."""
        z = upcast(logits)
        _has_nodes(z, self.nodes)  # type: ignore[attr-defined]
        family: Tensor = self._family  # type: ignore[attr-defined]
        family = family.to(z.device).expand(z.shape)
        tops, rests = group_masses(z, family, self._families)  # type: ignore[attr-defined]
        turns = (z - tops.gather(-1, family)) - rests.gather(-1, family)
        return torch.cat([turns, torch.zeros_like(turns[..., :1])], -1)


def conditional_softmax_ref(
    logits: NpLogits, labels: NpLabels, *, hierarchy: Hierarchy
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: in each group on the path, softmax minus the node taken."""
    nodes, _, _ = _numbered(hierarchy)
    place = {v: i for i, v in enumerate(nodes)}
    loss, gradient = np.zeros(labels.shape), np.zeros(logits.shape)
    for example in np.ndindex(labels.shape):
        v = nodes[labels[example]]
        while v != hierarchy.root:
            siblings = [place[u] for u in hierarchy.children[hierarchy.parents[v]]]
            e = np.exp(logits[example][siblings])
            loss[example] -= np.log(np.exp(logits[example][place[v]]) / e.sum())
            gradient[(*example, siblings)] += e / e.sum()
            gradient[(*example, place[v])] -= 1
            v = hierarchy.parents[v]
    return loss, gradient


def _numbered(hierarchy: Hierarchy) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Return the nodes below the root, their groups of siblings, and their paths.

    The paths are (M, h), as places among the nodes; M fills those that are shorter.
    """
    inner = [v for v, c in enumerate(hierarchy.children) if c and v != hierarchy.root]
    nodes = [*(int(v) for v in hierarchy.leaves), *inner]
    place = {v: i for i, v in enumerate(nodes)}
    parents = [hierarchy.parents[v] for v in nodes]
    family = np.unique(parents, return_inverse=True)[1].reshape(-1)
    climbs = np.full((len(nodes), hierarchy.height), len(nodes))
    for i, v in enumerate(nodes):
        step = 0
        while v != hierarchy.root:
            climbs[i, step] = place[v]
            step, v = step + 1, hierarchy.parents[v]
    return nodes, family, climbs


def _has_nodes(logits: Tensor, nodes: tuple[str, ...]) -> None:
    if logits.shape[-1] != len(nodes):
        raise ValueError(
            f"logits must have {len(nodes)} entries, one a node below the root, got "
            f"{logits.shape[-1]}"
        )


def _drawn(rng: np.random.Generator, entries: int) -> dict[str, Any]:
    """Return a tree with so many nodes below the root: the last one is a group."""
    if entries < 4:
        return {"hierarchy": Hierarchy.from_parents([-1] + [0] * entries)}
    parents = [-1, 0, entries, *[0] * (entries - 4), entries, 0]
    return {"hierarchy": Hierarchy.from_parents(parents)}


CARD = LossCard(
    name="Conditional softmax",
    family="hierarchy",
    kind="labels",
    fn=ConditionalSoftmax,
    ref=conditional_softmax_ref,
    summary="One softmax a group of siblings; a class is the product along its path.",
    cite="redmon2017yolo9000",
    closure=_drawn,
    properties=Properties(
        convex=True,
        symmetric=False,
        monotone=True,
        shift_invariant=True,
        upper=math.inf,
        lipschitz=2.0,  # sqrt(2 h) in a tree of height h, here 2
    ),
)
