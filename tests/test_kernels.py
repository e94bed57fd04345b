"""The fused form: chosen where it may run, and equal to the plain one there."""

import math
import tracemalloc
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch.autograd import forward_ad

import lossbook
from benchmarks.measure import peak_bytes
from lossbook import kernels, ops, validate
from lossbook.criterion import Criterion
from lossbook.losses import CATALOGUE

PSI = [k for k, c in CATALOGUE.items() if c.formula and c.formula.variable == "p"]
PSI = [k for k in PSI if CATALOGUE[k].kind == "labels"]


def batch(n=40, classes=5, dtype=torch.float64):
    rng = np.random.default_rng(0)
    logits = torch.tensor(4 * rng.normal(size=(n, classes)), dtype=dtype)
    return logits.requires_grad_(), torch.tensor(rng.integers(classes, size=n))


@pytest.fixture(autouse=True, params=["natural", "binary"])
def base(request, monkeypatch):
    """On each kind of processor."""
    found = {"natural": kernels.NATURAL, "binary": kernels.BINARY}[request.param]
    monkeypatch.setattr(kernels, "BASE", found)


@pytest.fixture
def fused_calls(monkeypatch):
    """Count the calls of the fused kernel."""
    calls = []
    rows = kernels._rows

    def counted(*args):
        calls.append(args[0].shape)
        return rows(*args)

    monkeypatch.setattr(kernels, "_rows", counted)
    return calls


def bent(margin):
    """A smooth function of a margin with a minimum, and its slope."""
    return (1 - margin).square() + margin.sin()


def bent_slope(margin):
    return 2 * (margin - 1) + margin.cos()


def bent_at_once(x, out, scale):
    out.copy_(bent(-x))
    x.copy_(-scale * bent_slope(-x))


def curved(surplus):
    """A function that is 0 at 0, as its slope is."""
    return surplus.square() + surplus.square() * surplus


def curved_slope(surplus):
    return surplus.copy_(2 * surplus + 3 * surplus.square())


def paid(lead):
    """A smooth loss of a rival's lead."""
    return lead.exp_().log1p()


def paid_slope(loss):
    return loss.neg_().expm1_().neg_()


def lacking_slope(loss):
    return torch.gt(loss, 0, out=loss)


def hinge(margin):
    return (1 - margin).relu()


def hinge_slope(margin):
    return -(margin < 1).to(margin.dtype)


def of_both(scores, targets):
    log_p, log_not_p = ops.log_sigmoids(scores)
    return -ops.mixed_log(targets, log_p, log_not_p) + targets * scores.square()


def of_both_slope(scores, targets):
    return scores.sigmoid() - targets + 2 * targets * scores


def simplex(z):
    """Targets of the shape of z: some hard, some soft."""
    rng = np.random.default_rng(1)
    q = rng.dirichlet(np.ones(z.shape[-1]), size=z.shape[:-1])
    q[::3] = np.eye(z.shape[-1])[0]
    return torch.tensor(q, dtype=z.dtype)


def halves(z):
    return (simplex(z) > 0.3).to(z.dtype)


def focal_with_bias(z, y):
    from lossbook.losses.imbalance._focal import factor, psi

    bias = torch.linspace(-1, 1, z.shape[-1])
    return ops.psi_loss(z, y, psi, factor, bias=bias, gamma=1.5)


def weighted(at_label, at_others, *, of_label, of_others):
    return of_label * at_label + of_others * at_others


def weights(at_label, at_others, *, of_label, of_others):
    return of_label, of_others


def mixed(at_label, at_others):
    """A smooth function of both sums, and its slopes."""
    return at_label.square() + (at_label * at_others).sin()


def mixed_slopes(at_label, at_others):
    turned = (at_label * at_others).cos()
    return 2 * at_label + at_others * turned, at_label * turned


def smoothed(z, y, epsilon):
    others = epsilon / z.shape[-1]
    at_label = 1 - epsilon + others
    return ops.surprise_loss(
        z, y, weighted, weights, of_label=at_label, of_others=others
    )


def of_margin(key, **params):
    """A margin loss of the catalogue, on signs of the shape of z."""
    return lambda z, y: CATALOGUE[key].fn(z, 2 * halves(z) - 1, **params)


def of_targets(key):
    """A loss of the catalogue, on targets of the shape of z."""
    return lambda z, y: CATALOGUE[key].fn(z, simplex(z))


def counted(key, **params):
    """A loss that is made with class counts."""

    def call(z, y):
        counts = torch.arange(1, z.shape[-1] + 1) ** 2
        return CATALOGUE[key].fn(counts, **params)(z, y)

    return call


def soft(z):
    return (halves(z) + 0.2) / 1.4


SURPLUS = ("squared_emd", "total_variation", "wasserstein_1d")
MARGINS = (
    "barron",
    "exponential",
    "hinge",
    "logistic",
    "modified_huber",
    "ramp",
    "savage",
    "sigmoid_loss",
    "smooth_hinge",
    "squared",
    "squared_hinge",
    "tangent",
    "unhinged",
)

