"""What no card can say of the losses of embeddings."""

import itertools
import math

import numpy as np
import pytest
import torch

import lossbook
from lossbook import kernels
from lossbook.losses.embedding import _similarities

FORMS = ["plain", "fused"]


def vectors(*shape, seed=0, dtype=torch.float64):
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.normal(size=shape), dtype=dtype, requires_grad=True)


def classes(n, of=4):
    return torch.tensor(np.random.default_rng(1).integers(of, size=n))


def directions(degrees, dtype=torch.float64):
    angle = torch.deg2rad(torch.tensor(degrees, dtype=dtype))
    return torch.stack([angle.cos(), angle.sin()], -1).requires_grad_()


# --- pairs and triplets ---------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_pair_in_one_place_has_a_finite_pull(dtype):
    first = torch.ones(2, 3, dtype=dtype, requires_grad=True)
    loss = lossbook.contrastive(first, torch.ones(2, 3), torch.tensor([1, 0]), margin=2)
    (gradient,) = torch.autograd.grad(loss.sum(), first)
    assert loss.tolist() == [0.0, 2.0]
    assert (gradient == 0).all()


def test_a_margin_beyond_2_is_never_kept_on_the_unit_sphere():
    opposite = torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 0.0]])
    apart = torch.tensor([False])
    assert lossbook.contrastive(*opposite, apart, margin=2.0).item() == 0
    assert lossbook.contrastive(*opposite, apart, margin=3.0).item() == 0.5


def test_a_collapsed_model_pays_the_margin():
    point = torch.ones(4, 3)
    assert (lossbook.triplet(point, point, point, margin=0.3) == 0.3).all()
    found = lossbook.all_triplets(point, torch.tensor([0, 0, 1, 1]), margin=0.3)
    torch.testing.assert_close(found, torch.full((4,), 0.3))


@pytest.mark.parametrize("margin", [0.0, 0.5, 3.0])
def test_all_triplets_are_the_triplets_one_by_one(margin):
    x, labels = vectors(24, 3), classes(24)
    expected = []
    for a in range(24):
        losses = [
            lossbook.triplet(x[a], x[p], x[n], margin=margin)
            for p, n in itertools.product(range(24), repeat=2)
            if labels[p] == labels[a] != labels[n] and p != a
        ]
        expected.append(torch.stack(losses).mean())
    expected = torch.stack(expected)
    found = lossbook.all_triplets(x, labels, margin=margin)
    torch.testing.assert_close(found, expected)
    weight = torch.linspace(-1, 1, 24, dtype=torch.float64)
    torch.testing.assert_close(
        torch.autograd.grad(found, x, weight), torch.autograd.grad(expected, x, weight)
    )


@pytest.mark.parametrize("labels", [[0, 1, 2], [0, 0, 0]])
def test_no_triplets_cost_nothing(labels):
    x = vectors(3, 2)
    loss = lossbook.all_triplets(x, torch.tensor(labels))
    (gradient,) = torch.autograd.grad(loss.sum(), x)
    assert (loss == 0).all()
    assert (gradient == 0).all()


# --- miners ---------------------------------------------------------------------------


def test_batch_hard_finds_the_extremes():
    x, labels = vectors(30, 3), classes(30, 5)
    labels[-1] = 9  # alone: no anchor
    d = torch.cdist(x, x)
    anchors, positives, negatives = lossbook.batch_hard(x, labels)
    assert anchors.tolist() == list(range(29))
    for a, p, n in zip(anchors, positives, negatives, strict=True):
        same = [j for j in range(30) if labels[j] == labels[a] and j != a]
        other = [j for j in range(30) if labels[j] != labels[a]]
        assert p == max(same, key=lambda j: d[a, j])
        assert n == min(other, key=lambda j: d[a, j])


def test_semi_hard_negatives_lie_beyond_the_positive_within_the_margin():
    x, labels = vectors(30, 3), classes(30, 5)
    d = torch.cdist(x, x) ** 2
    expected = []
    for a, p in itertools.product(range(30), repeat=2):
        if labels[a] == labels[p] and a != p:
            between = [
                n
                for n in range(30)
                if labels[n] != labels[a] and d[a, p] < d[a, n] < d[a, p] + 0.5
            ]
            if between:
                expected.append((a, p, min(between, key=lambda n: d[a, n])))
    found = lossbook.semi_hard(x, labels, margin=0.5)
    assert 10 < len(expected) < 180
    assert torch.stack(found, -1).tolist() == [list(t) for t in expected]


