"""Try to refute each property on a card.

A refuter returns how far the property is violated on many inputs. A card that says
True must survive; a card that says False must be refuted: the input at which it is
becomes the witness.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossbook.card import LossCard
from lossbook.check._calls import (
    EXAMPLES,
    covers,
    gap,
    made,
    nothing,
    rng,
    settled,
    tensors,
    value_and_gradient,
)
from lossbook.evidence import Evidence

Params = Mapping[str, Any]
Refuter = Callable[[LossCard, Params], float]
TOLERANCE = 1e-9
FAR = 60.0  # the widest gap of logits that the refuters look at

PROPERTIES: dict[str, Refuter] = {}  # true-or-false properties, by name


def refutes(refuter: Refuter) -> Refuter:
    """Enter a refuter under its function's name."""
    PROPERTIES[refuter.__name__] = refuter
    return refuter


@covers(*EXAMPLES)
def properties(card: LossCard) -> Evidence:
    """Every property on the card stands, over the whole range of the parameters."""

    def cases() -> Iterator[tuple[str, float]]:
        special = (card.defaults() | {**case.params} for case in card.special_cases)
        for params in (*card.settings(6), *special):
            for name in PROPERTIES:
                yield _verdict(card, name, params)
            for name in ("lower", "upper", "lipschitz"):
                yield _bound(card, name, params)

    return settled(card, "every property on the card stands", cases(), 0.0)


def property_of(card: LossCard, name: str) -> Evidence:
    """Check one property of a card, such as `convex`, over the parameters' range.

    Raises:
        Refuted: if the card says what is not so.
        ValueError: for a name that is no property.
    """
    known = [*PROPERTIES, "lower", "upper", "lipschitz"]
    if name not in known:
        raise ValueError(f"name must be one of {', '.join(known)}, got {name!r}")
    judge = _verdict if name in PROPERTIES else _bound

    def cases() -> Iterator[tuple[str, float]]:
        for params in card.settings(6):
            yield judge(card, name, params)

    words = name.replace("_", " ")
    return settled(card, f"refuter and card agree on '{words}'", cases(), 0.0)


def _verdict(card: LossCard, name: str, params: Params) -> tuple[str, float]:
    """Return 0 if the card is right about a true-or-false property."""
    stated = card.states(name, params)
    if stated is None:
        return f"{name} (nothing is stated)", 0.0
    violation = PROPERTIES[name](card, params)
    wrong = (violation <= TOLERANCE) != stated
    case = f"{name} = {stated} at {dict(params)} (violated by {violation:.3g}), which"
    return case, float(wrong)


def _bound(card: LossCard, name: str, params: Params) -> tuple[str, float]:
    """Return 0 if a bound is not passed and, up to 1 % (1e-4 at 0), reached."""
    stated = card.states(name, params)
    if stated is None:
        return f"{name} (nothing is stated)", 0.0
    low, high, steepest = _range(card, params)
    found = {"lower": -low, "upper": high, "lipschitz": steepest}[name]
    bound = -stated if name == "lower" else stated
    if np.isinf(bound):
        wrong = found < FAR / 2
    else:
        slack = 1e-6 * (1 + abs(bound))
        wrong = not bound - 1e-2 * (abs(bound) + 1e-2) <= found <= bound + slack
    case = f"{name} = {stated:.6g} at {dict(params)} (reached {found:.6g}), which"
    return case, float(wrong)


def _range(card: LossCard, params: Params) -> tuple[float, float, float]:
    """Return the least loss, the largest loss, and the steepest gradient seen."""
    losses, steepest = [], []
    for arrays in (_path(card), card.sample(rng(), 2000), _far(card)):
        loss, gradient = value_and_gradient(card, arrays, params)
        norms = gradient.abs() if gradient.ndim == 1 else gradient.norm(dim=-1)
        losses.append(loss)
        steepest.append(norms)
    every = torch.cat(losses)
    return float(every.min()), float(every.max()), float(torch.cat(steepest).max())


