"""What no card can say of the losses of cosines."""

import math

import numpy as np
import pytest
import torch

import lossbook
from lossbook import kernels, schedules
from lossbook.losses.angular._cosines import multiple_angle

LOSSES = ["normface", "cosface", "arcface", "sphereface"]
THETA = torch.linspace(0, math.pi, 20001, dtype=torch.float64)


def target(key, cosine, **params):
    """The number that takes the true class's place, from the loss of two classes.

    With the rival at 0 the loss is log(1 + exp(-f)), so f = -log(exp(loss) - 1).
    """
    cosines = torch.stack([cosine, torch.zeros_like(cosine)], -1)
    labels = torch.zeros(len(cosine), dtype=torch.int64)
    loss = getattr(lossbook, key)(cosines, labels, scale=1.0, **params)
    return -loss.expm1().log()


@pytest.mark.parametrize("margin", [1, 2, 3, 4])
def test_psi_is_continuous_and_falls_from_1_to_1_minus_2m(margin):
    psi = target("sphereface", THETA.cos(), margin=margin)
    steps = psi.diff()
    assert (steps < 0).all()
    assert -steps.min() < 1.1 * margin * math.pi / 20000  # the slope is at most m
    assert psi[0].item() == pytest.approx(1, abs=1e-12)
    assert psi[-1].item() == pytest.approx(1 - 2 * margin, abs=1e-12)
    assert (psi <= THETA.cos() + 1e-12).all()


@pytest.mark.parametrize("margin", [2, 3, 4])
def test_psi_is_the_cosine_of_the_multiple_angle_where_it_may_be(margin):
    """Up to pi / m, by de Moivre: cos(m theta) is the real part of the power."""
    theta = THETA[math.pi / margin >= THETA]
    power = torch.exp(1j * theta) ** margin
    found = multiple_angle(theta.cos(), margin=margin)
    torch.testing.assert_close(found, power.real)


def test_a_margin_that_is_let_in_slowly_leads_from_the_cosine_to_psi():
    psi = target("sphereface", THETA.cos(), margin=4)
    before = THETA.cos()
    for strength in (1000.0, 30.0, 5.0, 0.0):
        found = target("sphereface", THETA.cos(), margin=4, strength=strength)
        share = 1 / (1 + strength)
        torch.testing.assert_close(found, THETA.cos() + share * (psi - THETA.cos()))
        assert (found <= before + 1e-12).all()
        before = found


