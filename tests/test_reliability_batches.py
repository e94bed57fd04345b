"""Batches at which losses in use elsewhere fail, and batches of a strange shape.

The rows below are those of embeddings, trees and transport: what happens elsewhere
stands beside each. Value and gradient are compared with those of the same numbers in
float64, in the plain form, and with what can be said by hand.
"""

import math
from typing import NamedTuple

import numpy as np
import pytest
import torch

import lossbook
from lossbook import Hierarchy, kernels
from lossbook.check._calls import extreme_input
from lossbook.losses import CATALOGUE

HALVES = (torch.float16, torch.bfloat16)
DTYPES = (*HALVES, torch.float32, torch.float64)
FORMS = ("plain", "fused")
TREE = Hierarchy.from_nested([["cat", "dog"], "car"])
COSTS = torch.tensor([[0.0, 1.0, 2.0], [1.0, 0.0, 1.0], [2.0, 1.0, 0.0]])


def value_and_gradients(loss, arrays, form="plain"):
    """Value and gradients in all floating arrays."""
    inputs = [
        a.clone().requires_grad_() if a.is_floating_point() else a for a in arrays
    ]
    with kernels.force(form):
        value = loss(*inputs)
    wanted = [each for each in inputs if each.requires_grad]
    return value.detach(), torch.autograd.grad(value.sum(), wanted)


# --- rows: what goes wrong elsewhere --------------------------------------------------


class Row(NamedTuple):
    """A loss, arrays of float64, the dtypes in question, and what happens elsewhere."""

    loss: object
    arrays: tuple
    dtypes: tuple
    elsewhere: str
    least: float = 0.0  # what the steepest gradient is at least


def normal(n, d=8, seed=0):
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.normal(size=(n, d)))


def supcon(temperature, form="out"):
    labels = torch.arange(64) % 4
    return lambda x: lossbook.supcon(x, labels, temperature=temperature, form=form)


def opposite(temperature):
    first = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    return Row(
        lambda a, b: lossbook.nt_xent(a, b, temperature=temperature),
        (first, -first + torch.tensor([[0.0, 0.125], [-0.125, 0.0]])),
        DTYPES,
        "log(p + tiny): value 87 for more, no gradient",
        0.1 / temperature,
    )


def wrong_group(ahead):
    return Row(
        lambda z: lossbook.HierarchicalCrossEntropy(TREE)(z, torch.tensor([0])),
        (torch.tensor([[0.0, 0.0, ahead]]),),
        DTYPES,
        "log of masses: gradient nan, or loss 0 for the worst error",
        0.5,
    )


def on_its_class(cosine):
    """The way from embeddings to the loss: it is there that acos goes wrong."""
    classes = torch.tensor([[1.0, 0.0], [0.0, 1.0]])

    def loss(x):
        cosines = torch.nn.functional.normalize(x.float(), dim=-1) @ classes.T
        return lossbook.arcface(cosines, torch.tensor([0]), scale=8.0)

    return Row(
        loss,
        (torch.tensor([[2.0 * cosine, 0.0]]),),
        (*HALVES, torch.float32),
        "acos: gradient nan for an embedding on its class vector",
    )


def transport(loss, steep):
    costs = COSTS * steep / 2
    targets = torch.tensor([[0.5, 0.5, 0.0]]).expand(2, 3)
    made = getattr(lossbook, loss)(costs, epsilon=1.0, iterations=500)
    return Row(
        lambda z: made(z, targets.to(z.dtype)),
        (torch.tensor([[0.0, 1.0, 3.0], [2.0, 0.0, -1.0]]),),
        DTYPES,
        "scalings multiplied: nan where costs / epsilon exceeds 90",
        0.1,
    )


def in_one_place(loss, count, *more):
    return Row(
        lambda *x: loss(*x, *more),
        (torch.ones(4, 3),) * count,
        DTYPES,
        "the root of 0: gradient nan",
    )


