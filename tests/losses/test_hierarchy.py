"""Losses of hierarchies: what their cards cannot say."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.cluster.hierarchy import linkage
from scipy.optimize import linprog

import lossbook
from lossbook import Hierarchy, check, kernels, metrics
from lossbook.losses import CATALOGUE
from lossbook.losses.hierarchy import _paths

FORMS = pytest.mark.parametrize("form", ["plain", "fused"])
SMALL = Hierarchy.from_nested([["cat", "dog"], "car"])
RAGGED = Hierarchy.random(np.random.default_rng(3), 9)
DEEP = Hierarchy.random(np.random.default_rng(0), 60)
WIDE = Hierarchy.balanced(4, 3)
TREES = pytest.mark.parametrize(
    "tree", [SMALL, RAGGED, DEEP, WIDE], ids=["small", "ragged", "deep", "wide"]
)
HXE = lossbook.HierarchicalCrossEntropy
CARDS = [card for card in CATALOGUE.values() if card.family == "hierarchy"]


def batch(tree, n=50, spread=3.0, dtype=torch.float64, seed=0):
    rng = np.random.default_rng(seed)
    classes = len(tree.classes)
    logits = torch.tensor(spread * rng.normal(size=(n, classes)), dtype=dtype)
    return logits.requires_grad_(), torch.tensor(rng.integers(classes, size=n))


def value_and_gradient(loss, logits, labels):
    value = loss(logits, labels)
    return value.detach(), torch.autograd.grad(value.sum(), logits)[0]


def textbook(tree, alpha, weighting="depth"):
    """The form with a dense matrix: softmax, times who lies below whom, logarithm."""
    below = torch.zeros(len(tree.names), len(tree.classes))
    for v in range(len(tree.names)):
        below[v, torch.tensor(tree.order[tree.start[v] : tree.stop[v]])] = 1
    path = torch.tensor(tree.paths)
    count = torch.tensor(getattr(tree, f"{weighting}s"))[path[:, :-1]]
    weight = torch.exp(-alpha * count) * (path[:, :-1] != tree.root)

    def loss(logits, labels):
        mass = logits.softmax(-1) @ below.T.to(logits.dtype)
        log_mass = mass.gather(-1, path[labels]).log()
        turns = log_mass[:, :-1] - log_mass[:, 1:]
        return -(weight[labels] * turns).sum(-1)

    return loss


# Hierarchical cross-entropy


@FORMS
@TREES
@pytest.mark.parametrize("weighting", ["depth", "height"])
def test_the_textbook_form_gives_the_same(form, tree, weighting):
    logits, labels = batch(tree)
    expected = value_and_gradient(textbook(tree, 0.4, weighting), logits, labels)
    with kernels.force(form):
        loss = HXE(tree, alpha=0.4, weighting=weighting)
        found = value_and_gradient(loss, logits, labels)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_three_classes_by_hand():
    """With logits 0 and two groups {0, 1} and {2}: turns of 2/3, 1/3 and 1/2."""
    logits, alpha = torch.zeros(1, 3, dtype=torch.float64), 0.7
    depth = HXE(SMALL, alpha=alpha)
    height = HXE(SMALL, alpha=alpha, weighting="height")
    first, last = torch.tensor([0]), torch.tensor([2])
    coarse, fine = np.exp(-alpha), np.exp(-2 * alpha)
    expected = coarse * np.log(3 / 2) + fine * np.log(2)
    assert depth(logits, first).item() == pytest.approx(expected)
    assert depth(logits, last).item() == pytest.approx(coarse * np.log(3))
    expected = np.exp(-alpha) * np.log(3 / 2) + np.log(2)
    assert height(logits, first).item() == pytest.approx(expected)
    assert height(logits, last).item() == pytest.approx(np.log(3))


def test_on_a_flat_tree_it_is_cross_entropy():
    tree = Hierarchy.balanced(5, 1)
    logits, labels = batch(tree)
    flat = lossbook.cross_entropy(logits, labels)
    torch.testing.assert_close(
        HXE(tree, alpha=0.3)(logits, labels), np.exp(-0.3) * flat
    )
    torch.testing.assert_close(HXE(tree, weighting="height")(logits, labels), flat)


def hessian(loss, logits, label):
    z = torch.tensor(logits, dtype=torch.float64)
    return torch.autograd.functional.hessian(
        lambda z: loss(z[None], torch.tensor([label]))[0], z
    )


def test_depth_weights_bend_down_where_another_group_leads():
    """LSE{0, 1} has the coefficient w_fine - w_coarse < 0, and curvature 1/2."""
    bent = hessian(HXE(SMALL, alpha=0.5), [0.0, 0.0, 30.0], 0)
    expected = (np.exp(-1.0) - np.exp(-0.5)) / 2
    assert torch.linalg.eigvalsh(bent).min().item() == pytest.approx(expected)
    convex = hessian(HXE(SMALL, alpha=0.5, weighting="height"), [0.0, 0.0, 30.0], 0)
    assert torch.linalg.eigvalsh(convex).min().item() > -1e-12


@pytest.mark.parametrize(
    ("nested", "convex"),
    [
        (["cat", "dog", "car"], True),
        ([["cat", "dog", "car"]], True),  # the root has one child
        ([[["cat", "dog", "car"]]], True),
        ([["cat"], "dog", [["car"]]], True),  # classes have no siblings of their own
        ([["cat", "dog"], "car"], False),
        ([[["cat", "dog"], "car"]], False),
    ],
)
def test_depth_weights_are_convex_if_one_node_has_several_children(nested, convex):
    tree = Hierarchy.from_nested(nested)
    loss = HXE(tree, alpha=0.5)
    least = min(
        torch.linalg.eigvalsh(hessian(loss, logits, label)).min().item()
        for logits in np.random.default_rng(0).normal(scale=4, size=(40, 3))
        for label in range(3)
    )
    assert (least > -1e-9) is convex


HEIGHT = replace(
    CATALOGUE["HierarchicalCrossEntropy"],
    name="Hierarchical cross-entropy, height weights",
    closure=lambda rng, classes: {
        "hierarchy": Hierarchy.random(rng, classes),
        "weighting": "height",
    },
    options={},
    recovery=None,
    properties=replace(
        CATALOGUE["HierarchicalCrossEntropy"].properties,
        convex=True,
        strictly_proper=lambda alpha: alpha == 0,
        calibrated=None,
        lipschitz=None,
    ),
)


@FORMS
@pytest.mark.parametrize("one", check.applicable(HEIGHT), ids=lambda one: one.name)
def test_height_weights_are_convex_and_not_proper(form, one):
    with kernels.force(form):
        assert one.run(HEIGHT)


def test_height_weights_divide_the_odds_of_siblings():
    """The best P of siblings is in ratio w(v) P*(v): with w = 1 it is the truth."""
    truth, alpha = np.array([0.3, 0.1, 0.6]), 0.8
    group = np.exp(-alpha) * 0.4
    best = np.array([0.75 * group, 0.25 * group, 0.6]) / (group + 0.6)
    logits = torch.tensor(np.log(best)).expand(3, 3).clone().requires_grad_()
    loss = HXE(SMALL, alpha=alpha, weighting="height")(logits, torch.arange(3))
    (gradient,) = torch.autograd.grad(loss @ torch.tensor(truth), logits)
    assert gradient.sum(0).abs().max() < 1e-12
    assert abs(best[2] - truth[2]) > 0.1


def test_an_unknown_weighting_is_refused():
    with pytest.raises(ValueError, match=r".") as refusal:
        HXE(SMALL, weighting="breadth")
    assert (
        str(refusal.value) == 'weighting must be "depth" or "height", got \'breadth\''
    )


# Numbers


@FORMS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("ahead", [100.0, 120.0, 1000.0, 1e4])
def test_another_group_far_ahead_keeps_value_and_gradient(form, dtype, ahead):
    """The worst mistakes have a loss of about w times the gap, and they pull.

    Softmax underflows here: forms by masses have loss 0, or a gradient of nan.
    """
    logits = torch.tensor([[0.0, 0.0, ahead]], dtype=dtype, requires_grad=True)
    coarse, fine = np.exp(-0.5), np.exp(-1.0)
    with kernels.force(form):
        loss, gradient = value_and_gradient(
            HXE(SMALL, alpha=0.5), logits, torch.tensor([0])
        )
    expected = coarse * (ahead - np.log(2)) + fine * np.log(2)
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    assert gradient[0].tolist() == pytest.approx(
        [-(coarse + fine) / 2, (fine - coarse) / 2, coarse], rel=1e-6
    )
    _, dead = value_and_gradient(textbook(SMALL, 0.5), logits, torch.tensor([0]))
    assert dead.isnan().any() == (dtype is torch.float32 or ahead > 800)


@pytest.mark.parametrize("spread", [1.0, 20.0, 300.0, 5000.0])
@TREES
def test_the_fused_form_is_right_at_all_scales(tree, spread):
    """Rows far behind are computed in float64; those farther still, in plain form."""
    logits, labels = batch(tree, spread=spread)
    with kernels.force("plain"):
        expected = value_and_gradient(HXE(tree, alpha=0.5), logits, labels)
    narrow = logits.detach().float().requires_grad_()
    with kernels.force("fused"):
        loss = HXE(tree, alpha=0.5)
        torch.testing.assert_close(
            value_and_gradient(loss, logits, labels), expected, rtol=1e-11, atol=1e-11
        )
        found = value_and_gradient(loss, narrow, labels)
    with kernels.force("plain"):
        expected = value_and_gradient(
            loss, narrow.detach().double().requires_grad_(), labels
        )
    torch.testing.assert_close(found[0].double(), expected[0], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found[1].double(), expected[1], rtol=1e-6, atol=1e-6)


@FORMS
def test_a_small_loss_keeps_its_digits(form):
    """Where the right class leads by 20, the loss is exp(-20) and not 0."""
    logits = torch.tensor([[20.0, -torch.inf, 0.0]], requires_grad=True)
    with kernels.force(form):
        loss, gradient = value_and_gradient(
            HXE(SMALL, alpha=0.0), logits, torch.tensor([0])
        )
    assert loss.item() == pytest.approx(np.exp(-20), rel=1e-5)
    assert gradient[0, 0].item() == pytest.approx(-np.exp(-20), rel=1e-5)


@FORMS
def test_classes_can_be_ruled_out(form):
    ruled = torch.tensor(
        [[1.0, -torch.inf, 0.0], [1.0, 0.5, -torch.inf]], requires_grad=True
    )
    with kernels.force(form):
        loss, gradient = value_and_gradient(
            HXE(SMALL, alpha=0.5), ruled, torch.tensor([0, 0])
        )
        assert HXE(SMALL)(ruled[:1], torch.tensor([1])).item() == torch.inf
        assert HXE(SMALL)(ruled[1:], torch.tensor([2])).item() == torch.inf
    sibling = np.exp(-0.5) * np.log1p(np.exp(-1.0))
    group = np.exp(-1.0) * np.log1p(np.exp(-0.5))
    assert loss.tolist() == pytest.approx([sibling, group])
    assert gradient.isfinite().all()
    assert gradient[0, 1] == pytest.approx(0, abs=1e-20)


# The fused form


def test_large_input_takes_the_fused_form_in_blocks(monkeypatch):
    calls = []
    block = _paths._block

    def counted(z, *args):
        calls.append(len(z))
        return block(z, *args)

    monkeypatch.setattr(_paths, "_block", counted)
    loss = HXE(DEEP)
    logits, labels = batch(DEEP, 3000, dtype=torch.float32)
    found = value_and_gradient(loss, logits, labels)
    assert calls == [3000]
    monkeypatch.setattr(kernels, "BLOCK", 60 * 700)
    torch.testing.assert_close(value_and_gradient(loss, logits, labels), found)
    assert calls[1:] == [700, 700, 700, 700, 200]
    calls.clear()
    loss(logits[:20], labels[:20])
    HXE(DEEP, alpha=torch.tensor(0.1))(logits, labels)
    assert not calls


def test_no_gradient_is_formed_where_none_is_wanted():
    logits, labels = batch(RAGGED)
    with kernels.force("fused"):
        loss = HXE(RAGGED)(logits.detach(), labels)
        assert not loss.requires_grad
        torch.testing.assert_close(loss, HXE(RAGGED)(logits, labels).detach())


def test_a_kept_graph_gives_the_same_gradient_again():
    logits, labels = batch(RAGGED)
    with kernels.force("fused"):
        loss = HXE(RAGGED)(logits, labels).sum()
    first = torch.autograd.grad(loss, logits, retain_graph=True)[0].clone()
    again = torch.autograd.grad(3 * loss, logits)[0]
    torch.testing.assert_close(again, 3 * first)


@FORMS
def test_leading_axes_are_kept(form):
    logits, labels = batch(RAGGED, 24)
    with kernels.force(form):
        flat = HXE(RAGGED)(logits, labels)
        loss = HXE(RAGGED)(logits.reshape(2, 3, 4, 9), labels.reshape(2, 3, 4))
    torch.testing.assert_close(loss, flat.reshape(2, 3, 4))


# The other losses


@TREES
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_levels_and_turns_are_one_loss(tree, alpha):
    """The turn at depth d has the weights of level d and of all deeper ones."""
    logits, labels = batch(tree)
    turns = np.exp(-alpha * np.arange(1, tree.height + 1))
    levels = turns - np.append(turns[1:], 0.0)
    levelwise = lossbook.LevelwiseCrossEntropy(tree, levels)
    torch.testing.assert_close(
        value_and_gradient(levelwise, logits, labels),
        value_and_gradient(HXE(tree, alpha=alpha), logits, labels),
    )


def test_the_deepest_level_alone_is_cross_entropy():
    logits, labels = batch(RAGGED)
    weights = np.eye(RAGGED.height)[-1]
    loss = lossbook.LevelwiseCrossEntropy(RAGGED, weights)
    torch.testing.assert_close(
        loss(logits, labels), lossbook.cross_entropy(logits, labels)
    )


def test_levels_weigh_1_unless_told_otherwise():
    """Logits 0: the group {0, 1} has 2/3, a class 1/3, and class 2 counts twice."""
    loss = lossbook.LevelwiseCrossEntropy(SMALL)(
        torch.zeros(2, 3), torch.tensor([0, 2])
    )
    expected = [np.log(3 / 2) + np.log(3), 2 * np.log(3)]
    assert loss.tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0], "level_weights must be one a level, shape (2,), got shape (1,)"),
        (
            [1.0, -1.0],
            "level_weights must be finite and not negative, got [1.0, -1.0]",
        ),
    ],
)
def test_level_weights_are_refused(weights, message):
    with pytest.raises(ValueError, match=r".") as refusal:
        lossbook.LevelwiseCrossEntropy(SMALL, weights)
    assert str(refusal.value) == message


def below_the_root(tree, n=20, spread=3.0):
    loss = lossbook.ConditionalSoftmax(tree)
    rng = np.random.default_rng(0)
    return loss, torch.tensor(spread * rng.normal(size=(n, len(loss.nodes))))


@TREES
@pytest.mark.parametrize("spread", [3.0, 1e4])
def test_conditional_probabilities_agree_at_all_levels(tree, spread):
    loss, logits = below_the_root(tree, spread=spread)
    p = loss.probabilities(logits)
    torch.testing.assert_close(p.sum(-1), torch.ones(20, dtype=p.dtype))
    log_p = loss.log_probabilities(logits)
    for label, name in enumerate(loss.nodes):
        inside = [tree.classes.index(c) for c in tree.below(name)]
        found = loss(logits, torch.full((20,), label))
        torch.testing.assert_close(found, -log_p[:, inside].logsumexp(-1))


def test_on_a_flat_tree_conditional_softmax_is_cross_entropy():
    loss, logits = below_the_root(Hierarchy.balanced(4, 1))
    labels = torch.arange(20) % 4
    torch.testing.assert_close(
        loss(logits, labels), lossbook.cross_entropy(logits, labels)
    )


def test_conditional_softmax_tells_how_many_logits_it_wants():
    loss = lossbook.ConditionalSoftmax(SMALL)
    with pytest.raises(ValueError, match=r".") as refusal:
        loss(torch.zeros(1, 3), torch.tensor([0]))
    assert str(refusal.value) == (
        "logits must have 4 entries, one a node below the root, got 3"
    )


@pytest.mark.parametrize(
    "make",
    [
        HXE,
        lossbook.LevelwiseCrossEntropy,
        lossbook.TreeSoftLabels,
        lossbook.TreeWasserstein,
    ],
)
def test_logits_of_other_classes_are_refused(make):
    with pytest.raises(ValueError, match=r".") as refusal:
        make(SMALL)(torch.zeros(1, 4), torch.tensor([0]))
    assert str(refusal.value) == (
        "logits must have 3 classes, as the hierarchy has, got 4"
    )


def test_soft_labels_run_from_uniform_to_one_hot():
    labels = torch.arange(9)
    flat = lossbook.TreeSoftLabels(RAGGED, beta=0.0).targets(labels)
    torch.testing.assert_close(flat, torch.full((9, 9), 1 / 9, dtype=flat.dtype))
    sharp = lossbook.TreeSoftLabels(RAGGED, beta=1e4).targets(labels)
    torch.testing.assert_close(sharp, torch.eye(9, dtype=sharp.dtype))
    near = lossbook.TreeSoftLabels(SMALL, beta=2.0).targets(torch.tensor([0]))
    shares = np.array([1.0, np.exp(-1.0), np.exp(-2.0)])
    assert near[0].tolist() == pytest.approx(shares / shares.sum())


def test_soft_labels_are_targets_of_cross_entropy():
    logits, labels = batch(RAGGED)
    loss = lossbook.TreeSoftLabels(RAGGED, beta=5.0)
    expected = lossbook.soft_cross_entropy(logits, loss.targets(labels))
    torch.testing.assert_close(loss(logits, labels), expected)


def test_a_class_that_is_ruled_out_costs_what_share_it_has():
    logits = torch.tensor([[0.0, 0.0, -torch.inf]], requires_grad=True)
    label = torch.tensor([0])
    without_share = lossbook.TreeSoftLabels(SMALL, beta=1e4)(logits, label)
    assert without_share.item() == pytest.approx(math.log(2))
    (gradient,) = torch.autograd.grad(without_share, logits)
    torch.testing.assert_close(gradient, torch.tensor([[-0.5, 0.5, 0.0]]))
    assert lossbook.TreeSoftLabels(SMALL, beta=1.0)(logits, label).item() == math.inf


def test_soft_labels_learn_a_blurred_posterior():
    truth = np.random.default_rng(0).dirichlet(np.ones(9))
    loss = lossbook.TreeSoftLabels(RAGGED, beta=4.0)
    labels = torch.arange(9)
    blurred = torch.tensor(truth) @ loss.targets(labels)
    logits = blurred.log().expand(9, 9).clone().requires_grad_()
    (gradient,) = torch.autograd.grad(
        loss(logits, labels) @ torch.tensor(truth), logits
    )
    assert gradient.sum(0).abs().max() < 1e-12
    assert (blurred - torch.tensor(truth)).abs().max() > 0.05


def lengths_of(tree):
    return np.random.default_rng(1).uniform(0.1, 2.0, size=len(tree.names))


def transport(p, q, cost):
    """The least cost of moving p to q, as a linear program."""
    c = len(p)
    rows = np.kron(np.eye(c), np.ones(c))
    columns = np.kron(np.ones(c), np.eye(c))
    plan = linprog(
        cost.ravel(), A_eq=np.vstack([rows, columns]), b_eq=np.concatenate([p, q])
    )
    return plan.fun


@pytest.mark.parametrize("tree", [SMALL, RAGGED], ids=["small", "ragged"])
def test_tree_wasserstein_is_the_least_work(tree):
    logits, labels = batch(tree, 6)
    lengths = lengths_of(tree)
    cost = tree.distances(lengths)
    p = logits.detach().softmax(-1).numpy()
    q = np.random.default_rng(2).dirichlet(np.ones(p.shape[-1]), size=6)
    loss = lossbook.SoftTreeWasserstein(tree, lengths)(logits, torch.tensor(q))
    expected = [transport(a, b, cost) for a, b in zip(p, q, strict=True)]
    assert loss.tolist() == pytest.approx(expected, abs=1e-7)
    one_hot = np.eye(p.shape[-1])[labels]
    hard = lossbook.TreeWasserstein(tree, lengths)(logits, labels)
    expected = [transport(a, b, cost) for a, b in zip(p, one_hot, strict=True)]
    assert hard.tolist() == pytest.approx(expected, abs=1e-7)


@TREES
def test_a_class_is_a_distribution_too(tree):
    logits, labels = batch(tree)
    lengths = lengths_of(tree)
    one_hot = torch.eye(len(tree.classes), dtype=torch.float64)[labels]
    soft = lossbook.SoftTreeWasserstein(tree, lengths)
    hard = lossbook.TreeWasserstein(tree, lengths)
    torch.testing.assert_close(
        value_and_gradient(soft, logits, one_hot),
        value_and_gradient(hard, logits, labels),
    )


def test_equal_distributions_cost_nothing():
    logits, _ = batch(DEEP)
    p = logits.detach().softmax(-1)
    loss = lossbook.SoftTreeWasserstein(DEEP)
    assert loss(logits, p).max() < 1e-12
    assert (loss(logits, p.flip(0)) > 0.1).all()


@TREES
def test_consistent_heads_cost_nothing(tree):
    logits, _ = batch(tree)
    for depth in range(1, tree.height + 1):
        group = torch.tensor(tree.level(depth))
        mass = torch.zeros(len(logits), int(group.max()) + 1, dtype=logits.dtype)
        mass.index_add_(-1, group, logits.detach().softmax(-1))
        loss = lossbook.PathConsistency(tree, depth)
        assert loss(logits, mass.log()).abs().max() < 1e-9
        other = loss(logits, mass.log() + torch.arange(mass.shape[-1]))
        assert (other > 1e-6).all()


def test_a_group_that_is_ruled_out_has_no_part_in_consistency():
    fine = torch.tensor([[1.0, 2.0, 0.0]], requires_grad=True)
    coarse = torch.tensor([[0.0, -torch.inf]], requires_grad=True)
    loss = lossbook.PathConsistency(SMALL)(fine, coarse)
    gradients = torch.autograd.grad(loss.sum(), (fine, coarse))
    p = fine.detach().softmax(-1)
    torch.testing.assert_close(loss, -p[:, :2].sum(-1).log())
    first_level = lossbook.PathConsistency(SMALL, depth=1)
    torch.testing.assert_close(first_level(fine, coarse), loss)
    torch.testing.assert_close(gradients[1], torch.zeros(1, 2))
    assert gradients[0].isfinite().all()


def test_the_coarse_head_is_pulled_towards_the_fine_one():
    """The gradient in its logits is c_g (log(c_g / P_g) - KL), and 1e4 does no harm."""
    fine = torch.tensor([[1.0, 0.0, 2.0]], dtype=torch.float64)
    coarse = torch.tensor([[0.3, -0.5]], dtype=torch.float64, requires_grad=True)
    loss = lossbook.PathConsistency(SMALL)
    (gradient,) = torch.autograd.grad(loss(fine, coarse).sum(), coarse)
    p, c = fine.softmax(-1)[0], coarse.detach().softmax(-1)[0]
    ratio = (c / torch.stack([p[0] + p[1], p[2]])).log()
    torch.testing.assert_close(gradient[0], c * (ratio - (c * ratio).sum()))
    for sign in (-1e4, 1e4):
        z = torch.tensor([[sign, 0.0, -sign]], requires_grad=True)
        value, slope = value_and_gradient(loss, z, torch.tensor([[sign, -sign]]))
        assert value.isfinite().all()
        assert slope.isfinite().all()


@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        (
            (torch.zeros(2, 3), torch.zeros(2, 3)),
            ValueError,
            "coarse_logits must have shape (2, 2), one entry a group at depth 1, got "
            "(2, 3)",
        ),
        (
            (torch.zeros(2, 4), torch.zeros(2, 2)),
            ValueError,
            "logits must have 3 classes, as the hierarchy has, got 4",
        ),
        (
            (torch.zeros(2, 3), torch.tensor([0, 1])),
            TypeError,
            "coarse_logits must be a torch tensor of floats, got torch.int64",
        ),
        (
            ([[0.0] * 3], torch.zeros(1, 2)),
            TypeError,
            "fine_logits must be a torch tensor of floats, got list",
        ),
    ],
)
def test_heads_are_refused(arrays, error, message):
    with pytest.raises(error) as refusal:
        lossbook.PathConsistency(SMALL)(*arrays)
    assert str(refusal.value) == message


# All of them under torch's transforms


def arrays_of(card, n=6):
    rng = np.random.default_rng(0)
    return [
        torch.tensor(a, dtype=torch.float64 if a.dtype.kind == "f" else torch.int64)
        for a in card.sample(rng, n, 4)
    ]


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.key)
# torch's own forward mode warns of its use of torch.jit.
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_torch_transforms(card):
    z, *rest = arrays_of(card)
    loss = card.make(4, **card.defaults())
    expected = value_and_gradient(lambda a, _: loss(a, *rest), z.requires_grad_(), None)
    z = z.detach()
    torch.testing.assert_close(
        torch.func.vmap(loss)(z[:, None], *(a[:, None] for a in rest))[:, 0],
        expected[0],
    )
    slope = torch.func.grad(lambda a: loss(a, *rest).sum())
    torch.testing.assert_close(slope(z), expected[1])
    torch.testing.assert_close(
        torch.func.vmap(
            lambda a, *b: torch.func.grad(lambda x: loss(x[None], *b)[0])(a)
        )(z, *(a[:, None] for a in rest)),
        expected[1],
    )
    direction = torch.ones_like(z).cumsum(-1)
    _, along = torch.func.jvp(lambda a: loss(a, *rest), (z,), (direction,))
    torch.testing.assert_close(along, (expected[1] * direction).sum(-1))


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.key)
def test_torch_compile(card):
    arrays = arrays_of(card)
    loss = card.make(4, **card.defaults())
    compiled = torch.compile(
        lambda *given: loss(*given), fullgraph=True, backend="eager"
    )
    torch.testing.assert_close(compiled(*arrays), loss(*arrays))


# Decisions and metrics


def test_the_least_expected_cost_is_found():
    rng = np.random.default_rng(0)
    p = torch.tensor(rng.dirichlet(np.ones(9), size=(4, 50)))
    costs = rng.uniform(size=(9, 9))  # not symmetric: the true class comes first
    said = lossbook.crm_decode(p, costs)
    for example in np.ndindex(4, 50):
        expected = [
            sum(p[example][j] * costs[j, k] for j in range(9)) for k in range(9)
        ]
        assert said[example] == np.argmin(expected)


def test_no_decision_costs_less_than_the_least_expected_one():
    p = torch.tensor(np.random.default_rng(0).dirichlet(np.ones(9), size=500))
    cost = p @ torch.tensor(RAGGED.lca_heights, dtype=torch.float64)
    said = cost.gather(-1, lossbook.crm_decode(p, RAGGED)[:, None])
    likeliest = cost.gather(-1, p.argmax(-1)[:, None])
    assert (said <= likeliest + 1e-12).all()
    assert (said < likeliest - 1e-3).any()
    flat = 1 - torch.eye(9)
    assert torch.equal(lossbook.crm_decode(p, flat), p.argmax(-1))


def test_costs_of_other_classes_are_refused():
    with pytest.raises(ValueError, match=r".") as refusal:
        lossbook.crm_decode(torch.ones(1, 4) / 4, SMALL)
    assert str(refusal.value) == (
        "costs must be one a pair of classes, shape (4, 4), got (3, 3)"
    )


def test_metrics_by_hand():
    """Mistakes cat-dog (height 1) and cat-car (2), two of four right; then car-dog."""
    labels = np.array([[0, 0, 0, 2], [2, 0, 1, 2]])
    said = np.array([[0, 1, 2, 2], [1, 0, 1, 2]])
    assert metrics.lca_height(said, labels, SMALL).tolist() == [0.75, 0.5]
    assert metrics.mistake_severity(said, labels, SMALL).tolist() == [1.5, 2.0]
    assert metrics.coarse_error(said, labels, SMALL).tolist() == [0.25, 0.25]
    assert metrics.coarse_error(said, labels, SMALL, depth=2).tolist() == [0.5, 0.25]
    assert np.isnan(metrics.mistake_severity(labels, labels, SMALL)).all()


def test_distance_at_k_by_hand():
    scores = np.array([[3.0, 1.0, 2.0], [0.0, 1.0, 2.0]])
    labels = np.array([0, 0])
    distances = [
        metrics.hierarchical_distance_at_k(scores, labels, SMALL, k) for k in (1, 2, 3)
    ]
    # The ranks: cat car dog (0 2 1), and car dog cat (2 1 0).
    assert distances == pytest.approx([2 / 2, 5 / 4, 6 / 6])
    assert distances[0] == metrics.lca_height(scores.argmax(-1), labels, SMALL)
    with pytest.raises(ValueError, match=r".") as refusal:
        metrics.hierarchical_distance_at_k(scores, labels, SMALL, 4)
    assert str(refusal.value) == "k must lie in 1..3, the number of classes, got 4"


# Persistence


def kruskal(points):
    """The edges of a minimum spanning tree, shortest first."""
    n = len(points)
    part = list(range(n))
    edges = []
    pairs = [(i, j) for i in range(n) for j in range(i)]
    for i, j in sorted(
        pairs, key=lambda e: np.linalg.norm(points[e[0]] - points[e[1]])
    ):
        if part[i] != part[j]:
            old = part[j]
            part = [part[i] if p == old else p for p in part]
            edges.append((i, j))
    return edges


def test_deaths_and_their_gradient_are_those_of_a_spanning_tree():
    points = np.random.default_rng(0).normal(size=(30, 3))
    z = torch.tensor(points, requires_grad=True)
    deaths = lossbook.persistence_0d(z)
    weights = torch.linspace(-1, 2, 29, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(deaths @ weights, z)
    expected = np.zeros_like(points)
    for (i, j), weight in zip(kruskal(points), weights.tolist(), strict=True):
        unit = (points[i] - points[j]) / np.linalg.norm(points[i] - points[j])
        expected[i] += weight * unit
        expected[j] -= weight * unit
    np.testing.assert_allclose(gradient, expected, atol=1e-12)
    merges = linkage(points, "single")[:, 2]
    np.testing.assert_allclose(deaths.detach(), merges, atol=1e-12)


def test_deaths_pass_gradcheck():
    z = torch.tensor(np.random.default_rng(0).normal(size=(6, 2)), requires_grad=True)
    assert torch.autograd.gradcheck(lossbook.persistence_0d, z)


def test_points_that_coincide_have_no_slope():
    z = torch.tensor([[0.0, 0.0], [0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    deaths = lossbook.persistence_0d(z)
    assert deaths.tolist() == [0.0, 5.0]
    (gradient,) = torch.autograd.grad(deaths.sum(), z)
    assert gradient[2].tolist() == pytest.approx([0.6, 0.8])
    assert gradient.isfinite().all()
    assert lossbook.persistence_0d(z[:1]).shape == (0,)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (
            torch.zeros(3),
            "embeddings must be one row a point, shape (N, D), got shape (3,)",
        ),
        (
            torch.zeros(0, 2),
            "embeddings must be one row a point, shape (N, D), got shape (0, 2)",
        ),
        (
            torch.tensor([[0.0], [torch.nan]]),
            "embeddings must be finite, got nan or an infinite number",
        ),
    ],
)
def test_what_is_no_cloud_of_points_is_refused(points, message):
    with pytest.raises(ValueError, match=r".") as refusal:
        lossbook.persistence_0d(points)
    assert str(refusal.value) == message