def _path(card: LossCard) -> tuple[np.ndarray, np.ndarray]:
    """Return one fine walk from certainly wrong to certainly right.

    The true class meets one rival, all others are ruled out: the steepest case. Of
    cosines, it comes from the far side of the sphere while the rival goes there.
    """
    margin = np.linspace(-FAR, FAR, 24001)
    if card.kind == "cosine":
        cosine = margin / FAR
        cosines = np.stack([cosine, -cosine, np.full_like(cosine, -1)], -1)
        return cosines, np.zeros(len(cosine), dtype=int)
    if card.kind == "margin":
        return margin, np.ones_like(margin)
    if card.kind == "binary":
        return margin, np.ones_like(margin)
    logits = np.stack([margin, 0 * margin, 0 * margin - 200], -1)
    labels = np.zeros(len(margin), dtype=int)
    return logits, np.eye(3)[labels] if card.kind == "targets" else labels


def _far(card: LossCard) -> tuple[np.ndarray, ...]:
    first, *rest = card.sample(rng(), 500)
    if card.kind == "cosine":  # next to the ends, where a slope may be infinite
        return (np.sign(first) * (1 - 1e-12), *rest)
    return (1e3 * first, *rest)


def _loss(card: LossCard, arrays: tuple[Any, ...], params: Params) -> Tensor:
    with torch.no_grad():
        return made(card, arrays, params)(*tensors(arrays))


def _every_label(card: LossCard, first: np.ndarray, params: Params) -> Tensor:
    """Return the loss of each input for each possible hard label: (..., labels)."""
    if card.kind in ("margin", "binary"):
        signs = np.array([-1.0, 1.0]) if card.kind == "margin" else np.array([0.0, 1.0])
        scores = np.repeat(first[..., None], 2, -1)
        return _loss(card, (scores, np.broadcast_to(signs, scores.shape)), params)
    classes = first.shape[-1]
    logits = np.repeat(first[..., None, :], classes, -2)
    soft = card.kind == "targets"
    truth = np.eye(classes) if soft else np.arange(classes)
    shape = logits.shape if soft else logits.shape[:-1]
    return _loss(card, (logits, np.broadcast_to(truth, shape)), params)


@refutes
def convex(card: LossCard, params: Params) -> float:
    """Return how far a midpoint lies above its chord."""
    first, *rest = card.sample(rng(), 1000)
    other = card.sample(np.random.default_rng(1), 1000)[0]
    worst = _above_chord(card, first, other, rest, params)
    walk, truth = _path(card)
    for step in (20, 200, 2000):
        a, b = walk[: -2 * step], walk[2 * step :]
        worst = max(worst, _above_chord(card, a, b, [truth[: -2 * step]], params))
    return worst


def _above_chord(
    card: LossCard, a: np.ndarray, b: np.ndarray, rest: list[Any], params: Params
) -> float:
    middle, left, right = (_loss(card, (z, *rest), params) for z in ((a + b) / 2, a, b))
    return float(((middle - (left + right) / 2) / (1 + left.abs() + right.abs())).max())


@refutes
def strictly_proper(card: LossCard, params: Params) -> float:
    """Return how much a wrong belief is preferred to the truth, in expectation.

    A wrong belief must cost more by at least a millionth of its squared distance.
    """
    truths = _posteriors(card, 40)
    honest = _log_odds(card, truths, params)
    cost_of = _expected_soft if card.kind == "targets" else _expected_hard
    cost = cost_of(card, honest, truths, params)
    worst = -np.inf
    for seed in range(40):
        draw = np.random.default_rng(seed)
        noise = draw.normal(size=honest.shape) * 10.0 ** draw.uniform(-2, 1)
        wrong = _possible(card, honest + noise)
        distance = ((_belief(card, wrong, params) - truths) ** 2).sum(-1)
        excess = cost_of(card, wrong, truths, params) - cost
        worst = max(worst, float((1e-6 * distance - excess).max()))
    return max(worst, _slope_at_truth(card, honest, truths, params))


def _slope_at_truth(
    card: LossCard, honest: np.ndarray, truths: np.ndarray, params: Params
) -> float:
    """Return the steepest expected gradient where the model states the truth."""
    if card.kind == "targets":
        return float(value_and_gradient(card, (honest, truths), params)[1].abs().max())
    return float(np.abs(_expected_gradient(card, honest, truths, params)).max())