LABELS = torch.tensor([0, 0, 1, 1])
ROWS = {
    "arcface-on": on_its_class(1.0),
    "arcface-opposite": on_its_class(-1.0),
    "supcon-0.01": Row(
        supcon(0.01),
        (normal(64),),
        (torch.float32,),
        "the largest is itself: nan",
    ),
    "supcon-0.05": Row(supcon(0.05), (normal(64),), (torch.float16,), "as above"),
    "supcon-bfloat16": Row(supcon(0.01), (normal(64),), (torch.bfloat16,), "as above"),
    "supcon-in": Row(supcon(0.01, "in"), (normal(64),), DTYPES, "as above"),
    "nt_xent-0.01": opposite(0.01),
    "nt_xent-0.005": opposite(0.005),
    "tree-100": wrong_group(100.0),
    "tree-120": wrong_group(120.0),
    "tree-1e4": wrong_group(1e4),
    "sinkhorn-100": transport("Sinkhorn", 100.0),
    "sinkhorn-1000": transport("Sinkhorn", 1000.0),
    "divergence-100": transport("SinkhornDivergence", 100.0),
    "unbalanced-100": transport("UnbalancedTransport", 100.0),
    "contrastive-place": in_one_place(lossbook.contrastive, 2, 1 - LABELS),
    "triplet-place": in_one_place(lossbook.triplet, 3),
    "all_triplets-place": in_one_place(lossbook.all_triplets, 1, LABELS),
    "nca-place": in_one_place(lossbook.nca, 1, LABELS),
    "energy-place": in_one_place(lossbook.energy_distance, 2),
    "deaths-place": in_one_place(lossbook.persistence_0d, 1),
}
CASES = [
    pytest.param(row, dtype, id=f"{key}-{dtype}".replace("torch.", ""))
    for key, row in ROWS.items()
    for dtype in row.dtypes
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("row", "dtype"), CASES)
def test_a_batch_that_fails_elsewhere(row, dtype, form):
    arrays = [each.to(dtype) for each in row.arrays]
    value, gradients = value_and_gradients(row.loss, arrays, form)
    wide = [each.double() for each in arrays]  # the numbers that are really held
    exact, slopes = value_and_gradients(row.loss, wide)
    close = dict(rtol=2e-5, atol=2e-5 * max(1.0, float(exact.abs().max())))
    torch.testing.assert_close(value.double(), exact.double(), **close)
    for gradient, slope in zip(gradients, slopes, strict=True):
        assert gradient.isfinite().all()
        unit = max(2 * torch.finfo(dtype).eps, 1e-4)
        size = float(slope.abs().max())
        torch.testing.assert_close(
            gradient.double(), slope, rtol=unit, atol=unit * size
        )
    assert max(float(each.abs().max()) for each in slopes) >= row.least


def test_transport_that_has_not_converged_tells():
    """Elsewhere: an epsilon of 1e-4 of the costs, 3000 steps, a gradient half off."""
    z, targets = torch.tensor([[0.3, 0.0, 3.0]]), torch.tensor([[0.2, 0.3, 0.5]])
    few = lossbook.Sinkhorn(COSTS, epsilon=2e-4, iterations=3)
    assert few.marginal_error(z, targets).item() > 1e-3
    enough = lossbook.Sinkhorn(COSTS, epsilon=0.2, iterations=300)
    assert enough.marginal_error(z, targets).item() < 1e-5


def test_transport_has_a_gradient_in_both_sides():
    """Elsewhere: none in the weights, without a word."""
    q = torch.tensor([[1.0, 0.0, -1.0]], dtype=torch.float64, requires_grad=True)
    z = torch.tensor([[0.3, 0.0, 3.0]], dtype=torch.float64, requires_grad=True)
    loss = lossbook.Sinkhorn(COSTS, epsilon=0.5)(z, q.softmax(-1))
    for gradient in torch.autograd.grad(loss.sum(), (z, q)):
        assert gradient.abs().max() > 0.01


# --- strange batches ------------------------------------------------------------------

