"""Cross-entropy's relatives: what no card can say."""

import math

import numpy as np
import pytest
import torch

import lossbook
from lossbook.losses import CATALOGUE

RNG = np.random.default_rng(0)
LOGITS = torch.tensor(3 * RNG.normal(size=(50, 5)))
LABELS = torch.tensor(RNG.integers(5, size=50))
E_Y = torch.eye(5, dtype=torch.float64)[LABELS]
TEACHER = torch.tensor(3 * RNG.normal(size=(50, 5)))


def smoothed(epsilon, mass="uniform"):
    others = torch.full_like(E_Y, 1 / 5) if mass == "uniform" else (1 - E_Y) / 4
    return (1 - epsilon) * E_Y + epsilon * others


def gradient(loss, logits):
    (found,) = torch.autograd.grad(loss(logits).sum(), logits)
    return found


def close(a, b, within=1e-12):
    torch.testing.assert_close(a, b, rtol=within, atol=within)


@pytest.mark.parametrize("mass", ["uniform", "offclass"])
@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.9, 1.0])
def test_smoothing_is_cross_entropy_with_smoothed_targets(epsilon, mass):
    loss = lossbook.label_smoothing(LOGITS, LABELS, epsilon=epsilon, mass=mass)
    close(loss, lossbook.soft_cross_entropy(LOGITS, smoothed(epsilon, mass)))


@pytest.mark.parametrize("mass", ["uniform", "offclass"])
def test_both_conventions_have_the_gradient_of_their_reference(mass):
    z = LOGITS.clone().requires_grad_()
    loss = lossbook.label_smoothing(z, LABELS, epsilon=0.3, mass=mass)
    (found,) = torch.autograd.grad(loss.sum(), z)
    value, derived = CATALOGUE["label_smoothing"].ref(
        LOGITS.numpy(), LABELS.numpy(), epsilon=0.3, mass=mass
    )
    close(loss.detach(), torch.tensor(value))
    close(found, torch.tensor(derived))


def test_one_convention_is_the_other_at_another_epsilon():
    """Each of the C - 1 others gets eps / (C - 1) = eps' / C."""
    for epsilon in (0.1, 0.5, 0.8):
        close(
            lossbook.label_smoothing(LOGITS, LABELS, epsilon=epsilon, mass="offclass"),
            lossbook.label_smoothing(LOGITS, LABELS, epsilon=epsilon * 5 / 4),
        )


def test_with_two_classes_the_conventions_are_a_factor_two_apart():
    z, y = LOGITS[:, :2], LABELS % 2
    close(
        lossbook.label_smoothing(z, y, epsilon=0.1, mass="offclass"),
        lossbook.label_smoothing(z, y, epsilon=0.2),
    )


def test_smoothing_splits_into_the_label_and_the_uniform_distribution():
    """(1 - eps) CE(e, p) + eps CE(u, p), and CE(u, p) = KL(u, p) + log C."""
    epsilon, u = 0.1, torch.full_like(LOGITS, 1 / 5)
    loss = lossbook.label_smoothing(LOGITS, LABELS, epsilon=epsilon)
    hard = lossbook.cross_entropy(LOGITS, LABELS)
    log_p = LOGITS.log_softmax(-1)
    close(loss, (1 - epsilon) * hard + epsilon * lossbook.soft_cross_entropy(LOGITS, u))
    divergence = (u * (u.log() - log_p)).sum(-1)
    close(loss, (1 - epsilon) * hard + epsilon * (divergence + math.log(5)))


@pytest.mark.parametrize("classes", [2, 10])
def test_the_best_gap_is_finite_and_its_loss_the_entropy_of_the_target(classes):
    """The best p is q: gap log(q_y / q_k) = log(1 + C (1 - eps) / eps)."""
    epsilon = 0.1
    gap = math.log(1 + classes * (1 - epsilon) / epsilon)
    z = torch.zeros(1, classes, dtype=torch.float64)
    z[0, 0] = gap
    z.requires_grad_()
    y = torch.tensor([0])

    def loss(logits):
        return lossbook.label_smoothing(logits, y, epsilon=epsilon)

    q = torch.full((classes,), epsilon / classes, dtype=torch.float64)
    q[0] += 1 - epsilon
    close(gradient(loss, z), torch.zeros_like(z))
    close(loss(z.detach())[0], -(q * q.log()).sum())


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("epsilon", [0.1, 0.8])
def test_the_steepest_pull_of_smoothing(classes, epsilon):
    """At a certain and wrong class: norm^2 = 1 + (1 - eps)^2 - eps^2 / C."""
    wrong = 1000 * torch.eye(classes, dtype=torch.float64)[1]
    far = 30 * torch.randn(
        4000,
        classes,
        dtype=torch.float64,
        generator=torch.Generator().manual_seed(0),
    )
    z = torch.cat([wrong[None], far]).requires_grad_()
    y = torch.zeros(len(z), dtype=torch.int64)
    norms = gradient(
        lambda logits: lossbook.label_smoothing(logits, y, epsilon=epsilon), z
    ).norm(dim=-1)
    steepest = math.sqrt(1 + (1 - epsilon) ** 2 - epsilon**2 / classes)
    assert norms[0].item() == pytest.approx(steepest, rel=1e-12)
    assert norms.max().item() <= steepest + 1e-12


