"""The fused form: chosen where it may run, and equal to the plain one there."""

import numpy as np
import pytest
import torch

import lossbook
from lossbook import kernels, ops
from lossbook.losses import CATALOGUE

PSI = [k for k, c in CATALOGUE.items() if c.formula and c.formula.variable == "p"]
PSI = [k for k in PSI if CATALOGUE[k].kind == "labels"]


def batch(n=40, classes=5, dtype=torch.float64):
    rng = np.random.default_rng(0)
    logits = torch.tensor(4 * rng.normal(size=(n, classes)), dtype=dtype)
    return logits.requires_grad_(), torch.tensor(rng.integers(classes, size=n))


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


@pytest.mark.parametrize("key", PSI)
def test_many_blocks_equal_one(key, monkeypatch):
    monkeypatch.setattr(kernels, "BLOCK", 15)  # three rows a block, and a rest
    logits, labels = batch()
    with kernels.force("fused"):
        fused = getattr(lossbook, key)(logits, labels)
    with kernels.force("plain"):
        plain = getattr(lossbook, key)(logits, labels)
    torch.testing.assert_close(fused, plain)
    for upstream in (torch.ones(40), torch.linspace(-1, 2, 40)):
        grads = [
            torch.autograd.grad(x, logits, upstream.double(), retain_graph=True)[0]
            for x in (fused, plain)
        ]
        torch.testing.assert_close(*grads)


def test_large_input_takes_the_fused_form(fused_calls):
    logits, labels = batch(2**13, 16, torch.float32)
    lossbook.cross_entropy(logits, labels)
    assert fused_calls == [(2**13, 16)]


def test_small_input_takes_the_plain_form(fused_calls):
    lossbook.cross_entropy(*batch())
    assert not fused_calls


# torch's own forward mode warns of its use of torch.jit.
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
@pytest.mark.parametrize(
    "call",
    [
        lambda z, y: torch.func.grad(lambda a: lossbook.focal(a, y).sum())(z),
        lambda z, y: torch.func.vmap(lossbook.focal)(z[None], y[None]),
        lambda z, y: torch.func.jvp(lambda a: lossbook.focal(a, y), (z,), (z,)),
        lambda z, y: lossbook.focal(z, y, gamma=torch.tensor(1.0)),
    ],
    ids=["grad", "vmap", "jvp", "tensor parameter"],
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


def test_an_unknown_form_is_refused():
    with (
        pytest.raises(
            ValueError, match='form must be "fused" or "plain", got \'fast\''
        ),
        kernels.force("fast"),
    ):
        pass


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


def test_the_margin_of_a_label_is_its_log_odds():
    logits, labels = batch()
    p = logits.softmax(-1).gather(-1, labels[:, None])[:, 0]
    torch.testing.assert_close(ops.label_margin(logits, labels), (p / (1 - p)).log())