CONTENTS = {
    "ordinary": normal,
    "of no length": lambda n: torch.zeros(n, 8, dtype=torch.float64),
    "one of no length": lambda n: normal(n) * (torch.arange(n) > 0)[:, None],
    "all alike": lambda n: torch.ones(n, 8, dtype=torch.float64),
    "on two ends": lambda n: (torch.arange(n) % 2 * 2.0 - 1)[:, None].expand(n, 8),
    "tiny": lambda n: 1e-30 * normal(n),
    "huge": lambda n: 1e4 * normal(n),
}
CLASSES = {
    "of three classes": lambda n: torch.arange(n) % 3,
    "of one class": lambda n: torch.zeros(n, dtype=torch.int64),
    "each of its own": torch.arange,
}
OF_BATCH = ["supcon", "all_triplets", "nca"]
OF_VIEWS = ["info_nce", "nt_xent", "n_pair"]
OF_PROXIES = ["proxy_anchor", "proxy_nca", "large_margin_softmax"]
OTHERS = ["triplet", "contrastive"]


def batches(key, n, content):
    """Arrays of so many examples for the loss, with each pattern of classes."""
    x = content(n).double()
    if key in OF_VIEWS:
        yield x, content(n).double()
    elif key == "triplet":
        yield x, x, content(n).double()
    elif key == "contrastive":
        for same in (0, 1):
            yield x, content(n).double(), torch.full((n,), same)
    else:
        for pattern in CLASSES.values():
            labels = pattern(n)
            proxies = (content(10).double(),) if key in OF_PROXIES else ()
            yield x, labels, *proxies


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("key", [*OF_BATCH, *OF_VIEWS, *OF_PROXIES, *OTHERS])
def test_no_batch_of_embeddings_is_too_strange(key, dtype, form):
    loss = getattr(lossbook, key)
    for name, content in CONTENTS.items():
        for n in (0, 1, 2, 9):
            for arrays in batches(key, n, content):
                given = [a.to(dtype) if a.is_floating_point() else a for a in arrays]
                value, gradients = value_and_gradients(loss, given, form)
                what = f"{n} examples, {name}"
                assert value.isfinite().all(), what
                assert value.dtype is torch.promote_types(dtype, torch.float32), what
                if key != "proxy_nca":  # whose published form falls below 0
                    assert (value >= -1e-6).all(), what
                wide = [a.float() if a.is_floating_point() else a for a in given]
                _, slopes = value_and_gradients(loss, wide)
                for gradient, slope in zip(gradients, slopes, strict=True):
                    held = slope.abs() <= torch.finfo(dtype).max
                    assert gradient.dtype is dtype, what
                    assert gradient[held].isfinite().all(), what


