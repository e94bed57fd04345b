"""The adaptive losses: what no card can say."""

import copy
import math
import re

import mpmath
import numpy as np
import pytest
import sympy
import torch

from lossbook import (
    AdaFocal,
    DynamicWeightAverage,
    GradNorm,
    UncertaintyWeighting,
    barron,
    cross_entropy,
    focal,
    gce,
    ohem,
    schedules,
    self_paced,
    squared,
    truncated_gce,
)
from lossbook.losses import CATALOGUE

LOSSES = torch.tensor([0.3, 2.0, 7.0], dtype=torch.float64)
HARD = torch.tensor([0.1, 5.0, 0.4, 3.0, 0.2, 0.9, 0.6, 0.3], dtype=torch.float64)


def exactly(message):
    """A pattern that only the whole message matches."""
    return f"^{re.escape(message)}$"


def gradient(call, first):
    first = first.clone().requires_grad_()
    (found,) = torch.autograd.grad(call(first).sum(), first)
    return found


def logits_and_labels(n=50, classes=3):
    rng = np.random.default_rng(0)
    labels = torch.tensor(rng.integers(classes, size=n))
    return torch.tensor(3 * rng.normal(size=(n, classes))), labels


# Uncertainty weighting


def settled(losses):
    """The weighting with s at the least sum."""
    return UncertaintyWeighting(len(losses), losses.detach().log())


def test_the_weights_settle_at_one_over_each_loss():
    weighting = settled(LOSSES)
    least = weighting(LOSSES)
    (slope,) = torch.autograd.grad(least, weighting.log_variances)
    torch.testing.assert_close(slope, torch.zeros_like(slope), atol=1e-12, rtol=0)
    assert least.item() == pytest.approx(3 + math.log(0.3 * 2.0 * 7.0))
    for bump in torch.eye(3, dtype=torch.float64):
        for size in (-0.5, 0.5):
            other = UncertaintyWeighting(3, LOSSES.log() + size * bump)
            assert other(LOSSES) > least


def test_settled_weights_minimize_the_geometric_mean():
    """d/dx of the settled sum is T d/dx of the log of the geometric mean."""
    x = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    losses = torch.stack([x**2 + 1, (x - 3) ** 2, x.exp()])
    (slope,) = torch.autograd.grad(settled(losses)(losses), x, retain_graph=True)
    mean = losses.prod() ** (1 / 3)
    (expected,) = torch.autograd.grad(3 * mean.log(), x)
    torch.testing.assert_close(slope, expected)


def test_a_terms_unit_does_not_matter():
    x = torch.tensor(0.7, dtype=torch.float64)

    def pull(unit):
        def total(x):
            losses = torch.stack([x**2 + 1, unit * (x - 3) ** 2])
            return settled(losses)(losses)

        return gradient(total, x)

    torch.testing.assert_close(pull(1.0), pull(100.0))


def test_other_constants_settle_elsewhere():
    loss, v = sympy.symbols("L v", positive=True)  # v is sigma^2
    ours = loss / v + sympy.log(v)
    half = loss / (2 * v) + sympy.log(v) / 2
    other = loss / v + sympy.log(v) / 2
    assert sympy.solve(ours.diff(v), v) == [loss]
    assert sympy.solve(half.diff(v), v) == [loss]
    assert sympy.solve(other.diff(v), v) == [2 * loss]
    assert sympy.simplify(2 * half - ours) == 0


def test_a_loss_of_zero_has_no_least_sum():
    zero = torch.zeros(1, dtype=torch.float64)
    sums = [UncertaintyWeighting(1, [s])(zero).item() for s in (0.0, -10.0, -100.0)]
    assert sums == [0.0, -10.0, -100.0]


def test_another_penalty_keeps_the_sum_positive():
    zero = torch.zeros(1, dtype=torch.float64)
    for s in (0.0, -10.0, -100.0):
        found = UncertaintyWeighting(1, [s], penalty="log1p")(zero).item()
        assert found == pytest.approx(math.log1p(math.exp(s)))


