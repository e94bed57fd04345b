"""Losses for noisy labels: the theorems, values worked by hand, and refusals."""

import math
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from torch.nn.functional import nll_loss, one_hot

import lossbook
from lossbook.losses import CATALOGUE
from lossbook.losses.noise import _bi_tempered, _soft_bootstrap

# Rows are true classes. Not symmetric: a transposed matrix is another one.
T = torch.tensor([[0.7, 0.2, 0.1], [0.0, 0.9, 0.1], [0.25, 0.15, 0.6]]).double()
LN2 = math.log(2)


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def logits(n=6, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    return torch.tensor(2 * rng.normal(size=(n, classes)))


def each_label(loss, z):
    """The loss of each input for each label: (N, C)."""
    labels = range(z.shape[-1])
    return torch.stack([loss(z, torch.full(z.shape[:-1], y)) for y in labels], -1)


def gradient(loss, z, labels):
    z = z.detach().requires_grad_()
    return torch.autograd.grad(loss(z, labels).sum(), z)[0]


# --- the theorem on symmetric losses -------------------------------------------------

CONSTANT = {  # the sum over all labels, for C classes, worked by hand
    "mae": lambda classes: 2 * (classes - 1),
    "rce": lambda classes: 4 * (classes - 1),
    "nce": lambda classes: 1,
    "active_passive": lambda classes: 1 + 4 * (classes - 1),
}


def risks(loss, rate):
    """The risk on clean labels, and on labels of which `rate` are flipped evenly."""
    z = logits()
    rng = np.random.default_rng(1)
    share = torch.tensor(rng.dirichlet(np.ones(len(z))))
    posterior = torch.tensor(rng.dirichlet(np.ones(3), size=len(z)))
    flip = torch.full((3, 3), rate / 2).double().fill_diagonal_(1 - rate)
    costs = each_label(loss, z)
    return (
        (share[:, None] * eta * costs).sum() for eta in (posterior, posterior @ flip)
    )


@pytest.mark.parametrize("rate", [0.2, 0.6])
@pytest.mark.parametrize("key", CONSTANT)
def test_symmetric_noise_shifts_and_scales_the_risk(key, rate):
    clean, noisy = risks(getattr(lossbook, key), rate)
    expected = (1 - rate * 3 / 2) * clean + rate * CONSTANT[key](3) / 2
    torch.testing.assert_close(noisy, expected)


def test_noise_bends_the_risk_of_cross_entropy():
    """What even noise adds is the sum over all labels; it depends on the input."""
    total = each_label(lossbook.cross_entropy, logits()).sum(-1)
    assert total.max() - total.min() > 1


def test_the_listed_symmetric_losses_are_all_of_them():
    stated = {
        key
        for key, card in CATALOGUE.items()
        if card.family in ("noise", "combine")
        and card.kind == "labels"
        and card.states("symmetric", card.defaults())
    }
    assert stated == set(CONSTANT)


# --- corrections for a known transition matrix ---------------------------------------


def minimizer(loss, label_posterior):
    """softmax of the logits with the least expected loss."""
    z = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    descent = torch.optim.LBFGS(
        [z], max_iter=500, tolerance_change=0.0, line_search_fn="strong_wolfe"
    )

    def step():
        descent.zero_grad()
        risk = (label_posterior * each_label(loss, z)).sum()
        risk.backward()
        return risk

    descent.step(step)
    return z.detach().softmax(-1)[0]


CLEAN = torch.tensor([0.55, 0.25, 0.2]).double()


@pytest.mark.parametrize("correction", ["ForwardCorrection", "BackwardCorrection"])
def test_a_correction_recovers_the_clean_posterior(correction):
    found = minimizer(getattr(lossbook, correction)(T), CLEAN @ T)
    torch.testing.assert_close(found, CLEAN, atol=1e-6, rtol=0)


def test_without_correction_the_noisy_posterior_is_learned():
    found = minimizer(lossbook.cross_entropy, CLEAN @ T)
    torch.testing.assert_close(found, CLEAN @ T, atol=1e-6, rtol=0)


def test_a_transposed_matrix_recovers_something_else():
    columns = T.T / T.T.sum(-1, keepdim=True)
    found = minimizer(lossbook.ForwardCorrection(columns), CLEAN @ T)
    assert (found - CLEAN).abs().max() > 0.05


def test_backward_correction_is_unbiased():
    """The mean over the labels of a true class is its cross-entropy, to rounding."""
    z = logits()
    clean = each_label(lossbook.cross_entropy, z)
    noisy = each_label(lossbook.BackwardCorrection(T), z)
    torch.testing.assert_close(noisy @ T.T, clean)
    assert (noisy @ T - clean).abs().max() > 0.1  # rows and columns confused
    assert noisy.min() < 0


def test_forward_correction_by_hand():
    """p = (3/4, 1/4); label 1 has 3/4 * 1/10 + 1/4 * 7/10 = 1/4."""
    loss = lossbook.ForwardCorrection([[0.9, 0.1], [0.3, 0.7]])
    z = tensor([math.log(3), 0.0])
    torch.testing.assert_close(loss(z, torch.tensor([1])), tensor(math.log(4)))
    # r = (3/40, 7/40) / (1/4) = (0.3, 0.7); the gradient is p - r.
    found = gradient(loss, z, torch.tensor([1]))
    torch.testing.assert_close(found, tensor([0.45, -0.45]).detach())


def test_backward_correction_by_hand():
    """T^-1 of [[.9, .1], [.3, .7]] is [[7, -1], [-3, 9]] / 6."""
    loss = lossbook.BackwardCorrection([[0.9, 0.1], [0.3, 0.7]])
    surprise = np.log([4 / 3, 4])
    found = loss(tensor([math.log(3), 0.0]), torch.tensor([0]))
    torch.testing.assert_close(found, tensor((7 * surprise[0] - surprise[1]) / 6))


def test_forward_correction_equals_its_composition():
    z, labels = logits(), torch.tensor([0, 1, 2, 0, 1, 2])
    composed = nll_loss((z.softmax(-1) @ T).log(), labels, reduction="none")
    torch.testing.assert_close(lossbook.ForwardCorrection(T)(z, labels), composed)


@pytest.mark.parametrize("size", [1.0, 1e4])
def test_forward_correction_of_a_given_loss(size):
    z, labels = size * logits(), torch.tensor([0, 1, 2, 0, 1, 2])
    plain = lossbook.ForwardCorrection(T)
    given = lossbook.ForwardCorrection(T, loss=lossbook.cross_entropy)
    torch.testing.assert_close(plain(z, labels), given(z, labels))
    torch.testing.assert_close(gradient(plain, z, labels), gradient(given, z, labels))


def test_forward_correction_takes_a_loss_with_parameters():
    z, labels = logits(), torch.tensor([0, 1, 2, 0, 1, 2])
    q = (z.softmax(-1) @ T).gather(-1, labels[:, None])[:, 0]
    mine = lossbook.ForwardCorrection(T, loss=partial(lossbook.gce, q=0.5))(z, labels)
    torch.testing.assert_close(mine, 2 * (1 - q.sqrt()))


@pytest.mark.parametrize("loss", [None, lossbook.cross_entropy])
def test_a_zero_in_the_matrix_gives_no_nan(loss):
    """Column 2 gets nothing from class 1; all of class 0 stays 0."""
    matrix = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.2, 0.2, 0.6]]
    correction = lossbook.ForwardCorrection(matrix, loss)
    z = torch.tensor([[1e4, 0, 0], [0, 1e4, 0], [0, 0, -torch.inf], [0, 0, -1e4]])
    for dtype in (torch.float32, torch.float64):
        for label in range(3):
            labels = torch.full((4,), label)
            assert correction(z.to(dtype), labels).isfinite().all()
            assert gradient(correction, z.to(dtype), labels).isfinite().all()