def test_offclass_mass_may_outweigh_the_label():
    """Above (C - 1) / C the best answer is any class but the label."""
    even = torch.zeros(1, 4, dtype=torch.float64, requires_grad=True)
    y = torch.tensor([0])
    pulls = [
        gradient(
            lambda z, e=e: lossbook.label_smoothing(z, y, epsilon=e, mass="offclass"),
            even,
        )[0, 0].item()
        for e in (0.74, 0.75, 0.76)
    ]
    assert pulls[0] < 0 < pulls[2]
    assert pulls[1] == pytest.approx(0, abs=1e-15)


def test_a_hopeless_label_does_not_swallow_the_other_classes():
    """At epsilon 1 the label counts for nothing; log 3 is left, also in float32."""
    z = torch.tensor([[-1e4, 0.0, 0.0, 0.0]])
    loss = lossbook.label_smoothing(z, torch.tensor([0]), epsilon=1.0, mass="offclass")
    assert loss.item() == pytest.approx(math.log(3), rel=1e-6)


def test_smoothing_makes_a_ruled_out_class_infinitely_costly():
    z = torch.tensor([[1.0, 0.0, -math.inf]], requires_grad=True)
    y = torch.tensor([0])
    assert lossbook.label_smoothing(z, y).item() == math.inf
    loss = lossbook.label_smoothing(z, y, epsilon=0.0)
    (found,) = torch.autograd.grad(loss.sum(), z)
    close(loss, lossbook.cross_entropy(z, y), 1e-6)
    assert found.isfinite().all()


def test_another_mass_is_refused():
    with pytest.raises(
        ValueError, match=r"^mass must be \"uniform\" or \"offclass\", got 'off'$"
    ):
        lossbook.label_smoothing(LOGITS, LABELS, mass="off")


def test_offclass_needs_another_class():
    message = (
        r'^mass="offclass" needs a second class to move mass to, got 1 class; '
        r'use mass="uniform"$'
    )
    with pytest.raises(ValueError, match=message):
        lossbook.label_smoothing(LOGITS[:, :1], 0 * LABELS, mass="offclass")


def test_mass_goes_through_a_criterion():
    criterion = lossbook.Criterion(
        lossbook.label_smoothing, epsilon=0.1, mass="offclass"
    )
    expected = lossbook.soft_cross_entropy(LOGITS, smoothed(0.1, "offclass")).mean()
    close(criterion(LOGITS, LABELS), expected)


def test_the_penalty_is_entropy_at_a_price():
    p = LOGITS.softmax(-1)
    entropy = -(p * p.log()).sum(-1)
    close(
        lossbook.confidence_penalty(LOGITS, LABELS, beta=0.7),
        lossbook.cross_entropy(LOGITS, LABELS) - 0.7 * entropy,
    )


def test_the_penalty_reaches_at_most_the_entropy_of_all_classes():
    """-log p_y >= 0 and H <= log C, so the loss stays above -beta log C."""
    classes = 100_000
    z = torch.zeros(1, classes, dtype=torch.float64)
    z[0, 0] = math.log(classes - 1)  # half of the mass at the label
    loss = lossbook.confidence_penalty(z, torch.tensor([0]), beta=1.0).item()
    by_hand = math.log(2) - (math.log(2) + 0.5 * math.log(classes - 1))
    assert loss == pytest.approx(by_hand, rel=1e-12)
    assert -math.log(classes) < loss < 0


def test_the_penalty_turns_round_where_certainty_costs_more():
    """Two classes: the slope in the margin m is -(1 - p) (1 - beta p m)."""
    beta = 0.5
    m = torch.linspace(-10, 10, 401, dtype=torch.float64)
    z = torch.stack([m, 0 * m], -1).requires_grad_()
    y = torch.zeros(len(m), dtype=torch.int64)
    found = gradient(
        lambda logits: lossbook.confidence_penalty(logits, y, beta=beta), z
    )[:, 0]
    p = m.sigmoid()
    close(found, -(1 - p) * (1 - beta * p * m))
    assert (found[p * m > 1 / beta] > 0).all()
    assert (found[p * m < 1 / beta] < 0).all()


def test_a_ruled_out_class_earns_no_entropy():
    z = torch.tensor([[1.0, 0.0, -math.inf]], dtype=torch.float64, requires_grad=True)
    y = torch.tensor([0])
    loss = lossbook.confidence_penalty(z, y)
    (found,) = torch.autograd.grad(loss.sum(), z)
    close(loss, lossbook.confidence_penalty(z[:, :2], y))
    assert found.isfinite().all()
    assert found[0, 2] == 0


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
def test_softened_probabilities_are_the_softmax_of_softened_logits(temperature):
    """softmax(t / T) is softmax(t)^(1/T), divided by its sum."""
    loss = lossbook.distillation(LOGITS, TEACHER.softmax(-1), temperature=temperature)
    q = (TEACHER / temperature).softmax(-1)
    p = (LOGITS / temperature).softmax(-1)
    close(loss, temperature**2 * (q * (q.log() - p.log())).sum(-1))


