"""Divergences and transport: torch, scipy, optax, keras, POT, geomloss."""

import numpy as np
import pytest
import torch

import lossbook
from tests.peers.load import peer

pytestmark = pytest.mark.peers

DOUBLE = torch.float64
SKEWED = np.array([[0.0, 1, 5], [2, 0, 1], [3, 4, 0]])  # costs[true, predicted]
LINE = np.abs(np.subtract.outer(np.arange(4.0), np.arange(4.0)))


def pairs(n=20, classes=4):
    rng = np.random.default_rng(0)
    logits = torch.tensor(2 * rng.normal(size=(n, classes)))
    return logits, torch.tensor(rng.dirichlet(np.ones(classes), size=n))


def close(found, expected, tolerance=1e-10):
    np.testing.assert_allclose(
        np.asarray(found), np.asarray(expected), tolerance, tolerance
    )


def entropy(p):
    return -(p * p.log()).sum(-1)


def torch_kl(p, q):
    terms = torch.nn.functional.kl_div(p.log(), q, reduction="none")
    assert terms.shape == q.shape
    return terms.sum(-1)


def optax_kl(p, q):
    peer("jax").config.update("jax_enable_x64", True)
    return peer("optax").losses.kl_divergence(p.log().numpy(), q.numpy())


def keras_kl(p, q):
    return peer("keras").losses.KLDivergence(reduction=None, dtype="float64")(q, p)


def scipy_jensen_shannon(p, q):
    root = peer("scipy.spatial.distance").jensenshannon
    return root(p.numpy(), q.numpy(), axis=-1) ** 2


def scipy_wasserstein(p, q):
    distance = peer("scipy.stats").wasserstein_distance
    place = np.arange(p.shape[-1])
    return [distance(place, place, *one) for one in zip(p, q, strict=True)]


def scipy_energy(p, q):
    distance = peer("scipy.stats").energy_distance
    place = np.arange(p.shape[-1])
    return [distance(place, place, *one) ** 2 / 2 for one in zip(p, q, strict=True)]


def pot_wasserstein(p, q):
    place = np.arange(float(p.shape[-1]))[:, None].repeat(len(p), 1)
    return peer("ot").wasserstein_1d(place, place, p.numpy().T, q.numpy().T, p=1)


# (loss key, peer as the card names it): the peer of p and q, its difference undone.
THEIRS = {
    ("jensen_shannon", "scipy.spatial.distance.jensenshannon"): scipy_jensen_shannon,
    ("kl", "keras.losses.KLDivergence"): keras_kl,
    ("kl", "optax.losses.kl_divergence"): optax_kl,
    ("kl", "torch.nn.functional.kl_div"): torch_kl,
    ("squared_emd", "scipy.stats.energy_distance"): scipy_energy,
    ("wasserstein_1d", "ot.wasserstein_1d"): pot_wasserstein,
    ("wasserstein_1d", "scipy.stats.wasserstein_distance"): scipy_wasserstein,
}
SHOWN = [
    *THEIRS,
    ("ExactTransport", "ot.emd2"),
    ("ExpectedCost", "ot.emd2"),
    ("Sinkhorn", "geomloss.SamplesLoss"),
    ("Sinkhorn", "ot.sinkhorn2"),
    ("Sinkhorn", "ot.solve_batch"),
    ("SinkhornDivergence", "geomloss.SamplesLoss"),
    ("UnbalancedTransport", "ot.unbalanced.sinkhorn_unbalanced2"),
]


@pytest.mark.parametrize(("key", "name"), THEIRS)
def test_equal_to_the_peer(key, name):
    logits, targets = pairs()
    found = THEIRS[key, name](logits.softmax(-1), targets)
    close(found, getattr(lossbook, key)(logits, targets))


def test_keras_clips():
    """A probability of e^-30 counts as 1e-7."""
    logits = torch.tensor([[30.0, 0.0]], dtype=DOUBLE)
    targets = torch.tensor([[0.0, 1.0]], dtype=DOUBLE)
    found = keras_kl(logits.softmax(-1), targets)
    close(found, [np.log(1e7)], 1e-6)
    close(lossbook.kl(logits, targets), [30], 1e-6)