def test_an_impossible_label_costs_much():
    correction = lossbook.ForwardCorrection([[1.0, 0.0], [1.0, 0.0]])
    z, labels = torch.zeros(1, 2), torch.tensor([1])
    assert 1e30 < correction(z, labels) < torch.inf
    assert gradient(correction, z, labels).isfinite().all()


REFUSED = [
    (
        [[0.5, 0.5]],
        "transition must be a square matrix with one row a true class, got shape "
        "(1, 2)",
    ),
    (
        [[1.2, -0.2], [0.5, 0.5]],
        "transition must hold probabilities, none negative, got -0.2",
    ),
    (
        T.T,
        "each row of transition, that of a true class, must sum to 1, got 1.25 in row "
        "1; if it is the columns that do, give the transposed matrix",
    ),
    (
        [[float("nan"), 1.0], [0.5, 0.5]],
        "transition must hold probabilities, none negative, got nan",
    ),
]


@pytest.mark.parametrize(("matrix", "message"), REFUSED)
@pytest.mark.parametrize("name", ["ForwardCorrection", "BackwardCorrection"])
def test_what_is_no_transition_matrix_is_refused(name, matrix, message):
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 (the whole is compared)
        getattr(lossbook, name)(matrix)
    assert str(refusal.value) == message


def test_a_matrix_without_inverse_is_refused():
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 (the whole is compared)
        lossbook.BackwardCorrection([[0.5, 0.5], [0.5, 0.5]])
    assert str(refusal.value) == (
        "transition must be invertible, got 2 rows of rank 1; ForwardCorrection takes "
        "any transition matrix"
    )