def test_the_strength_falls_as_its_authors_count_it():
    """max(5, 1000 / (1 + 0.12 step)), which is 5 after 1658.3 steps."""
    steps = 28000
    until = (1000 / 5 - 1) / 0.12 / steps
    for step in (0, 1, 100, 1658, 1659, 28000):
        found = schedules.annealed(step / steps, until=until)
        assert found == pytest.approx(max(5, 1000 / (1 + 0.12 * step)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: schedules.annealed(0.5, until=0.0), "until must be above 0, got 0"),
        (
            lambda: schedules.annealed(0.5, first=1.0, last=2.0),
            "last must be above 0 and at most first, 1, got 2",
        ),
        (
            lambda: schedules.annealed(0.5, last=0.0),
            "last must be above 0 and at most first, 1000, got 0",
        ),
    ],
)
def test_a_schedule_that_does_not_fall_is_refused(call, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        call()


@pytest.mark.parametrize(("margin", "jump"), [(0.5, -0.117), (0.3, -0.044)])
def test_arcface_jumps_where_angle_and_margin_make_pi(margin, jump):
    seam = torch.tensor([math.pi - margin], dtype=torch.float64)
    before, after = (
        target("arcface", (seam + off).cos(), margin=margin) for off in (-1e-9, 1e-9)
    )
    assert before.item() == pytest.approx(-1, abs=1e-8)
    assert (after - before).item() == pytest.approx(jump, abs=5e-4)
    by_hand = 1 - math.cos(margin) - margin * math.sin(margin)
    assert (after - before).item() == pytest.approx(by_hand, abs=1e-7)


def test_a_margin_added_without_its_gradient_has_the_value_and_not_the_pull():
    """As published code has it: the target's slope in the cosine is 1."""
    theta = torch.linspace(0.2, 2.4, 9, dtype=torch.float64)
    cosines = torch.stack([theta.cos(), 0 * theta], -1).requires_grad_()
    labels = torch.zeros(9, dtype=torch.int64)
    shift = ((theta + 0.5).cos() - theta.cos())[:, None] * torch.tensor([1.0, 0.0])
    without = lossbook.normface(cosines + shift, labels, scale=8.0)
    loss = lossbook.arcface(cosines, labels, scale=8.0)
    torch.testing.assert_close(without, loss)
    pulls = [
        torch.autograd.grad(each.sum(), cosines)[0][:, 0] for each in (without, loss)
    ]
    ratio = theta.sin() / (theta + 0.5).sin()
    torch.testing.assert_close(pulls[0] / pulls[1], ratio)


def test_arcface_pulls_by_the_ratio_of_sines():
    """The slope of the target in the cosine is sin(theta + m) / sin(theta)."""
    theta = THETA[100:-4000]  # up to the seam, at pi - 0.5
    cosine = theta.cos().requires_grad_()
    (slope,) = torch.autograd.grad(target("arcface", cosine, margin=0.5).sum(), cosine)
    expected = (theta + 0.5).sin() / theta.sin()
    torch.testing.assert_close(slope[theta < math.pi - 0.5], expected[: len(slope)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("form", ["plain", "fused"])
@pytest.mark.parametrize("end", [1.0, -1.0])
def test_arcface_on_its_class_vector(end, form, dtype):
    """One rival at a right angle: the slope used at 1 is cos m, at -1 it is 1."""
    cosines = torch.tensor([[end, 0.0]], dtype=dtype, requires_grad=True)
    with kernels.force(form):
        loss = lossbook.arcface(cosines, torch.tensor([0]), margin=0.5, scale=2.0)
    (gradient,) = torch.autograd.grad(loss.sum(), cosines)
    f, slope = (math.cos(0.5),) * 2 if end > 0 else (-1 - 0.5 * math.sin(0.5), 1.0)
    wrong = 1 / (1 + math.exp(2 * f))
    expected = torch.tensor([[-2 * wrong * slope, 2 * wrong]], dtype=dtype)
    torch.testing.assert_close(gradient, expected)


def test_arcface_in_the_embedding_pulls_by_no_more_than_its_scale():
    """sin(theta) of the cosine's slope cancels that of the target's."""
    head = lossbook.CosineHead(2, 2, rng=np.random.default_rng(0)).double()
    head.weight.data.copy_(torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    angle = 10.0 ** torch.arange(-12.0, 0.0, dtype=torch.float64)
    embeddings = torch.stack([angle.cos(), angle.sin()], -1).requires_grad_()
    labels = torch.zeros(len(angle), dtype=torch.int64)
    loss = lossbook.arcface(head(embeddings), labels, margin=0.5, scale=64.0)
    (gradient,) = torch.autograd.grad(loss.sum(), embeddings)
    assert gradient.isfinite().all()
    assert (gradient.norm(dim=-1) <= 64).all()
    # The rival, in the same place, has nearly all of the probability.
    wrong = 1 / (1 + math.exp(64 * (math.cos(0.5) - 1)))
    near = gradient[angle == 1e-5].norm().item()
    assert near == pytest.approx(64 * wrong * math.sin(0.5), rel=1e-4)


def simplex(classes):
    """Unit vectors with equal angles, all cosines -1 / (C - 1)."""
    centered = torch.eye(classes, dtype=torch.float64) - 1 / classes
    return centered / centered.norm(dim=-1, keepdim=True)


@pytest.mark.parametrize(("classes", "scale"), [(2, 4.0), (5, 10.0), (100, 30.0)])
def test_no_embedding_beats_the_simplex(classes, scale):
    """The mean over classes is at least log(1 + (C - 1) exp(-s C / (C - 1)))."""
    bound = math.log1p((classes - 1) * math.exp(-scale * classes / (classes - 1)))
    labels = torch.arange(classes)
    best = simplex(classes)
    reached = lossbook.normface(best @ best.T, labels, scale=scale)
    torch.testing.assert_close(reached, torch.full_like(reached, bound))
    rng = np.random.default_rng(0)
    for size in (1e-3, 1e-2, 0.1, 1.0):
        w, x = (
            torch.nn.functional.normalize(
                best + size * torch.tensor(rng.normal(size=best.shape)), dim=-1
            )
            for _ in range(2)
        )
        assert lossbook.normface(x @ w.T, labels, scale=scale).mean() > bound


@pytest.mark.parametrize("key", LOSSES[1:])
def test_a_margin_only_adds_to_the_loss(key):
    rng = np.random.default_rng(0)
    cosines = torch.tensor(rng.uniform(-1, 1, size=(500, 4)))
    labels = torch.tensor(rng.integers(4, size=500))
    with_margin = getattr(lossbook, key)(cosines, labels, scale=10.0)
    assert (with_margin >= lossbook.normface(cosines, labels, scale=10.0)).all()


@pytest.mark.parametrize("key", LOSSES)
def test_a_class_can_be_ruled_out(key):
    loss = getattr(lossbook, key)
    cosines = torch.tensor([[0.5, -torch.inf, 0.1]], requires_grad=True)
    for form in ("plain", "fused"):
        with kernels.force(form):
            found = loss(cosines, torch.tensor([0]))
        without = loss(cosines[:, ::2], torch.tensor([0]))
        torch.testing.assert_close(found, without)
        (gradient,) = torch.autograd.grad(found.sum(), cosines)
        assert gradient.isfinite().all()


@pytest.mark.parametrize("key", LOSSES)
def test_many_blocks_equal_one(key, monkeypatch):
    monkeypatch.setattr(kernels, "BLOCK", 15)  # three rows a block, and a rest
    rng = np.random.default_rng(0)
    cosines = torch.tensor(rng.uniform(-1, 1, size=(40, 5)), requires_grad=True)
    labels = torch.tensor(rng.integers(5, size=40))
    upstream = torch.linspace(-1, 2, 40, dtype=torch.float64)
    found = []
    for form in ("fused", "plain"):
        with kernels.force(form):
            loss = getattr(lossbook, key)(cosines, labels)
        twice = [
            torch.autograd.grad(loss, cosines, upstream, retain_graph=True)[0]
            for _ in range(2)
        ]
        torch.testing.assert_close(*twice)
        found.append((loss, twice[0]))
    torch.testing.assert_close(*found)


def test_large_input_takes_the_fused_form(monkeypatch):
    from lossbook.losses.angular import _cosines

    calls = []
    rows = _cosines._rows

    def counted(*args, **kwargs):
        calls.append(1)
        return rows(*args, **kwargs)

    monkeypatch.setattr(_cosines, "_rows", counted)
    cosines = torch.zeros(2**10, 2**8)
    lossbook.arcface(cosines, torch.zeros(2**10, dtype=torch.int64))
    assert calls == [1]


@pytest.mark.parametrize("margin", [0, 2.5, 5])
@pytest.mark.parametrize("key", ["sphereface", "large_margin_softmax"])
def test_a_multiple_that_is_no_whole_number_is_refused(key, margin):
    message = (
        f"margin must be 1, 2, 3 or 4, a whole multiple of the angle, got {margin}"
    )
    square = torch.eye(2)
    arrays = (square, torch.tensor([0, 1]), square)
    with pytest.raises(ValueError, match=f"^{message}$"):
        getattr(lossbook, key)(
            *arrays[: 2 if key == "sphereface" else 3], margin=margin
        )


def test_large_margin_softmax_is_sphereface_where_class_vectors_have_length_1():
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.normal(size=(20, 3)))
    w = torch.nn.functional.normalize(torch.tensor(rng.normal(size=(4, 3))), dim=-1)
    labels = torch.arange(20) % 4
    cosines = torch.nn.functional.normalize(x, dim=-1) @ w.T
    for margin in (1, 2, 3, 4):
        expected = lossbook.sphereface(
            cosines, labels, margin=margin, scale=x.norm(dim=-1)
        )
        found = lossbook.large_margin_softmax(x, labels, w, margin=margin)
        torch.testing.assert_close(found, expected)


def test_large_margin_softmax_of_margin_1_is_cross_entropy_of_a_linear_layer():
    rng = np.random.default_rng(0)
    x, w = (torch.tensor(rng.normal(size=(n, 3))) for n in (20, 4))
    labels = torch.arange(20) % 4
    found = lossbook.large_margin_softmax(x, labels, w, margin=1)
    torch.testing.assert_close(found, lossbook.cross_entropy(x @ w.T, labels))


def test_large_margin_softmax_of_no_length_is_uniform():
    x = torch.zeros(1, 3, requires_grad=True)
    loss = lossbook.large_margin_softmax(x, torch.tensor([0]), torch.eye(4, 3))
    assert loss.item() == pytest.approx(math.log(4))
    (gradient,) = torch.autograd.grad(loss.sum(), x)
    assert gradient.isfinite().all()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            (torch.zeros(2, 3), torch.tensor([0, 4]), torch.zeros(4, 3)),
            "labels must lie in 0..3 (there are 4 classes), got 4",
        ),
        (
            (torch.zeros(2, 3), torch.tensor([0]), torch.zeros(4, 3)),
            "labels must have one entry for each of embeddings, shape (2,), got (1,)",
        ),
        (
            (torch.zeros(2, 3), torch.tensor([0, 1]), torch.zeros(4, 2)),
            "class_vectors must have as many dimensions as embeddings, 3, got shape "
            "(4, 2)",
        ),
        (
            (torch.zeros(2, 3), torch.tensor([0, 1]), torch.zeros(3)),
            "class_vectors must be a batch of vectors, shape (N, D), got shape (3,)",
        ),
        (
            (torch.zeros(2, 3), torch.tensor([0.0, 1.0]), torch.zeros(4, 3)),
            "labels must be of an integer dtype, got torch.float32",
        ),
    ],
)
def test_vectors_that_do_not_fit_are_refused(arrays, message):
    with pytest.raises((ValueError, TypeError)) as refusal:
        lossbook.large_margin_softmax(*arrays)
    assert str(refusal.value) == message