# Each fused form by one loss that uses it: of (logits, labels).
FORMS = {
    **{key: of_margin(key) for key in MARGINS},
    **{
        f"barron, {alpha}": of_margin("barron", alpha=alpha, scale=1.5)
        for alpha in (2.0, 0.0, -2.0, -math.inf)
    },
    "LogitAdjusted": counted("LogitAdjusted", tau=1.5),
    "LogitAdjusted, far": counted("LogitAdjusted", tau=60.0),
    "BalancedSoftmax": counted("BalancedSoftmax"),
    "Equalized": counted("Equalized", threshold=0.2),
    "Equalized, all": counted("Equalized", threshold=1.0),
    "Equalized, far": counted("Equalized", threshold=0.2, gamma=1 - 1e-12),
    "label_smoothing": lossbook.label_smoothing,
    "label_smoothing, offclass": lambda z, y: lossbook.label_smoothing(
        z, y, epsilon=0.4, mass="offclass"
    ),
    "weston_watkins": lossbook.weston_watkins,
    "crammer_singer": lossbook.crammer_singer,
    "binary_focal": lambda z, y: lossbook.binary_focal(z, halves(z)),
    "binary_focal, soft": lambda z, y: lossbook.binary_focal(z, soft(z), gamma=0.5),
    "binary_focal, no alpha": lambda z, y: lossbook.binary_focal(
        z, halves(z), gamma=4, alpha=None
    ),
    "asymmetric": lambda z, y: lossbook.asymmetric(z, halves(z)),
    "asymmetric, soft": lambda z, y: lossbook.asymmetric(
        z, soft(z), gamma_positive=1.5, gamma_negative=0.5
    ),
    "asymmetric, no clip": lambda z, y: lossbook.asymmetric(
        z, soft(z), gamma_negative=0.5, clip=0.0
    ),
    **{key: getattr(lossbook, key) for key in PSI},
    "psi_loss with bias": focal_with_bias,
    "soft_loss": lambda z, y: ops.soft_loss(z, simplex(z)),
    "surplus_loss": lambda z, y: ops.surplus_loss(z, simplex(z), curved, curved_slope),
    "label_surplus_loss": lambda z, y: ops.label_surplus_loss(
        z, y, curved, curved_slope
    ),
    "surplus_loss, ordered": lambda z, y: ops.surplus_loss(
        z, simplex(z), curved, curved_slope, ordered=True
    ),
    **{key: of_targets(key) for key in SURPLUS},
    "surprise_loss": lambda z, y: ops.surprise_loss(z, y, mixed, mixed_slopes),
    "nce": lossbook.nce,
    "entropy_loss": lambda z, y: ops.entropy_loss(z, y, of_label=0.3, of_entropy=-1.2),
    "soft_bootstrap": lambda z, y: lossbook.soft_bootstrap(z, y, beta=0.6),
    "confidence_penalty": lossbook.confidence_penalty,
    "brier": lossbook.brier,
    "distillation": of_targets("distillation"),
    "kl": of_targets("kl"),
    "divergence_loss": lambda z, y: ops.divergence_loss(z, simplex(z), temperature=0.7),
    "rival_sum": lambda z, y: ops.rival_sum(z, y, paid, paid_slope),
    "rival_sum, hinge": lambda z, y: ops.rival_sum(
        z, y, torch.relu_, lacking_slope, ahead=1.0
    ),
    "rival_max": lambda z, y: ops.rival_max(z, y, bent, bent_slope),
    "margin_loss": lambda z, y: ops.margin_loss(
        z, 2 * halves(z) - 1, bent, bent_at_once
    ),
    "binary_loss": lambda z, y: ops.binary_loss(
        z, (halves(z) + 0.2) / 1.4, of_both, of_both_slope
    ),
    "binary_cross_entropy": lambda z, y: lossbook.binary_cross_entropy(z, simplex(z)),
}
# Fewer than 16 classes lie one behind the other in memory.
CLASSES = [5, 20]


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("form", FORMS)
def test_many_blocks_equal_one(form, classes, monkeypatch):
    monkeypatch.setattr(kernels, "BLOCK", 3 * classes)  # three rows, and a rest
    monkeypatch.setattr(kernels, "ELEMENTS", 7)
    logits, labels = batch(classes=classes)
    with kernels.force("fused"):
        fused = FORMS[form](logits, labels)
    with kernels.force("plain"):
        plain = FORMS[form](logits, labels)
    assert type(fused.grad_fn) is not type(plain.grad_fn)
    torch.testing.assert_close(fused, plain)
    every = torch.ones_like(plain)
    mean = every / len(logits)

    def uneven(first, last):
        return torch.linspace(first, last, every.numel()).double().reshape(every.shape)

    # The graph is retained: each further gradient is formed anew. Rows are scaled for
    # their mean beforehand.
    for upstream in (every, uneven(-1, 2), mean):
        grads = [
            torch.autograd.grad(x, logits, upstream, retain_graph=True)[0]
            for x in (fused, plain)
        ]
        torch.testing.assert_close(*grads)
        assert grads[0].is_contiguous()
    for upstream in (mean, mean * uneven(1, 2), mean * uneven(-1, 1)):
        with kernels.force("fused"):
            fused = FORMS[form](logits, labels)
        (first,) = torch.autograd.grad(fused, logits, upstream)
        (second,) = torch.autograd.grad(plain, logits, upstream, retain_graph=True)
        torch.testing.assert_close(first, second)


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("form", FORMS)
def test_first_and_second_derivatives_of_the_fused_form(form, classes):
    logits, labels = batch(3, classes)
    with kernels.force("fused"):
        assert torch.autograd.gradcheck(FORMS[form], (logits, labels))
        assert torch.autograd.gradgradcheck(FORMS[form], (logits, labels))


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize(
    "form", [*PSI, "psi_loss with bias", "soft_loss", "rival_sum, hinge", "rival_max"]
)
def test_a_ruled_out_rival_is_the_same_in_both_forms(form, classes):
    logits, labels = batch(classes=classes)
    with torch.no_grad():
        logits[:, -1] = -torch.inf
    labels = labels.clamp(max=classes - 2)

    def call(z, y):
        if form != "soft_loss":
            return (FORMS[form] if form != "rival_max" else crammer)(z, y)
        q = simplex(z)
        q[:, 0] += q[:, -1]
        q[:, -1] = 0
        return ops.soft_loss(z, q)

    def crammer(z, y):
        return ops.rival_max(z, y, hinge, hinge_slope)

    found = []
    for name in ("fused", "plain"):
        with kernels.force(name):
            loss = call(logits, labels)
        found.append((loss, torch.autograd.grad(loss.sum(), logits)[0]))
    for fused, plain in zip(*found, strict=True):
        assert fused.isfinite().all()
        torch.testing.assert_close(fused, plain)


@pytest.mark.parametrize("form", ["plain", "fused"])
def test_certainty_that_is_right_costs_nothing(form):
    scores = torch.tensor([-torch.inf, -torch.inf, 1.0], requires_grad=True)
    with kernels.force(form):
        loss = lossbook.binary_cross_entropy(scores, torch.tensor([0.0, 1.0, 1.0]))
    (gradient,) = torch.autograd.grad(loss[[0, 2]].sum(), scores)
    assert loss[0] < 1e-20
    assert loss[1] == torch.inf
    assert gradient.isfinite().all()
    assert gradient[0] == 0


