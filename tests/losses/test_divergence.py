"""What no card can say of the divergences and of optimal transport."""

import inspect
import math
import re
import sys

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import softmax

import lossbook
from lossbook import kernels, transport
from lossbook.losses import CATALOGUE

DOUBLE = torch.float64
LINE = [[0.0, 1, 2, 3], [1, 0, 1, 2], [2, 1, 0, 1], [3, 2, 1, 0]]
SKEWED = [[0.0, 1, 5], [2, 0, 1], [3, 4, 0]]  # costs[true, predicted]
DIVERGENCES = {
    "chi_squared": lossbook.chi_squared,
    "hellinger": lossbook.hellinger,
    "jensen_shannon": lossbook.jensen_shannon,
    "kl": lossbook.kl,
    "reverse_kl": lossbook.reverse_kl,
    "squared_emd": lossbook.squared_emd,
    "total_variation": lossbook.total_variation,
    "wasserstein_1d": lossbook.wasserstein_1d,
}


def exactly(message):
    return f"^{re.escape(message)}$"


def pairs(n=200, classes=4):
    rng = np.random.default_rng(0)
    logits = torch.tensor(2 * rng.normal(size=(n, classes)))
    return logits, torch.tensor(rng.dirichlet(np.ones(classes), size=n))


def gradient_of(loss, logits, *truth):
    z = logits.clone().requires_grad_()
    return torch.autograd.grad(loss(z, *truth).sum(), z)[0]


def close(found, expected, tolerance=1e-12):
    np.testing.assert_allclose(
        np.asarray(found), np.asarray(expected), tolerance, tolerance
    )


def over_labels(loss, p, eta):
    """The expected loss of the belief p over labels drawn from eta."""
    p, eta = np.asarray(p, dtype=float), np.asarray(eta, dtype=float)
    logits = torch.tensor(np.log(p)).expand(len(eta), -1)
    return float(loss(logits, torch.eye(len(eta), dtype=DOUBLE)).numpy() @ eta)


# Worked by hand: p = (1/2, 1/2) and q = (9/10, 1/10).


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kl", 0.9 * math.log(1.8) + 0.1 * math.log(0.2)),
        ("reverse_kl", math.log(0.5) - math.log(0.9 * 0.1) / 2),
        ("total_variation", 0.4),
        ("hellinger", 1 - math.sqrt(0.45) - math.sqrt(0.05)),
        ("chi_squared", 0.64),
        ("wasserstein_1d", 0.4),
        ("squared_emd", 0.16),
        (
            "jensen_shannon",
            (math.log(0.5 / 0.7) + math.log(0.5 / 0.3)) / 4
            + (0.9 * math.log(0.9 / 0.7) + 0.1 * math.log(0.1 / 0.3)) / 2,
        ),
    ],
)
def test_two_coins(name, value):
    q = torch.tensor([0.9, 0.1], dtype=DOUBLE)
    close(DIVERGENCES[name](torch.zeros_like(q), q), value)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_zero_at_the_truth_and_nowhere_else(name):
    logits, targets = pairs()
    loss = DIVERGENCES[name]
    close(loss(targets.log(), targets), torch.zeros(200), 1e-14)
    assert (loss(logits, targets) > 1e-4).all()


def test_inequalities():
    """Pinsker's, Le Cam's, and those of Jensen-Shannon and chi-squared."""
    logits, targets = pairs()
    found = {n: loss(logits, targets) for n, loss in DIVERGENCES.items()}
    kl, tv, h2 = found["kl"], found["total_variation"], found["hellinger"]
    assert (tv <= (kl / 2).sqrt()).all()
    assert (h2 <= tv).all()
    assert (tv <= (h2 * (2 - h2)).sqrt()).all()
    assert (kl <= found["chi_squared"].log1p()).all()
    assert (found["jensen_shannon"] <= tv * math.log(2)).all()
    assert (tv <= found["wasserstein_1d"] + 1e-12).all()


def test_pinsker_is_tight_only_for_near_coins():
    """KL / (2 TV^2) falls to 1 as the coins draw near, and is never below."""
    gaps = np.array([0.4, 0.1, 0.01])
    p = torch.tensor(np.stack([0.5 + gaps, 0.5 - gaps], -1))
    half = torch.full_like(p, 0.5)
    ratio = lossbook.kl(p.log(), half) / (
        2 * lossbook.total_variation(p.log(), half) ** 2
    )
    assert ratio[0] > ratio[1] > ratio[2] > 1
    assert ratio[2] < 1 + 1e-3


