"""Explorers and labs that the tests share."""

import numpy as np

from lossbook import explore
from lossbook.losses import CATALOGUE

PSI_CARDS = [CATALOGUE[key] for key in ("cross_entropy", "focal", "gce", "mae")]

FOCAL = CATALOGUE["focal"].name  # its entry in the menu


def huber(**changes):
    """A kink, a parameter, and a slope that is written by hand."""
    options = {
        "variable": "r",
        "params": {"delta": explore.Slider(low=0.1, high=3, value=1, note="threshold")},
        "curves": {
            "loss": "Piecewise((r**2/2,Abs(r)<=delta), (delta*(Abs(r)-delta/2),True))",
            "slope": "Max(-delta, Min(delta, r))",
        },
        "x_range": (-4, 4),
        "probe": 2.0,
        "title": "Huber's loss",
        "alt": "The Huber loss and its slope over the residual",
    }
    return explore.Explorer(**(options | changes))


def psi():
    """A menu and a shaded region."""
    return explore.psi_calculus(PSI_CARDS, title="One calculus")


def cost_of_a_score():
    """A menu, a shaded region, and level lines from tables."""
    cards = [CATALOGUE[key] for key in ("hinge", "logistic")]
    return explore.conditional_risk(cards, title="The cost of a score")


def tabled():
    """A curve from a table over two parameters."""
    table = explore.Table.of(
        lambda x, width, height: height * np.tanh(x / width),
        x=np.linspace(-3, 3, 121),
        grids={"width": np.linspace(0.5, 2, 7), "height": [0.5, 1, 2]},
    )
    return explore.Explorer(
        variable="x",
        params={"width": (0.5, 2, 1), "height": (0.5, 2, 1)},
        curves={"smooth sign": table},
        x_range=(-3, 3),
        alt="A smooth sign",
    )


class LogisticTrain:
    """A train function that remembers what it was called with."""

    def __init__(self):
        self.calls = []

    def __call__(self, weight, threshold):
        self.calls.append({"weight": weight.tolist(), "threshold": threshold.tolist()})
        x = np.linspace(-3, 3, 61)
        probability = 1 / (1 + np.exp(-(x + np.log(weight)[:, None])))
        return {
            "x": x,
            "curves": {
                "probability": probability,
                "decision": np.where(probability > threshold[:, None], 1.0, 0.0),
            },
            "numbers": {"cost": weight * threshold},
            "points": {"rare": [[1.0, 0.2], [2.0, 0.6]], "common": [[-1.0, 0.4]]},
        }


def weights_lab(train=None, **changes):
    """Two controls, two curves, one number, points."""
    options = {
        "controls": {
            "weight": explore.Control(
                [1, 3, 10, 30], start=3, note="of the rare class"
            ),
            "threshold": explore.Control([0.25, 0.5, 0.75], unit=" p"),
        },
        "alt": "A probability and a decision over a feature",
        "y_range": (-0.1, 1.1),
        "digits": 2,
    }
    options |= changes
    return explore.lab(train or LogisticTrain(), **options)