@pytest.mark.parametrize("gap", [20.0, 50.0])
def test_binary_cross_entropy_keeps_its_digits(gap):
    scores = torch.tensor([gap, -gap], requires_grad=True)
    with kernels.force("fused"):
        loss = lossbook.binary_cross_entropy(scores, torch.tensor([1.0, 0.0]))
    (gradient,) = torch.autograd.grad(loss.sum(), scores)
    expected = torch.full((2,), np.exp(-gap), dtype=torch.float32)
    torch.testing.assert_close(loss.detach(), expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(gradient.abs(), expected, rtol=1e-5, atol=0)


def test_a_small_weight_of_yes_keeps_its_digits():
    scores = torch.tensor([0.5, -0.5], requires_grad=True)
    answers = torch.tensor([1.0, 0.0])
    for alpha in (1e-6, 1 - 1e-6):
        found = []
        for name in ("fused", "plain"):
            with kernels.force(name):
                loss = lossbook.binary_focal(scores, answers, alpha=alpha)
            found.append((loss, torch.autograd.grad(loss.sum(), scores)[0]))
        for fused, plain in zip(*found, strict=True):
            torch.testing.assert_close(fused, plain, rtol=1e-6, atol=0)


@pytest.mark.parametrize("key", ["binary_cross_entropy", "binary_focal"])
def test_one_pass_for_hard_targets_is_as_exact_as_two(key):
    """Each number is compared with itself in a block of soft targets too."""
    loss = CATALOGUE[key].fn
    scores = torch.linspace(-60, 60, 241, dtype=torch.float64).requires_grad_()
    targets = (torch.arange(241) % 2).double()
    found = []
    with kernels.force("fused"):
        for more in ([], [0.5]):
            z = torch.cat([scores, scores.new_tensor(more)])
            value = loss(z, torch.cat([targets, targets.new_tensor(more)]))[:241]
            (slope,) = torch.autograd.grad(value.sum(), scores)
            found.append((value, slope))
    for at_once, apart in zip(*found, strict=True):
        assert not torch.equal(at_once, torch.zeros_like(at_once))
        torch.testing.assert_close(at_once, apart, rtol=1e-12, atol=0)


@pytest.mark.parametrize("key", ["binary_cross_entropy", "binary_focal"])
def test_a_second_backward_pass_gives_the_same_gradient(key):
    scores = batch()[0].detach().flatten().requires_grad_()
    targets = (scores.detach() > 1).double()
    with kernels.force("fused"):
        loss = CATALOGUE[key].fn(scores, targets).sum()
        first, second = (
            torch.autograd.grad(loss, scores, retain_graph=True)[0] for _ in range(2)
        )
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("mkl", "processor", "expected"),
    [
        (True, "vendor_id : GenuineIntel", kernels.NATURAL),
        (True, "Intel64 Family 6 Model 85, GenuineIntel", kernels.NATURAL),
        (True, "vendor_id : AuthenticAMD", kernels.BINARY),
        (True, "", kernels.BINARY),
        (False, "AuthenticAMD", kernels.NATURAL),
    ],
)
def test_the_base_is_the_one_in_which_torch_is_fast(mkl, processor, expected):
    assert kernels.quick_base(mkl, processor) is expected


def test_the_weight_of_yes_can_be_learned():
    """Of several weights, the scores having no gradient of their own."""
    scores, answers = torch.randn(4, 3).double(), torch.ones(4, 3).double()
    alpha = torch.tensor([0.0, 0.3, 1.0]).double().requires_grad_()
    loss = lossbook.binary_focal(scores, answers, gamma=2.0, alpha=alpha)
    (gradient,) = torch.autograd.grad(loss.sum(), alpha)
    unweighted = lossbook.binary_focal(scores, answers, gamma=2.0, alpha=None)
    torch.testing.assert_close(loss.detach(), alpha.detach() * unweighted)
    torch.testing.assert_close(gradient, unweighted.sum(0))


def test_equal_rivals_share_the_gradient():
    logits = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    for name in ("fused", "plain"):
        with kernels.force(name):
            loss = ops.rival_max(logits, torch.tensor([1]), hinge, hinge_slope)
        (gradient,) = torch.autograd.grad(loss.sum(), logits)
        assert gradient.tolist() == [[0.5, -1, 0.5]]


@pytest.mark.parametrize(
    "form",
    [*PSI, "psi_loss with bias", "soft_loss", "surprise_loss", "rival_sum, hinge"],
)
def test_little_memory_beside_the_gradient(form):
    """Counted exactly; torch's cross-entropy takes three times the logits."""
    logits, labels = batch(2**13, 1000, torch.float32)
    targets = simplex(logits)

    def step():
        if form == "soft_loss":
            loss = ops.soft_loss(logits, targets)
        else:
            loss = FORMS[form](logits, labels)
        loss.mean().backward()
        logits.grad = None

    assert peak_bytes(step) <= 1.1 * logits.nbytes


@pytest.mark.parametrize("key", ["supcon", "info_nce"])
def test_similarities_are_never_held_at_once(key):
    """Counted exactly, in units of the matrix of all pairs of 4096 examples."""
    n = 4096
    queries, _ = batch(n, 16, torch.float32)
    keys = queries.detach().roll(1, -1).requires_grad_()
    other = torch.arange(n) % 256 if key == "supcon" else keys

    def step():
        CATALOGUE[key].fn(queries, other).mean().backward()
        queries.grad = keys.grad = None

    assert peak_bytes(step) < n * n * queries.element_size() / 8


def test_a_gradient_in_the_truth_or_the_bias_takes_the_plain_form(fused_calls):
    logits, labels = batch()
    targets = simplex(logits).requires_grad_()
    bias = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    with kernels.force("fused"):
        loss = lossbook.soft_cross_entropy(logits, targets)
        biased = ops.psi_loss(
            logits, labels, lambda p, _: -p, lambda p, _: p * 0 + 1, bias=bias
        )
    (gradient,) = torch.autograd.grad(loss.sum(), targets)
    torch.testing.assert_close(gradient, -logits.detach().log_softmax(-1))
    assert torch.autograd.grad(biased.sum(), bias)[0].abs().max() > 0
    assert not fused_calls


def test_targets_that_sum_to_one_but_for_rounding_are_taken_as_they_are():
    logits, _ = batch(dtype=torch.float32)
    found = []
    for name in ("fused", "plain"):
        with kernels.force(name):
            loss = ops.soft_loss(logits, 1.002 * simplex(logits))
        found.append((loss, torch.autograd.grad(loss.sum(), logits)[0]))
    for fused, plain in zip(*found, strict=True):
        torch.testing.assert_close(fused, plain)


def test_the_bias_moves_the_logits():
    logits, labels = batch()
    bias = torch.linspace(-1, 1, 5).double()
    with kernels.force("fused"):
        loss = ops.psi_loss(
            logits, labels, lambda p, _: -p, lambda p, _: p * 0 + 1, bias=bias
        )
        torch.testing.assert_close(loss, lossbook.cross_entropy(logits + bias, labels))


@pytest.mark.parametrize("form", ["plain", "fused"])
def test_label_smoothing_is_cross_entropy_against_a_spread_target(form):
    logits, labels = batch()
    spread = 0.7 * torch.eye(5).double()[labels] + 0.3 / 5
    with kernels.force(form):
        loss = smoothed(logits, labels, 0.3)
        torch.testing.assert_close(loss, ops.soft_loss(logits, spread))


@pytest.mark.parametrize("n", [1, 2**13])
def test_losses_of_labels_take_the_fused_form_in_every_size(n, fused_calls):
    logits, labels = batch(n, 16, torch.float32)
    lossbook.cross_entropy(logits, labels)
    assert fused_calls == [(n, 16)]