def test_relabelling_tells_who_knows_the_order():
    logits, targets = pairs()
    order = [2, 0, 3, 1]
    for name, loss in DIVERGENCES.items():
        moved = loss(logits[:, order], targets[:, order])
        same = torch.allclose(moved, loss(logits, targets))
        assert same == (name not in ("squared_emd", "wasserstein_1d"))


# Labels instead of distributions: which divergences are proper scores?


def best_belief(loss, eta):
    """The belief of least expected loss over labels, by a local search."""

    def cost(free):
        return over_labels(loss, softmax(np.append(0, free)).clip(1e-12), eta)

    eta = np.asarray(eta)
    found = min(
        (
            minimize(
                cost,
                start,
                method="Nelder-Mead",
                options={"xatol": 1e-9, "fatol": 1e-14},
            )
            for start in (np.log(eta[1:] / eta[0]), np.zeros(2))
        ),
        key=lambda one: one.fun,
    )
    return softmax(np.append(0, found.x))


ETA = [0.45, 0.25, 0.3]


@pytest.mark.parametrize("name", ["kl", "squared_emd"])
def test_proper_over_labels(name):
    close(best_belief(DIVERGENCES[name], ETA), ETA, 1e-4)


def test_chi_squared_recovers_the_root_over_labels():
    root = np.sqrt(ETA) / np.sqrt(ETA).sum()
    close(best_belief(lossbook.chi_squared, ETA), root, 1e-4)


def test_hellinger_recovers_the_square_over_labels():
    square = np.square(ETA) / np.square(ETA).sum()
    close(best_belief(lossbook.hellinger, ETA), square, 1e-4)


def test_jensen_shannon_is_no_proper_score():
    honest = over_labels(lossbook.jensen_shannon, ETA, ETA)
    found = best_belief(lossbook.jensen_shannon, ETA)
    assert over_labels(lossbook.jensen_shannon, found, ETA) < honest - 1e-3


def test_wasserstein_prefers_the_median_class():
    """The likeliest class is 0, the median class is 1: it gets all the mass."""
    sure = np.full((3, 3), 1e-12) + (1 - 3e-12) * np.eye(3)
    costs = [over_labels(lossbook.wasserstein_1d, p, ETA) for p in sure]
    close(costs, [0.25 + 0.6, 0.45 + 0.3, 0.9 + 0.25], 1e-9)
    assert costs[1] < over_labels(lossbook.wasserstein_1d, ETA, ETA)
    best = best_belief(lossbook.wasserstein_1d, ETA)
    assert best[1] > 1 - 1e-4


def test_total_variation_prefers_the_likeliest_class():
    best = best_belief(lossbook.total_variation, ETA)
    assert best[0] > 1 - 1e-4


# At labels


def test_at_labels_they_are_other_losses():
    logits, _ = pairs()
    labels = torch.arange(200) % 4
    sure = torch.eye(4, dtype=DOUBLE)[labels]
    p = logits.softmax(-1)
    p_y = p.gather(1, labels[:, None])[:, 0]
    close(lossbook.kl(logits, sure), lossbook.cross_entropy(logits, labels))
    close(lossbook.total_variation(logits, sure), lossbook.mae(logits, labels) / 2)
    close(lossbook.hellinger(logits, sure), lossbook.gce(logits, labels, q=0.5) / 2)
    rivals = (logits - logits.gather(1, labels[:, None])).exp().sum(-1) - 1
    close(lossbook.chi_squared(logits, sure), rivals)
    steps = (torch.arange(4) - labels[:, None]).abs()
    close(lossbook.wasserstein_1d(logits, sure), (p * steps).sum(-1))
    close(
        lossbook.wasserstein_1d(logits, sure),
        lossbook.ExpectedCost(LINE)(logits, labels),
    )
    zero_one = lossbook.ExpectedCost(1 - np.eye(4))
    close(zero_one(logits, labels), 1 - p_y)


def test_kl_is_cross_entropy_less_entropy():
    logits, targets = pairs()
    entropy = -(targets * targets.log()).sum(-1)
    close(
        lossbook.kl(logits, targets) + entropy,
        lossbook.soft_cross_entropy(logits, targets),
    )
    close(
        gradient_of(lossbook.kl, logits, targets),
        gradient_of(lossbook.soft_cross_entropy, logits, targets),
    )