def _expected_gradient(
    card: LossCard, outputs: np.ndarray, truths: np.ndarray, params: Params
) -> np.ndarray:
    """Return the gradient of the expected loss, one row an output."""
    expected = np.zeros_like(outputs)
    for label in range(truths.shape[-1]):
        truth: np.ndarray = np.full(len(truths), label)
        if card.kind == "margin":
            truth = 2.0 * truth - 1
        elif card.kind == "binary":
            truth = truth.astype(float)
        _, gradient = value_and_gradient(card, (outputs, truth), params)
        share = truths[:, label].reshape(-1, *[1] * (outputs.ndim - 1))
        expected = expected + share * gradient.numpy()
    return expected


def _posteriors(card: LossCard, n: int) -> np.ndarray:
    classes = 2 if card.kind in ("margin", "binary") else 3
    return rng().dirichlet(np.ones(classes), size=n).clip(0.02, None)


def _log_odds(card: LossCard, truths: np.ndarray, params: Params) -> np.ndarray:
    """Return the outputs with which the model states the truth.

    Cosines state softmax(scale * cosines).
    """
    truths /= truths.sum(-1, keepdims=True)
    if card.kind in ("margin", "binary"):
        return np.log(truths[:, 1] / truths[:, 0])
    log_p = np.log(truths)
    if card.kind == "cosine":
        between = (log_p.max(-1, keepdims=True) + log_p.min(-1, keepdims=True)) / 2
        return (log_p - between) / params["scale"]
    return log_p


def _possible(card: LossCard, outputs: np.ndarray) -> np.ndarray:
    """Return the nearest outputs that there are."""
    return outputs.clip(-1, 1) if card.kind == "cosine" else outputs


def _belief(card: LossCard, first: np.ndarray, params: Params) -> np.ndarray:
    if card.kind in ("margin", "binary"):
        p = 1 / (1 + np.exp(-first))
        return np.stack([1 - p, p], -1)
    logits = params["scale"] * first if card.kind == "cosine" else first
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _expected_hard(
    card: LossCard, first: np.ndarray, truths: np.ndarray, params: Params
) -> np.ndarray:
    return (truths * _every_label(card, first, params).numpy()).sum(-1)


def _expected_soft(
    card: LossCard, first: np.ndarray, truths: np.ndarray, params: Params
) -> np.ndarray:
    return _loss(card, (first, truths), params).numpy()


@covers("labels", "margin", "binary", "cosine")
def recovery(card: LossCard) -> Evidence:
    """At the posterior that the card recovers from outputs, they are optimal.

    The expected loss is flat there, and no other output tried costs less.
    """
    recover = card.recovery
    if recover is None:
        return nothing("no posterior is recovered")

    def cases() -> Iterator[tuple[str, float]]:
        outputs = card.sample(rng(), 400, 3)[0] / 2
        closed = card.closed_over(3)
        for params in card.settings(6):
            taken = card.taken(recover, params)
            if taken is None:
                continue
            truths = np.asarray(recover(outputs, **closed, **taken))
            if outputs.ndim == 1:
                truths = np.stack([1 - truths, truths], -1)
            possible = ((truths >= 0) & (truths <= 1)).all(-1)
            if not possible.any():
                yield f"a posterior at {params} (none is possible)", np.inf
            yield (
                f"an impossible output at {params}",
                _wrongly_excluded(card, outputs, np.asarray(~possible), params),
            )
            z, eta = outputs[possible], truths[possible]
            sums = eta.sum(-1)
            yield f"the sum over the classes at {params}", gap(sums, np.ones_like(sums))
            slope = _expected_gradient(card, z, eta, params)
            yield f"the expected gradient at {params}", float(np.abs(slope).max())
            cost = _expected_hard(card, z, eta, params)
            for seed in range(20):
                draw = np.random.default_rng(seed)
                noise = draw.normal(size=z.shape) * 10.0 ** draw.uniform(-1, 1)
                other = _possible(card, z + noise)
                saved = cost - _expected_hard(card, other, eta, params)
                yield f"another output at {params}", float(saved.max().clip(0))

    return settled(
        card, "outputs are optimal at the recovered posterior", cases(), 1e-9
    )