def test_a_head_gives_cosines_whatever_the_lengths():
    head = lossbook.CosineHead(3, 5, rng=np.random.default_rng(0)).double()
    x = torch.tensor(np.random.default_rng(1).normal(size=(2, 4, 3)))
    expected = torch.nn.functional.cosine_similarity(
        x[..., None, :], head.weight, dim=-1
    )
    for length in (1.0, 1e-200, 1e200):
        torch.testing.assert_close(head(length * x), expected)


def test_a_head_of_a_zero_embedding_has_no_gradient():
    head = lossbook.CosineHead(3, 5, rng=np.random.default_rng(0))
    x = torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]], requires_grad=True)
    cosines = head(x)
    assert (cosines[0] == 0).all()
    gradient, by_weight = torch.autograd.grad(
        cosines.square().sum() + cosines.sum(), [x, head.weight]
    )
    assert (gradient[0] == 0).all()
    assert gradient[1].abs().max() > 0
    assert by_weight.isfinite().all()


def test_a_head_draws_from_its_own_generator():
    a, b = (lossbook.CosineHead(3, 5, rng=np.random.default_rng(7)) for _ in range(2))
    torch.testing.assert_close(a.weight, b.weight)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_rounding_past_1_is_no_error(dtype):
    past = torch.tensor([[1 + torch.finfo(dtype).eps, 0.0]], dtype=dtype)
    assert past[0, 0] > 1
    for key in LOSSES:
        assert getattr(lossbook, key)(past, torch.tensor([0])).isfinite().all()


def test_autocast_does_not_round_the_cosines():
    head = lossbook.CosineHead(3, 5, rng=np.random.default_rng(0))
    x = torch.tensor(np.random.default_rng(1).normal(size=(4, 3)), dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = head(x)
    torch.testing.assert_close(inside, head(x), rtol=0, atol=0)