@pytest.mark.parametrize("miner", ["batch_hard", "semi_hard"])
@pytest.mark.parametrize("labels", [[0, 1, 2], [0, 0, 0], []])
def test_where_there_is_no_triplet_none_is_found(miner, labels):
    labels = torch.tensor(labels, dtype=torch.int64)
    found = getattr(lossbook, miner)(vectors(len(labels), 2), labels)
    assert [len(each) for each in found] == [0, 0, 0]


# --- softmax over a batch -------------------------------------------------------------


def test_n_pair_is_cross_entropy_of_inner_products():
    a, p = vectors(6, 3), vectors(6, 3, seed=1)
    found = lossbook.n_pair(a, p)
    expected = torch.nn.functional.cross_entropy(
        a @ p.T, torch.arange(6), reduction="none"
    )
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("form", FORMS)
def test_the_worst_queries_pay_what_the_bound_says(form):
    """The own key opposite, all others in the query's place."""
    degrees = [180.0, 0.0, 0.0, 0.0]
    with kernels.force(form):
        loss = lossbook.info_nce(
            directions([0.0] * 4), directions(degrees), temperature=0.1
        )
    assert loss[0].item() == pytest.approx(math.log1p(3 * math.exp(20)))
    assert (loss <= loss[0]).all()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("temperature", [0.01, 0.005])
def test_opposite_views_are_not_forgotten_when_it_is_cold(form, temperature):
    """Rivals at a right angle: log(1 + 2 exp(1 / t)), and a slope of 1 / t."""
    first, second = (
        directions([0.0, 90.0], torch.float32),
        -directions([1.0, 91.0], torch.float32),
    )
    with kernels.force(form):
        loss = lossbook.nt_xent(first, second, temperature=temperature)
    (gradient,) = torch.autograd.grad(loss.sum(), first)
    wide = lossbook.nt_xent(
        first.detach().double(), second.detach().double(), temperature=temperature
    )
    assert (loss > 0.99 / temperature).all()
    torch.testing.assert_close(loss.double(), wide, rtol=1e-5, atol=0)
    assert gradient.isfinite().all()
    assert (gradient.norm(dim=-1) > 0.1 / temperature).all()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("of", ["out", "in"])
def test_supcon_is_finite_when_it_is_cold(form, of):
    x, labels = vectors(64, 8, dtype=torch.float32), classes(64)
    with kernels.force(form):
        loss = lossbook.supcon(x, labels, temperature=0.01, form=of)
    (gradient,) = torch.autograd.grad(loss.sum(), x)
    wide = lossbook.supcon(x.detach().double(), labels, temperature=0.01, form=of)
    torch.testing.assert_close(loss.double(), wide, rtol=1e-4, atol=1e-4)
    assert gradient.isfinite().all()


def test_the_mean_outside_of_the_logarithm_is_never_less():
    x, labels = vectors(40, 3), classes(40)
    out, inside = (lossbook.supcon(x, labels, form=form) for form in ("out", "in"))
    assert (inside <= out + 1e-12).all()
    assert (inside < out - 1e-3).any()
    count = (labels[:, None] == labels).sum(-1) - 1
    assert (inside >= count.log() - 1e-12).all()


def test_the_floor_of_supcon_is_reached_by_a_simplex_of_points():
    """Classes in one place each, far from all others: log |P|."""
    x = directions([0.0] * 4 + [180.0] * 3)
    labels = torch.tensor([0] * 4 + [1] * 3)
    loss = lossbook.supcon(x, labels, temperature=0.05)
    expected = torch.tensor([3.0] * 4 + [2.0] * 3).double().log()
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("form", FORMS)
def test_supcon_of_two_views_is_nt_xent(form):
    first, second = vectors(6, 3), vectors(6, 3, seed=1)
    with kernels.force(form):
        views = lossbook.nt_xent(first, second, temperature=0.3)
        both = lossbook.supcon(
            torch.cat([first, second]), torch.arange(6).repeat(2), temperature=0.3
        )
    torch.testing.assert_close(views, both.reshape(2, 6).mean(0))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("of", ["out", "in"])