@pytest.mark.parametrize("loss", [1e-6, 0.3, 1.0, 50.0, 1e6])
def test_where_the_other_penalty_settles(loss):
    """-L / v + v / (1 + v) = 0 with v = exp(s), so that v^2 = L (1 + v)."""
    v = (loss + math.sqrt(loss**2 + 4 * loss)) / 2
    start = torch.tensor([math.log(v)], dtype=torch.float64)
    weighting = UncertaintyWeighting(1, start, penalty="log1p")
    total = weighting(torch.tensor([loss], dtype=torch.float64))
    (slope,) = torch.autograd.grad(total, weighting.log_variances)
    assert abs(slope.item()) < 1e-9
    near = 1 / loss if loss > 1 else 1 / math.sqrt(loss)
    if not 1e-3 < loss < 1e3:
        assert 1 / v == pytest.approx(near, rel=1e-2)


def test_it_starts_as_the_plain_sum_and_learns():
    weighting = UncertaintyWeighting(3)
    losses = LOSSES.float()
    assert weighting(losses).item() == pytest.approx(9.3)
    optimizer = torch.optim.SGD(weighting.parameters(), lr=0.1)
    for _ in range(500):
        optimizer.zero_grad()
        weighting(losses).backward()
        optimizer.step()
    torch.testing.assert_close(weighting.log_variances.detach(), losses.log())


# Self-paced learning and hard examples


def test_self_paced_is_the_best_choice_of_weights():
    """The least of v (loss - threshold) over v in [0, 1], plus the threshold."""
    v = torch.linspace(0, 1, 11, dtype=torch.float64)
    least = (v * (HARD[:, None] - 0.6)).amin(-1) + 0.6
    torch.testing.assert_close(self_paced(HARD, threshold=0.6), least)


def test_at_the_threshold_an_example_waits():
    weight = gradient(lambda x: self_paced(x, threshold=0.6), HARD)
    assert weight.tolist() == [1, 0, 1, 0, 1, 0, 0, 1]


def test_truncated_gce_is_gce_at_its_own_pace():
    logits, labels = logits_and_labels()
    most = (1 - 0.3**0.7) / 0.7
    expected = self_paced(gce(logits, labels, q=0.7), threshold=most)
    found = truncated_gce(logits, labels, q=0.7, threshold=0.3)
    torch.testing.assert_close(found, expected)


def test_hard_examples_are_the_top_of_the_batch():
    assert ohem(HARD, keep=0.25).item() == pytest.approx((5.0 + 3.0) / 2)
    assert ohem(HARD, keep=1.0).item() == pytest.approx(HARD.mean().item())
    for keep in (1e-3, 0.125):
        assert ohem(HARD, keep=keep).item() == pytest.approx(5.0)


def test_a_part_of_an_example_counts_in_part():
    """Of 8 examples 2.5 are kept: 5.0, 3.0 and half of 0.9."""
    found = ohem(HARD, keep=2.5 / 8).item()
    assert found == pytest.approx((5.0 + 3.0 + 0.45) / 2.5)


def test_hard_examples_are_the_tail_of_rockafellar_and_uryasev():
    """The least over t of t + mean((loss - t)_+) / keep."""
    t = torch.linspace(0, 5, 5001, dtype=torch.float64)
    for keep in (0.2, 0.25, 0.6):
        tail = t + (HARD - t[:, None]).clamp(min=0).mean(-1) / keep
        assert ohem(HARD, keep=keep).item() == pytest.approx(tail.min().item())


def test_the_two_weigh_opposite_ends():
    """One drops the half of the batch that the other keeps."""
    easy = gradient(lambda x: self_paced(x, threshold=0.5), HARD)
    hard = gradient(lambda x: ohem(x, keep=0.5), HARD)
    assert easy.tolist() == [1, 0, 1, 0, 1, 0, 0, 1]
    assert (4 * hard).tolist() == [0, 1, 0, 1, 0, 1, 1, 0]