@pytest.mark.parametrize("name", ["ForwardCorrection", "BackwardCorrection"])
def test_another_number_of_classes_is_refused(name):
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 (the whole is compared)
        getattr(lossbook, name)(T)(torch.zeros(1, 4), torch.tensor([0]))
    assert str(refusal.value) == (
        "logits must have 3 classes, as transition has, got 4"
    )


# --- functions of p_y ----------------------------------------------------------------


def test_the_two_values_of_a_in_symmetric_cross_entropy():
    """The article's A is -4; its code cuts one-hot labels at 1e-4, so ln 1e-4."""
    z, labels = logits(), torch.tensor([0, 1, 2, 0, 1, 2])
    p = z.softmax(-1)
    cut = one_hot(labels, 3).double().clamp(min=1e-4)
    code = 0.1 * nll_loss(p.log(), labels, reduction="none") - (p * cut.log()).sum(-1)
    as_code = lossbook.sce(z, labels, log_zero=math.log(1e-4))
    torch.testing.assert_close(as_code, code)
    # The same as the article's with beta times ln(1e4) / 4 = ln 10.
    torch.testing.assert_close(lossbook.sce(z, labels, beta=math.log(10)), code)


def test_truncated_gce_is_flat_at_its_threshold():
    """p_y = 1/2 is not above 1/2: the constant, and no gradient."""
    z, labels = tensor([0.0, 0.0], [0.1, 0.0]), torch.tensor([0, 0])
    loss = lossbook.truncated_gce(z, labels)
    assert loss[0].item() == pytest.approx((1 - 0.5**0.7) / 0.7)
    found = gradient(lossbook.truncated_gce, z, labels)
    assert not found[0].any()
    assert found[1].all()


def test_truncated_gce_at_its_threshold_in_both_forms():
    for form in ("plain", "fused"):
        with lossbook.kernels.force(form):
            found = gradient(
                lossbook.truncated_gce, tensor([0.0, 0.0]), torch.tensor([0])
            )
        assert not found.any()


@pytest.mark.parametrize("p", [1e-9, 0.01, 0.5, 0.99])
def test_jensen_shannon_tends_to_cross_entropy(p):
    z = tensor([math.log(p) - math.log1p(-p), 0.0])
    js = partial(lossbook.generalized_jensen_shannon, labels=torch.tensor([0]))
    gaps = [abs(js(z, pi=pi).item() + math.log(p)) for pi in (1e-2 * p, 1e-4 * p)]
    assert gaps[1] < gaps[0] / 50
    assert gaps[0] < 1e-2


@pytest.mark.parametrize("p", [1e-9, 0.01, 0.5, 0.99])
def test_jensen_shannon_creeps_towards_half_of_mae(p):
    """The gap times log(1 / (1 - pi)) tends to 1 - p + p log p: no faster than that."""
    z = tensor([math.log(p) - math.log1p(-p), 0.0])
    for rest in (1e-6, 1e-9, 1e-12):
        loss = lossbook.generalized_jensen_shannon(z, torch.tensor([0]), pi=1 - rest)
        gap = (loss.item() - (1 - p)) * -math.log(rest)
        assert gap == pytest.approx(1 - p + p * math.log(p), rel=2e-3)