def test_an_example_that_is_alone_costs_nothing_and_still_repels(form, of):
    x, labels = directions([0.0, 10.0, 20.0]), torch.tensor([0, 0, 1])
    with kernels.force(form):
        loss = lossbook.supcon(x, labels, form=of)
    (gradient,) = torch.autograd.grad(loss.sum(), x)
    assert loss[2].item() == 0
    assert gradient[2].norm() > 0.1


def test_nca_knows_the_chance_of_a_right_neighbor():
    x, labels = vectors(10, 3), classes(10, 2)
    found = (-lossbook.nca(x, labels)).exp()
    d = torch.cdist(x, x).detach() ** 2
    for i in range(10):
        p = torch.tensor([0.0 if i == j else math.exp(-d[i, j]) for j in range(10)])
        assert found[i].item() == pytest.approx(
            (p[labels == labels[i]].sum() / p.sum()).item(), rel=1e-5
        )


# --- proxies --------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_proxy_nca_over_all_classes_is_normface(scale):
    x, proxies, labels = vectors(12, 3), vectors(4, 3, seed=1), classes(12)
    cosines = torch.nn.functional.cosine_similarity(x[:, None], proxies, dim=-1)
    found = lossbook.proxy_nca(x, labels, proxies, scale=scale, form="all")
    expected = lossbook.normface(cosines, labels, scale=2 * scale)
    torch.testing.assert_close(found, expected)


def test_the_published_proxy_nca_falls_below_0():
    x = torch.tensor([[1.0, 0.0]])
    proxies = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert lossbook.proxy_nca(x, torch.tensor([0]), proxies).item() == -4.0


def test_proxy_anchor_is_finite_where_exponentials_are_not():
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], requires_grad=True)
    loss = lossbook.proxy_anchor(x, torch.tensor([1, 0]), x.detach(), alpha=1000.0)
    (gradient,) = torch.autograd.grad(loss, x)
    assert loss.item() == pytest.approx(1100 + 1100)
    assert gradient.isfinite().all()


def test_an_empty_batch_pulls_no_proxy():
    empty = torch.zeros(0, 3, requires_grad=True)
    none = torch.zeros(0, dtype=torch.int64)
    assert lossbook.proxy_anchor(empty, none, torch.eye(3)).item() == 0
    for loss in (lossbook.supcon, lossbook.nca, lossbook.all_triplets):
        assert loss(empty, none).shape == (0,)
    for loss in (lossbook.nt_xent, lossbook.info_nce, lossbook.n_pair):
        assert loss(empty, empty).shape == (0,)


# --- block by block -------------------------------------------------------------------


def calls():
    a, b, labels = vectors(23, 3), vectors(23, 3, seed=1), classes(23)
    return {
        "supcon": lambda: (lossbook.supcon(a, labels, temperature=0.2), (a,)),
        "info_nce": lambda: (lossbook.info_nce(a, b, temperature=0.2), (a, b)),
        "nt_xent": lambda: (lossbook.nt_xent(a, b, temperature=0.2), (a, b)),
    }


@pytest.mark.parametrize("key", calls())
def test_many_blocks_equal_the_whole(key, monkeypatch):
    monkeypatch.setattr(kernels, "BLOCK", 50)  # a few rows a block, and a rest
    call, found = calls()[key], []
    for form in FORMS:
        with kernels.force(form):
            loss, inputs = call()
        upstream = torch.linspace(-1, 2, 23, dtype=torch.float64)
        first = torch.autograd.grad(loss, inputs, upstream, retain_graph=True)
        again = torch.autograd.grad(loss, inputs, upstream, create_graph=True)
        bend = torch.autograd.grad(sum(g.square().sum() for g in again), inputs)
        torch.testing.assert_close(first, again)
        found.append((loss, first, bend))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("key", calls())
@pytest.mark.parametrize("weight", [1 / 23, -0.7, 0.0])
def test_gradients_of_a_mean_are_those_of_any_multiple(key, weight, monkeypatch):
    """They are formed with the loss, and once more for a second backward pass."""
    monkeypatch.setattr(kernels, "BLOCK", 50)
    call, found = calls()[key], []
    for form in FORMS:
        with kernels.force(form):
            loss, inputs = call()
        upstream = torch.full((23,), weight, dtype=torch.float64)
        for _ in range(2):
            found += [torch.autograd.grad(loss, inputs, upstream, retain_graph=True)]
    for other in found[1:]:
        torch.testing.assert_close(found[0], other)


