"""Ordinary inputs at which losses in use elsewhere fail: nan, no gradient, wrong value.

Each row of the tables is a loss at parameters at which some public implementation is
known to go wrong; what happens there stands beside it. Value and gradient are compared
with the definition itself, evaluated with as many digits as it takes.
"""

import functools
from typing import NamedTuple

import mpmath
import pytest
import torch
from mpmath import mp

from lossbook import Criterion, cross_entropy, kernels
from lossbook.losses import CATALOGUE


class Row(NamedTuple):
    """A loss at parameters, and what happens elsewhere."""

    key: str
    params: dict
    elsewhere: str


GAPS = (20.0, 100.0, 1e4)
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# Below this, a loss or a gradient is nothing beside any other of its batch.
NOTHING = 1e-25

OF_P = {  # losses of the true class's probability, written as functions of it
    "cross_entropy": lambda p: -mp.log(p),
    "focal": lambda p, gamma: -((1 - p) ** gamma) * mp.log(p),
    "poly1": lambda p, epsilon: -mp.log(p) + epsilon * (1 - p),
    "gce": lambda p, q: (1 - p**q) / q,
    "mae": lambda p: 2 * (1 - p),
    "sce": lambda p, alpha, beta, log_zero: (
        -alpha * mp.log(p) - beta * log_zero * (1 - p)
    ),
}
ROWS_OF_P = [
    Row("cross_entropy", {}, "-log(softmax): inf, its gradient nan, wrong by 100"),
    Row("focal", {"gamma": 0.5}, "(1 - exp(-ce))^gamma: gradient nan, right by 20"),
    Row("focal", {"gamma": 2.0}, "1 - p: the last digits of the loss, right by 20"),
    Row("poly1", {"epsilon": 2.0}, "1 - p: as focal"),
    Row("gce", {"q": 0.7}, "p^q: gradient nan where p underflows"),
    Row("gce", {"q": 1.0}, "p^q: as above"),
    Row("gce", {"q": 0.1}, "clamped p: gradient wrong by a third, wrong by 20"),
    Row("mae", {}, "1 - p: as focal"),
    Row(
        "sce",
        {"alpha": 0.1, "beta": 1.0, "log_zero": -4.0},
        "clamped p: value 50 times too large, right by 20",
    ),
]

OF_LOGITS = {  # (logits, label) -> (loss, gradient), for five classes
    "label_smoothing": lambda z, y, epsilon: _smoothed(z, y, epsilon),
    "crammer_singer": lambda z, y: _hinges(z, y, max),
    "weston_watkins": lambda z, y: _hinges(z, y, sum),
}
ROWS_OF_LOGITS = [
    Row("label_smoothing", {"epsilon": 0.1}, "float16: value inf, wrong by 1e4"),
    Row("crammer_singer", {}, "half precision: not implemented, or no margin at 1e4"),
    Row("weston_watkins", {}, "half precision: not implemented, or no margin at 1e4"),
]

OF_SCORES = {  # (P(yes), P(no), target 0 or 1) -> loss
    "binary_cross_entropy": lambda yes, no, t: -mp.log(yes if t else no),
    "binary_focal": lambda yes, no, t, gamma, alpha: (
        -alpha * no**gamma * mp.log(yes)
        if t
        else -(1 - alpha) * yes**gamma * mp.log(no)
    ),
    "asymmetric": lambda yes, no, t, gamma_positive, gamma_negative, clip: (
        -(no**gamma_positive) * mp.log(yes)
        if t
        else -(max(yes - clip, 0) ** gamma_negative) * mp.log(no + min(yes, clip))
    ),
}
ROWS_OF_SCORES = [
    Row("binary_cross_entropy", {}, "of probabilities: no gradient, wrong by 100"),
    Row(
        "binary_focal",
        {"gamma": 0.5, "alpha": 0.25},
        "(1 - p_t)^gamma: gradient nan, right by 20",
    ),
    Row(
        "binary_focal",
        {"gamma": 2.0, "alpha": 0.5},
        "exponent gamma log(1 + exp(-score)): gradient nan, wrong by 100",
    ),
    Row(
        "asymmetric",
        {"gamma_positive": 0.0, "gamma_negative": 4.0, "clip": 0.05},
        'clamped p: no gradient for "yes" at -20',
    ),
    Row(
        "asymmetric",
        {"gamma_positive": 1.0, "gamma_negative": 2.0, "clip": 0.0},
        "clamped p: no gradient, wrong by 20",
    ),
]