@pytest.mark.parametrize("pi", [1e-6, 0.5, 1 - 1e-6])
def test_a_small_divergence_keeps_its_digits(pi):
    """At p_y = 1 - exp(-20) the divergence is exp(-20), whatever pi is."""
    z = torch.tensor([[20.0, 0.0]])
    loss = lossbook.generalized_jensen_shannon(z, torch.tensor([0]), pi=pi)
    torch.testing.assert_close(loss, torch.tensor([math.exp(-20)]), rtol=1e-5, atol=0)


# --- functions of all logits ---------------------------------------------------------


def test_normalized_cross_entropy_by_hand():
    """p = (1/2, 1/4, 1/4): surprises log 2 * (1, 2, 2)."""
    z = tensor([LN2, 0.0, 0.0])
    found = each_label(lossbook.nce, z)
    torch.testing.assert_close(found, tensor([0.2, 0.4, 0.4]))


def test_a_single_class_costs_nothing():
    assert lossbook.nce(torch.zeros(2, 1), torch.tensor([0, 0])).tolist() == [0, 0]


def test_a_class_that_is_ruled_out_takes_the_whole_sum():
    z = torch.tensor([[1.0, 0.0, -torch.inf]], requires_grad=True)
    loss = each_label(lossbook.nce, z)
    torch.testing.assert_close(loss, torch.tensor([[0.0, 0.0, 1.0]]))
    assert torch.autograd.grad(loss[:, 0].sum(), z)[0].isfinite().all()


def test_normalized_cross_entropy_alone_is_not_calibrated():
    """Outputs that predict class 1 come as near to the least risk as any.

    The least risk is that of the least likely class, min eta, as the risk is a mean of
    eta with weights nce_j that sum to 1.
    """
    eta = torch.tensor([0.5, 0.3, 0.2]).double()
    gaps = []
    for far in (1e2, 1e4, 1e6):
        z = tensor([0.0, 1.0, -far])
        risk = (eta * each_label(lossbook.nce, z)).sum()
        gaps.append(risk.item() - 0.2)
    assert gaps[0] > 50 * gaps[1] > 2500 * gaps[2] > 0


def test_active_passive_without_its_passive_part():
    z, labels = logits(), torch.tensor([0, 1, 2, 0, 1, 2])
    torch.testing.assert_close(
        lossbook.active_passive(z, labels, beta=0.0), lossbook.nce(z, labels)
    )


def test_bootstrapping_by_hand():
    """p = (1/2, 1/4, 1/4): surprises log 2 * (1, 2, 2), entropy 3/2 log 2."""
    z, labels = tensor([LN2, 0.0, 0.0]), torch.tensor([1])
    soft = lossbook.soft_bootstrap(z, labels, beta=0.8)
    hard = lossbook.hard_bootstrap(z, labels, beta=0.8)
    torch.testing.assert_close(soft, tensor((0.8 * 2 + 0.2 * 1.5) * LN2))
    torch.testing.assert_close(hard, tensor((0.8 * 2 + 0.2 * 1) * LN2))
    # Held fixed, the hard target is (0.2, 0.8, 0).
    found = gradient(lossbook.hard_bootstrap, z, labels)
    torch.testing.assert_close(found, torch.tensor([[0.3, -0.55, 0.25]]).double())


def test_of_tied_classes_the_first_is_predicted():
    z, labels = tensor([0.0, 0.0]), torch.tensor([1])
    torch.testing.assert_close(lossbook.hard_bootstrap(z, labels), tensor(LN2))
    found = gradient(lossbook.hard_bootstrap, z, labels)
    torch.testing.assert_close(found, torch.tensor([[0.3, -0.3]]).double())


def test_a_ruled_out_class_leaves_bootstrapping_finite():
    z, labels = torch.tensor([[1.0, 0.0, -torch.inf]]), torch.tensor([1])
    for loss in (lossbook.soft_bootstrap, lossbook.hard_bootstrap):
        pair = loss(torch.tensor([[1.0, 0.0]]), labels)
        torch.testing.assert_close(loss(z, labels), pair)
        assert gradient(loss, z, labels).isfinite().all()