def test_losses_of_targets_take_the_fused_form_where_that_is_faster(fused_calls):
    logits, _ = batch(8, 128, torch.float32)
    targets = logits.detach().softmax(-1)
    lossbook.soft_cross_entropy(logits[:7], targets[:7])
    assert not fused_calls
    lossbook.soft_cross_entropy(logits, targets)
    assert fused_calls == [(8, 128)]


@pytest.mark.parametrize(
    "key", ["cross_entropy", "focal", "brier", "confidence_penalty"]
)
def test_a_small_batch_gives_a_ruled_out_class_no_gradient_at_all(key):
    logits, labels = batch(6, 4)
    logits = logits.detach()
    logits[:, 3] = -torch.inf
    loss, found = CATALOGUE[key].fn, []
    for z in (logits, logits[:, :3].clone()):
        z.requires_grad_()
        found.append(torch.autograd.grad(loss(z, labels % 3).sum(), z)[0])
    masked, without = found
    torch.testing.assert_close(masked[:, :3], without, rtol=1e-12, atol=0)
    assert (masked[:, 3] == 0).all()


@pytest.mark.parametrize("form", [*PSI, *SURPLUS])
def test_a_small_batch_may_leave_the_label_alone(form):
    """The others' exponentials add up to 0. Their logarithm is wanted nevertheless."""
    found = []
    for name in ("as it is", "plain"):
        logits = torch.tensor([[1.0, -torch.inf, -torch.inf]]).requires_grad_()
        with nullcontext() if name == "as it is" else kernels.force(name):
            loss = FORMS[form](logits, torch.tensor([0]))
        (gradient,) = torch.autograd.grad(loss.sum(), logits)
        found.append((loss, gradient))
    for fused, plain in zip(*found, strict=True):
        torch.testing.assert_close(fused, plain, rtol=0, atol=1e-30, equal_nan=True)


def dual_numbers(z, y):
    with forward_ad.dual_level():
        return lossbook.focal(forward_ad.make_dual(z, z), y)


# torch's own forward mode warns of its use of torch.jit.
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
@pytest.mark.parametrize(
    "call",
    [
        lambda z, y: torch.func.grad(lambda a: lossbook.focal(a, y).sum())(z),
        lambda z, y: torch.func.vmap(lossbook.focal)(z[None], y[None]),
        lambda z, y: torch.func.jvp(lambda a: lossbook.focal(a, y), (z,), (z,)),
        dual_numbers,
        lambda z, y: lossbook.focal(z, y, gamma=torch.tensor(1.0)),
    ],
    ids=["grad", "vmap", "jvp", "dual numbers", "tensor parameter"],
)
def test_transforms_take_the_plain_form(call, fused_calls):
    logits, labels = batch()
    with kernels.force("fused"):
        call(logits.detach(), labels)
    assert not fused_calls


def test_leading_axes_are_kept():
    logits, labels = batch(24)
    with kernels.force("fused"):
        loss = lossbook.focal(logits.reshape(2, 3, 4, 5), labels.reshape(2, 3, 4))
        flat = lossbook.focal(logits, labels)
    torch.testing.assert_close(loss, flat.reshape(2, 3, 4))


def test_no_gradient_is_formed_where_none_is_wanted():
    logits, labels = batch()
    with kernels.force("fused"):
        assert not lossbook.focal(logits.detach(), labels).requires_grad
    logits, labels = batch(2**13, 1000, torch.float32)
    peak = peak_bytes(lambda: lossbook.focal(logits.detach(), labels))
    assert peak < 0.1 * logits.nbytes  # room for one block


def test_no_slope_of_soft_targets_is_formed_where_none_is_wanted():
    def never(*_):
        raise AssertionError("a slope has been formed")

    scores, targets = torch.zeros(4), torch.full((4,), 0.5)
    with kernels.force("fused"):
        loss = ops.binary_loss(scores, targets, of_both, never, lambda *_: False)
    torch.testing.assert_close(loss, of_both(scores, targets))


@pytest.mark.parametrize(
    ("key", "truth", "loss_of_it", "slope"),
    [
        ("binary_cross_entropy", [0.0, 1.0, 0.25], 0.0, 0.0),
        ("logistic", [1.0, 1.0, -1.0], torch.inf, -1.0),
    ],
)
def test_a_ruled_out_answer_leaves_the_others_their_slopes(
    key, truth, loss_of_it, slope
):
    scores = torch.tensor([-torch.inf, 0.3, 2.0], dtype=torch.float64)
    answers, found = torch.tensor(truth, dtype=torch.float64), []
    for form in ("fused", "plain"):
        f = scores.clone().requires_grad_()
        with kernels.force(form):
            loss = CATALOGUE[key].fn(f, answers)
        (gradient,) = torch.autograd.grad(loss.sum(), f)
        found.append((loss.detach(), gradient))
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-99)
    assert found[0][0][0] == pytest.approx(loss_of_it)
    assert found[0][1][0] == slope


def test_targets_near_0_and_1_keep_their_digits():
    scores = torch.linspace(-30, 30, 121)[:, None].expand(-1, 4)
    targets = torch.tensor([1e-6, 0.5, 0.75, 1 - 2**-20]).expand(121, -1)
    found = []
    for dtype, form in ((torch.float32, "fused"), (torch.float64, "plain")):
        f, t = scores.to(dtype).requires_grad_(), targets.to(dtype)
        with kernels.force(form):
            loss = lossbook.binary_cross_entropy(f, t)
        (gradient,) = torch.autograd.grad(loss.sum(), f)
        found.append([loss.detach().double(), gradient.double()])
    (loss, gradient), (exact, slope) = found
    f, t = scores.double(), targets.double()
    pulls = (1 - t) * f.sigmoid() + t * (-f).sigmoid()  # apart, before they meet
    torch.testing.assert_close(loss, exact, rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient / pulls, slope / pulls, rtol=0, atol=1e-6)


def test_targets_are_looked_at_in_every_part(monkeypatch):
    monkeypatch.setattr(validate, "PART", 10)
    targets = torch.full((7, 5), 0.2)
    targets[6, 0] = 0.5
    with pytest.raises(ValueError, match=r"sum to 1 over the classes, got 1\.3;"):
        ops.soft_loss(torch.zeros(7, 5), targets)


@pytest.mark.parametrize("form", ["fused", "plain"])
@pytest.mark.parametrize("total", [0.9, 1.1])
def test_targets_that_sum_to_less_or_more_than_one_are_told(total, form):
    targets = torch.full((4, 5), 0.2)
    targets[2] *= total
    message = rf"sum to 1 over the classes, got {total};"
    with kernels.force(form), pytest.raises(ValueError, match=message):
        lossbook.soft_cross_entropy(torch.zeros(4, 5), targets)