def here(rows):
    """The rows whose loss is in the catalogue, named."""
    return [
        pytest.param(
            row,
            id="-".join([row.key, *(f"{n}={v:g}" for n, v in row.params.items())]),
        )
        for row in rows
        if row.key in CATALOGUE
    ]


def softmax_inputs():
    """Logits of five classes, one ahead or all large; the label right or wrong."""
    ahead = [([gap, 0.0, 0.0, 0.0, 0.0], y) for gap in GAPS for y in (0, 1)]
    return [*ahead, ([1e4] * 5, 0), ([-1e4] * 5, 0)]


def score_inputs():
    return [(sign * gap, t) for gap in GAPS for sign in (1, -1) for t in (1, 0)]


def enough_digits(gap):
    """A context in which log p keeps 40 digits, where the log-odds of p are `gap`.

    Where they are 300 or more, log p is nothing beside any other loss.
    """
    return mpmath.workdps(40 + int(min(gap, 300) / 2.3))


def others(z, y):
    return [k for k in range(len(z)) if k != y]


@functools.cache
def exact_of_p(key, params, logits, y):
    """Loss and gradient: in the margin, and from there on to the logits."""
    with enough_digits(max(logits) - min(logits)):
        z = [mp.mpf(each) for each in logits]
        mass = mp.fsum(mp.exp(z[k]) for k in others(z, y))

        def loss(margin):
            return OF_P[key](1 / (1 + mp.exp(-margin)), **dict(params))

        margin = z[y] - mp.log(mass)
        slope = mp.diff(loss, margin)
        gradient = [-slope * mp.exp(each) / mass for each in z]
        gradient[y] = slope
        return float(loss(margin)), [float(each) for each in gradient]


@functools.cache
def exact_of_logits(key, params, logits, y):
    with enough_digits(0):
        z = [mp.mpf(each) for each in logits]
        loss, gradient = OF_LOGITS[key](z, y, **dict(params))
        return float(loss), [float(each) for each in gradient]


def _smoothed(z, y, epsilon):
    total = mp.fsum(mp.exp(each) for each in z)
    q = [epsilon / mp.mpf(len(z)) + (1 - mp.mpf(epsilon)) * (k == y) for k in range(5)]
    loss = -mp.fsum(q_k * (z_k - mp.log(total)) for q_k, z_k in zip(q, z, strict=True))
    return loss, [mp.exp(z[k]) / total - q[k] for k in range(5)]


def _hinges(z, y, joined):
    hinges = {k: max(mp.mpf(0), 1 + z[k] - z[y]) for k in others(z, y)}
    loss = joined(hinges.values())
    gradient = [mp.mpf(0)] * len(z)
    counted = [k for k, hinge in hinges.items() if hinge > 0]
    if joined is max and counted:
        counted = [k for k in counted if hinges[k] == loss]
    for k in counted:  # of tied rivals, each has its share in the maximum's slope
        share = mp.mpf(1) / len(counted) if joined is max else mp.mpf(1)
        gradient[k] += share
        gradient[y] -= share
    return loss, gradient


@functools.cache
def exact_of_score(key, params, score, t):
    with enough_digits(abs(score)):

        def loss(s):
            yes, no = 1 / (1 + mp.exp(-s)), 1 / (1 + mp.exp(s))
            return OF_SCORES[key](yes, no, t, **dict(params))

        return float(loss(mp.mpf(score))), [float(mp.diff(loss, mp.mpf(score)))]