@pytest.mark.parametrize("name", sorted(set(DIVERGENCES) - {"reverse_kl"}))
def test_a_class_that_is_ruled_out(name):
    """Its logit is -inf, its target 0: as if it were not there."""
    logits, targets = pairs(classes=3)
    none = torch.full((200, 1), -math.inf, dtype=DOUBLE)
    more = torch.cat([logits, none], 1)
    padded = torch.cat([targets, torch.zeros(200, 1, dtype=DOUBLE)], 1)
    close(DIVERGENCES[name](more, padded), DIVERGENCES[name](logits, targets))
    gradient = gradient_of(DIVERGENCES[name], more, padded)
    close(gradient[:, :3], gradient_of(DIVERGENCES[name], logits, targets))
    assert (gradient[:, 3] == 0).all()


def test_ruled_out_though_it_has_a_target():
    """KL is infinite there; the bounded ones are not."""
    logits = torch.tensor([0.0, -math.inf])
    half = torch.tensor([0.5, 0.5])
    assert lossbook.kl(logits, half).item() == math.inf
    assert lossbook.chi_squared(logits, half).item() == math.inf
    js = (math.log(4 / 3) + 0.5 * math.log(2 / 3) + 0.5 * math.log(2)) / 2
    assert lossbook.jensen_shannon(logits, half).item() == pytest.approx(js, rel=1e-6)
    assert lossbook.total_variation(logits, half).item() == 0.5
    assert lossbook.reverse_kl(logits, half).item() == pytest.approx(math.log(2))


# The reverse divergence


def test_reverse_kl_by_hand():
    """Sum p log(p / q), and the gradient p (log(p / q) - KL)."""
    logits, targets = pairs()
    p, q = logits.softmax(-1).numpy(), targets.numpy()
    value = (p * np.log(p / q)).sum(-1)
    close(lossbook.reverse_kl(logits, targets), value)
    slope = p * (np.log(p / q) - value[:, None])
    close(gradient_of(lossbook.reverse_kl, logits, targets), slope)


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_reverse_kl_far_out(dtype):
    logits = 1e4 * torch.tensor([[1.0, 0, 0], [-1, 0, 0], [1, 1, -1]], dtype=dtype)
    q = torch.tensor([0.7, 0.2, 0.1], dtype=dtype).expand(3, 3)
    expected = [
        -math.log(0.7),
        -math.log(2) - math.log(0.02) / 2,
        -math.log(2) - math.log(0.14) / 2,
    ]
    close(lossbook.reverse_kl(logits, q), expected, 1e-6)
    assert gradient_of(lossbook.reverse_kl, logits, q).isfinite().all()


def test_reverse_kl_refuses_targets_of_zero():
    message = (
        "targets must be positive, since the divergence is infinite at a target of 0, "
        "got 0; smooth them, or use kl or jensen_shannon"
    )
    with pytest.raises(ValueError, match=exactly(message)):
        lossbook.reverse_kl(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))


def test_directions_of_kl_on_two_modes():
    """Forward KL spreads over both modes, reverse KL picks one of them.

    The models are bumps on 21 ordered classes; the truth has two of them, far apart.
    """
    place = np.arange(21)

    def bump(at, width):
        return -((place - at) ** 2) / (2 * width**2)

    truth = softmax(bump(4, 1.5)) / 2 + softmax(bump(16, 1.5)) / 2
    truth = torch.tensor(0.999 * truth + 0.001 / 21)
    tried = [(a, w) for a in place for w in (1.0, 1.5, 2, 4, 6, 8)]
    logits = torch.tensor(np.stack([bump(*one) for one in tried]))
    best = {
        name: tried[DIVERGENCES[name](logits, truth.expand_as(logits)).argmin()]
        for name in ("kl", "reverse_kl")
    }
    assert best["kl"][0] == 10
    assert best["kl"][1] >= 6
    assert best["reverse_kl"][0] in (4, 16)
    assert best["reverse_kl"][1] < 2


# Ordered classes


def test_squared_emd_is_half_the_energy_distance():
    """2 E|X - Y| - E|X - X'| - E|Y - Y'| with the costs |i - j|."""
    logits, targets = pairs()
    p, q, d = logits.softmax(-1).numpy(), targets.numpy(), np.asarray(LINE)

    def mean(a, b):
        return np.einsum("ni,ij,nj->n", a, d, b)

    energy = 2 * mean(p, q) - mean(p, p) - mean(q, q)
    close(2 * lossbook.squared_emd(logits, targets), energy)


