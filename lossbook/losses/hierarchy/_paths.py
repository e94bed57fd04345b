"""What losses along the path of a label share: the odds of turning right at each node.

The path of a class leads from its leaf C^0 up to the root C^h. The classes that part
from it at C^l, l >= 1, lie below C^l and not below C^(l-1). With r_l the probability
of those and P_l that of all classes below C^l, P_(l-1) + r_l = P_l, and

    -log P(C^(l-1) | C^l) = log(1 + r_l / P_(l-1)).

Every class belongs to one r_l or is C^0, so all of them cost one pass over the
classes, however deep the tree is, and no probability is subtracted.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from lossbook import kernels
from lossbook.ops import at_label, rows, upcast
from lossbook.shapes import Labels, Logits, PerExample
from lossbook.trees import Hierarchy

# Where the true class's logit lies this far below the largest one, the floor of the
# fused form could be felt; such rows are computed in float64, then in the plain form.
FAR_BEHIND = {torch.float32: -36.0, torch.float64: -500.0}


class Paths:
    """The paths of a hierarchy's classes as arrays, for use on logits."""

    def __init__(self, hierarchy: Hierarchy):
        self.classes = len(hierarchy.classes)
        self.height = hierarchy.height
        # Where each class stands in depth-first order. There the classes below a node
        # are neighbors: path[y] gives nested intervals around y, cut at 2 h + 2 bounds.
        path = hierarchy.paths
        bounds = np.concatenate(
            [hierarchy.start[path[:, ::-1]], hierarchy.stop[path]], axis=1
        )
        place = np.argsort(hierarchy.order)
        self.order = torch.tensor(hierarchy.order)
        self.place = torch.tensor(place)
        self.bounds = torch.tensor(bounds)
        # The runs between the bounds: where each starts, and how long it is.
        self.runs = bounds[:, :-1], np.diff(bounds, axis=1)
        self.in_order = bool((place == np.arange(self.classes)).all())

    def parting(self, labels: Tensor) -> Tensor:
        """Return (..., C), the level l at which each class parts from the label."""
        # Going through the classes in depth-first order, the level falls by one where
        # a subtree around the label begins, and rises by one where it ends.
        bounds = rows(self.bounds.to(labels.device), labels)[..., 1:-1]
        steps = torch.ones_like(bounds)
        steps[..., : self.height] = -1
        changes = bounds.new_zeros(*labels.shape, self.classes + 1)
        levels = self.height + changes.scatter_add(-1, bounds, steps).cumsum(-1)
        return levels[..., self.place.to(labels.device)]


def path_loss(
    logits: Logits, labels: Labels, weights: Tensor, paths: Paths, *params: Any
) -> PerExample:
    """Return sum_l weights[..., l - 1] log(1 + r_l / P_(l-1)) per example.

    Args:
        logits: (..., C), unnormalized log-probabilities.
        labels: (...), the true class.
        weights: (..., h), from the leaf's edge up to the root's; 0 beyond the root.
        paths: those of the hierarchy.
        params: what the weights were made of; a tensor rules the fused form out.

    Returns:
        (...), in float32 or wider.
    """
    z = upcast(logits)
    weights = weights.to(z.dtype)
    if not kernels.usable(z, labels, *params):
        return _plain(z, labels, weights, paths)
    flat_z, flat_y = z.reshape(-1, z.shape[-1]), labels.reshape(-1).long()
    flat_w = weights.expand(*labels.shape, paths.height).reshape(-1, paths.height)
    loss: Tensor = PathLoss.apply(flat_z, flat_y, flat_w, paths)
    return loss.reshape(labels.shape)


def _plain(z: Logits, labels: Labels, weights: Tensor, paths: Paths) -> PerExample:
    """Return the loss by its definition, each mass as its largest logit and a rest."""
    level = paths.parting(labels)
    tops, rests = group_masses(z, level, paths.height + 1)
    top, rest = tops[..., 0], rests[..., 0]  # of P_(l-1), from the leaf upwards
    loss = torch.zeros_like(top)
    for step in range(1, paths.height + 1):
        up, up_rest = tops[..., step], rests[..., step]
        odds = (top - up) + (rest - up_rest)
        loss = loss - weights[..., step - 1] * logsigmoid(odds)
        both = torch.maximum(top, up)
        # logaddexp has no second derivative where one of the two is far below.
        parts = rest + (top - both), up_rest + (up - both)
        rest = torch.stack(parts).logsumexp(0)
        top = both
    ruled_out = at_label(z, labels).isneginf()
    return torch.where(ruled_out, torch.inf, loss)


