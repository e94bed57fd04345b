"""Explorers of decisions: where to cut a score, and what a score costs."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from lossbook.card import LossCard
from lossbook.explore import expressions
from lossbook.explore.explorers import Explorer, Group, Shade
from lossbook.explore.sliders import Slider
from lossbook.explore.tables import Table

NEARLY = "0.01"  # of a cost: regret that the shade still calls small
FARTHEST = 30.0  # score that is tried


def threshold(**options: Any) -> Explorer:
    """Return the explorer of a cut between two unit Gaussians.

    Class 0 lies around -d/2 and class 1 around d/2; whatever lies above the threshold a
    is called class 1. The curves are the four shares of the confusion matrix, the
    expected cost (a false alarm costs 1, a miss c; at c = 1 it is the 0/1 risk), and
    the regret: the cost above that of the best threshold. Where the regret is below
    0.01, the drawing is shaded.

    The Gaussians' distribution function is approximated by a logistic function of a
    cubic; each share is right within 0.0002.

    Args:
        options: `title`, `probe` and others of `Explorer`.

    >>> cut = threshold()
    >>> round(float(cut.numpy("regret")(0.0, 3.0, 0.5, 1.0)), 6)
    0.0
    """
    best = "log((1 - share)/(c*share))/d"
    cost = f"({_below('-a - d/2')}*(1 - share) + c*share*{_below('a - d/2')})"
    least = cost.replace("(-a ", f"(-({best}) ").replace("(a ", f"({best} ")
    curves = {
        "hits": f"share*{_below('d/2 - a')}",
        "misses": f"share*{_below('a - d/2')}",
        "false alarms": f"(1 - share)*{_below('-a - d/2')}",
        "right refusals": f"(1 - share)*{_below('a + d/2')}",
        "expected cost": cost,
        "regret": f"{cost} - {least}",
    }
    given: dict[str, Any] = {
        "x_range": (-5.0, 5.0),
        "y_range": (0.0, 1.0),
        "x_label": "threshold a",
        "probe": 0.0,
        "alt": "Shares of hits, misses, false alarms and right refusals over the "
        "threshold, with the expected cost and the regret. The cost falls to one "
        "lowest place, where the regret is 0, and rises again; the stretch around it "
        "where the regret is small is shaded",
    }
    return Explorer(
        variable="a",
        params={
            "d": Slider(low=0.5, high=5, value=3, step=0.1, note="between the classes"),
            "share": Slider(low=0.02, high=0.98, value=0.5, step=0.02, note="class 1"),
            "c": Slider(low=1, high=20, value=1, step=0.5, note="cost of a miss"),
        },
        curves=curves,
        shade=Shade(f"{curves['regret']} - {NEARLY}", f"regret below {NEARLY}"),
        **(given | options),
    )


def _below(x: str) -> str:
    """Return the share of a unit Gaussian below x, as a formula.

    JavaScript has no error function. This is within 0.00015 of it.
    """
    return f"(1/(1 + exp(-1.5976*({x}) - 0.07056*({x})**3)))"


def conditional_risk(cards: Iterable[LossCard], **options: Any) -> Explorer:
    """Return the explorer of what a score costs where P(+1) = eta, from losses' cards.

    Over the score f stand the expected loss eta phi(f) + (1 - eta) phi(-f), the least
    of it, and the least of it among scores of the wrong sign, which are shaded. Where
    the two lowest lines differ, the cheapest score has the right sign. A menu chooses
    the loss. The lines are tables, taken from scores up to 30.

    Args:
        cards: of losses whose formula is over the margin m.
        options: `title`, `probe` and others of `Explorer`.

    Raises:
        ValueError: a card's formula is not over m.

    >>> from lossbook.losses import CATALOGUE
    >>> conditional_risk([CATALOGUE["hinge"]])
    Explorer(expected loss, least, least of wrong sign over f; sliders: eta)
    """
    cards = list(cards)
    groups = [_conditional_group(card) for card in cards]
    given: dict[str, Any] = {
        "x_range": (-3.0, 3.0),
        "y_range": (0.0, 2.5),
        "x_label": "score f",
        "y_label": "expected loss",
        "probe": 1.0,
        "alt": "The expected loss over the score, with two level lines: its least "
        "value, and its least value among scores of the wrong sign, which are shaded. "
        "The lines coincide where both classes are equally likely and part as one "
        "becomes likelier",
    }
    if len(groups) > 1:
        return Explorer(variable="f", groups=groups, **(given | options))
    only = groups[0]
    return Explorer(
        variable="f",
        curves=only.curves,
        params=only.params,
        shade=only.shade,
        **(given | options),
    )


def _conditional_group(card: LossCard) -> Group:
    formula = card.formula
    if formula is None or formula.variable != "m" or card.params:
        raise ValueError(
            f"the card of {card.name} must have a formula over the margin m alone"
        )
    m, f, eta = (expressions.real(name) for name in ("m", "f", "eta"))
    phi = expressions.parse(formula.expression({}), ["m"], card.name)
    cost = eta * phi.subs(m, f) + (1 - eta) * phi.subs(m, -f)
    value = formula.numpy({})
    sizes = np.sinh(np.linspace(0, np.arcsinh(FARTHEST), 2001))
    right, wrong = (np.broadcast_to(value(s), sizes.shape) for s in (sizes, -sizes))

    def least(x: np.ndarray, eta: np.ndarray) -> np.ndarray:
        likelier = np.maximum(eta, 1 - eta)
        agree = likelier * right + (1 - likelier) * wrong
        differ = likelier * wrong + (1 - likelier) * right
        return np.minimum(agree, differ).min(-1, keepdims=True) + 0 * x

    def least_of_wrong_sign(x: np.ndarray, eta: np.ndarray) -> np.ndarray:
        likelier = np.maximum(eta, 1 - eta)
        differ = likelier * wrong + (1 - likelier) * right
        return differ.min(-1, keepdims=True) + 0 * x

    ends, grid = np.array([-3.0, 0.0, 3.0]), np.linspace(0, 1, 51)
    tables = {
        name: Table.of(found, x=ends, grids={"eta": grid})
        for name, found in (
            ("least", least),
            ("least of wrong sign", least_of_wrong_sign),
        )
    }
    slider = Slider(low=0, high=1, value=0.7, step=0.02, note="how likely +1 is")
    return Group(
        name=card.name,
        params={"eta": slider},
        curves={"expected loss": cost, **tables},
        shade=Shade(f * (2 * eta - 1), "wrong sign"),
    )