def test_squared_emd_is_no_squared_wasserstein_distance():
    """All mass moves two steps: the squared distance is 4, this is 2."""
    logits = torch.tensor([50.0, 0.0, 0.0])
    assert lossbook.squared_emd(logits, torch.tensor([0.0, 0, 1])).item() == 2


def test_a_root_makes_the_score_improper():
    """The root of the squared EMD, as is also trained, is improper."""

    def root(logits, targets):
        return lossbook.squared_emd(logits, targets).sqrt()

    found = best_belief(root, ETA)
    assert np.abs(found - ETA).max() > 0.05


def test_the_farther_error_costs_more():
    logits = 30 * torch.eye(4, dtype=DOUBLE)
    truth = torch.eye(4, dtype=DOUBLE)[[0] * 4]
    close(lossbook.wasserstein_1d(logits, truth), [0, 1, 2, 3], 1e-9)
    close(lossbook.squared_emd(logits, truth), [0, 1, 2, 3], 1e-9)
    close(lossbook.kl(logits, truth)[1:], [30, 30, 30], 1e-9)


# Costs and transport


def test_costs_are_read_true_then_predicted():
    """True class 0, surely predicted as class 2, costs 5: not the 3 of the reverse."""
    sure = torch.tensor([0.0, 0.0, 50.0])
    label, target = torch.tensor(0), torch.tensor([1.0, 0.0, 0.0])
    assert lossbook.ExpectedCost(SKEWED)(sure, label).item() == pytest.approx(5)
    for loss in (
        lossbook.ExactTransport(SKEWED),
        lossbook.Sinkhorn(SKEWED),
        lossbook.UnbalancedTransport(SKEWED, rho=1e4),
    ):
        assert loss(sure, target).item() == pytest.approx(5, rel=1e-3)


def test_no_solver_is_needed_at_labels():
    logits, _ = pairs(classes=3)
    labels = torch.arange(200) % 3
    sure = torch.eye(3, dtype=DOUBLE)[labels]
    cost = lossbook.ExpectedCost(SKEWED)(logits, labels)
    slope = gradient_of(lossbook.ExpectedCost(SKEWED), logits, labels)
    for loss in (
        lossbook.ExactTransport(SKEWED),
        lossbook.Sinkhorn(SKEWED, epsilon=1.0, iterations=2),
        lossbook.Sinkhorn(SKEWED, epsilon=50.0, iterations=2),
    ):
        close(loss(logits, sure), cost)
        close(gradient_of(loss, logits, sure), slope)


def test_exact_transport_of_an_order_and_of_a_matching():
    logits, targets = pairs(40)
    exact = lossbook.ExactTransport(LINE)(logits, targets)
    close(exact, lossbook.wasserstein_1d(logits, targets))
    other = lossbook.ExactTransport(1 - np.eye(4))(logits, targets)
    close(other, lossbook.total_variation(logits, targets))


def test_exact_transport_on_a_tree():
    """On a star with arms of lengths 1, 2 and 4: the sum of w |p - q| over its arms."""
    arms = np.array([1.0, 2, 4])
    costs = (arms[:, None] + arms) * (1 - np.eye(3))
    logits, targets = pairs(40, 3)
    work = (torch.tensor(arms) * (logits.softmax(-1) - targets).abs()).sum(-1)
    close(lossbook.ExactTransport(costs)(logits, targets), work)


def test_exact_transport_is_no_divergence_of_costs_that_break_the_triangle():
    """A detour of cost 2 beside a direct way of 9 is not taken: plans go one step."""
    costs = [[0.0, 1, 9], [1, 0, 1], [9, 1, 0]]
    logits = torch.tensor([0.0, -50, -50], dtype=DOUBLE)
    loss = lossbook.ExactTransport(costs)
    assert loss(
        logits, torch.tensor([0.0, 0, 1], dtype=DOUBLE)
    ).item() == pytest.approx(9)


def test_exact_transport_takes_leading_axes_and_no_examples():
    logits, targets = pairs(12)
    loss = lossbook.ExactTransport(LINE)
    shaped = loss(logits.reshape(3, 4, 4), targets.reshape(3, 4, 4))
    close(shaped.flatten(), loss(logits, targets))
    assert loss(logits[0], targets[0]).ndim == 0
    assert loss(logits[:0], targets[:0]).shape == (0,)


def test_exact_transport_is_refused_where_numbers_are_hidden():
    logits, targets = pairs(2)
    with pytest.raises(RuntimeError, match=r"hide them; use Sinkhorn there$"):
        torch.func.vmap(lossbook.ExactTransport(LINE))(logits, targets)