def group_masses(z: Logits, group: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """Return (..., groups) twice, whose sum is logsumexp of each group's logits.

    The first is the group's largest logit and has no gradient, the second lies between
    0 and log C. Apart, they keep their digits where a group is far behind. A group
    without logits, or with none but -inf, has a largest logit of almost -inf.

    Args:
        z: (..., C), logits.
        group: (..., C), the group of each logit, 0 to groups - 1.
        groups: how many there are.
    """
    lowest = torch.finfo(z.dtype).min / 4
    tops = z.detach().new_full((*z.shape[:-1], groups), lowest)
    tops = tops.scatter_reduce(-1, group, z.detach(), "amax")
    shares = (z - tops.gather(-1, group)).exp()
    masses = torch.zeros_like(tops).scatter_add(-1, group, shares)
    return tops, torch.where(masses > 0, masses, 1.0).log()


def tree_with_lengths(rng: np.random.Generator, classes: int) -> dict[str, Any]:
    """Draw a tree with long inner edges whose classes are at most 1 apart."""
    hierarchy = Hierarchy.random(rng, classes)
    weights = rng.uniform(1, 2, size=len(hierarchy.names))
    weights[hierarchy.leaves] /= 5
    largest = hierarchy.distances(weights).max() or 1.0
    return {"hierarchy": hierarchy, "weights": weights / largest}


class PathLoss(torch.autograd.Function):
    """The path loss of (N, C) logits, with its gradient, row block by row block."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, labels: Tensor, weights: Tensor, paths: Paths
    ) -> Tensor:
        """Return the loss of each row; keep the gradient if one will be asked for."""
        loss, gradient = _rows(logits, labels, weights, paths, logits.requires_grad)
        ctx.save_for_backward(logits, labels, weights)
        ctx.gradient, ctx.paths = gradient, paths
        return loss

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient in the logits; recompute where a graph is wanted."""
        logits, labels, weights = ctx.saved_tensors
        if torch.is_grad_enabled():
            loss = _plain(logits, labels, weights, ctx.paths)
            (gradient,) = torch.autograd.grad(
                loss, logits, upstream[0], create_graph=True
            )
            return gradient, None, None, None
        # The buffer is used up; a backward pass through a retained graph forms it anew.
        gradient, ctx.gradient = ctx.gradient, None
        if gradient is None:
            _, gradient = _rows(logits, labels, weights, ctx.paths, True)
        return gradient.mul_(upstream[0][:, None]), None, None, None


def _rows(
    logits: Tensor, labels: Tensor, weights: Tensor, paths: Paths, gradient: bool
) -> tuple[Tensor, Tensor | None]:
    """Return the loss of each row and, if wanted, its gradient."""
    n, classes = logits.shape
    rows = max(1, kernels.BLOCK // classes)
    loss = logits.new_empty(n)
    buffer = kernels.empty(logits, n if gradient else min(rows, n), classes)
    for start in range(0, n, rows):
        block = slice(start, min(start + rows, n))
        e = buffer[block] if gradient else buffer[: block.stop - start]
        loss[block] = _block(
            logits[block], labels[block], weights[block], paths, e, gradient
        )
    behind = logits.gather(1, labels[:, None])[:, 0] - logits.amax(1)
    far = (behind < FAR_BEHIND[logits.dtype]).nonzero()[:, 0]
    if len(far):
        value, slope = _far(logits[far], labels[far], weights[far], paths, gradient)
        loss[far] = value.to(loss.dtype)
        if slope is not None:
            buffer[far] = slope.to(loss.dtype)
    return loss, buffer if gradient else None


def _far(
    logits: Tensor, labels: Tensor, weights: Tensor, paths: Paths, gradient: bool
) -> tuple[Tensor, Tensor | None]:
    """Return the same of rows whose true class is far behind."""
    if logits.dtype is not torch.float64:
        return _rows(logits.double(), labels, weights, paths, gradient)
    with torch.enable_grad():
        z = logits.detach().requires_grad_()
        loss = _plain(z, labels, weights, paths)
        slope = torch.autograd.grad(loss.sum(), z)[0] if gradient else None
    return loss.detach(), slope


def _block(
    z: Tensor, labels: Tensor, weights: Tensor, paths: Paths, e: Tensor, gradient: bool
) -> Tensor:
    """Return the loss of a block of rows; leave the gradient in `e`.

    In depth-first order the classes that part from the label at one level are two
    runs, one on each side of it. Their sums are r_l: sums of positive numbers, each
    with all its digits.
    """
    n, classes = z.shape
    h = paths.height
    kernels.power_(kernels.exponents(z, e, 1))
    ordered = e if paths.in_order else e.index_select(1, paths.order)
    starts, lengths = (table[labels.numpy()] for table in paths.runs)
    starts = starts + classes * np.arange(n)[:, None]
    there = lengths > 0
    sums = np.zeros(lengths.shape)
    sums[there] = np.add.reduceat(ordered.numpy().reshape(-1), starts[there])
    rest = sums[:, h - 1 :: -1] + sums[:, h + 1 :] if h else sums[:, :0]
    mass = np.cumsum(np.concatenate([sums[:, h : h + 1], rest], 1), 1)
    odds, w = rest / mass[:, :-1], weights.double().numpy()
    loss = torch.from_numpy((w * np.log1p(odds)).sum(1))
    if gradient:
        # The loss falls by w_l e / P_(l-1) - w_l e / P_l through each class below
        # C^(l-1), and rises by w_l e / P_l through the others below C^l.
        pull = w * odds / mass[:, 1:]
        above = np.cumsum(pull[:, ::-1], 1)[:, ::-1]
        factor = -np.concatenate([above, np.zeros((n, 1))], 1)
        factor[:, 1:] += w / mass[:, 1:]
        both = np.concatenate([factor[:, :0:-1], factor], 1)
        spread = np.repeat(both[there].astype(ordered.numpy().dtype), lengths[there])
        slope = ordered.mul_(torch.from_numpy(spread).view(n, classes))
        if not paths.in_order:
            torch.index_select(slope, 1, paths.place, out=e)
    return loss