def test_the_pull_of_the_entropy():
    """The least x sigmoid(x) is -w with w exp(w) = 1/e."""
    w = _soft_bootstrap.PULL_OF_ENTROPY
    x = np.linspace(-5, 5, 100_001)
    assert w * math.exp(w) == pytest.approx(1 / math.e, rel=1e-14)
    assert (x / (1 + np.exp(-x))).min() == pytest.approx(-w, abs=1e-8)


@pytest.mark.parametrize(("classes", "bends"), [(4, False), (10_000, True)])
def test_whether_soft_bootstrapping_is_convex_depends_on_the_classes(classes, bends):
    """Two classes of probability 1/4, the rest spread over all others.

    Along e_0 - e_1 the curvature is (beta - (1 - beta)(1 + log p_0 + H)) / 2.
    """
    p = [0.25, 0.25] + (classes - 2) * [0.5 / (classes - 2)]
    z = tensor(p).detach().log()
    along = torch.zeros_like(z)
    along[0, 0], along[0, 1] = 1, -1

    def walk(step):
        return lossbook.soft_bootstrap(z + step * along, torch.tensor([0]), beta=0.8)[0]

    twice = torch.func.jacrev(torch.func.jacrev(walk))
    found = twice(torch.zeros(()).double())
    entropy = 0.5 * math.log(4) + 0.5 * math.log(2 * (classes - 2))
    by_hand = (0.8 - 0.2 * (1 + math.log(0.25) + entropy)) / 2
    assert found.item() == pytest.approx(by_hand, abs=1e-9)
    assert (found < 0) == bends


# --- bi-tempered ---------------------------------------------------------------------


def test_bi_tempered_by_hand():
    """At t2 = 2, p_j = 1 / (1 + c - z_j); p = (0.8, 0.2) needs z_0 - z_1 = 5 - 5/4.

    At t1 = 0 the loss is half the squared distance to the one-hot label.
    """
    z = tensor([3.75, 0.0])
    p = _bi_tempered.tempered_log_softmax(z, 2.0).exp()
    torch.testing.assert_close(p, tensor([0.8, 0.2]))
    found = each_label(partial(lossbook.bi_tempered, t1=0.0, t2=2.0), z)
    torch.testing.assert_close(found, tensor([0.04, 0.64]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [0.0, 0.3, 10.0, 1e4])
@pytest.mark.parametrize("t", [1.0, 1 + 1e-9, 1.2, 1.5, 2.0, 4.0])
def test_tempered_probabilities_sum_to_one(t, size, dtype, monkeypatch):
    """Also with six steps less than the loss takes, and for gaps of all sizes."""
    monkeypatch.setattr(_bi_tempered, "STEPS", 10)  # and two that carry the graph
    rng = np.random.default_rng(0)
    for classes in (1, 2, 100, 10_000):
        z = size * rng.normal(size=(9, classes))
        z[:3] *= 10.0 ** rng.uniform(-6, 0, size=(3, classes))
        log_p = _bi_tempered.tempered_log_softmax(torch.tensor(z, dtype=dtype), t)
        error = (log_p.exp().sum(-1, dtype=torch.float64) - 1).abs().max()
        assert error <= 40 * torch.finfo(dtype).eps


@pytest.mark.parametrize("t", [1.0, 1.2, 2.0, 4.0])
def test_the_steps_to_tempered_probabilities_end_where_they_lead_on_no_more(
    t, monkeypatch
):
    calls, newton = [], _bi_tempered._newton

    def counted(*args):
        calls.append(args)
        return newton(*args)

    monkeypatch.setattr(_bi_tempered, "_newton", counted)
    z = torch.tensor(20 * np.random.default_rng(0).normal(size=(50, 100)))
    _bi_tempered.tempered_log_softmax(z, t)
    assert 2 < len(calls) <= _bi_tempered.STEPS // 2


@pytest.mark.parametrize("t", [1.0, 1.5, 2.0])
def test_the_reference_finds_tempered_probabilities(t):
    p = _bi_tempered.tempered_softmax(np.array([[0.0] * 5, [3.0, 1, 0, 0, -2]]), t)
    np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-12)
    np.testing.assert_allclose(p[0], 0.2, rtol=1e-12)