def _wrongly_excluded(
    card: LossCard, outputs: np.ndarray, excluded: np.ndarray, params: Params
) -> float:
    """Return 1 if an excluded output is optimal where one label is certain."""
    classes = 2 if outputs.ndim == 1 else outputs.shape[-1]
    for certain in np.eye(classes):
        eta = np.broadcast_to(certain, (len(outputs), classes))
        slope = np.abs(_expected_gradient(card, outputs, eta, params))
        flat = slope.reshape(len(outputs), -1).max(-1) <= TOLERANCE
        cost = _expected_hard(card, outputs, eta, params)
        if (excluded & flat & (cost <= cost.min() + TOLERANCE)).any():
            return 1.0
    return 0.0


@refutes
def calibrated(card: LossCard, params: Params) -> float:
    """Return the share of posteriors whose cheapest output predicts a wrong class.

    Every output on a grid is tried, so that no local minimum can mislead; then every
    output on ever finer grids around the best. The first of them reaches over some
    steps of the one before: at edges of the cost the best point may be that far off.
    """
    truths = _posteriors(card, 100)
    truths /= truths.sum(-1, keepdims=True)
    ranked = np.sort(truths, -1)
    truths = truths[ranked[:, -1] - ranked[:, -2] > 0.1]
    best = np.zeros((len(truths), 2 if truths.shape[-1] == 3 else 1))
    widest = 1.0 if card.kind == "cosine" else 12.0
    for part in (1.0, 1 / 12, 1 / 120, 1 / 1200):
        offsets = widest * part * np.linspace(-1, 1, 81 if part == 1 else 25)
        axes = np.meshgrid(*[offsets] * best.shape[-1])
        around = np.stack([a.ravel() for a in axes], -1)
        tried = _possible(card, best[:, None] + around)  # (truths, points, free)
        if part == 1:
            tried = tried[:1]  # the first grid is the same for all
        costs = _every_label(card, _outputs(tried), params).numpy()
        cheapest = (costs * truths[:, None]).sum(-1).argmin(-1)
        best = _possible(card, best + around[cheapest])
    outputs = _outputs(best)
    predicted = (outputs > 0) if outputs.ndim == 1 else outputs.argmax(-1)
    return float((predicted != truths.argmax(-1)).mean())


def _outputs(free: np.ndarray) -> np.ndarray:
    """Return scores, or logits of three classes whose first is 0."""
    if free.shape[-1] == 1:
        return free[..., 0]
    return np.concatenate([np.zeros_like(free[..., :1]), free], -1)


@refutes
def symmetric(card: LossCard, params: Params) -> float:
    """Return how much the sum over all labels depends on the output."""
    first, *_ = card.sample(rng(), 1000)
    total = _every_label(card, first, params).sum(-1)
    return float((total.max() - total.min()) / (1 + total.abs().max()))


@refutes
def monotone(card: LossCard, params: Params) -> float:
    """Return by how much the loss ever rises as the true class's score rises."""
    walk, truth = _path(card)
    loss = _loss(card, (walk, truth), params)
    return float((loss - loss.cummin(0).values).max() / (1 + loss.abs().max()))


@refutes
def shift_invariant(card: LossCard, params: Params) -> float:
    """Return how much a constant added to all logits changes the loss."""
    first, *rest = card.sample(rng())
    shifts = (-50.0, 7.0)
    if card.kind == "cosine":
        first, shifts = first / 2, (-0.5, 0.4)
    loss = _loss(card, (first, *rest), params)
    return max(gap(_loss(card, (first + c, *rest), params), loss) for c in shifts)


@refutes
def piecewise_constant(card: LossCard, params: Params) -> float:
    """Return the steepest gradient: zero for a loss that nothing can descend."""
    _, gradient = value_and_gradient(card, card.sample(rng()), params)
    return float(gradient.abs().max())