def found(loss, first, *rest):
    """Value, in float32, and gradient, in the input's dtype."""
    first = first.clone().requires_grad_()
    value = loss(first, *rest)
    (gradient,) = torch.autograd.grad(value.sum(), first)
    assert value.dtype is torch.float32
    assert gradient.dtype is first.dtype
    return value.detach().double(), gradient.double()


def assert_right(value, gradient, exact, dtype, ties=False):
    """Both have the digits that their dtype can hold."""
    loss, slopes = exact
    close = functools.partial(torch.testing.assert_close, rtol=1e-5, atol=NOTHING)
    close(value, torch.full_like(value, loss))
    if not ties:
        unit = torch.finfo(dtype)
        torch.testing.assert_close(
            gradient.flatten(),
            torch.tensor(slopes, dtype=torch.float64),
            rtol=max(2 * unit.eps, 1e-5),
            atol=max(2 * unit.smallest_normal * unit.eps, NOTHING),
        )


def stored(numbers, dtype):
    """A tensor, and the numbers that it really holds."""
    tensor = torch.tensor(numbers, dtype=torch.float64).to(dtype)
    return tensor, tuple(tensor.double().flatten().tolist())


@pytest.mark.parametrize("form", ["plain", "fused"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("row", here([*ROWS_OF_P, *ROWS_OF_LOGITS]))
def test_losses_of_logits(row, dtype, form):
    oracle = exact_of_p if row.key in OF_P else exact_of_logits
    loss = functools.partial(CATALOGUE[row.key].fn, **row.params)
    for numbers, y in softmax_inputs():
        logits, held = stored([numbers], dtype)
        with kernels.force(form):
            value, gradient = found(loss, logits, torch.tensor([y]))
        exact = oracle(row.key, tuple(row.params.items()), held, y)
        # Where the best rival is tied, the largest hinge has no gradient.
        ties = row.key == "crammer_singer" and len(set(numbers)) == 1
        assert_right(value, gradient, exact, dtype, ties)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("row", here(ROWS_OF_SCORES))
def test_losses_of_scores(row, dtype):
    loss = functools.partial(CATALOGUE[row.key].fn, **row.params)
    for number, t in score_inputs():
        score, (held,) = stored([number], dtype)
        value, gradient = found(loss, score, torch.tensor([float(t)], dtype=dtype))
        exact = exact_of_score(row.key, tuple(row.params.items()), held, t)
        assert_right(value, gradient, exact, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_masked_class_without_target_counts_for_nothing(dtype):
    """Elsewhere: 0 times minus infinity, nan."""
    loss = CATALOGUE["soft_cross_entropy"].fn
    logits, targets = torch.tensor([[2.0, 0.5, 1.0]]), torch.tensor([[0.5, 0.0, 0.5]])
    masked = torch.tensor([[2.0, -torch.inf, 1.0]])
    value, gradient = found(loss, masked.to(dtype), targets)
    rest, rest_gradient = found(loss, logits[:, ::2].to(dtype), targets[:, ::2])
    torch.testing.assert_close(value, rest)
    torch.testing.assert_close(gradient[:, ::2], rest_gradient)
    assert gradient[0, 1] == 0


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(
    "options", [{"weight": [0.0, 0.0, 1.0]}, {"ignore_index": 1}], ids=str
)
def test_a_batch_that_counts_for_nothing(options, reduction):
    """Elsewhere: the mean of no weight, nan, and so is its gradient."""
    logits = torch.tensor([[2.0, 0.0, 1.0], [-100.0, 1e4, 0.0]], requires_grad=True)
    loss = Criterion(cross_entropy, reduction=reduction, **options)(
        logits, torch.tensor([1, 1])
    )
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_the_rows_are_of_known_losses():
    rows = [*ROWS_OF_P, *ROWS_OF_LOGITS, *ROWS_OF_SCORES]
    assert {row.key for row in rows} == {*OF_P, *OF_LOGITS, *OF_SCORES}


def test_every_row_has_its_loss():
    assert {*OF_P, *OF_LOGITS, *OF_SCORES} <= set(CATALOGUE)