def emd2(p, q, costs):
    """Rows are the first argument's: the true classes."""
    ot = peer("ot")
    return [ot.emd2(b, a, costs) for a, b in zip(p.numpy(), q.numpy(), strict=True)]


@pytest.mark.parametrize("solver", ["scipy", "pot"])
def test_exact_transport(solver):
    logits, targets = pairs(classes=3)
    loss = lossbook.ExactTransport(SKEWED, solver=solver)
    close(loss(logits, targets), emd2(logits.softmax(-1), targets, SKEWED))
    # The dual potential of POT is the gradient in p, but for a constant.
    z = logits.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(z, targets).sum(), z)
    p = logits.softmax(-1)
    duals = [
        peer("ot").emd(b, a, SKEWED, log=True)[1]["v"]
        for a, b in zip(p.numpy(), targets.numpy(), strict=True)
    ]
    f = torch.tensor(np.stack(duals))
    close(gradient, p * (f - (p * f).sum(-1, keepdim=True)))


@pytest.mark.parametrize("classes", [2, 10])
def test_both_solvers_agree(classes):
    costs = np.random.default_rng(1).random((classes, classes))
    logits, targets = pairs(classes=classes)
    results = []
    for solver in ("scipy", "pot"):
        z = logits.clone().requires_grad_()
        loss = lossbook.ExactTransport(costs, solver=solver)(z, targets)
        results.append((loss.detach(), torch.autograd.grad(loss.sum(), z)[0]))
    close(results[0][0], results[1][0])
    close(results[0][1], results[1][1])


def test_expected_cost_needs_no_program():
    logits, _ = pairs(classes=3)
    labels = torch.arange(20) % 3
    sure = torch.eye(3, dtype=DOUBLE)[labels]
    found = emd2(logits.softmax(-1), sure, SKEWED)
    close(found, lossbook.ExpectedCost(SKEWED)(logits, labels))


def test_pot_sinkhorn_returns_the_cost_of_the_plan():
    logits, targets = pairs(5, 3)
    loss = lossbook.Sinkhorn(SKEWED, epsilon=0.5, iterations=2000)
    found = [
        peer("ot").sinkhorn2(b, a, SKEWED, 0.5, stopThr=1e-13, numItermax=10000)
        for a, b in zip(logits.softmax(-1).numpy(), targets.numpy(), strict=True)
    ]
    plan = loss.plan(logits, targets)
    close(found, (plan * torch.tensor(SKEWED)).sum((-2, -1)), 1e-8)
    assert (loss(logits, targets).numpy() > np.array(found) + 1e-3).all()


def test_pot_batch_adds_the_entropy_of_the_plan():
    """sum P log P is KL(P || p q) less the entropies of p and q."""
    logits, targets = pairs(5, 3)
    z = logits.clone().requires_grad_()
    found = peer("ot").solve_batch(
        torch.tensor(SKEWED).expand(5, 3, 3),
        0.5,
        targets,
        z.softmax(-1),
        max_iter=5000,
        tol=1e-13,
        method="log_sinkhorn",
        grad="autodiff",
    )
    loss = lossbook.Sinkhorn(SKEWED, epsilon=0.5, iterations=2000)
    p = logits.softmax(-1)
    value = loss(logits, targets) - 0.5 * (entropy(p) + entropy(targets))
    close(found.value.detach(), value, 1e-7)
    (theirs,) = torch.autograd.grad(found.value.sum(), z)
    z_2 = logits.clone().requires_grad_()
    ours = loss(z_2, targets) - 0.5 * entropy(z_2.softmax(-1))
    close(theirs, torch.autograd.grad(ours.sum(), z_2)[0], 1e-5)


def geomloss(p, q, *, epsilon, power=1, **options):
    loss = peer("geomloss").SamplesLoss(
        "sinkhorn",
        p=power,
        blur=epsilon ** (1 / power),
        scaling=0.999,
        backend="tensorized",
        **options,
    )
    place = torch.arange(4, dtype=DOUBLE)[:, None].expand(len(p), 4, 1).contiguous()
    return loss(p.contiguous(), place, q, place)


