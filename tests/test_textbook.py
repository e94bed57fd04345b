"""The textbook's form of a loss beside the fast one, at the sizes of a training step.

The catalogue's tests compare both on small batches, where a fused form is forced. Here
nothing is forced: the loss takes the form that it takes in use, and each case says
which of its parts shows that it was the fast one.
"""

from typing import NamedTuple

import numpy as np
import pytest
import torch

import lossbook
from lossbook import Hierarchy, transport
from lossbook.losses import CATALOGUE
from lossbook.losses.embedding import _info_nce, _nt_xent, _supcon
from lossbook.losses.hierarchy import _paths

TREE = Hierarchy.balanced(10, 3)  # 1000 classes


class Case(NamedTuple):
    """A loss, its arrays, the textbook's form, and what only the fast one calls."""

    loss: object
    arrays: tuple
    textbook: object
    fast: tuple  # module and name


def rng():
    return np.random.default_rng(0)


def of_card(key, *arrays, fast, closed=None, **params):
    """The numpy reference of the card is the textbook's form."""
    closed = closed or {}
    made = CATALOGUE[key].fn
    loss = made(**closed, **params) if closed else lambda *a: made(*a, **params)
    return Case(
        loss, arrays, lambda *a: CATALOGUE[key].ref(*a, **closed, **params), fast
    )


def views(n, d=128):
    first = rng().normal(size=(n, d))
    return first, first + np.random.default_rng(1).normal(size=(n, d))


def every_triplet(x, labels, margin=0.2):
    """All N^3 triplets as one array: the mean hinge of each anchor, and its slope."""
    square = ((x[:, None] - x) ** 2).sum(-1)
    same, itself = labels[:, None] == labels, np.eye(len(x), dtype=bool)
    of = (same & ~itself)[:, :, None] & ~same[:, None, :]  # anchor, positive, negative
    hinge = square[:, :, None] - square[:, None, :] + margin
    share = of / np.maximum(of.sum((1, 2), keepdims=True), 1)
    active = share * (hinge > 0)
    pull = active.sum(2) - active.sum(1)  # of each pair's squared distance
    both = pull + pull.T
    gradient = 2 * (both.sum(1, keepdims=True) * x - both @ x)
    return (active * hinge).sum((1, 2)), gradient


def by_ancestors(logits, labels, alpha=0.1):
    """Masses of all nodes by one matrix: who lies below whom."""
    nodes = np.arange(len(TREE.names))
    below = np.zeros((len(nodes), len(TREE.classes)))
    for v in nodes:
        below[v, TREE.order[TREE.start[v] : TREE.stop[v]]] = 1
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    mass = p @ below.T
    parents = np.array(TREE.parents)
    edges = nodes[nodes != TREE.root]
    weight = np.exp(-alpha * TREE.depths[edges])
    path = below[edges][:, labels].T * weight  # of each example, which edges count
    turns = np.log(mass[:, edges]) - np.log(mass[:, parents[edges]])
    slope = np.zeros_like(mass)  # of the loss in the masses
    np.add.at(slope.T, edges, -(path / mass[:, edges]).T)
    np.add.at(slope.T, parents[edges], (path / mass[:, parents[edges]]).T)
    of_p = slope @ below
    gradient = p * (of_p - (p * of_p).sum(-1, keepdims=True))
    return -(path * turns).sum(-1), gradient


CASES = {
    "supcon": of_card(
        "supcon",
        rng().normal(size=(512, 128)),
        np.arange(512) // 16,
        fast=(_supcon, "log_sums_without_self"),
    ),
    "nt_xent": of_card(
        "nt_xent", *views(256), fast=(_nt_xent, "log_sums_without_self")
    ),
    "info_nce": of_card("info_nce", *views(512), fast=(_info_nce, "log_sums")),
    "all_triplets": Case(
        lossbook.all_triplets,
        (rng().normal(size=(120, 16)) / 4, np.arange(120) // 8),
        every_triplet,
        (torch, "searchsorted"),
    ),
    "hierarchy": Case(
        lossbook.HierarchicalCrossEntropy(TREE),
        (3 * rng().normal(size=(256, 1000)), rng().integers(1000, size=256)),
        by_ancestors,
        (_paths.PathLoss, "apply"),
    ),
    "sinkhorn": of_card(
        "Sinkhorn",
        rng().normal(size=(64, 100)),
        rng().dirichlet(np.ones(100), size=64),
        closed={
            "costs": np.abs(np.subtract.outer(np.arange(100), np.arange(100))) / 99,
            "iterations": 400,
        },
        epsilon=0.1,
        fast=(transport, "_by_products"),
    ),
}


@pytest.mark.parametrize("key", CASES)
def test_the_fast_form_is_the_textbooks(key, monkeypatch):
    loss, arrays, textbook, (module, name) = CASES[key]
    value, gradient = textbook(*arrays)
    used, real = [], getattr(module, name)

    def watched(*given, **more):
        used.append(name)
        return real(*given, **more)

    monkeypatch.setattr(module, name, watched)
    for dtype, within in ((torch.float64, 1e-8), (torch.float32, 2e-4)):
        first, *rest = (torch.tensor(each) for each in arrays)
        first = first.to(dtype).requires_grad_()
        rest = [each.to(dtype) if each.is_floating_point() else each for each in rest]
        found = loss(first, *rest)
        (slope,) = torch.autograd.grad(found.sum(), first)
        for got, wanted in ((found, value), (slope, gradient)):
            wanted = torch.tensor(wanted)
            size = float(wanted.abs().max())
            torch.testing.assert_close(
                got.double().detach(), wanted, rtol=within, atol=within * size
            )
    assert used
