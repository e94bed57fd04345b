"""Diagnostics, on models whose answer is known."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import lossbook
from lossbook import diagnose

RNG = np.random.default_rng(0)


def quadratic(eigenvalues):
    """A parameter w at 1, ..., 1, and 1/2 w^T A w with these eigenvalues of A."""
    n = len(eigenvalues)
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(n, n)))
    matrix = torch.tensor(turn @ np.diag(eigenvalues) @ turn.T)
    w = torch.ones(n, 1, dtype=torch.float64, requires_grad=True)
    return w, matrix, lambda: 0.5 * (w.T @ matrix @ w).sum()


def test_a_line_through_a_quadratic_is_a_parabola():
    w, matrix, objective = quadratic([3.0, 1.0, 0.5])
    d = torch.tensor([[1.0], [2.0], [-1.0]], dtype=torch.float64)
    found = diagnose.line([w], objective, direction=[d], reach=2.0, steps=9)
    moved = [w.detach() + a * d for a in found.at]
    expected = [float(0.5 * (v.T @ matrix @ v).sum()) for v in moved]
    np.testing.assert_allclose(found.values, expected)
    assert (w == 1).all()


def test_a_plane_holds_its_lines():
    w, _, objective = quadratic([3.0, 1.0, 0.5])
    a, b = (torch.randn(3, 1, dtype=torch.float64) for _ in range(2))
    found = diagnose.plane([w], objective, directions=([a], [b]), steps=5)
    first = diagnose.line([w], objective, direction=[a], steps=5)
    second = diagnose.line([w], objective, direction=[b], steps=5)
    np.testing.assert_allclose(found.values[:, 2], first.values)
    np.testing.assert_allclose(found.values[2], second.values)


def test_between_two_solutions_lie_both():
    w, _, objective = quadratic([3.0, 1.0, 0.5])
    other = [torch.zeros(3, 1, dtype=torch.float64)]
    found = diagnose.between([w], objective, other, steps=5, beyond=0.0)
    assert found.values[0] == pytest.approx(float(objective().detach()))
    assert found.values[-1] == pytest.approx(0.0)


def test_parameters_come_back_after_an_error():
    w = torch.ones(2, 1, requires_grad=True)

    def objective():
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        diagnose.line([w], objective)
    assert (w == 1).all()


def network(scale):
    """Two layers of ReLUs: the first times `scale`, the second divided by it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 3)).double()
    with torch.no_grad():
        model[0].weight.mul_(scale)
        model[0].bias.mul_(scale)
        model[2].weight.div_(scale)
    inputs = torch.tensor(np.random.default_rng(2).normal(size=(40, 3)))
    labels = torch.arange(40) % 3

    def objective():
        return lossbook.cross_entropy(model(inputs), labels).mean()

    return list(model.parameters()), objective


def test_rescaled_networks_have_one_surface():
    """A network of ReLUs that computes the same must not look flatter."""
    slices = [
        diagnose.line(*network(scale), rng=np.random.default_rng(3)).values
        for scale in (1.0, 30.0)
    ]
    np.testing.assert_allclose(*slices, rtol=1e-9)
    parameters, objective = network(30.0)
    naive = [torch.randn_like(p) for p in parameters]
    flat = diagnose.line(parameters, objective, direction=naive, reach=0.1).values
    assert abs(flat - slices[0]).max() > 0.01


def test_filters_keep_their_lengths_and_vectors_stand_still():
    parameters, _ = network(2.0)
    direction = diagnose.random_direction(parameters, rng=RNG)
    torch.testing.assert_close(
        direction[0].norm(dim=1), parameters[0].detach().norm(dim=1)
    )
    assert (direction[1] == 0).all()


@pytest.mark.parametrize("eigenvalues", [[5.0, 2.0, 0.1], [-4.0, 3.0, 1.0]])
def test_the_largest_curvature_is_found_with_its_sign(eigenvalues):
    w, _, objective = quadratic(eigenvalues)
    found = diagnose.top_eigenvalue([w], objective, rng=RNG, tolerance=1e-9)
    assert found == pytest.approx(eigenvalues[0], rel=1e-4)