@pytest.mark.parametrize("h", [1e-3, 1e-6, 1e-9, 1e-12, 1e-15])
def test_bi_tempered_near_one_is_near_cross_entropy(h):
    """The distance falls with h; nothing cancels."""
    z, labels = 3 * logits(), torch.tensor([0, 1, 2, 0, 1, 2])
    near = partial(lossbook.bi_tempered, t1=1 - h, t2=1 + h)
    bound = 200 * h + 1e-14
    distance = (near(z, labels) - lossbook.cross_entropy(z, labels)).abs().max()
    assert distance <= bound
    distance = gradient(near, z, labels) - gradient(lossbook.cross_entropy, z, labels)
    assert distance.abs().max() <= bound


def test_the_third_derivative_of_the_tempered_softmax():
    """At t = 2 and two classes, p solves 1/p - 1/(1 - p) = -x for the gap x."""

    def p(x):
        z = torch.stack([x, torch.zeros_like(x)])
        return _bi_tempered.tempered_log_softmax(z, 2.0).exp()[0]

    x = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    derivatives = [p(x)]
    for _ in range(3):
        (slope,) = torch.autograd.grad(derivatives[-1], x, create_graph=True)
        derivatives.append(slope)
    import sympy

    s = sympy.Symbol("s")
    closed = (s - 2 + sympy.sqrt(s**2 + 4)) / (2 * s)
    for order, found in enumerate(derivatives):
        expected = closed.diff(s, order).subs(s, sympy.Rational(7, 10))
        assert found.item() == pytest.approx(float(expected), abs=1e-12)


@pytest.mark.slow
def test_bi_tempered_compiles():
    z, labels = logits(), torch.tensor([0, 1, 2, 0, 1, 2])
    compiled = torch.compile(lossbook.bi_tempered, fullgraph=True, backend="eager")
    plain = lossbook.bi_tempered(z, labels)
    torch.testing.assert_close(compiled(z, labels), plain)


@pytest.mark.parametrize(
    "loss",
    [
        lossbook.bi_tempered,
        lossbook.BackwardCorrection(T),
        lossbook.ForwardCorrection(T),
        lossbook.ForwardCorrection(T, loss=lossbook.gce),
    ],
    ids=["bi_tempered", "backward", "forward", "forward of gce"],
)
def test_single_examples_can_be_mapped(loss):
    z, labels = logits(), torch.tensor([0, 1, 2, 0, 1, 2])
    torch.testing.assert_close(torch.func.vmap(loss)(z, labels), loss(z, labels))
    by_rows = torch.func.vmap(torch.func.grad(loss))(z, labels)
    torch.testing.assert_close(by_rows, gradient(loss, z, labels))


@pytest.mark.parametrize("label", [0, 2])
def test_bi_tempered_with_a_class_ruled_out(label):
    z, labels = torch.tensor([[1.0, 0.0, -torch.inf]]), torch.tensor([label])
    loss = lossbook.bi_tempered(z, labels)
    pair = torch.tensor([[1.0, 0.0]])
    expected = lossbook.bi_tempered(pair, torch.tensor([0]))
    # A label of probability 0: the bound, plus what the others' powers take off.
    p = _bi_tempered.tempered_log_softmax(pair, 1.2).exp()
    worst = 5 - (1 - (p**1.2).sum(-1)) / 1.2
    torch.testing.assert_close(loss, expected if label == 0 else worst)
    assert gradient(lossbook.bi_tempered, z, labels).isfinite().all()


# --- flooding ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "value", "side"), [(0.1, 0.25, 1), (0.25, 0.25, 0), (0.75, 1.25, -1)]
)
def test_the_batch_bounces_off_the_level(level, value, side):
    losses = tensor(0.0, 0.5)  # the mean is 1/4
    loss = lossbook.flooding(losses, level=level)
    assert loss.item() == value
    (found,) = torch.autograd.grad(loss, losses)
    torch.testing.assert_close(found, torch.full((2,), side / 2).double())