# Entropic transport


def test_sinkhorn_by_the_definition():
    """The plan has the marginals, and the value is its cost plus its divergence."""
    logits, targets = pairs(20, 3)
    loss = lossbook.Sinkhorn(SKEWED, epsilon=0.5, iterations=2000)
    plan = loss.plan(logits, targets)
    p = logits.softmax(-1)
    close(plan.sum(-2), p)
    close(plan.sum(-1), targets, 1e-9)
    ratio = plan / (targets[:, :, None] * p[:, None, :])
    value = (plan * (torch.tensor(SKEWED) + 0.5 * ratio.log())).sum((-2, -1))
    close(loss(logits, targets), value, 1e-9)
    # Along a square of entries the marginals stay: no other plan there is cheaper.
    square = torch.zeros(3, 3, dtype=DOUBLE)
    square[:2, :2] = torch.tensor([[1.0, -1], [-1, 1]])
    for step in (0.5, -0.5):
        least = plan[:, :2, :2].amin((-2, -1))
        other = plan + step * least[:, None, None] * square
        ratio = other / (targets[:, :, None] * p[:, None, :])
        cost = (other * (torch.tensor(SKEWED) + 0.5 * ratio.log())).sum((-2, -1))
        assert (cost - value > 0.01 * least).all()


def test_sinkhorn_between_transport_and_independence():
    logits, targets = pairs(40)
    p = logits.softmax(-1)
    exact = lossbook.wasserstein_1d(logits, targets)
    independent = torch.einsum(
        "ni,ij,nj->n", targets, torch.tensor(LINE, dtype=DOUBLE), p
    )
    values = torch.stack(
        [
            lossbook.Sinkhorn(LINE, epsilon=e, iterations=i)(logits, targets)
            for e, i in ((0.02, 5000), (0.2, 1000), (2.0, 500), (2000.0, 10))
        ]
    )
    assert (values.diff(dim=0) > 0).all()
    assert (values[0] > exact - 1e-6).all()
    close(values[0], exact, 0.05)
    close(values[-1], independent, 5e-3)


def test_sinkhorn_is_biased_and_its_divergence_is_not():
    _, targets = pairs(40)
    biased = lossbook.Sinkhorn(LINE, epsilon=1.0)
    assert (biased(targets.log(), targets) > 0.05).all()
    assert gradient_of(biased, targets.log(), targets).abs().max() > 0.05
    unbiased = lossbook.SinkhornDivergence(LINE, epsilon=1.0)
    close(unbiased(targets.log(), targets), torch.zeros(40), 1e-10)
    assert gradient_of(unbiased, targets.log(), targets).abs().max() < 1e-8
    logits, _ = pairs(40)
    assert (unbiased(logits, targets) > 1e-3).all()


def test_sinkhorn_divergence_between_transport_and_energy():
    logits, targets = pairs(40)
    near = lossbook.SinkhornDivergence(LINE, epsilon=0.02, iterations=5000)
    close(near(logits, targets), lossbook.wasserstein_1d(logits, targets), 0.05)
    far = lossbook.SinkhornDivergence(LINE, epsilon=1e4, iterations=10)
    close(far(logits, targets), lossbook.squared_emd(logits, targets), 1e-3)


@pytest.mark.parametrize(
    "key", ["Sinkhorn", "SinkhornDivergence", "UnbalancedTransport"]
)
def test_loss_and_reference_take_as_many_steps(key):
    card = CATALOGUE[key]
    of_reference = inspect.signature(card.ref).parameters["iterations"].default
    assert card.fn(LINE).iterations == of_reference


def test_marginal_error_tells_what_is_missing():
    logits, targets = pairs(40)
    errors = [
        lossbook.Sinkhorn(LINE, epsilon=0.1, iterations=i).marginal_error(
            logits, targets
        )
        for i in (1, 30, 10000)
    ]
    assert errors[0].max() > 0.5
    assert (errors[1] < errors[0]).all()
    assert errors[1].max() > 0.01
    assert errors[2].max() < 1e-10


def test_unbalanced_transport_between_sinkhorn_and_nothing():
    logits, targets = pairs(40)
    values = torch.stack(
        [
            lossbook.UnbalancedTransport(LINE, rho=r, epsilon=0.5)(logits, targets)
            for r in (1e-3, 0.1, 1.0, 10.0, 1e6)
        ]
    )
    assert (values.diff(dim=0) > 0).all()
    # Without a price of marginals the best plan is p q exp(-costs / epsilon).
    kernel = torch.tensor(np.exp(-np.array(LINE) / 0.5))
    mass = torch.einsum("nt,tk,nk->n", targets, kernel, logits.softmax(-1))
    close(values[0], 0.5 * (1 - mass), 2e-3)
    close(values[-1], lossbook.Sinkhorn(LINE, epsilon=0.5)(logits, targets), 1e-5)