def test_one_side_alone_may_want_a_gradient():
    a, b = vectors(9, 3), vectors(9, 3, seed=1)
    for inputs in ((a, b.detach()), (a.detach(), b)):
        wanted = next(each for each in inputs if each.requires_grad)
        slopes = []
        for form in FORMS:
            with kernels.force(form):
                loss = lossbook.info_nce(*inputs, temperature=0.2).square().sum()
            slopes += torch.autograd.grad(loss, wanted, create_graph=True)
        torch.testing.assert_close(*slopes)


@pytest.mark.parametrize("key", ["supcon", "info_nce", "nt_xent"])
def test_a_large_batch_never_holds_half_of_all_similarities(key):
    n = 2048
    x, y = (vectors(n, 16, seed=seed, dtype=torch.float32) for seed in (0, 1))
    labels = torch.arange(n) // 16
    arrays = (x, labels) if key == "supcon" else (x, y)
    count = (2 * n if key == "nt_xent" else n) ** 2
    with torch.profiler.profile(profile_memory=True) as profile:
        getattr(lossbook, key)(*arrays).sum().backward()
    largest = max(event.cpu_memory_usage for event in profile.events())
    assert 0 < largest < 4 * count / 2


def test_a_small_batch_takes_the_plain_form(monkeypatch):
    monkeypatch.setattr(_similarities, "_blocks", None)
    x = vectors(64, 3)
    assert lossbook.supcon(x, classes(64)).isfinite().all()
    assert lossbook.info_nce(x, vectors(64, 3, seed=1)).isfinite().all()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("all_triplets", "margin"),
        ("info_nce", "temperature"),
        ("nt_xent", "temperature"),
        ("supcon", "temperature"),
    ],
)
def test_one_parameter_an_example_is_as_each_alone(key, name, form):
    a, b, marks = vectors(7, 3), vectors(7, 3, seed=1), classes(7, 2)
    arrays = (a, marks) if key in ("all_triplets", "supcon") else (a, b)
    loss = getattr(lossbook, key)
    each = torch.linspace(0.2, 2.0, 7, dtype=torch.float64)
    with kernels.force(form):
        found = loss(*arrays, **{name: each})
        alone = [loss(*arrays, **{name: value})[i] for i, value in enumerate(each)]
    torch.testing.assert_close(found, torch.stack(alone))


# --- refusals -------------------------------------------------------------------------

X = torch.zeros(3, 2)
Y = torch.tensor([0, 0, 1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: lossbook.contrastive(X, X[:2], Y),
            "second must have the shape of first, (3, 2), got (2, 2)",
        ),
        (
            lambda: lossbook.contrastive(X, X, Y.float()),
            "same must be of an integer dtype, got torch.float32",
        ),
        (
            lambda: lossbook.contrastive(X, X, Y[:2]),
            "same must have one entry for each of first, shape (3,), got (2,)",
        ),
        (
            lambda: lossbook.triplet(X, X.long(), X),
            "positives must be of a floating dtype, got torch.int64",
        ),
        (
            lambda: lossbook.triplet([[0.0]], X, X),
            "anchors must be a torch tensor, got list; use torch.as_tensor(anchors)",
        ),
        (
            lambda: lossbook.triplet(torch.tensor(0.0), X, X),
            "anchors must have a last axis with one entry a dimension, got shape ()",
        ),
        (
            lambda: lossbook.n_pair(X[None], X[None]),
            "anchors must be a batch of vectors, shape (N, D), got shape (1, 3, 2)",
        ),
        (
            lambda: lossbook.supcon(X, Y, form="both"),
            'form must be "out" or "in", got \'both\'',
        ),
        (
            lambda: lossbook.proxy_nca(X, Y, X, form="in"),
            'form must be "others" or "all", got \'in\'',
        ),
        (
            lambda: lossbook.proxy_anchor(X, Y, X[:1]),
            "labels must lie in 0..0 (there are 1 classes), got 1",
        ),
        (
            lambda: lossbook.nca(torch.full_like(X, torch.nan), Y),
            "embeddings must be finite numbers, got nan at (0, 0); the model's output "
            "had already left the numbers: lower the learning rate or look at its "
            "input",
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises((TypeError, ValueError)) as refusal:
        call()
    assert str(refusal.value) == message


def test_with_one_positive_both_forms_of_supcon_are_one():
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.normal(size=(6, 3)))
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    found = [lossbook.supcon(x, labels, form=form) for form in ("in", "out")]
    torch.testing.assert_close(*found)
