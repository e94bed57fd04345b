"""Brier and spherical score: what no card can say."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

import lossbook
from lossbook.losses import CATALOGUE

RNG = np.random.default_rng(0)
LOGITS = torch.tensor(3 * RNG.normal(size=(200, 4)))
LABELS = torch.tensor(RNG.integers(4, size=200))


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_brier_of_two_classes_is_twice_the_square():
    z, y = LOGITS[:, :2], LABELS % 2
    p_y = z.softmax(-1)[torch.arange(len(y)), y]
    close(lossbook.brier(z, y), 2 * (1 - p_y) ** 2)


def test_brier_by_hand():
    """p = (1/2, 1/3, 1/6), label 1: 1/4 + 4/9 + 1/36 = 26/36."""
    z = torch.tensor([[1 / 2, 1 / 3, 1 / 6]], dtype=torch.float64).log()
    loss = lossbook.brier(z, torch.tensor([1]))
    assert loss.item() == pytest.approx(26 / 36, rel=1e-12)


def test_brier_keeps_its_digits_where_p_rounds_to_one():
    """Two classes, margin 40: 2 exp(-80), to the precision of float32."""
    loss = lossbook.brier(torch.tensor([[40.0, 0.0]]), torch.tensor([0]))
    assert loss.item() == pytest.approx(2 * math.exp(-80), rel=1e-5, abs=0)


def test_spherical_by_hand():
    """p = (1/2, 1/3, 1/6), label 1: -(1/3) / sqrt(14/36) = -2 / sqrt(14)."""
    z = torch.tensor([[1 / 2, 1 / 3, 1 / 6]], dtype=torch.float64).log()
    loss = lossbook.spherical_score(z, torch.tensor([1]))
    assert loss.item() == pytest.approx(-2 / math.sqrt(14), rel=1e-12)


def test_spherical_is_gce_at_one_half_of_doubled_logits():
    """-sqrt(p) = (1 - sqrt(p)) / (1/2) / 2 - 1, with p the softmax of 2 z at y."""
    close(
        lossbook.spherical_score(LOGITS, LABELS),
        lossbook.gce(2 * LOGITS, LABELS, q=0.5) / 2 - 1,
    )


@pytest.mark.parametrize("key", ["brier", "spherical_score"])
def test_a_certain_mistake_has_no_pull(key):
    """Bounded in the logits, hence flat at the far end, as MAE is."""
    margin = torch.tensor([0.0, -5.0, -20.0], dtype=torch.float64)
    z = torch.stack([margin, 0 * margin], -1).requires_grad_()
    loss = getattr(lossbook, key)(z, torch.zeros(3, dtype=torch.int64))
    (found,) = torch.autograd.grad(loss.sum(), z)
    norms = found.norm(dim=-1)
    assert norms[0] > 10 * norms[1] > 1e4 * norms[2] > 0


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("key", ["brier", "spherical_score"])
def test_no_climb_finds_a_steeper_gradient_than_the_card(key, classes):
    """Maximize the norm of the gradient from 20 starts."""
    card = CATALOGUE[key]

    def less_steep(z):
        _, slope = card.ref(z[None], np.array([0]))
        return -np.linalg.norm(slope)

    rng = np.random.default_rng(0)
    starts = 2 * rng.normal(size=(20, classes))
    steepest = max(-minimize(less_steep, start).fun for start in starts)
    assert steepest == pytest.approx(card.properties.lipschitz, abs=1e-6)
