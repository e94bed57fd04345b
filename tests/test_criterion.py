"""Criterion is nn.CrossEntropyLoss for any loss, with nothing lost."""

import copy
import itertools
import pickle

import numpy as np
import pytest
import torch
from torch import nn

import lossbook
from benchmarks.measure import peak_bytes
from lossbook import Criterion, kernels
from lossbook.losses import CATALOGUE

SHAPES = {
    "(C,)": ((4,), ()),
    "(N, C)": ((6, 4), (6,)),
    "(N, C, d1)": ((3, 4, 5), (3, 5)),
    "(N, C, d1, d2)": ((2, 4, 3, 5), (2, 3, 5)),
}
WEIGHTS = {"none": None, "weights": [0.5, 1.0, 2.0, 0.0]}
IGNORED = {"torch's": -100, "a class": 2, "255": 255}


def batch(shape, ignore_index):
    rng = np.random.default_rng(0)
    logits = torch.tensor(rng.normal(size=SHAPES[shape][0]))
    labels = torch.tensor(rng.choice([0, 1, 3], size=SHAPES[shape][1]))
    if labels.ndim:
        labels.flatten()[::3] = ignore_index
    return logits, labels


@pytest.mark.parametrize(
    ("shape", "weight", "ignored", "reduction"),
    list(itertools.product(SHAPES, WEIGHTS, IGNORED, ["mean", "sum", "none"])),
)
def test_it_is_torchs_criterion(shape, weight, ignored, reduction):
    index, w = IGNORED[ignored], WEIGHTS[weight]
    logits, labels = batch(shape, index)
    mine = Criterion(
        lossbook.cross_entropy, weight=w, ignore_index=index, reduction=reduction
    )
    theirs = nn.CrossEntropyLoss(
        weight=None if w is None else torch.tensor(w, dtype=torch.float64),
        ignore_index=index,
        reduction=reduction,
    )
    a, b = (logits.clone().requires_grad_() for _ in range(2))
    loss, expected = mine(a, labels), theirs(b, labels)
    torch.testing.assert_close(loss, expected)
    loss.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(a.grad, b.grad)


ELEMENTWISE = [k for k, card in CATALOGUE.items() if card.kind in ("margin", "binary")]


def sample(key):
    """Scores of the loss, with a gradient, and their truth; some of it soft."""
    scores, truth = CATALOGUE[key].sample(np.random.default_rng(0), 40)
    return torch.tensor(scores).requires_grad_(), torch.tensor(truth)


def derivatives(loss, scores):
    """The gradient, the same as a graph, and the gradient of its sum of squares."""
    (gradient,) = torch.autograd.grad(loss, scores, retain_graph=True)
    (graph,) = torch.autograd.grad(loss, scores, create_graph=True)
    if not graph.requires_grad:
        return [gradient, graph]
    return [gradient, graph, *torch.autograd.grad(graph.square().sum(), scores)]


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("form", ["fused", "plain"])
@pytest.mark.parametrize("key", ELEMENTWISE)
def test_the_sum_is_that_of_the_losses(key, form, reduction, monkeypatch):
    """Where they are fused they are never formed one by one."""
    monkeypatch.setattr(kernels, "ELEMENTS", 12)
    loss, (scores, truth) = CATALOGUE[key].fn, sample(key)
    with kernels.force(form):
        found = Criterion(loss, reduction=reduction)(scores, truth)
        expected = getattr(loss(scores, truth), reduction)()
    torch.testing.assert_close(found, expected)
    pairs = zip(*(derivatives(x, scores) for x in (found, expected)), strict=True)
    for mine, theirs in pairs:
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("key", ["binary_cross_entropy", "squared_hinge"])
def test_a_second_backward_pass_of_the_sum_is_like_the_first(key):
    scores, truth = sample(key)
    with kernels.force("fused"):
        loss = 3 * Criterion(CATALOGUE[key].fn)(scores, truth)
        first, second = (
            torch.autograd.grad(loss, scores, retain_graph=True)[0] for _ in range(2)
        )
    assert torch.equal(first, second)
    with kernels.force("plain"):
        each = CATALOGUE[key].fn(scores, truth)
    (expected,) = torch.autograd.grad(3 * each.mean(), scores)
    torch.testing.assert_close(first, expected)