@pytest.mark.parametrize("miner", ["batch_hard", "semi_hard"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_miners_take_strange_batches(miner, dtype):
    for content in CONTENTS.values():
        for n in (0, 1, 2, 9):
            for pattern in CLASSES.values():
                labels = pattern(n)
                found = getattr(lossbook, miner)(content(n).to(dtype), labels)
                anchors, positives, negatives = found
                assert (labels[anchors] == labels[positives]).all()
                assert (labels[anchors] != labels[negatives]).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_head_takes_embeddings_of_any_dtype(dtype):
    head = lossbook.CosineHead(8, 3, rng=np.random.default_rng(0))
    for n in (0, 1, 9):
        x = normal(n).to(dtype).requires_grad_()
        cosines = head(x)
        lossbook.arcface(cosines, torch.arange(n) % 3).sum().backward()
        assert cosines.dtype is torch.promote_types(dtype, torch.float32)
        assert x.grad.dtype is dtype
        assert head.weight.grad.isfinite().all()


@pytest.mark.parametrize(
    "weighting", [lossbook.DynamicWeightAverage(3), lossbook.GradNorm(3)]
)
@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_terms_in_half_precision_are_summed_in_single(weighting, dtype):
    terms = torch.tensor([40000.0, 40000.0, 1.0], dtype=dtype)
    assert weighting(terms).dtype is torch.float32
    assert weighting(terms).item() == terms.float().sum().item()


def test_no_examples_wait_for_nothing():
    none = torch.zeros(0, requires_grad=True)
    loss = lossbook.self_paced(none, threshold=1.0)
    assert loss.shape == (0,)
    assert torch.autograd.grad(loss.sum(), none)[0].shape == (0,)


# --- second derivatives ---------------------------------------------------------------

CURVED = [
    card
    for card in CATALOGUE.values()
    if card.kind in ("labels", "targets", "margin", "binary")
    and card.family != "margins"
    and not card.opaque
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("card", CURVED, ids=lambda card: card.key)
def test_a_second_derivative_is_finite_where_the_first_is(card, dtype):
    """A sum of two exponentials, log(1 + exp(x)), has exp(x) in its second one."""
    logits, truth = (torch.tensor(a) for a in extreme_input(card.kind, card.reach))
    z = logits.to(dtype).requires_grad_()
    truth = truth.to(dtype) if truth.is_floating_point() else truth
    classes = z.shape[-1] if z.ndim > 1 else 2
    loss = card.make(classes)(z, truth).sum()
    (slope,) = torch.autograd.grad(loss, z, create_graph=True)
    weight = torch.linspace(-1, 2, z.numel(), dtype=dtype).reshape(z.shape)
    (bend,) = torch.autograd.grad((slope * weight).sum(), z)
    assert bend.isfinite().all()


@pytest.mark.parametrize("loss", ["HierarchicalCrossEntropy", "LevelwiseCrossEntropy"])
def test_a_chain_of_nodes_has_second_derivatives(loss):
    """Nodes at which nothing parts from the path: masses of 0, logarithms of -huge."""
    flat = torch.autograd.functional.hessian(
        lambda z: lossbook.cross_entropy(z[None], torch.tensor([1]))[0],
        torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64),
    )
    tree = Hierarchy.from_nested([[[["cat"], "dog", "car"]]])
    params = {"alpha": 0.0} if loss == "HierarchicalCrossEntropy" else {}
    made = getattr(lossbook, loss)(tree, **params)
    found = torch.autograd.functional.hessian(
        lambda z: made(z[None], torch.tensor([1]))[0],
        torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64),
    )
    # Level by level, each depth below the chain tells the classes apart once more.
    times = 1 if params else 2
    torch.testing.assert_close(found, times * flat)


# --- nothing is possible --------------------------------------------------------------


@pytest.mark.parametrize(
    "loss",
    [
        lossbook.cross_entropy,
        lossbook.gce,
        lossbook.brier,
        lossbook.TreeSoftLabels(TREE),
        lossbook.TreeWasserstein(TREE),
        lossbook.ExpectedCost(COSTS),
        lossbook.ForwardCorrection(torch.eye(3)),
    ],
)
def test_a_row_that_rules_every_class_out_is_named(loss):
    """Softmax of it is nan, and so would be every gradient of the batch."""
    logits = torch.zeros(3, 3)
    logits[1] = -math.inf
    with pytest.raises(ValueError, match=r".") as refusal:
        loss(logits, torch.tensor([0, 1, 2]))
    assert str(refusal.value) == (
        "logits must leave at least one class possible, got -inf for all of them at "
        "(1,); mask fewer classes, or leave the example out"
    )


def test_backward_correction_takes_no_class_as_ruled_out():
    """Weights of both signs would give both infinities."""
    loss = lossbook.BackwardCorrection([[0.9, 0.1], [0.3, 0.7]])
    with pytest.raises(ValueError, match=r".") as refusal:
        loss(torch.tensor([[0.0, 1.0], [0.0, -math.inf]]), torch.tensor([0, 1]))
    assert str(refusal.value) == (
        "logits must be finite numbers, got -inf at (1, 1); this loss cannot rule a "
        "class out"
    )
