"""What no card can say of the losses of the margin."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

import lossbook
from lossbook.losses import CATALOGUE

MARGIN = {k: c for k, c in CATALOGUE.items() if c.family == "margins"}
BINARY = {k: c for k, c in MARGIN.items() if c.kind == "margin"}
MANY = {k: c for k, c in MARGIN.items() if c.kind == "labels"}
DOUBLE = torch.float64


def test_the_errors_of_both_signs_sum_to_1_but_at_0():
    scores = torch.tensor([-1e4, -1e-30, 0.0, 1e-30, 7.0], dtype=torch.float64)
    total = sum(lossbook.zero_one(scores, s * torch.ones(5)) for s in (-1, 1))
    assert total.tolist() == [1, 1, 2, 1, 1]


def phi(key, margin):
    """The loss as a function of the margin, in numpy."""
    margin = torch.as_tensor(margin, dtype=DOUBLE)
    return BINARY[key].fn(margin, torch.ones_like(margin)).numpy()


def slope(key, margin, dtype=DOUBLE):
    margin = torch.tensor(margin, dtype=dtype, requires_grad=True)
    loss = BINARY[key].fn(margin, torch.ones_like(margin))
    return torch.autograd.grad(loss.sum(), margin)[0].tolist()


def each_label(key, logits):
    """The loss of each row of logits for each label: (..., C)."""
    logits = torch.as_tensor(logits, dtype=DOUBLE)
    classes = logits.shape[-1]
    every = logits[..., None, :].expand(*logits.shape, classes)
    labels = torch.arange(classes).expand(logits.shape)
    return MANY[key].fn(every, labels).numpy()


def risk(key, logits, eta):
    return each_label(key, logits) @ np.asarray(eta)


# Upper bounds of the 0/1 loss


ABOVE = {
    "exponential",
    "hinge",
    "modified_huber",
    "squared",
    "squared_hinge",
    "tangent",
    "zero_one",
}


@pytest.mark.parametrize("key", BINARY)
def test_who_bounds_the_zero_one_loss(key):
    margin = np.concatenate([np.linspace(-30, 30, 6001), [-1e-12, 0.0, 1e-12]])
    lacking = phi("zero_one", margin) - phi(key, margin)
    assert (lacking.max() <= 1e-12) == (key in ABOVE)


def test_the_logistic_loss_bounds_it_in_bits_and_not_in_nats():
    margin = np.linspace(-30, 30, 6001)
    wrong = phi("zero_one", margin)
    assert phi("logistic", 0.0) == pytest.approx(math.log(2))
    assert phi("logistic", 0.0) < phi("zero_one", 0.0)
    assert (phi("logistic", margin) / math.log(2) >= wrong - 1e-12).all()


@pytest.mark.parametrize("key", MANY)
def test_losses_of_many_classes_bound_their_mistakes(key):
    logits = np.random.default_rng(0).normal(size=(500, 4))
    logits[:100, 1] = logits[:100, 0]  # ties count as mistakes
    best_rival = np.where(np.eye(4) == 1, -np.inf, logits[:, None, :]).max(-1)
    mistakes = logits <= best_rival
    assert mistakes.any()
    assert (each_label(key, logits) >= mistakes - 1e-12).all()


# Excess risk


@pytest.mark.parametrize("key", [k for k, c in BINARY.items() if c.transform])
def test_the_transform_bounds_the_excess_error(key):
    """psi(R(f) - R*) <= R_phi(f) - R_phi*, on populations of five places."""
    card = BINARY[key]
    rng = np.random.default_rng(0)
    eta = rng.random((2000, 5))
    weight = rng.dirichlet(np.ones(5), size=2000)
    score = rng.normal(size=eta.shape) * 2

    def risks(of, at):
        return (weight * (eta * phi(of, at) + (1 - eta) * phi(of, -at))).sum(-1)

    best = card.link(eta).clip(-card.reach, card.reach)
    excess = risks(key, score) - risks(key, best)
    excess_error = risks("zero_one", score) - risks("zero_one", 2 * eta - 1)
    assert (card.transform(excess_error) <= excess + 1e-12).all()
    assert excess_error.max() > 0.3


def test_the_unhinged_loss_needs_a_bound_on_the_scores():
    eta = np.array([0.1, 0.4, 0.7])[:, None]
    for bound in (1.0, 5.0):
        scores = np.linspace(-bound, bound, 101)
        cost = eta * phi("unhinged", scores) + (1 - eta) * phi("unhinged", -scores)
        assert scores[cost.argmin(1)].tolist() == [-bound, -bound, bound]


# More than two classes


def test_crammer_singer_sees_no_favorite_without_a_majority():
    eta = [0.4, 0.3, 0.3]
    logits = np.random.default_rng(0).normal(size=(20000, 3)) * 2
    assert risk("crammer_singer", np.zeros(3), eta) == pytest.approx(1)
    assert (risk("crammer_singer", logits, eta) >= 1).all()
    assert risk("crammer_singer", [1.0, 0.0, 0.0], eta) == pytest.approx(1.2)


def test_crammer_singer_needs_a_majority_and_no_more():
    logits = np.random.default_rng(0).normal(size=(5000, 4)) * 2
    etas = np.random.default_rng(1).dirichlet(1.5 * np.ones(4), size=50)
    majority = etas.max(-1) > 0.5
    assert 5 < majority.sum() < 45
    for eta, has in zip(etas, majority, strict=True):
        ahead = (eta == eta.max()).astype(float)
        assert (risk("crammer_singer", logits, eta) < 1 - 1e-9).any() <= has
        assert (risk("crammer_singer", ahead, eta) < 1) == has


def test_lee_lin_wahba_finds_the_likeliest_class():
    """Its expected loss is the sum over k of (1 - eta_k) max(0, 1 + f_k)."""
    eta = [0.4, 0.3, 0.3]
    best = np.array([2.0, -1.0, -1.0])
    assert risk("lee_lin_wahba", best, eta) == pytest.approx((1 - 0.4) * 3)
    away = np.random.default_rng(0).normal(size=(20000, 3))
    away -= away.mean(-1, keepdims=True)
    size = np.linalg.norm(away, axis=-1)
    cost = risk("lee_lin_wahba", best + away, eta)
    assert (cost - 1.8 >= 0.02 * size).all()  # one minimum, and no flat way out of it


def weston_watkins_minimizer(eta):
    """Scores of least expected loss by a linear program, with the largest at 0."""
    classes = len(eta)
    pairs = [(y, k) for y in range(classes) for k in range(classes) if k != y]
    hinges = np.zeros((len(pairs), classes + len(pairs)))
    for row, (y, k) in enumerate(pairs):
        hinges[row, [k, y, classes + row]] = 1, -1, -1
    found = linprog(
        [0.0] * classes + [eta[y] for y, _ in pairs],
        A_ub=hinges,
        b_ub=-np.ones(len(pairs)),
        A_eq=[[1.0] * classes + [0.0] * len(pairs)],
        b_eq=[0.0],
        bounds=[(None, None)] * classes + [(0, None)] * len(pairs),
    )
    scores = found.x[:classes]
    return scores - scores.max(), found.fun


def test_weston_watkins_fails_elsewhere():
    """Right at (.4, .3, .3); a tie of two where the second has more than a third."""
    right, cost = weston_watkins_minimizer([0.4, 0.3, 0.3])
    np.testing.assert_allclose(right, [0, -1, -1], atol=1e-9)
    assert risk("weston_watkins", right, [0.4, 0.3, 0.3]) == pytest.approx(cost)
    tied, cost = weston_watkins_minimizer([0.48, 0.36, 0.16])
    np.testing.assert_allclose(tied, [0, 0, -1], atol=1e-9)
    assert risk("weston_watkins", tied, [0.48, 0.36, 0.16]) == pytest.approx(cost)
    for lead in (0.1, 0.5, 1.0):
        ahead = tied + np.array([lead, 0, 0])
        assert risk("weston_watkins", ahead, [0.48, 0.36, 0.16]) > cost + 0.03 * lead


@pytest.mark.parametrize("classes", [2, 3, 4, 7])
def test_the_steepest_gradient_and_the_number_of_classes(classes):
    a = classes // 2
    stated = {
        "crammer_singer": math.sqrt(2),
        "weston_watkins": math.sqrt(classes * (classes - 1)),
        "lee_lin_wahba": math.sqrt(a * (classes - a) / classes),
    }
    rng = np.random.default_rng(0)
    split = np.where(np.arange(classes) < a, 3.0, -30.0)  # a classes ahead of the rest
    logits = np.concatenate([rng.normal(size=(3000, classes)) * 3, [split]])
    z = torch.tensor(logits, requires_grad=True)
    labels = torch.tensor([*rng.integers(classes, size=3000), classes - 1])
    for key, bound in stated.items():
        (gradient,) = torch.autograd.grad(MANY[key].fn(z, labels).sum(), z)
        assert float(gradient.norm(dim=-1).max()) == pytest.approx(bound)


def test_two_classes_are_the_hinge_again():
    z = torch.tensor(np.random.default_rng(0).normal(size=(50, 2)) * 2)
    labels = torch.arange(50) % 2
    signs = 2 * labels - 1
    hinge = lossbook.hinge(z[:, 1] - z[:, 0], signs)
    half = lossbook.hinge((z[:, 1] - z[:, 0]) / 2, signs)
    assert torch.allclose(lossbook.crammer_singer(z, labels), hinge)
    assert torch.allclose(lossbook.weston_watkins(z, labels), hinge)
    assert torch.allclose(lossbook.lee_lin_wahba(z, labels), half)


@pytest.mark.parametrize("key", MANY)
def test_a_class_that_is_ruled_out_is_no_class(key):
    z = torch.tensor([[1.0, -torch.inf, 0.5, 0.0], [0.0, -torch.inf, 2.0, 1.5]])
    labels = torch.tensor([0, 2])
    z.requires_grad_()
    loss = MANY[key].fn(z, labels)
    (gradient,) = torch.autograd.grad(loss.sum(), z)
    without = MANY[key].fn(z[:, [0, 2, 3]], torch.tensor([0, 1]))
    (fewer,) = torch.autograd.grad(without.sum(), z)
    assert torch.equal(loss, without)
    assert torch.equal(gradient, fewer)
    two_gone = torch.tensor([[1.0, -torch.inf, 0.5, -torch.inf]])
    assert MANY[key].fn(two_gone, torch.tensor([1])).tolist() == [math.inf]


def test_rivals_that_tie_share_the_slope():
    z = torch.tensor([[1.0, 0.5, 0.5, -3.0]], requires_grad=True)
    loss = lossbook.crammer_singer(z, torch.tensor([0]))
    (gradient,) = torch.autograd.grad(loss.sum(), z)
    assert gradient.tolist() == [[-1.0, 0.5, 0.5, 0.0]]
    _, by_hand = MANY["crammer_singer"].ref(z.detach().numpy(), np.array([0]))
    assert by_hand.tolist() == gradient.tolist()


# Kinks, tails, overflow


@pytest.mark.parametrize("key", [k for k, c in BINARY.items() if k != "zero_one"])
def test_the_stated_derivative_is_the_slope_used_at_kinks(key):
    import sympy

    card = BINARY[key]
    stated = sympy.lambdify("m", card.formula.slope({}), "numpy")
    for margin in (-1.0, 0.0, 1.0):
        assert slope(key, [margin]) == pytest.approx([float(stated(margin))])


def test_slopes_at_kinks():
    assert slope("hinge", [1.0]) == [0.0]
    assert slope("ramp", [-1.0, 1.0]) == [-0.5, -0.5]
    assert slope("modified_huber", [-1.0, 1.0]) == [-4.0, 0.0]
    assert slope("smooth_hinge", [0.0, 1.0]) == [-1.0, 0.0]


@pytest.mark.parametrize(("key", "times"), [("sigmoid_loss", 1), ("savage", 2)])
def test_an_example_that_is_far_wrong_keeps_its_slope(key, times):
    """In float32 sigmoid(50) rounds to 1; the slope, about exp(-50), does not to 0."""
    naive = torch.tensor([-50.0], requires_grad=True)
    (lost,) = torch.autograd.grad(torch.sigmoid(-naive).sum() ** times, naive)
    assert lost.tolist() == [0.0]
    expected = [-times * math.exp(-50)]
    assert slope(key, [-50.0], torch.float32) == pytest.approx(
        expected, rel=1e-5, abs=0
    )


def test_squares_do_not_overflow():
    far = torch.tensor([-1e4], dtype=torch.float32)
    for key in ("squared", "squared_hinge"):
        loss = BINARY[key].fn(far, torch.ones(1))
        assert loss.tolist() == pytest.approx([10001.0**2], rel=1e-6)


def test_the_exponential_loss_overflows_and_the_log_of_its_mean_does_not():
    for dtype, last in ((torch.float32, 88.0), (torch.float64, 709.0)):
        scores = torch.tensor([-last, -last - 1], dtype=dtype)
        loss = lossbook.exponential(scores, torch.ones(2))
        assert loss.isfinite().tolist() == [True, False]
    scores = torch.tensor([-1e4, 1e4, -1e4], dtype=DOUBLE, requires_grad=True)
    log_mean = torch.logsumexp(-scores, 0) - math.log(3)
    (gradient,) = torch.autograd.grad(log_mean, scores)
    assert log_mean.item() == pytest.approx(1e4 + math.log(2 / 3))
    assert gradient.tolist() == pytest.approx([-0.5, 0.0, -0.5])


def test_the_log_of_the_mean_weighs_as_adaboost_does():
    scores = torch.tensor(np.random.default_rng(0).normal(size=20), requires_grad=True)
    (plain,) = torch.autograd.grad(
        lossbook.exponential(scores, torch.ones(20)).sum(), scores
    )
    (weights,) = torch.autograd.grad(torch.logsumexp(-scores, 0), scores)
    assert torch.allclose(weights, plain / plain.abs().sum())


def test_the_steepest_slopes():
    """Savage: 2 w^2 (1 - w) is largest at w = 2/3, which is the margin -log 2."""
    assert slope("savage", [-math.log(2)]) == pytest.approx([-8 / 27])
    margin = np.linspace(-1, 0, 200001)
    steepest = -min(slope("tangent", margin))
    assert BINARY["tangent"].properties.lipschitz == pytest.approx(steepest, rel=1e-9)


def test_the_hinge_at_another_margin_is_the_hinge_in_another_unit():
    margin = np.linspace(-3, 3, 61)
    for c in (0.2, 5.0):
        assert np.maximum(0, c - margin) == pytest.approx(c * phi("hinge", margin / c))


def test_the_modified_huber_loss_is_convex_and_smooth_at_its_seam():
    assert phi("modified_huber", [-1.0]) == 4
    assert slope("modified_huber", [-1 - 1e-9, -1 + 1e-9]) == pytest.approx([-4, -4])