def test_only_the_sum_of_all_is_formed_at_once():
    """Each loss is still there where it is asked for, or weighed."""
    scores, truth = sample("binary_cross_entropy")
    weight = torch.linspace(0, 1, len(scores)).double()
    with kernels.force("fused"):
        each = Criterion(lossbook.binary_cross_entropy, reduction="none")(scores, truth)
        weighed = Criterion(lossbook.binary_cross_entropy)(
            scores, truth, sample_weight=weight
        )
    torch.testing.assert_close(each, lossbook.binary_cross_entropy(scores, truth))
    torch.testing.assert_close(weighed, (weight * each).sum() / weight.sum())


def test_a_loss_of_ones_own_that_adds_up_losses_is_taken_as_it_is():
    def one_against_the_rest(logits, labels):
        answers = nn.functional.one_hot(labels, logits.shape[-1]).to(logits.dtype)
        return lossbook.binary_cross_entropy(logits, answers).sum(-1)

    logits, labels = torch.randn(6, 4).double(), torch.arange(6) % 4
    with kernels.force("fused"):
        found = Criterion(one_against_the_rest)(logits, labels)
        expected = one_against_the_rest(logits, labels).mean()
    torch.testing.assert_close(found, expected)


def test_bad_truth_leaves_no_trace():
    """After an error a loss returns one loss a number again."""
    scores, truth = sample("binary_cross_entropy")
    with kernels.force("fused"):
        with pytest.raises(ValueError, match="between 0 and 1, got 2"):
            Criterion(lossbook.binary_cross_entropy)(scores, truth + 1)
        assert lossbook.binary_cross_entropy(scores, truth).shape == scores.shape


@pytest.mark.parametrize("key", ["binary_cross_entropy", "squared_hinge"])
def test_a_mean_of_many_numbers_takes_little_memory(key):
    """Counted exactly: the gradient, and what a block needs."""
    scores = torch.linspace(-5, 5, 2**22).requires_grad_()
    truth = torch.ones_like(scores)

    def step():
        Criterion(CATALOGUE[key].fn)(scores, truth).backward()
        scores.grad = None

    assert peak_bytes(step) <= 1.2 * scores.nbytes


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_a_batch_of_ignored_labels_is_zero(reduction):
    logits = torch.randn(3, 4, requires_grad=True)
    labels = torch.full((3,), -100)
    loss = Criterion(lossbook.cross_entropy, reduction=reduction)(logits, labels)
    loss.sum().backward()
    assert not loss.any()
    assert not logits.grad.any()


def test_an_empty_batch_is_zero():
    loss = Criterion(lossbook.cross_entropy)(torch.zeros(0, 4), torch.zeros(0).long())
    assert loss == 0


def test_all_weights_zero_is_zero():
    logits = torch.randn(2, 2, requires_grad=True)
    criterion = Criterion(lossbook.cross_entropy, weight=[1.0, 0.0])
    criterion(logits, torch.tensor([1, 1])).backward()
    assert not logits.grad.any()


def test_what_is_ignored_may_be_nan():
    logits = torch.randn(3, 4)
    logits[1] = torch.nan
    logits.requires_grad_()
    labels = torch.tensor([0, -100, 2])
    loss = Criterion(lossbook.focal)(logits, labels)
    loss.backward()
    keep = [0, 2]
    expected = lossbook.focal(logits[keep], labels[keep]).mean()
    torch.testing.assert_close(loss, expected)
    assert logits.grad[keep].isfinite().all()
    assert not logits.grad[1].any()


def test_sample_weights_repeat_examples():
    logits, labels = torch.randn(3, 4), torch.tensor([0, 1, 2])
    criterion = Criterion(lossbook.focal, weight=[1.0, 2.0, 3.0, 4.0])
    weighted = criterion(logits, labels, sample_weight=torch.tensor([1.0, 0.0, 3.0]))
    index = torch.tensor([0, 2, 2, 2])
    torch.testing.assert_close(weighted, criterion(logits[index], labels[index]))


def test_parameters_reach_the_loss():
    logits, labels = torch.randn(3, 4), torch.tensor([0, 1, 2])
    expected = lossbook.focal(logits, labels, gamma=1.5).mean()
    assert Criterion(lossbook.focal, gamma=1.5)(logits, labels) == expected