def test_one_is_concave_in_the_losses_and_the_other_convex():
    rng = np.random.default_rng(0)
    a, b = torch.tensor(rng.exponential(size=(2, 200, 8)))
    for x, y in zip(a, b, strict=True):
        middle, ends = (x + y) / 2, (x, y)
        chord = sum(self_paced(end, threshold=0.8).sum() for end in ends) / 2
        assert self_paced(middle, threshold=0.8).sum() >= chord - 1e-12
        chord = sum(ohem(end, keep=0.3) for end in ends) / 2
        assert ohem(middle, keep=0.3) <= chord + 1e-12


# Barron's loss


@pytest.mark.parametrize(
    ("alpha", "closed"),
    [
        (2.0, lambda u: u / 2),
        (1.0, lambda u: (1 + u).sqrt() - 1),
        (0.0, lambda u: (u / 2).log1p()),
        (-2.0, lambda u: 2 * u / (u + 4)),
        (-math.inf, lambda u: 1 - (-u / 2).exp()),
    ],
)
def test_barrons_named_members(alpha, closed):
    scores = torch.linspace(-9, 9, 37, dtype=torch.float64)
    signs = torch.tensor([1.0, -1.0]).repeat(19)[:37]
    u = ((signs - scores) / 1.5) ** 2
    found = barron(scores, signs, alpha=alpha, scale=1.5)
    torch.testing.assert_close(found, closed(u))
    by_hand = CATALOGUE["barron"].ref(
        scores.numpy(), signs.numpy(), alpha=alpha, scale=1.5
    )
    slope = gradient(lambda s: barron(s, signs, alpha=alpha, scale=1.5), scores)
    for mine, reference in zip((found, slope), by_hand, strict=True):
        torch.testing.assert_close(mine, torch.tensor(reference))


def exact(x, alpha):
    """Value of rho and of its derivative, in 250 digits."""
    with mpmath.workdps(250):
        x, alpha = mpmath.mpf(x), mpmath.mpf(alpha)
        b = 2 - alpha
        base = x**2 / b + 1
        loss = b / alpha * (base ** (alpha / 2) - 1)
        return float(loss), float(x * base ** (alpha / 2 - 1))


@pytest.mark.parametrize(
    "alpha",
    [
        *[sign * 10.0**-k for k in (1, 3, 6, 9, 12, 15, 18, 100) for sign in (1, -1)],
        *[2 - 2.0**-k for k in (1, 10, 20, 30, 40, 50)],
        *[-(10.0**k) for k in (1, 2, 4, 8, 12, 16, 30, 60)],
    ],
)
def test_nothing_cancels_near_barrons_limits(alpha):
    for x in (1e-8, 1e-3, 0.5, 3.0, 30.0, 1e4):
        score = torch.tensor([x + 1], dtype=torch.float64)
        x = score.item() - 1
        one = torch.ones(1, dtype=torch.float64)
        loss, slope = exact(x, alpha)
        found = barron(score, one, alpha=alpha).item()
        assert found == pytest.approx(loss, rel=1e-12, abs=1e-300)
        found = gradient(lambda s, one=one: barron(s, one, alpha=alpha), score).item()
        assert found == pytest.approx(slope, rel=1e-11, abs=1e-300)