@pytest.mark.parametrize("loss", ["soft_cross_entropy", "squared_emd"])
@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (0.5, r"sum to 1 over the classes, got 1\.5;"),
        (-1e-6, "none negative, got -1e-06"),
        (np.nan, "none negative, got nan"),
    ],
)
def test_wrong_targets_are_seen_in_the_last_block(
    loss, classes, wrong, message, monkeypatch
):
    monkeypatch.setattr(kernels, "BLOCK", 3 * 4 * classes)
    targets = torch.eye(classes)[:5].clone()
    targets[4, 0] = wrong
    with kernels.force("fused"), pytest.raises(ValueError, match=message):
        CATALOGUE[loss].fn(torch.zeros(5, classes), targets)


@pytest.mark.parametrize("form", ["fused", "plain"])
@pytest.mark.parametrize(
    ("logits", "targets"),
    [
        (torch.float32, torch.float64),
        (torch.float64, torch.float16),
        (torch.float64, torch.bfloat16),
        (torch.bfloat16, torch.bfloat16),
    ],
)
def test_targets_may_be_rounded_as_their_dtype_rounds(form, logits, targets):
    """Each of the equal ones to the same side."""
    classes = 300
    q = torch.full((4, classes), 1 / classes)
    z = torch.linspace(-3, 3, 4 * classes).reshape(4, classes).to(logits)
    with kernels.force(form):
        loss = lossbook.soft_cross_entropy(z, q.to(targets))
    exact = lossbook.soft_cross_entropy(z.double(), q.double())
    torch.testing.assert_close(loss.double(), exact, rtol=5e-3, atol=0)


@pytest.mark.parametrize(
    ("loss", "wrong", "message"),
    [
        ("binary_focal", 1.5, r"between 0 and 1, got 1\.5"),
        ("binary_focal", -1e-6, "between 0 and 1, got -1e-06"),
        ("binary_focal", np.nan, "between 0 and 1, got nan"),
        ("logistic", 0.0, r"-1 or \+1, got 0"),
        ("logistic", -1.5, r"-1 or \+1, got -1\.5"),
        ("logistic", np.nan, r"-1 or \+1, got nan"),
    ],
)
def test_wrong_truth_is_seen_in_the_last_part(loss, wrong, message, monkeypatch):
    monkeypatch.setattr(kernels, "ELEMENTS", 4)
    truth = torch.ones(10)
    truth[9] = wrong
    with kernels.force("fused"), pytest.raises(ValueError, match=message):
        CATALOGUE[loss].fn(torch.zeros(10), truth)


def test_one_soft_target_in_the_last_part_is_taken_as_it_is(monkeypatch):
    monkeypatch.setattr(kernels, "ELEMENTS", 4)
    scores = torch.linspace(-3, 3, 10).double().requires_grad_()
    targets = torch.ones(10).double()
    targets[9] = 0.999
    found = []
    for form in ("fused", "plain"):
        with kernels.force(form):
            loss = lossbook.binary_focal(scores, targets)
        found.append((loss, torch.autograd.grad(loss.sum(), scores)[0]))
    for fused, plain in zip(*found, strict=True):
        torch.testing.assert_close(fused, plain)


@pytest.mark.parametrize("key", ["binary_cross_entropy", "logistic"])
def test_a_score_beyond_the_exponentials_costs_itself(key):
    """e^200 is no number of float32."""
    scores = torch.tensor([-200.0, 3.0, -200.0], requires_grad=True)
    with kernels.force("fused"):
        loss = CATALOGUE[key].fn(scores, torch.ones(3))
    (gradient,) = torch.autograd.grad(loss.sum(), scores)
    assert loss[::2].tolist() == [200.0, 200.0]
    assert gradient[::2].tolist() == [-1.0, -1.0]


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("most", [60.0, 1000.0])
def test_log_of_1_plus_e_x_keeps_its_digits(dtype, most, quick, monkeypatch):
    """With scores beyond the exponentials and without; down to what is nearly 0."""
    monkeypatch.setitem(kernels.QUICK, "log1p", 1000 * quick)
    x = torch.linspace(-60, most, 12_007, dtype=dtype)
    out = torch.empty_like(x)
    assert kernels.softplus_finite(x, out)
    exact = np.logaddexp(0, x.numpy().astype(np.longdouble))
    wrong = np.abs(out.numpy() / exact - 1).max()
    # In base 2 the exponent itself, of up to 60 log2(e), is rounded.
    assert (
        wrong < (2 if kernels.BASE is kernels.NATURAL else 90) * torch.finfo(dtype).eps
    )


@pytest.mark.parametrize("worst", [np.inf, np.nan])
def test_what_is_not_finite_is_told(worst):
    x = torch.tensor([0.0, worst, 1.0])
    out = torch.empty(3)
    assert not kernels.softplus_finite(x, out)
    assert str(out[1].item()) == str(float(worst))
    assert out[::2].tolist() == pytest.approx([np.log(2), np.log1p(np.e)])


@pytest.mark.parametrize("alpha", [0.25, 0.3, 1e-8, 1 - 1e-8, 0.0, 1.0])
def test_the_weight_of_yes_and_that_of_no_are_exact(alpha):
    scores, answers = torch.zeros(2), torch.tensor([1.0, 0.0])
    found = []
    with kernels.force("fused"):
        for each in (alpha, None):
            z = scores.clone().requires_grad_()
            found.append(lossbook.binary_focal(z, answers, alpha=each).detach())
    expected = found[1] * torch.tensor([alpha, 1 - alpha])
    torch.testing.assert_close(found[0], expected, rtol=2e-7, atol=0)


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("name", kernels.QUICK)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_function_of_many_is_right_by_either_library(dtype, name, quick, monkeypatch):
    """Of numbers from the least there are; numpy keeps silent of what is too small."""
    monkeypatch.setitem(kernels.QUICK, name, 1000 * quick)
    ends = torch.finfo(dtype)
    least, most = np.log10(ends.smallest_normal) - 3, np.log10(ends.max) - 1
    x = torch.tensor(np.logspace(least, most, kernels.LARGE), dtype=dtype)
    if name == "expm1":
        x = torch.cat([-x, x[x < np.log(ends.max) - 1]])
    exact = getattr(np, name)(x.numpy().astype(np.longdouble))
    with np.errstate(all="raise"):
        found = kernels.quick_(x, name)
    assert found is x
    wrong = np.abs(x.numpy() - exact) / np.spacing(exact.astype(x.numpy().dtype))
    assert wrong.max() < 2.5  # units of the last place


@pytest.mark.parametrize(("worth", "threads"), [(2, 1), (2, 2), (1, 2), (0, 1)])
def test_numpy_is_used_where_torchs_threads_are_no_faster(worth, threads, monkeypatch):
    monkeypatch.setitem(kernels.QUICK, "log1p", worth)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(np, "log1p", lambda x, out: out.fill(-1))
    found = kernels.quick_(torch.ones(kernels.MIDDLE), "log1p")
    assert (found[0].item() == -1) == (threads < worth)
    assert kernels.quick_(torch.zeros(1), "log1p").item() == 0  # too few