def test_a_tensor_parameter_moves_with_the_module():
    criterion = Criterion(lossbook.focal, gamma=torch.tensor(1.0)).double()
    assert criterion.gamma.dtype is torch.float64


def test_a_learnable_parameter_is_a_parameter():
    gamma = nn.Parameter(torch.tensor(1.0))
    criterion = Criterion(lossbook.focal, gamma=gamma)
    criterion(torch.randn(3, 4), torch.tensor([0, 1, 2])).backward()
    assert list(criterion.parameters()) == [gamma]
    assert gamma.grad.isfinite()


def test_losses_without_classes_keep_their_shape():
    scores, signs = torch.randn(2, 3), torch.ones(2, 3)
    found = Criterion(lossbook.logistic, reduction="none")(scores, signs)
    torch.testing.assert_close(found, lossbook.logistic(scores, signs))


def test_soft_targets_move_with_the_classes():
    logits, targets = torch.randn(2, 4, 3), torch.rand(2, 4, 3).softmax(1)
    found = Criterion(lossbook.soft_cross_entropy)(logits, targets)
    torch.testing.assert_close(found, nn.CrossEntropyLoss()(logits, targets))


def test_it_pickles_and_copies():
    criterion = Criterion(lossbook.focal, gamma=1.0, weight=[1.0, 2.0])
    logits, labels = torch.randn(3, 2), torch.tensor([0, 1, 1])
    for twin in (pickle.loads(pickle.dumps(criterion)), copy.deepcopy(criterion)):
        assert twin(logits, labels) == criterion(logits, labels)


def test_its_repr_tells_what_it_does():
    criterion = Criterion(lossbook.focal, gamma=1.0)
    assert repr(criterion) == "Criterion(focal, gamma=1.0, reduction='mean')"


def test_no_loss_has_a_parameter_with_a_name_of_criterion():
    own = {"weight", "ignore_index", "reduction", "class_axis", "validate"}
    own |= set(dir(nn.Module()))
    assert not [key for key, card in CATALOGUE.items() if own & set(card.params)]


Z, Y = torch.zeros(2, 3), torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: Criterion(lossbook.focal, gama=1.0),
            "gama must be a parameter of the loss, which has gamma",
        ),
        (
            lambda: Criterion(lossbook.cross_entropy, gamma=1.0),
            "gamma must be a parameter of the loss, which has none",
        ),
        (
            lambda: Criterion(lossbook.focal, reduction="average"),
            'reduction must be "mean", "sum" or "none", got \'average\'',
        ),
        (
            lambda: Criterion(lossbook.logistic, weight=[1.0]),
            "weight must belong to a loss of integer labels, got one for a loss of "
            "kind 'margin'; use sample_weight at the call",
        ),
        (
            lambda: Criterion(lossbook.focal, weight=[1.0, -1.0]),
            "weight must be finite and not negative, got [1.0, -1.0]",
        ),
        (
            lambda: Criterion(lossbook.focal, weight=[[1.0]]),
            "weight must hold one number a class, shape (C,), got (1, 1)",
        ),
        (
            lambda: Criterion(lossbook.focal, weight=[1.0, 2.0])(Z, Y),
            "weight must hold one number a class: there are 3 classes, got 2 weights",
        ),
        (
            lambda: Criterion(lossbook.focal)(Z, Y, sample_weight=torch.ones(3)),
            "sample_weight must have one entry an example, shape (2,), got (3,)",
        ),
        (
            lambda: Criterion(lossbook.focal)(Z, torch.tensor([0, 3])),
            "labels must lie in 0..2 (there are 3 classes), got 3",
        ),
        (
            lambda: Criterion(lossbook.focal, class_axis=2)(Z, Y),
            "class_axis must be an axis of the logits, which have shape (2, 3), got 2",
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises((ValueError, TypeError)) as refusal:
        call()
    assert str(refusal.value) == message


def test_values_can_be_checked_where_reading_costs():
    criterion = Criterion(lossbook.focal, validate=True)
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.2"):
        criterion(Z, torch.tensor([0, 3]))