def test_a_temperature_may_learn_from_a_teacher_that_is_certain():
    """At q = e_y the loss is T^2 times cross-entropy of z / T."""
    temperature = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    z = torch.tensor([[1.0, 0.0, -1.0]], dtype=torch.float64)
    hard = torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64)
    slopes = [
        torch.autograd.grad(loss.sum(), temperature)[0]
        for loss in (
            lossbook.distillation(z, hard, temperature=temperature),
            temperature**2 * lossbook.soft_cross_entropy(z / temperature, hard),
        )
    ]
    torch.testing.assert_close(*slopes)


def test_distillation_is_zero_where_the_student_is_the_teacher():
    z = TEACHER.clone().requires_grad_()
    loss = lossbook.distillation(z + 3, TEACHER.softmax(-1))
    (found,) = torch.autograd.grad(loss.sum(), z)
    close(loss, torch.zeros_like(loss))
    close(found, torch.zeros_like(found))


def test_at_temperature_one_it_is_cross_entropy_less_the_teachers_entropy():
    q = TEACHER.softmax(-1)
    entropy = -(q * q.log()).sum(-1)
    close(
        lossbook.distillation(LOGITS, q, temperature=1.0),
        lossbook.soft_cross_entropy(LOGITS, q) - entropy,
    )


def test_at_high_temperature_the_gradient_is_the_gap_of_centered_logits():
    """T (p_T - q_T) tends to ((z - mean z) - (t - mean t)) / C, as fast as 1 / T."""
    z = LOGITS.clone().requires_grad_()
    gap = LOGITS - TEACHER
    limit = (gap - gap.mean(-1, keepdim=True)) / 5
    errors = []
    for temperature in (1e2, 1e3, 1e4):

        def loss(logits, temperature=temperature):
            q = TEACHER.softmax(-1)
            return lossbook.distillation(logits, q, temperature=temperature)

        errors.append((gradient(loss, z) - limit).abs().max().item())
    assert errors[1] == pytest.approx(errors[0] / 10, rel=0.2)
    assert errors[2] == pytest.approx(errors[1] / 10, rel=0.2)


def test_a_gap_too_wide_for_the_dtype_is_lost_at_every_temperature():
    """Probabilities hold what their dtype holds: float16 ends near a gap of 17."""
    teacher = torch.tensor([[30.0, 0.0]])
    student = torch.zeros(1, 2)
    full = lossbook.distillation(student, teacher.softmax(-1), temperature=10.0)
    half = lossbook.distillation(student, teacher.softmax(-1).half(), temperature=10.0)
    q = torch.tensor([3.0, 0.0], dtype=torch.float64).softmax(-1)
    exact = 100 * (q * (q / 0.5).log()).sum().item()
    assert full.item() == pytest.approx(exact, rel=1e-5)
    assert half.item() == pytest.approx(100 * math.log(2), rel=1e-5)


def test_a_small_divergence_keeps_its_digits_in_float32():
    """KL from a hard label is log(1 + 3 exp(-gap / T)), here times 400."""
    z = torch.tensor([[240.0, 0.0, 0.0, 0.0]])
    q = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    loss = lossbook.distillation(z, q, temperature=20.0).item()
    assert loss == pytest.approx(400 * math.log1p(3 * math.exp(-12)), rel=1e-5)


def test_a_class_that_neither_believes_in_adds_nothing():
    z = torch.tensor([[1.0, 0.0, -math.inf]], dtype=torch.float64, requires_grad=True)
    q = torch.tensor([[0.3, 0.7, 0.0]], dtype=torch.float64)
    loss = lossbook.distillation(z, q)
    (found,) = torch.autograd.grad(loss.sum(), z)
    close(loss, lossbook.distillation(z[:, :2], q[:, :2]))
    assert found.isfinite().all()
    assert lossbook.distillation(z, q.flip(-1)).item() == math.inf


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
def test_labels_in_the_place_of_a_teacher_soften_what_is_learned(temperature):
    """The best softmax is the posterior to the power T: proper at T = 1 alone."""
    eta = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
    labels = torch.eye(3, dtype=torch.float64)

    def expected(z):
        loss = lossbook.distillation(z.expand(3, 3), labels, temperature=temperature)
        return eta @ loss

    best = (temperature * eta.log()).requires_grad_()
    assert gradient(expected, best).abs().max() < 1e-12
    slope = gradient(expected, eta.log().requires_grad_()).abs().max().item()
    assert (slope < 1e-12) is (temperature == 1)
    teacher = lossbook.distillation(eta.log(), eta, temperature=temperature)
    assert abs(teacher.item()) < 1e-12
