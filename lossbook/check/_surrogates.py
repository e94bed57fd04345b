"""Losses of the margin as surrogates of the 0/1 loss: link and psi-transform.

At a place where P(+1) = eta the score f costs C(f) = eta phi(f) + (1 - eta) phi(-f) in
expectation. H is the least of it, H^- the least among scores whose sign is not that of
the likelier class. The psi-transform is the largest convex function below
H^-((1 + theta) / 2) - H((1 + theta) / 2): psi(excess 0/1 risk) <= excess risk.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from lossbook.card import LossCard
from lossbook.check._calls import covers, gap, made, nothing, settled, tensors
from lossbook.evidence import Evidence

ETA = np.linspace(0, 1, 101)  # the certain classes and the tie among them
THETA = 2 * ETA - 1

Phi = Callable[[np.ndarray], np.ndarray]


@covers("margin")
def link(card: LossCard) -> Evidence:
    """No score costs less, in expectation, than the one that the card's link gives.

    Where the card recovers a posterior, that of the link's score is eta again.
    A link may be infinite: then the furthest score that the loss reaches stands for it.
    """
    stated = card.link
    if stated is None:
        return nothing("no link is stated")

    def cases() -> Iterator[tuple[str, float]]:
        for params in card.settings(6):
            phi = _phi(card, params)
            score = np.asarray(stated(ETA, **params), dtype=float)
            if score.shape != ETA.shape or np.isnan(score).any():
                yield f"the link at {params} (no score)", np.inf
                continue
            cost = _cost(phi, score.clip(-card.reach, card.reach), ETA)
            excess = (cost - _least(phi, ETA, _scores(card))) / (1 + np.abs(cost))
            yield f"the cost at the link's score at {params}", float(excess.max())
            if card.recovery is not None:
                inner = slice(1, -1)  # where a class is certain, the link may be flat
                back = card.recovery(score[inner], **params)
                yield f"the posterior of the link at {params}", gap(back, ETA[inner])

    return settled(
        card, "no score costs less than the link's, and it leads back", cases(), 1e-9
    )


@covers("margin")
def psi_transform(card: LossCard) -> Evidence:
    """The psi-transform on the card is that of numeric minimization, made convex."""
    stated = card.transform
    if stated is None:
        return nothing("no psi-transform is stated")

    def cases() -> Iterator[tuple[str, float]]:
        for params in card.settings(6):
            phi = _phi(card, params)
            psi = np.asarray(stated(THETA, **params), dtype=float)
            if psi.shape != THETA.shape or np.isnan(psi).any():
                yield f"psi at {params} (no number)", np.inf
                continue
            found = _convex_hull(THETA, _gain_of_the_right_sign(card, phi))
            yield f"psi at {params}", float(np.abs(psi - found).max())

    return settled(card, "the psi-transform equals numeric minimization", cases(), 1e-7)


def _phi(card: LossCard, params: Any) -> Phi:
    """Return the loss as a function of the margin."""

    def phi(margin: np.ndarray) -> np.ndarray:
        arrays = (margin.astype(float), np.ones_like(margin, dtype=float))
        loss = made(card, arrays, params)(*tensors(arrays))
        return np.asarray(loss.detach())

    return phi


def _cost(phi: Phi, score: np.ndarray, eta: np.ndarray) -> np.ndarray:
    """Return the expected loss; a class that cannot be costs nothing."""
    return eta * phi(score) + (1 - eta) * phi(-score)


def _scores(card: LossCard) -> np.ndarray:
    """Return the scores tried first: all sizes that the loss reaches, 0, both signs."""
    reach = np.arcsinh(card.reach)
    half = np.sinh(np.linspace(0, reach, 4001))
    half[-1] = card.reach
    return np.concatenate([-half[:0:-1], half])


def _least(phi: Phi, eta: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the least expected loss for each eta, over scores and between them.

    All scores are tried, so that no local minimum can mislead; then those between the
    neighbors of the best, ever more finely.
    """
    cost = _cost(phi, scores[None], eta[:, None])
    best = cost.argmin(1)
    least = cost.min(1)
    low = scores[np.maximum(best - 1, 0)]
    high = scores[np.minimum(best + 1, len(scores) - 1)]
    rows = np.arange(len(eta))
    for _ in range(12):
        tried = np.linspace(low, high, 21, axis=1)
        cost = _cost(phi, tried, eta[:, None])
        best = cost.argmin(1)
        least = np.minimum(least, cost.min(1))
        low = tried[rows, np.maximum(best - 1, 0)]
        high = tried[rows, np.minimum(best + 1, 20)]
    return least


def _gain_of_the_right_sign(card: LossCard, phi: Phi) -> np.ndarray:
    """Return H^- - H at each theta."""
    scores = _scores(card)
    wrong = np.empty_like(ETA)
    for likelier, signs in ((ETA > 0.5, -1), (ETA < 0.5, 1)):
        wrong[likelier] = _least(phi, ETA[likelier], scores[signs * scores >= 0])
    least = _least(phi, ETA, scores)
    tie = ETA == 0.5
    wrong[tie] = least[tie]  # with no likelier class, no sign is wrong
    return wrong - least


def _convex_hull(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the largest convex function below the points, at the same places."""
    hull: list[int] = []
    for i in range(len(x)):
        while len(hull) > 1:
            a, b = hull[-2:]
            if (y[b] - y[a]) * (x[i] - x[a]) <= (y[i] - y[a]) * (x[b] - x[a]):
                break
            hull.pop()  # b lies above the chord from a to i
        hull.append(i)
    return np.interp(x, x[hull], y[hull])