@pytest.mark.parametrize("other", [-1.0, -0.9999, 0.9999])
def test_curvatures_of_about_one_size_are_not_mixed(other):
    """A saddle bends up and down alike; a mean of the two is no curvature of it."""
    w, _, objective = quadratic([1.0, other, 0.3])
    found = diagnose.top_eigenvalue([w], objective, rng=RNG)
    assert abs(found) == pytest.approx(1.0, abs=2e-4)


def test_a_single_parameter_has_one_curvature():
    w = torch.tensor([3.0], requires_grad=True)
    found = diagnose.top_eigenvalue([w], lambda: -2 * w.square().sum(), rng=RNG)
    assert found == pytest.approx(-4.0)


def test_a_linear_loss_has_no_curvature():
    w = torch.ones(3, 1, requires_grad=True)
    assert diagnose.top_eigenvalue([w], lambda: 2 * w.sum(), rng=RNG) == 0.0


def test_the_curvature_of_cross_entropy_in_the_logits():
    """Two classes that share all probability reach one half."""
    z = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    found = diagnose.top_eigenvalue(
        [z], lambda: lossbook.cross_entropy(z, torch.tensor([0])).sum(), rng=RNG
    )
    assert found == pytest.approx(0.5)


def batch(n=60):
    rng = np.random.default_rng(4)
    logits = torch.tensor(3 * rng.normal(size=(n, 4)))
    return logits, torch.tensor(rng.integers(4, size=n))


def test_pulls_and_weights_are_the_gradient_factor():
    logits, labels = batch()
    p = logits.softmax(-1)
    e_y = torch.nn.functional.one_hot(labels, 4)
    p_y = p.gather(-1, labels[:, None])[:, 0]
    pull = diagnose.pulls(lossbook.gce, logits, labels)
    torch.testing.assert_close(pull, p_y**0.7 * (p - e_y).norm(dim=-1))
    weight = diagnose.effective_weights(lossbook.gce, logits, labels)
    torch.testing.assert_close(weight, p_y**0.7)


def test_shares_sum_to_one_and_count_what_they_name():
    logits, labels = batch()
    pull = diagnose.pulls(lossbook.cross_entropy, logits, labels)
    by_class = diagnose.share_by_class(pull, labels, 5)
    assert by_class.sum() == pytest.approx(1)
    assert by_class[4] == 0
    np.testing.assert_allclose(by_class[1], (pull[labels == 1].sum() / pull.sum()))
    by_ease = diagnose.share_by_ease(pull, logits, labels)
    p_y = logits.softmax(-1).gather(-1, labels[:, None])[:, 0]
    np.testing.assert_allclose(by_ease[0], pull[p_y < 0.5].sum() / pull.sum())
    assert by_ease.sum() == pytest.approx(1)


def test_terms_that_pull_against_each_other():
    w = torch.tensor([[1.0], [2.0]], requires_grad=True)
    along = diagnose.gradient_cosine([w], lambda: w[0].sum(), lambda: 3 * w[0].sum())
    across = diagnose.gradient_cosine([w], lambda: w[0].sum(), lambda: w[1].sum())
    against = diagnose.gradient_cosine([w], lambda: w.sum(), lambda: -w.sum())
    assert (along, across) == (pytest.approx(1), pytest.approx(0))
    assert against == pytest.approx(-1)
    still = diagnose.gradient_cosine([w], lambda: w.sum(), lambda: (0 * w).sum())
    assert math.isnan(still)


def test_bad_requests_are_refused():
    w, _, objective = quadratic([1.0, 2.0])
    with pytest.raises(ValueError, match="steps must be at least 2, got 1"):
        diagnose.line([w], objective, steps=1)
    with pytest.raises(
        ValueError, match=r"one tensor a parameter, of its shape: \[\(2"
    ):
        diagnose.between([w], objective, [torch.zeros(3, 1)])