def test_it_is_the_mean_that_is_flooded():
    losses = tensor(0.0, 0.5)
    each = torch.stack([lossbook.flooding(one, level=0.1) for one in losses])
    assert lossbook.flooding(losses, level=0.1) < each.mean()


def test_no_flood_is_the_mean():
    losses = tensor(0.25, 0.5)
    assert lossbook.flooding(losses, level=0.0) == losses.mean()


def test_the_flooded_loss_is_never_under_its_level():
    card = CATALOGUE["flooding"]
    for params in card.settings():
        lowest = card.states("lower", params)
        at_level = torch.full((3,), params["level"])
        assert lossbook.flooding(at_level, **params).item() == pytest.approx(lowest)
        for seed in range(20):
            (losses,) = card.sample(np.random.default_rng(seed))
            assert lossbook.flooding(torch.tensor(losses), **params) >= lowest


@pytest.mark.parametrize(
    ("losses", "error", "message"),
    [
        (
            torch.zeros(0),
            ValueError,
            "losses must hold at least one loss, as an empty batch has no mean, got "
            "shape (0,)",
        ),
        (
            [0.5],
            TypeError,
            "losses must be a torch tensor, got list; use torch.as_tensor(losses)",
        ),
        (
            torch.tensor([1]),
            TypeError,
            "losses must be of a floating dtype, got torch.int64",
        ),
    ],
)
def test_what_cannot_be_flooded_is_refused(losses, error, message):
    with pytest.raises(error) as refusal:
        lossbook.flooding(losses, level=0.1)
    assert str(refusal.value) == message


# --- early learning ------------------------------------------------------------------

EVEN, TILTED = tensor([0.0, 0.0]), tensor([math.log(3), 0.0])
FIRST, FIFTH = torch.tensor([0]), torch.tensor([5])


def remembering(**options):
    return lossbook.EarlyLearning(8, 2, **options).double()


def test_two_visits_by_hand():
    """t = 0.3 (1/2, 1/2), then 0.7 t + 0.3 (3/4, 1/4) = (0.33, 0.18)."""
    loss = remembering()
    first = loss(EVEN, FIRST, FIFTH)
    torch.testing.assert_close(first, tensor(LN2 + 3 * math.log(1 - 0.15)))
    second = loss(TILTED, FIRST, FIFTH)
    agreement = 0.33 * 3 / 4 + 0.18 / 4
    torch.testing.assert_close(
        second, tensor(math.log(4 / 3) + 3 * math.log(1 - agreement))
    )
    expected = torch.zeros(8, 2).double()
    expected[5] = torch.tensor([0.33, 0.18])
    torch.testing.assert_close(loss.memory, expected)


def test_no_gradient_flows_through_the_memory():
    """(p - e) - strength / (1 - <t, p>) p (t - <t, p>), with t as it was updated."""
    loss = remembering()
    found = gradient(lambda z, y: loss(z, y, FIFTH), TILTED, FIRST)
    p, t = np.array([0.75, 0.25]), 0.3 * np.array([0.75, 0.25])
    expected = p - [1, 0] - 3 / (1 - t @ p) * p * (t - t @ p)
    np.testing.assert_allclose(found[0].numpy(), expected, rtol=1e-12)
    assert not loss.memory.requires_grad


def test_in_eval_mode_the_memory_stays():
    loss = remembering()
    loss(EVEN, FIRST, FIFTH)
    before = loss.memory.clone()
    shown = loss.eval()(TILTED, FIRST, FIFTH)
    assert torch.equal(loss.memory, before)
    torch.testing.assert_close(shown, tensor(math.log(4 / 3) + 3 * math.log(1 - 0.15)))


def test_fixed_targets_do_not_learn():
    targets = [[0.5, 0.25], [0.0, 0.0]]
    loss = lossbook.EarlyLearning(2, 2, targets=targets)
    z = TILTED.detach().float()
    found = loss(z, FIRST, torch.tensor([0]))
    assert found.item() == pytest.approx(
        math.log(4 / 3) + 3 * math.log(1 - 7 / 16), rel=1e-6
    )
    assert loss.memory.tolist() == targets