@pytest.mark.parametrize("threads", [1, 2])
def test_sums_of_products_are_the_same_with_more_threads(threads, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    a, b = batch()[0].detach(), torch.arange(5.0).double().expand(40, 5)
    for axis in (0, 1):
        torch.testing.assert_close(
            kernels.products(a, b, axis), (a * b).sum(axis, keepdim=True)
        )


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"log1p": {"ff": {"current": "X86_V4"}}}, True),
        ({"log1p": {"ff": {"current": "baseline(X86_V2)"}}}, False),
        ({"log1p": {"dd": {"current": "X86_V4"}}}, False),
        ({}, False),
    ],
)
def test_numpy_tells_what_it_does_at_once(told, expected, monkeypatch):
    asked = []

    class Introspect:
        @staticmethod
        def opt_func_info(func_name):
            asked.append(func_name)
            return told

    monkeypatch.setattr(np.lib, "introspect", Introspect, raising=False)
    assert kernels.has_vector_form("log1p") is expected
    assert asked == ["^log1p$"]
    monkeypatch.delattr(np.lib, "introspect")
    assert not kernels.has_vector_form("log1p")  # numpy 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_large_room_is_numpys(dtype):
    """numpy asks for large pages. The tensor is one as any other."""
    like = torch.zeros(1, dtype=dtype)
    rows = kernels.PAGES // like.element_size() // 8
    tracemalloc.start()
    try:
        found = kernels.empty(like, rows, 8), kernels.empty(like, rows - 1, 8)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kernels.PAGES <= held < 1.5 * kernels.PAGES  # of the first one alone
    for each, n in zip(found, (rows, rows - 1), strict=True):
        assert (each.shape, each.dtype) == ((n, 8), dtype)
        assert each.fill_(2).sum().item() == 16 * n


@pytest.mark.parametrize("form", ["fused", "as it is, small", "as it is, large"])
def test_a_wide_bias_may_move_the_largest_logit(form):
    """Far below the largest, exponentials have a floor. In float32, beside float64."""
    from lossbook.losses.entropy._cross_entropy import factor, psi

    count = 1000 if form == "as it is, small" else 3000
    z = torch.tensor([[0.0, -200.0, -195.0]]).repeat(count, 1)
    bias = torch.tensor([-150.0, 100.0, 101.0])
    labels = torch.arange(count) % 3
    found = []
    for name, x in (("fused", z), ("plain", z.double())):
        forced = kernels.force(name) if name in (form, "plain") else nullcontext()
        x.requires_grad_()
        with forced:
            loss = ops.psi_loss(x, labels, psi, factor, bias=bias)
        (gradient,) = torch.autograd.grad(loss.sum(), x)
        found.append((loss.double(), gradient.double()))
    for fused, plain in zip(*found, strict=True):
        # Numbers near 200 are rounded to 1.5e-5.
        torch.testing.assert_close(fused, plain, rtol=2e-5, atol=1e-20)


@pytest.mark.parametrize("form", ["plain", "fused"])
@pytest.mark.parametrize("far", [0.0, 3e7, -3e7])
def test_the_margin_is_not_rounded_away_beside_huge_logits(form, far):
    logits = torch.tensor([[0.0, 0.0, -64.0]]) + far
    with kernels.force(form):
        assert lossbook.weston_watkins(logits, torch.tensor([0])).item() == 1


BY_LABELS = [
    "cross_entropy",
    "psi_loss with bias",
    "surprise_loss",
    "label_surplus_loss",
    "entropy_loss",
    "rival_sum",
    "rival_max",
]


@pytest.mark.parametrize("form", ["fused", "plain"])
@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("wrong", ["below", "above"])
@pytest.mark.parametrize("loss", BY_LABELS)
def test_a_label_without_a_class_is_told(loss, wrong, classes, form, monkeypatch):
    """In the last of many blocks."""
    monkeypatch.setattr(kernels, "BLOCK", 3 * classes)
    logits, labels = batch(classes=classes)
    labels[-1] = {"below": -1, "above": classes}[wrong]
    message = rf"labels must lie in 0..{classes - 1} .*, got {int(labels[-1])}$"
    with kernels.force(form), pytest.raises(ValueError, match=message):
        FORMS[loss](logits, labels)


def test_an_error_that_is_not_the_labels_is_passed_on():
    def failing(log_p, log_not_p):
        raise RuntimeError("no memory left")

    logits, labels = batch()
    with kernels.force("fused"), pytest.raises(RuntimeError, match="no memory left"):
        ops.psi_loss(logits, labels, failing, failing)


def shifts(monkeypatch):
    """Count how often a row's largest logit is found and subtracted."""
    calls, exponents = [], kernels.exponents

    def counted(*args):
        calls.append(args)
        return exponents(*args)

    monkeypatch.setattr(kernels, "exponents", counted)
    return calls


@pytest.mark.parametrize("form", [*PSI, "brier", "BalancedSoftmax"])
@pytest.mark.parametrize("far", [0.0, 27.0, -27.0, 33.0, -33.0, 80.0, -80.0])
def test_a_small_batch_is_as_exact(form, far):
    """In float32, beside float64; moderate or not, in the last row alone."""
    logits, labels = batch(256, 20, torch.float32)
    with torch.no_grad():
        logits /= 5
        logits[-1, 3] += far
        logits[-2] += far
    labels[-1] = 3
    found = []
    for name, z in (("fused", logits), ("plain", logits.detach().double())):
        z.requires_grad_()
        with kernels.force("plain") if name == "plain" else nullcontext():
            loss = FORMS[form](z, labels)
        (gradient,) = torch.autograd.grad(loss.sum(), z)
        found.append((loss.double(), gradient.double()))
    for fused, plain in zip(*found, strict=True):
        torch.testing.assert_close(fused, plain, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("far", "shifted"), [(0.0, False), (27.0, False), (33.0, True), (-33.0, True)]
)
def test_all_logits_of_a_small_batch_are_looked_at(far, shifted, monkeypatch):
    calls = shifts(monkeypatch)
    logits, labels = batch(256, 20, torch.float32)
    with torch.no_grad():
        logits /= 5
        logits[-1, 3] = far
    lossbook.cross_entropy(logits, labels)
    assert bool(calls) is shifted


@pytest.mark.parametrize("form", ["plain", "fused"])
def test_a_label_without_weight_may_be_ruled_out(form):
    z = torch.tensor([[-torch.inf, 0.0, 0.0]], requires_grad=True)
    with kernels.force(form):
        loss = ops.entropy_loss(z, torch.tensor([0]), of_label=0.0, of_entropy=1.0)
    (gradient,) = torch.autograd.grad(loss.sum(), z)
    assert loss.item() == pytest.approx(np.log(2))
    assert gradient.tolist()[0] == pytest.approx([0, 0, 0], abs=1e-7)


