"""Explorers of decisions: where to cut a score, and what the cut costs."""

from typing import Any

from lossbook.explore.explorers import Explorer, Shade
from lossbook.explore.sliders import Slider

NEARLY = "0.01"  # of a cost: regret that the shade still calls small


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