@pytest.mark.parametrize("debias", [False, True])
@pytest.mark.parametrize("power", [1, 2])
def test_geomloss(debias, power):
    """Its cost is |x - y|^p / p, and its epsilon blur^p."""
    logits, targets = pairs(5)
    found = geomloss(
        logits.softmax(-1), targets, epsilon=1.0, power=power, debias=debias
    )
    kind = lossbook.SinkhornDivergence if debias else lossbook.Sinkhorn
    loss = kind(LINE**power / power, epsilon=1.0, iterations=2000)
    close(found, loss(logits, targets), 1e-3)
    if power == 2:
        wrong = kind(LINE**2, epsilon=1.0, iterations=2000)(logits, targets)
        assert (wrong > found * 1.1).all()


def pot_unbalanced(name, p, q, **options):
    solve = getattr(peer("ot").unbalanced, name)
    settings = {"stopThr": 1e-14, "numItermax": 10000, **options}
    return [
        solve(b, a, SKEWED, 0.5, 1.0, **settings)
        for a, b in zip(p.numpy(), q.numpy(), strict=True)
    ]


def test_pot_unbalanced_leaves_out_the_masses():
    """Its total is 0 at every solution; ours is then the price of the lost mass."""
    logits, targets = pairs(5, 3)
    p = logits.softmax(-1)
    loss = lossbook.UnbalancedTransport(SKEWED, epsilon=0.5, rho=1.0)
    value = loss(logits, targets)
    plans = np.stack(pot_unbalanced("sinkhorn_unbalanced", p, targets))
    close((0.5 + 2 * 1.0) * (1 - plans.sum((-2, -1))), value, 1e-8)
    linear = pot_unbalanced("sinkhorn_unbalanced2", p, targets)
    close(linear, (plans * SKEWED).sum((-2, -1)))
    total = pot_unbalanced("sinkhorn_unbalanced2", p, targets, returnCost="total")
    close(total, np.zeros(5))


# What has no card


def test_energy_distance_of_samples():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=7), rng.normal(size=5) + 1
    root = peer("scipy.stats").energy_distance(x, y)
    found = lossbook.energy_distance(torch.tensor(x[:, None]), torch.tensor(y[:, None]))
    close(found, root**2)


@pytest.mark.parametrize("name", ["energy", "gaussian"])
def test_geomloss_of_samples_is_half(name):
    """Of the energy distance only nearly: it floors distances."""
    rng = np.random.default_rng(0)
    x, y = torch.tensor(rng.normal(size=(7, 2))), torch.tensor(rng.normal(size=(5, 2)))
    half = peer("geomloss").SamplesLoss(name, blur=0.7, backend="tensorized")(x, y)
    ours = {
        "energy": lossbook.energy_distance(x, y),
        "gaussian": lossbook.mmd(x, y, bandwidth=0.7),
    }
    close(2 * half, ours[name], {"energy": 1e-3, "gaussian": 1e-10}[name])


def test_frechet_distance_with_a_matrix_root():
    sqrtm = peer("scipy.linalg").sqrtm
    rng = np.random.default_rng(0)
    a, b = (np.cov(rng.normal(size=(4, 50))) for _ in range(2))
    mu, nu = rng.normal(size=(2, 4))
    formula = ((mu - nu) ** 2).sum() + np.trace(a + b - 2 * sqrtm(a @ b).real)
    close(lossbook.frechet_distance(mu, a, nu, b), formula)


def test_frechet_distance_is_pots_squared_distance_of_gaussians():
    rng = np.random.default_rng(0)
    a, b = (np.cov(rng.normal(size=(4, 50))) for _ in range(2))
    mu, nu = rng.normal(size=(2, 4))
    found = peer("ot").gaussian.bures_wasserstein_distance(mu, nu, a, b)
    close(found**2, lossbook.frechet_distance(mu, a, nu, b), 1e-8)