@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize(
    "key", [*MARGINS, "binary_cross_entropy", "binary_focal", "asymmetric"]
)
def test_a_score_that_is_no_number_is_told_in_each_part(key, summed, monkeypatch):
    monkeypatch.setattr(kernels, "ELEMENTS", 4)
    loss = Criterion(CATALOGUE[key].fn) if summed else CATALOGUE[key].fn
    for place in (1, 10):
        scores = torch.zeros(12)
        scores[place] = np.nan
        message = rf"scores must be finite numbers .*, got nan at \({place},\)"
        with kernels.force("fused"), pytest.raises(ValueError, match=message):
            loss(scores, torch.ones(12))


def test_an_unknown_form_is_refused():
    with (
        pytest.raises(
            ValueError, match='form must be "fused" or "plain", got \'fast\''
        ),
        kernels.force("fast"),
    ):
        pass


@pytest.mark.parametrize("form", [*PSI, "LogitAdjusted", *SURPLUS])
@pytest.mark.parametrize("far", [300.0, -300.0, 45.0, -45.0])
def test_large_logits_of_one_example_are_seen(form, far):
    """Of one that is not among the few that are looked at before; beside float64."""
    logits, labels = batch(16, 20, torch.float32)
    with torch.no_grad():
        logits[1, :] += far
        logits[2, labels[2]] += far
        logits[3, 0] += far
    found = []
    for name, z in (("fused", logits), ("plain", logits.detach().double())):
        z.requires_grad_()
        with kernels.force(name):
            loss = FORMS[form](z, labels)
        (gradient,) = torch.autograd.grad(loss.sum(), z)
        found.append((loss.double(), gradient.double()))
    for fused, plain in zip(*found, strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-5, atol=5e-6)


def test_a_processor_that_rounds_twice_is_noticed(monkeypatch):
    monkeypatch.setattr(torch, "add", lambda x, y, alpha: x + alpha * y)
    assert not kernels.rounds_once()


def beside_float64(form, logits, labels):
    """The loss in float32 and its gradient, each beside the same in float64."""
    found = []
    for name, z in (("fused", logits.float()), ("plain", logits.float().double())):
        z.requires_grad_()
        with kernels.force(name):
            loss = FORMS[form](z, labels)
        found.append((loss, *torch.autograd.grad(loss.sum(), z)))
    return zip(*[[each.double() for each in both] for both in found], strict=True)


@pytest.mark.parametrize("once", [True, False])
@pytest.mark.parametrize("offset", [0.0, 12.0, 33.0, -33.0, 1000.0, 3e38])
def test_exponentials_that_are_not_shifted_lose_nothing(offset, once, monkeypatch):
    """In base 2, large logits are shifted row by row if two roundings would tell."""
    calls = shifts(monkeypatch)
    if not once:
        monkeypatch.setattr(kernels, "REACH", kernels.NEAR)
    logits, labels = batch(64, 20)
    logits = logits.detach() / 4 + offset
    loss, gradient = beside_float64("cross_entropy", logits, labels)
    torch.testing.assert_close(*loss, rtol=2e-7, atol=2e-7)
    torch.testing.assert_close(*gradient, rtol=3e-6, atol=1e-20)
    natural = kernels.BASE is kernels.NATURAL
    reach = math.log(kernels.WIDE) if natural else kernels.REACH
    assert bool(calls) == (abs(offset) > reach)