def test_unbalanced_transport_converges_fast_at_a_large_rho():
    """Sinkhorn's steps alone lose a part of epsilon / rho of the error each."""
    logits, targets = pairs(40)
    few, many = (
        lossbook.UnbalancedTransport(LINE, rho=50.0, epsilon=1.0, iterations=i)
        for i in (50, 5000)
    )
    slopes = [gradient_of(loss, logits, targets) for loss in (few, many)]
    close(slopes[0], slopes[1], 1e-8)


@pytest.mark.parametrize("multiply", [True, False])
def test_potential_of_a_side_with_itself_converges_fast(multiply):
    _, targets = pairs(40)
    costs = torch.tensor(LINE, dtype=DOUBLE)
    h, after = transport.self_potential(
        targets.log(), costs, epsilon=0.2, iterations=40, multiply=multiply
    )
    close(h, after, 1e-9)


def test_unbalanced_transport_gives_up_on_a_far_error():
    """From one end to the other: 2 rho + epsilon bounds what any error may cost."""
    logits = torch.tensor([60.0, 0, 0, 0], dtype=DOUBLE)
    truth = torch.tensor([0.0, 0, 0, 1], dtype=DOUBLE)
    far = lossbook.UnbalancedTransport(LINE, rho=0.2, epsilon=0.1)(logits, truth)
    assert 0.49 < far.item() < 0.5
    assert lossbook.Sinkhorn(LINE, epsilon=0.1)(logits, truth).item() == pytest.approx(
        3
    )


ENTROPIC = {
    "sinkhorn": lossbook.Sinkhorn(LINE, epsilon=0.5, iterations=500),
    "divergence": lossbook.SinkhornDivergence(LINE, epsilon=0.5, iterations=500),
    "unbalanced": lossbook.UnbalancedTransport(LINE, epsilon=0.5, iterations=500),
}


@pytest.mark.parametrize("name", ENTROPIC)
def test_products_and_the_log_domain_agree(name):
    """In value and gradient; the log domain serves where products would underflow."""
    logits, targets = pairs(20)
    loss = ENTROPIC[name]
    fast = loss(logits, targets), gradient_of(loss, logits, targets)
    with kernels.force("plain"):
        plain = loss(logits, targets), gradient_of(loss, logits, targets)
    close(fast[0], plain[0], 1e-10)
    close(fast[1], plain[1], 1e-8)


@pytest.mark.parametrize("name", ENTROPIC)
def test_steep_costs_in_single_precision(name):
    """exp(-3 / 0.01) is 0 in float32: there is no matrix of it to multiply."""
    logits, targets = pairs(20)
    kind = type(ENTROPIC[name])
    loss = kind(LINE, epsilon=0.01, iterations=300)
    narrow = loss(logits.float(), targets.float())
    assert narrow.isfinite().all()
    close(narrow, loss(logits, targets), 1e-4)
    assert gradient_of(loss, logits.float(), targets.float()).isfinite().all()


def test_products_that_overflow_are_done_again_in_the_log_domain(monkeypatch):
    monkeypatch.setitem(transport.STEEPEST, torch.float32, 1e9)
    logits, targets = pairs(20)
    loss = lossbook.Sinkhorn(LINE, epsilon=0.01, iterations=300)
    close(loss(logits.float(), targets.float()), loss(logits, targets), 1e-4)


@pytest.mark.parametrize("name", ENTROPIC)
def test_transport_under_transforms(name):
    """vmap of grad, and the Hessian: through the iterations, as they hide values."""
    logits, targets = pairs(4)
    loss = ENTROPIC[name]
    found = torch.func.vmap(torch.func.grad(loss))(logits, targets)
    close(found, gradient_of(loss, logits, targets), 1e-8)
    twice = torch.func.vmap(torch.func.jacrev(torch.func.jacrev(loss)))
    z = logits.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(z, targets).sum(), z, create_graph=True)
    (row,) = torch.autograd.grad(gradient[:, 0].sum(), z)
    close(row, twice(logits, targets)[:, 0], 1e-8)