def test_an_example_that_stands_twice_is_updated_once():
    """With its mean prediction (5/8, 3/8), wherever in the batch it stands."""
    z, labels = torch.cat([EVEN, TILTED]).detach(), torch.tensor([0, 1])
    one, other = remembering(), remembering()
    loss = one(z, labels, torch.tensor([5, 5]))
    turned = other(z.flip(0), labels.flip(0), torch.tensor([5, 5]))
    expected = 0.3 * torch.tensor([5 / 8, 3 / 8]).double()
    torch.testing.assert_close(one.memory[5], expected)
    torch.testing.assert_close(loss, turned.flip(0))
    assert one.memory.count_nonzero() == 2


def test_the_memory_is_saved_and_moves():
    loss = remembering()
    loss(TILTED, FIRST, FIFTH)
    copies = [remembering(), pickle.loads(pickle.dumps(loss))]
    copies[0].load_state_dict(loss.state_dict())
    for copy in copies:
        assert torch.equal(copy.memory, loss.memory)
    assert loss.to(torch.float32).memory.dtype is torch.float32
    assert loss(TILTED, FIRST, FIFTH).dtype is torch.float64


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_certain_memory_bounds_the_loss(dtype):
    """After many visits 1 - <t, p> would round to 0."""
    loss = lossbook.EarlyLearning(8, 2).to(dtype)
    z = torch.tensor([[1e4, 0.0]], dtype=dtype)
    for _ in range(100):
        value = loss(z, FIRST, FIFTH)
    card = CATALOGUE["EarlyLearning"]
    lowest = card.states("lower", card.defaults())
    assert lowest == pytest.approx(3 * math.log(1e-4))
    assert value.item() == pytest.approx(lowest, rel=1e-5)
    found = gradient(lambda z, y: loss(z, y, FIFTH), z, FIRST)
    assert found.isfinite().all()


def test_leading_axes_of_early_learning():
    z, labels = logits(6).reshape(2, 3, 3), torch.tensor([[0, 1, 2], [2, 1, 0]])
    index = torch.arange(6).reshape(2, 3)
    one, flat = (lossbook.EarlyLearning(6, 3).double() for _ in range(2))
    torch.testing.assert_close(
        one(z, labels, index).reshape(-1),
        flat(z.reshape(6, 3), labels.reshape(-1), index.reshape(-1)),
    )


@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        (
            torch.tensor([8]),
            ValueError,
            "index must lie in 0..7 (there are 8 examples), got 8",
        ),
        (
            torch.tensor([-1]),
            ValueError,
            "index must lie in 0..7 (there are 8 examples), got -1",
        ),
        (
            torch.tensor([0, 1]),
            ValueError,
            "index must have the shape of labels, (1,), got (2,)",
        ),
        (
            torch.tensor([0.0]),
            TypeError,
            "index must be of an integer dtype, got torch.float32",
        ),
        (
            [0],
            TypeError,
            "index must be a torch tensor, got list; use torch.as_tensor(index)",
        ),
    ],
)
def test_a_wrong_index_is_refused(index, error, message):
    loss = remembering()
    with pytest.raises(error) as refusal:
        loss(EVEN, FIRST, index)
    assert str(refusal.value) == message
    assert not loss.memory.any()


def test_nan_does_not_enter_the_memory():
    loss = remembering()
    with pytest.raises(ValueError, match="logits must be finite numbers"):
        loss(tensor([0.0, math.nan]), FIRST, FIFTH)
    assert not loss.memory.isnan().any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"examples": 0, "classes": 2}, "examples must be at least 1, got 0"),
        ({"examples": 2, "classes": 0}, "classes must be at least 1, got 0"),
        (
            {"examples": 2, "classes": 2, "targets": [[0.5, 0.5]]},
            "targets must have one row an example and one column a class, (2, 2), got "
            "shape (1, 2)",
        ),
        (
            {"examples": 1, "classes": 2, "targets": [[1.0, 0.5]]},
            "targets must be probabilities, none negative, with a sum of at most 1 an "
            "example, got a least one of 0.5 and a largest sum of 1.5",
        ),
    ],
)
def test_what_early_learning_cannot_be_made_with_is_refused(arguments, message):
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 (the whole is compared)
        lossbook.EarlyLearning(**arguments)
    assert str(refusal.value) == message