@pytest.mark.parametrize("offset", [0.0, 33.0, 1000.0])
def test_a_bias_is_not_rounded_away_beside_large_logits(offset):
    logits, labels = batch(64, 20)
    logits = logits.detach() / 4 + offset
    loss, gradient = beside_float64("LogitAdjusted", logits, labels)
    torch.testing.assert_close(*loss, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(*gradient, rtol=3e-6, atol=1e-20)


@pytest.mark.parametrize("form", ["plain", "fused"])
@pytest.mark.parametrize("gap", [20.0, 50.0])
def test_a_small_loss_keeps_its_digits(form, gap):
    """Where log-softmax gives 0, the margin still knows the loss: exp(-gap)."""
    logits, labels = torch.tensor([[gap, 0.0]], requires_grad=True), torch.tensor([0])
    with kernels.force(form):
        loss = lossbook.cross_entropy(logits, labels)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    expected = torch.tensor([np.exp(-gap)], dtype=torch.float32)
    torch.testing.assert_close(loss.detach(), expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(-gradient[:, 0], expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("form", ["plain", "fused"])
def test_a_class_can_be_ruled_out(form):
    logits = torch.tensor([[1.0, -torch.inf, 0.0]], requires_grad=True)
    with kernels.force(form):
        loss = lossbook.cross_entropy(logits, torch.tensor([0]))
        ruled_out = lossbook.cross_entropy(logits, torch.tensor([1]))
    expected = lossbook.cross_entropy(torch.tensor([[1.0, 0.0]]), torch.tensor([0]))
    torch.testing.assert_close(loss, expected)
    assert ruled_out.item() == torch.inf
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert gradient.isfinite().all()
    assert abs(gradient[0, 1]) < 1e-20


def test_a_masked_class_with_target_zero_costs_nothing():
    logits = torch.tensor([[1.0, -torch.inf, 0.0]], requires_grad=True)
    targets = torch.tensor([[0.5, 0.0, 0.5]])
    loss = lossbook.soft_cross_entropy(logits, targets)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert loss.isfinite().all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("form", ["plain", "fused"])
def test_a_label_that_is_ruled_out_has_the_whole_share(form):
    """No other class is ruled out, in no example of the block."""
    z = torch.tensor([[-torch.inf, 1.0, 0.0], [0.0, 1.0, -1.0]], requires_grad=True)
    with kernels.force(form):
        loss = lossbook.nce(z, torch.tensor([0, 0]))
    (gradient,) = torch.autograd.grad(loss.sum(), z)
    assert loss[0].item() == 1
    assert gradient.isfinite().all()


@pytest.mark.parametrize("gap", [8.0, 12.0, 30.0])
@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("loss", [lossbook.brier, lossbook.soft_bootstrap])
def test_nearly_certain_predictions_keep_their_digits(loss, classes, gap):
    """In float32, beside float64: p - 1 and the log of a sum near 1 would have few."""
    z = torch.linspace(-1, 0, classes).repeat(3, 1)
    z[:, 2] = gap
    found = []
    for form, x in (("fused", z), ("plain", z.double())):
        x.requires_grad_()
        with kernels.force(form):
            losses = loss(x, torch.full((3,), 2))
        (gradient,) = torch.autograd.grad(losses.sum(), x)
        found.append([losses.double(), gradient.double()])
    for fused, plain in zip(*found, strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-5, atol=0)


@pytest.mark.parametrize("temperature", [1.0, 20.0])
@pytest.mark.parametrize("classes", CLASSES)
def test_a_small_divergence_keeps_its_digits(classes, temperature):
    """In float32, beside float64: T^2 enlarges what is rounded away near 0."""
    z, _ = batch(40, classes, torch.float32)
    q = (z.detach() + 0.01 * torch.linspace(-1, 1, classes)).softmax(-1)
    found = []
    for form, x, targets in (("fused", z, q), ("plain", z.double(), q.double())):
        with kernels.force(form):
            loss = lossbook.distillation(x, targets, temperature=temperature)
        found.append(loss.double())
    torch.testing.assert_close(*found, rtol=0, atol=1e-7 * temperature**2)


@pytest.mark.parametrize("classes", CLASSES)
def test_what_the_teacher_rules_out_costs_a_student_nothing(classes):
    """What only the student rules out costs without end."""
    z = torch.zeros(3, classes).index_fill_(1, torch.tensor([0]), -torch.inf)
    q = torch.full((3, classes), 1 / (classes - 1))
    q[:, 0] = 0
    z.requires_grad_()
    with kernels.force("fused"):
        loss = lossbook.distillation(z, q)
        apart = lossbook.distillation(z, torch.eye(classes)[:3])
    assert loss.tolist() == pytest.approx([0, 0, 0], abs=1e-6)
    (gradient,) = torch.autograd.grad(loss.sum(), z)
    torch.testing.assert_close(gradient, torch.zeros(3, classes), atol=1e-6, rtol=0)
    assert apart.tolist()[0] == torch.inf


def test_the_margin_of_a_label_is_its_log_odds():
    logits, labels = batch()
    p = logits.softmax(-1).gather(-1, labels[:, None])[:, 0]
    torch.testing.assert_close(ops.label_margin(logits, labels), (p / (1 - p)).log())


@pytest.mark.parametrize("form", ["plain", "fused"])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 4.0])
def test_no_costs_nothing_up_to_the_clip_itself(form, gamma):
    """At the score 0, p is 1/2 exactly: the clip's edge."""
    scores = torch.tensor([-3.0, 0.0, 3.0], requires_grad=True)
    with kernels.force(form):
        loss = lossbook.asymmetric(
            scores, torch.zeros(3), gamma_negative=gamma, clip=0.5
        )
    (gradient,) = torch.autograd.grad(loss.sum(), scores)
    assert loss[:2].tolist() == [0, 0]
    assert gradient[:2].tolist() == [0, 0]
    assert loss[2] > 0
    assert gradient[2] > 0


@pytest.mark.parametrize("form", ["plain", "fused"])
@pytest.mark.parametrize("tau", [1.0, 60.0])
def test_a_bias_is_not_rounded_away_beside_huge_logits(form, tau):
    """A power of two is added, so that the logits themselves are not rounded."""
    logits = torch.tensor([[1.0, -2.0, 0.5]] * 2)
    labels = torch.tensor([0, 2])
    loss = lossbook.LogitAdjusted([500, 20, 3], tau=tau)
    with kernels.force(form):
        found = loss(logits + 2.0**20, labels)
        torch.testing.assert_close(found, loss(logits, labels))


def test_a_ruled_out_label_is_infinitely_wrong_beside_a_ruled_out_rival():
    logits = torch.tensor([[-torch.inf, 1.0, -torch.inf]])
    for form in ("plain", "fused"):
        with kernels.force(form):
            for loss in (lossbook.weston_watkins, lossbook.crammer_singer):
                assert loss(logits, torch.tensor([0])).item() == torch.inf


def at_the_ends(key):
    """The parameters of a loss: the defaults, then each one at its closed ends."""
    yield CATALOGUE[key].defaults()
    for name, param in CATALOGUE[key].params.items():
        ends = {param.low: param.open_low, param.high: param.open_high}
        for end, is_open in ends.items():
            if np.isfinite(end) and not is_open:
                yield {**CATALOGUE[key].defaults(), name: end}


ANSWERS = [
    ("binary_cross_entropy", {}),
    *[("asymmetric", params) for params in at_the_ends("asymmetric")],
    *[("binary_focal", params) for params in at_the_ends("binary_focal")],
    ("binary_focal", {"alpha": None}),
]


@pytest.mark.parametrize("form", ["plain", "fused"])
@pytest.mark.parametrize(("key", "params"), ANSWERS)
def test_a_ruled_out_yes_costs_nothing_where_no_is_right(form, key, params):
    scores = torch.tensor([-torch.inf] * 3, requires_grad=True)
    answers = torch.tensor([0.0, 0.5, 1.0])
    weight = params.get("alpha")
    weight = 1.0 if weight is None else weight
    with kernels.force(form):
        loss = CATALOGUE[key].fn(scores, answers, **params)
        hard = CATALOGUE[key].fn(scores[::2], answers[::2], **params)
    (gradient,) = torch.autograd.grad(loss.sum(), scores)
    (of_hard,) = torch.autograd.grad(hard.sum(), scores)
    wrong = torch.inf if weight else 0.0  # "yes" may have no weight
    assert loss.tolist() == pytest.approx([0, wrong, wrong], abs=1e-20)
    assert hard.tolist() == pytest.approx([0, wrong], abs=1e-20)
    assert gradient.tolist() == [0, -weight / 2, -weight]
    assert of_hard.tolist() == [0, 0, -weight]


LABELS = [key for key, card in CATALOGUE.items() if card.kind == "labels"]
LABELS.remove("BackwardCorrection")  # it subtracts losses, infinite ones too
MARGIN = [key for key, card in CATALOGUE.items() if card.kind == "margin"]
LINEAR = [key for key in MARGIN if (CATALOGUE[key].properties.lipschitz or 9) < 9]


@pytest.mark.parametrize("form", ["plain", "fused"])
@pytest.mark.parametrize("key", [*LABELS, *LINEAR])
def test_what_is_ruled_out_makes_no_nan(form, key):
    """As a rival, as the label, as both; as a score of either sign."""
    inf = torch.inf
    if key in LABELS:
        z = [[1.0, -inf, 0.0], [-inf, 1.0, 0.0], [-inf, -inf, 0.0], [0.0, -inf, -inf]]
        truth = torch.zeros(4, dtype=torch.long)
    else:
        z, truth = [-inf, -inf, 0.5], torch.tensor([-1, 1, 1])
    scores = torch.tensor(z, requires_grad=True)
    for params in at_the_ends(key):
        with kernels.force(form):
            loss = CATALOGUE[key].make(3, **params)(scores, truth)
        (gradient,) = torch.autograd.grad(loss.sum(), scores)
        assert not loss.isnan().any(), params
        assert gradient.isfinite().all(), params