@pytest.mark.parametrize("alpha", [1e-3, 1e-9, 1e-15, -1e-9, 0.0])
def test_the_slope_in_alpha_is_right_near_0(alpha):
    """For a learned alpha; there (e^t - 1) / alpha loses its digits."""
    a = torch.tensor(alpha, dtype=torch.float64, requires_grad=True)
    one = torch.ones(1, dtype=torch.float64)
    (slope,) = torch.autograd.grad(barron(1 - 0.5 * one, one, alpha=a).sum(), a)
    with mpmath.workdps(100):
        expected = mpmath.diff(
            lambda a: (2 - a) / a * ((mpmath.mpf(0.25) / (2 - a) + 1) ** (a / 2) - 1),
            mpmath.mpf(alpha or 1e-30),
            h=mpmath.mpf(10) ** -40,
        )
    assert slope.item() == pytest.approx(float(expected), rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("alpha", [2.0, 2 - 1e-7, 1e-8, 0.0, -1e-8, -1e20, -math.inf])
def test_barrons_limits_are_finite_far_out(alpha, dtype):
    scores = torch.tensor([-1e4, 1e4, 1.0, 0.0], dtype=dtype)
    signs = torch.ones_like(scores)
    found = barron(scores, signs, alpha=alpha, scale=0.1)
    slope = gradient(lambda s: barron(s, signs, alpha=alpha, scale=0.1), scores)
    assert found.isfinite().all()
    assert slope.isfinite().all()
    assert found[2] == slope[2] == 0


def test_a_column_of_shapes_holds_every_limit():
    alphas = torch.tensor([2.0, 0.0, -math.inf, 1.0], dtype=torch.float64)
    scores = torch.linspace(-3, 3, 7, dtype=torch.float64)
    signs = torch.ones_like(scores)
    found = barron(scores.expand(4, 7), signs.expand(4, 7), alpha=alphas[:, None])
    for row, alpha in zip(found, alphas.tolist(), strict=True):
        torch.testing.assert_close(row, barron(scores, signs, alpha=alpha))
    torch.testing.assert_close(found[0], squared(scores, signs) / 2)


def test_barrons_loss_is_bounded_below_0_and_outliers_lose_their_pull_below_1():
    score, sign = -torch.logspace(0, 8, 9, dtype=torch.float64), torch.ones(9)
    for alpha in (-8.0, -2.0, -0.5):
        loss = barron(score, sign, alpha=alpha)
        assert (loss <= 1 - 2 / alpha).all()
        assert loss[-1].item() == pytest.approx(1 - 2 / alpha, rel=1e-3)
    for alpha, falls in ((0.5, True), (1.0, False), (1.5, False)):
        pull = gradient(lambda s, a=alpha: barron(s, sign, alpha=a), score).abs()
        assert bool((pull.diff()[1:] < 0).all()) is falls


# AdaFocal


def test_it_starts_as_focal_loss():
    logits, labels = logits_and_labels()
    torch.testing.assert_close(
        AdaFocal(gamma=1.0)(logits, labels), focal(logits, labels, gamma=1.0)
    )


def test_a_negative_gamma_is_inverse_focal_loss():
    logits, labels = logits_and_labels()
    p = (-cross_entropy(logits, labels)).exp()
    found = AdaFocal(gamma=-2.0)(logits, labels)
    torch.testing.assert_close(found, (1 + p) ** 2 * cross_entropy(logits, labels))


def validation(confidence, right):
    """Logits of two classes with these confidences in class 0, and labels."""
    p = torch.tensor(confidence, dtype=torch.float64)
    logits = torch.stack([p.log(), (1 - p).log()], -1)
    return logits, 1 - torch.tensor(right)


def test_gamma_follows_the_calibration_of_its_bin():
    """Two bins of two: C = 0.65 with A = 1, then C = 0.9 with A = 0.5."""
    loss = AdaFocal(bins=2)
    loss.update(*validation([0.6, 0.7, 0.85, 0.95], [1, 1, 1, 0]))
    expected = [math.exp(0.65 - 1), math.exp(0.9 - 0.5)]
    assert loss.gammas.tolist() == pytest.approx(expected)
    assert loss.edges.tolist() == pytest.approx([(0.7 + 0.85) / 2])
    p = torch.tensor([0.1, 0.77, 0.78, 1.0], dtype=torch.float64)
    bins = [expected[0], expected[0], expected[1], expected[1]]
    assert loss.gamma_at(p).tolist() == pytest.approx(bins)


def by_the_article(gamma, confidence, right):
    """One bin's next gamma, as the article has it: rate 1, switch 0.2, -2 to 20."""
    gap = np.mean(confidence) - np.mean(right)
    gamma *= np.exp(gap) if gamma > 0 else np.exp(-gap)
    if abs(gamma) < 0.2:
        gamma = -0.2 if gamma > 0 else 0.2
    return min(max(gamma, -2.0), 20.0)


def test_six_epochs_of_the_articles_rule_bin_by_bin():
    """Some bins end with a negative gamma, others with a large one."""
    rng = np.random.default_rng(0)
    loss, expected = AdaFocal(bins=15), np.ones(15)
    for _ in range(6):
        logits = 2 * rng.normal(size=(3000, 4))
        p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        confidence, best = p.max(-1), p.argmax(-1)
        # Sure of itself and wrong at random, or unsure and always right.
        labels = np.where(confidence > 0.7, rng.integers(4, size=3000), best)
        loss.update(torch.tensor(logits), torch.tensor(labels))
        order = np.argsort(confidence)
        for b, members in enumerate(np.array_split(order, 15)):  # 200 in each
            right = best[members] == labels[members]
            expected[b] = by_the_article(expected[b], confidence[members], right)
    assert loss.gammas.tolist() == pytest.approx(expected.tolist(), rel=1e-5)
    assert expected.min() < -0.25  # moved on after it had changed sides
    assert expected.max() > 5


def test_a_bin_of_one_example_moves_like_any_other():
    loss = AdaFocal(bins=1)
    loss.update(*validation([0.7], [1]))
    assert loss.gammas.tolist() == pytest.approx([math.exp(0.7 - 1)])


def test_a_probability_of_1_lies_in_the_last_bin():
    by_hand = CATALOGUE["AdaFocal"].ref
    logits = np.array([[40.0, 0.0]])  # p rounds to 1
    gammas = np.array([1.0, 2.0])
    loss, gradient = by_hand(logits, np.array([0]), bins=2, gammas=gammas)
    assert loss.tolist() == [0]
    assert gradient == pytest.approx(np.zeros((1, 2)))


def test_a_negative_gamma_grows_where_confidence_falls_short():
    loss = AdaFocal(bins=1, gamma=-1.0)
    loss.update(*validation([0.6, 0.7], [1, 1]))
    assert loss.gammas.tolist() == pytest.approx([-math.exp(1 - 0.65)])


def test_a_small_gamma_changes_sides():
    under = validation([0.6, 0.7], [1, 1])
    over = validation([0.6, 0.7], [0, 0])
    for gamma, data, expected in ((0.21, under, -0.2), (-0.21, over, 0.2)):
        loss = AdaFocal(bins=1, gamma=gamma)
        loss.update(*data)
        assert loss.gammas.tolist() == pytest.approx([expected])


def test_gamma_is_held_between_its_bounds():
    for gamma, data in (
        (19.0, validation([0.9, 0.9], [0, 0])),
        (-1.9, validation([0.6, 0.6], [1, 1])),
    ):
        loss = AdaFocal(bins=1, gamma=gamma)
        loss.update(*data)
        assert loss.gammas.tolist() == [20.0 if gamma > 0 else -2.0]


def test_the_rate_scales_the_step_of_gamma():
    logits, labels = logits_and_labels()
    found = []
    for rate in (1.0, 0.5):
        loss = AdaFocal(bins=1, rate=rate)
        loss.update(logits, labels)
        found.append(loss.gammas.item())
    assert abs(found[0] - 1) > 0.01
    assert found[1] ** 2 == pytest.approx(found[0])
    assert AdaFocal().gammas.shape == (15,)


def test_a_bin_without_examples_keeps_its_gamma():
    loss = AdaFocal(bins=3, gammas=[1.0, 2.0, 3.0])
    loss.update(*validation([0.8, 0.8], [1, 0]))
    assert loss.gammas.tolist() == pytest.approx([1.0, 2.0, 3.0 * math.exp(0.3)])
    before = loss.gammas.clone()
    loss.update(torch.zeros(0, 2), torch.zeros(0, dtype=torch.long))
    assert loss.gammas.equal(before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gamma", [-2.0, -0.2, 0.2, 20.0])
def test_ada_focal_is_finite_far_out(gamma, dtype):
    logits = torch.tensor([[1e4, 0.0], [0.0, 1e4], [-1e4, 1e4], [3.0, 3.0]])
    logits, labels = logits.to(dtype), torch.zeros(4, dtype=torch.long)
    loss = AdaFocal(gamma=gamma)
    assert loss(logits, labels).isfinite().all()
    assert gradient(lambda z: loss(z, labels), logits).isfinite().all()


# GradNorm and the dynamic weight average


def two_tasks(w):
    """L = (3 w, 1 + w), whose gradients have norms 3 and 1 everywhere."""
    return torch.stack([3 * w, 1 + w])


def test_gradnorm_worked_by_hand():
    """Pulls 3 and 1, wanted 2 and 2; then rates 6/7 and 8/7 of their mean."""
    weighting = GradNorm(2, alpha=1.0)
    w = torch.tensor(2.0, requires_grad=True)
    assert weighting.balance(two_tasks(w), w).item() == pytest.approx(2)
    w = torch.tensor(1.0, requires_grad=True)
    balance = weighting.balance(two_tasks(w), w)
    assert balance.item() == pytest.approx(abs(3 - 12 / 7) + abs(1 - 16 / 7))
    (slope,) = torch.autograd.grad(balance, weighting.weights)
    assert slope.tolist() == pytest.approx([3, -1])  # wanted is held fixed
    with torch.no_grad():
        weighting.weights -= 0.1 * slope
    weighting.renormalize()
    assert weighting.weights.tolist() == pytest.approx([2 * 0.7 / 1.8, 2 * 1.1 / 1.8])


def test_gradnorm_trains_the_weights_and_nothing_else():
    weighting = GradNorm(2)
    w = torch.tensor(2.0, requires_grad=True)
    losses = two_tasks(w)
    weighting.balance(losses, w).backward()
    assert w.grad is None
    assert weighting.weights.grad is not None
    weighting.weights.grad = None
    weighting(losses).backward()
    assert w.grad.item() == 4
    assert weighting.weights.grad is None


def test_gradnorm_lets_all_terms_pull_equally():
    """With alpha 0 the weights settle in ratio 1 / norm, so in ratio 1 to 3."""
    weighting = GradNorm(2, alpha=0.0)
    w = torch.tensor(2.0, requires_grad=True)
    optimizer = torch.optim.SGD(weighting.parameters(), lr=1e-3)
    for _ in range(1000):
        optimizer.zero_grad()
        weighting.balance(two_tasks(w), w).backward()
        optimizer.step()
        weighting.renormalize()
    assert weighting.weights.tolist() == pytest.approx([0.5, 1.5], abs=0.01)


class TwoTasks(torch.nn.Module):
    """A shared layer and two heads; the second task has a unit 100 times as small."""

    def __init__(self):
        super().__init__()
        rng = np.random.default_rng(0)
        shared, heads = rng.normal(size=(5, 3)) / 2, rng.normal(size=(3, 2))
        self.x = torch.tensor(rng.normal(size=(60, 5)))
        self.y = torch.tensor(rng.normal(size=(5, 2)))
        self.y = (self.x @ self.y + torch.tensor(rng.normal(size=(60, 2)))).detach()
        self.shared = torch.nn.Parameter(torch.tensor(shared))
        self.heads = torch.nn.Parameter(torch.tensor(heads))

    def forward(self):
        errors = (self.x @ self.shared @ self.heads - self.y).square().mean(0)
        return errors * torch.tensor([1.0, 100.0])

    def pulls(self, weights):
        losses = self()
        return [
            (w * torch.autograd.grad(each, self.shared, retain_graph=True)[0]).norm()
            for w, each in zip(weights, losses, strict=True)
        ]


@pytest.mark.parametrize("balanced", [True, False])
def test_gradnorm_balances_two_tasks_while_they_train(balanced):
    """At first one pulls more than 20 times as hard, at last both within a quarter.

    The weights learn faster than the network, so that they can follow it.
    """
    model, weighting = TwoTasks(), GradNorm(2, alpha=0.0).double()
    model_step = torch.optim.SGD(model.parameters(), lr=1e-4)
    weight_step = torch.optim.Adam(weighting.parameters(), lr=0.02)
    ratios = []
    for _ in range(300):
        losses = model()
        model_step.zero_grad()
        weight_step.zero_grad()
        if balanced:
            weighting.balance(losses, model.shared).backward(retain_graph=True)
        weighting(losses).backward()
        model_step.step()
        if balanced:
            weight_step.step()
            weighting.renormalize()
        first, second = model.pulls(weighting.weights.detach())
        ratios.append((second / first).item())
    assert ratios[0] > 20
    last = np.array(ratios[-50:])
    assert bool((abs(np.log(last)) < np.log(1.25)).all()) is balanced


def test_gradnorm_keeps_weights_positive_and_their_sum():
    weighting = GradNorm(3)
    with torch.no_grad():
        weighting.weights.copy_(torch.tensor([-1.0, 2.0, 3.0]))
    weighting.renormalize()
    assert weighting.weights.sum().item() == pytest.approx(3)
    assert (weighting.weights > 0).all()


def test_its_memory_is_part_of_its_state():
    weighting = GradNorm(2)
    w = torch.tensor(2.0, requires_grad=True)
    weighting.balance(two_tasks(w), w)
    assert copy.deepcopy(weighting).state_dict()["first"].tolist() == [6, 3]


def test_the_slower_term_gains_weight():
    """Ratios 1/2 and 1: weights 2 e^(1/4) and 2 e^(1/2) over their sum."""
    weighting = DynamicWeightAverage(2)
    losses = torch.tensor([1.0, 3.0])
    assert weighting(losses).item() == 4
    weighting.record(torch.tensor([4.0, 7.0]))
    assert weighting(losses).item() == 4
    weighting.record(torch.tensor([2.0, 7.0]))
    e = [math.exp(0.25), math.exp(0.5)]
    expected = [2 * e[0] / sum(e), 2 * e[1] / sum(e)]
    assert weighting.weights.tolist() == pytest.approx(expected)
    assert weighting(losses).item() == pytest.approx(expected[0] + 3 * expected[1])


def test_the_average_knows_no_units():
    found = []
    for unit in (1.0, 100.0):
        weighting = DynamicWeightAverage(3)
        weighting.record(torch.tensor([unit, 1.0, 1.0]))
        weighting.record(torch.tensor([0.3 * unit, 0.9, 1.1]))
        found.append(weighting.weights)
    torch.testing.assert_close(*found)
    assert found[0].sum().item() == pytest.approx(3)


def test_a_high_temperature_evens_the_weights_out():
    spreads = []
    for temperature in (0.5, 2.0, 1e6):
        weighting = DynamicWeightAverage(2, temperature=temperature)
        weighting.record(torch.tensor([1.0, 1.0]))
        weighting.record(torch.tensor([0.3, 1.1]))
        low, high = weighting.weights.tolist()
        spreads.append(high - low)
    assert spreads[0] > spreads[1] > 0.3
    assert spreads[2] == pytest.approx(0, abs=1e-5)


# Schedules

PROGRESS = np.linspace(0, 1, 101)


def test_warm_up_is_a_ramp_of_a_square():
    """At a share t of the way it is exp(-5 (1 - t)^2), flat at its end."""
    found = np.array([schedules.warm_up(p, until=0.5) for p in PROGRESS])
    assert found[25] == pytest.approx(math.exp(-5 / 4))
    assert (found[50:] == 1).all()
    assert (np.diff(found[:51]) > 0).all()
    assert np.diff(found)[49] < 0.01 < np.diff(found)[:40].max()


def test_a_ramp_is_straight_and_may_fall():
    found = [schedules.ramp(p, low=3, high=1, start=0.2, stop=0.6) for p in PROGRESS]
    expected = np.interp(PROGRESS, [0.2, 0.6], [3, 1])
    assert found == pytest.approx(expected.tolist())


def test_what_is_deferred_is_all_or_nothing():
    found = [schedules.deferred(p, start=0.8) for p in PROGRESS]
    assert found == [float(p >= 0.8) for p in PROGRESS]


@pytest.mark.parametrize(
    "schedule",
    [schedules.warm_up, schedules.ramp, schedules.deferred, schedules.annealed],
)
@pytest.mark.parametrize("progress", [-0.01, 1.01, math.nan])
def test_no_schedule_knows_what_is_not_training(schedule, progress):
    message = f"progress must lie between 0 and 1, got {progress:g}; it is the share"
    with pytest.raises(ValueError, match=f"^{message}"):
        schedule(progress)


# Refusals


W = torch.tensor(1.0, requires_grad=True)
TERMS = "losses must have a last axis with one entry a term, 2 in all, got shape (3,)"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: UncertaintyWeighting(0), "terms must be at least 1, got 0"),
        (lambda: GradNorm(0), "terms must be at least 1, got 0"),
        (lambda: DynamicWeightAverage(0), "terms must be at least 1, got 0"),
        (
            lambda: UncertaintyWeighting(2, [0.0]),
            "log_variances must hold one number a term, shape (2,), got shape (1,)",
        ),
        (
            lambda: UncertaintyWeighting(2, penalty="sqrt"),
            'penalty must be "log" or "log1p", got \'sqrt\'',
        ),
        (lambda: UncertaintyWeighting(2)(LOSSES), TERMS),
        (lambda: GradNorm(2)(LOSSES), TERMS),
        (lambda: GradNorm(2).balance(LOSSES, W), TERMS),
        (lambda: DynamicWeightAverage(2)(LOSSES), TERMS),
        (
            lambda: DynamicWeightAverage(2, temperature=0.0),
            "temperature must be above 0, got 0",
        ),
        (
            lambda: DynamicWeightAverage(2).record(torch.tensor([1.0, 0.0])),
            "losses must be one positive mean loss a term, as their ratios are "
            "compared, got [1.0, 0.0]",
        ),
        (lambda: AdaFocal(bins=0), "bins must be at least 1, got 0"),
        (
            lambda: AdaFocal(low=0.0),
            "switch must be above 0, with -switch and switch between low and high, got "
            "low 0, switch 0.2, high 20",
        ),
        (
            lambda: AdaFocal(bins=2, gammas=[1.0]),
            "gammas must hold one number a bin, shape (2,), got shape (1,)",
        ),
        (
            lambda: ohem(torch.zeros(0)),
            "losses must hold at least one loss, as an empty batch has no mean, got "
            "shape (0,)",
        ),
        (
            lambda: schedules.ramp(1.5),
            "progress must lie between 0 and 1, got 1.5; it is the share of training "
            "that is done",
        ),
        (
            lambda: schedules.ramp(0.5, start=0.5, stop=0.5),
            "stop must be after start, 0.5, got 0.5",
        ),
        (lambda: schedules.warm_up(0.5, until=0.0), "until must be above 0, got 0"),
    ],
)
def test_what_cannot_be_is_refused(call, message):
    with pytest.raises(ValueError, match=exactly(message)):
        call()


def test_a_loss_that_is_nan_is_named():
    for call in (
        lambda x: self_paced(x, threshold=1.0),
        ohem,
        UncertaintyWeighting(2),
    ):
        with pytest.raises(ValueError, match=r"^losses must be finite numbers"):
            call(torch.tensor([1.0, torch.nan]))