def test_transport_of_bfloat16_under_autocast():
    logits, targets = pairs(20)
    loss = ENTROPIC["sinkhorn"]
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(logits.float(), targets.float())
    close(found, loss(logits, targets), 1e-5)


def test_gradients_in_the_targets_and_in_epsilon():
    logits, targets = pairs(5)
    epsilon = torch.tensor(0.5, dtype=DOUBLE, requires_grad=True)
    q = targets.clone().requires_grad_()
    loss = lossbook.Sinkhorn(LINE, epsilon=epsilon, iterations=500)
    of_q, of_epsilon = torch.autograd.grad(loss(logits, q).sum(), (q, epsilon))
    step = 1e-5
    up, down = (
        lossbook.Sinkhorn(LINE, epsilon=0.5 + s, iterations=500)(logits, targets).sum()
        for s in (step, -step)
    )
    close(of_epsilon, (up - down) / (2 * step), 1e-6)
    turned = lossbook.Sinkhorn(np.transpose(LINE), epsilon=0.5, iterations=500)
    of_p = gradient_of(turned, targets.log(), logits.softmax(-1))
    mean = (targets * of_q).sum(-1, keepdim=True)
    close(targets * (of_q - mean), of_p, 1e-8)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: lossbook.ExpectedCost([1.0, 2.0]),
            "costs must be a square matrix, one row a true class and one column a "
            "predicted one, got shape (2,)",
        ),
        (
            lambda: lossbook.Sinkhorn([[0.0, -1.0], [1.0, 0.0]]),
            "costs must be finite and not negative, got -1; a constant added to all of "
            "them changes no minimum",
        ),
        (
            lambda: lossbook.SinkhornDivergence([[0.0, 2.0], [1.0, 0.0]]),
            "costs must be symmetric, since the divergence compares each side with "
            "itself, got a matrix that is not; use (costs + costs.T) / 2, or Sinkhorn",
        ),
        (
            lambda: lossbook.Sinkhorn(LINE, epsilon=0.0),
            "epsilon must be positive and finite, got 0; ExactTransport needs none",
        ),
        (
            lambda: lossbook.UnbalancedTransport(LINE, rho=math.inf),
            "rho must be positive and finite, got inf; Sinkhorn keeps the marginals",
        ),
        (
            lambda: lossbook.Sinkhorn(LINE, iterations=0),
            "iterations must be a whole number, 1 or more, got 0",
        ),
        (
            lambda: lossbook.ExactTransport(LINE, solver="simplex"),
            'solver must be "scipy" or "pot", got \'simplex\'',
        ),
        (
            lambda: lossbook.Sinkhorn(LINE)(
                torch.zeros(1, 2), torch.tensor([[1.0, 0]])
            ),
            "logits must have 4 classes, as costs has, got 2",
        ),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ValueError, match=exactly(message)):
        make()


def test_a_missing_solver_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "ot", None)
    message = 'solver "pot" needs the package POT; pip install POT, or use "scipy"'
    with pytest.raises(ImportError, match=exactly(message)):
        lossbook.ExactTransport(LINE, solver="pot")


# Samples


def samples():
    rng = np.random.default_rng(0)
    return torch.tensor(rng.normal(size=(6, 2))), torch.tensor(
        rng.normal(size=(5, 2)) + 1
    )


def by_loops(x, y, of):
    return np.mean([[of(np.linalg.norm(a - b)) for b in y] for a in x])


def test_energy_distance_by_loops():
    x, y = samples()
    a, b = x.numpy(), y.numpy()
    mean = [by_loops(*two, lambda d: d) for two in ((a, b), (a, a), (b, b))]
    close(lossbook.energy_distance(x, y), 2 * mean[0] - mean[1] - mean[2])


@pytest.mark.parametrize("bandwidth", [0.3, 1.0, 3.0])
def test_mmd_by_loops(bandwidth):
    x, y = samples()
    a, b = x.numpy(), y.numpy()

    def kernel(d):
        return math.exp(-0.5 * (d / bandwidth) ** 2)

    mean = [by_loops(*two, kernel) for two in ((a, b), (a, a), (b, b))]
    found = lossbook.mmd(x, y, bandwidth=bandwidth)
    close(found, mean[1] + mean[2] - 2 * mean[0])


@pytest.mark.parametrize("distance", [lossbook.energy_distance, lossbook.mmd])
def test_distances_of_samples(distance):
    x, y = samples()
    close(distance(x, x.flip(0)), 0, 1e-15)
    close(distance(x, y), distance(y, x))
    close(distance(x, torch.cat([y, y])), distance(x, y))
    assert distance(x, y) > 0
    x.requires_grad_()
    assert torch.autograd.gradcheck(distance, (x, y))
    assert torch.autograd.gradgradcheck(distance, (x, y))
    doubled = torch.zeros(3, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(distance(doubled, torch.zeros(2, 2)), doubled)
    assert (gradient == 0).all()


def test_energy_distance_of_classes_is_twice_the_squared_emd():
    """Samples on a line with class frequencies 1/4, 0, 3/4 and 1/2, 1/2, 0."""
    x = torch.tensor([[0.0], [2], [2], [2]])
    y = torch.tensor([[0.0], [1]])
    p, q = torch.tensor([0.25, 0, 0.75]), torch.tensor([0.5, 0.5, 0])
    emd = lossbook.squared_emd(p.log(), q)
    close(lossbook.energy_distance(x, y), 2 * emd, 1e-6)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (
            torch.zeros(3),
            torch.zeros(3, 1),
            "first must hold one point a row, shape (N, D), and at least one, got "
            "shape (3,)",
        ),
        (
            torch.zeros(3, 1),
            torch.zeros(0, 1),
            "second must hold one point a row, shape (N, D), and at least one, got "
            "shape (0, 1)",
        ),
        (
            torch.zeros(3, 2),
            torch.zeros(3, 1),
            "second must have points of as many dimensions as first, 2, got 1",
        ),
    ],
)
@pytest.mark.parametrize("distance", [lossbook.energy_distance, lossbook.mmd])
def test_samples_that_are_refused(distance, first, second, message):
    with pytest.raises(ValueError, match=exactly(message)):
        distance(first, second)


def test_frechet_distance_of_what_commutes():
    """Diagonal covariances: the distances of the means and of the deviations."""
    found = lossbook.frechet_distance(
        [0.0, 1.0], np.diag([1.0, 4.0]), [2.0, 1.0], np.diag([9.0, 0.0])
    )
    assert found == pytest.approx(4 + (1 - 3) ** 2 + (2 - 0) ** 2)


def test_frechet_distance_is_that_of_the_linear_map():
    """N(0, S) pushed by a symmetric positive A: E|X - A X|^2 is the least there is."""
    rng = np.random.default_rng(0)
    half, map_ = (m @ m.T + np.eye(3) for m in rng.normal(size=(2, 3, 3)))
    s = half @ half
    t = map_ @ s @ map_
    gap = np.eye(3) - map_
    zero = np.zeros(3)
    assert lossbook.frechet_distance(zero, s, zero, t) == pytest.approx(
        np.trace(gap @ s @ gap), rel=1e-9
    )
    assert lossbook.frechet_distance(zero, s, zero, s) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ([0.0], [[1.0]], [0.0, 0.0], np.eye(2)),
            "the means must be two vectors of one length, got shapes (1,) and (2,)",
        ),
        (
            ([0.0], [[1.0]], [0.0], np.eye(2)),
            "cov must have shape (1, 1), one row and one column a dimension, got "
            "(2, 2)",
        ),
        (
            (np.zeros(2), [[1.0, 0.5], [0.0, 1.0]], np.zeros(2), np.eye(2)),
            "first_cov must be symmetric, got a matrix that is not",
        ),
        (
            (np.zeros(2), np.eye(2), np.zeros(2), np.diag([1.0, -1.0])),
            "cov must be a covariance, got one with the eigenvalue -1",
        ),
    ],
)
def test_frechet_distance_refuses(arguments, message):
    with pytest.raises(ValueError, match=exactly(message)):
        lossbook.frechet_distance(*arguments)


def test_the_family_is_whole():
    """Every class of costs is on a card, and every divergence but the reverse one."""
    found = {k for k, card in CATALOGUE.items() if card.family == "divergence"}
    classes = {"ExactTransport", "ExpectedCost", "Sinkhorn", "SinkhornDivergence"}
    expected = classes | {"UnbalancedTransport"} | set(DIVERGENCES) - {"reverse_kl"}
    assert found == expected


def test_total_variation_at_a_label_keeps_its_digits():
    """It is the other classes' mass, here e^-40, where 1 - p_y is 0."""
    logits = torch.tensor([[40.0, 0.0]], dtype=torch.float64)
    value = lossbook.total_variation(logits, torch.tensor([[1.0, 0.0]]))
    expected = 1 / (1 + np.exp(40.0))
    assert value.item() == pytest.approx(expected, rel=1e-12, abs=0)
