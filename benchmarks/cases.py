"""What is measured: every loss of the catalogue with examples of its own, and peers."""

import importlib
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.store import loss_key
from lossbook.card import LossCard
from lossbook.criterion import Criterion
from lossbook.experiment import needs
from lossbook.losses import CATALOGUE

Loss = Callable[[Tensor, Tensor], Tensor]  # (scores, truth) -> losses, or their mean

BASELINE = "torch cross_entropy"
OURS = "lossbook "
KINDS = ("labels", "targets", "binary", "margin")
MILD, SHARP = 3.0, 20.0  # standard deviation of the logits


@dataclass(frozen=True)
class Size:
    """A batch to measure on.

    Attributes:
        n: Examples.
        classes: Classes.
        rounds: How often each subject is timed.
        scales: The standard deviations of the logits.
        kinds: The kinds of losses measured.
    """

    n: int
    classes: int
    rounds: int
    scales: tuple[float, ...] = (MILD,)
    kinds: tuple[str, ...] = KINDS


SIZES = (
    Size(256, 10, 200),
    Size(26214, 10, 21),
    Size(4096, 100, 41),
    Size(8192, 1000, 9, scales=(MILD, SHARP)),
    Size(2048, 32000, 3, kinds=("labels", "targets")),
)
# What a loss closes over -> the largest number of classes: a matrix of classes, a tree.
MOST = {"costs": 100, "transition": 100, "hierarchy": 1000}
QUICK = (Size(64, 10, 1, scales=(MILD, SHARP)),)


@dataclass(frozen=True)
class Subject:
    """One thing to measure.

    Attributes:
        name: As the table shows it.
        kind: What its truth is, as on a card.
        make: From the number of classes to the loss.
        code: The key of the code, a library's version, or "" for none.
        most: The largest number of classes that it is measured with.
    """

    name: str
    kind: str
    make: Callable[[int], Loss]
    code: str
    most: float = math.inf


def subjects() -> list[Subject]:
    """The catalogue's losses at their defaults, torch's, fvcore's, and the limit.

    What hands every example to a solver is left out.
    """
    cards = [card for card in CATALOGUE.values() if not card.opaque]
    ours = [of_card(card) for card in cards if card.kind in KINDS]
    return [*peers(), *ours]


def of_card(card: LossCard) -> Subject:
    """A loss of the catalogue."""

    def make(classes: int) -> Loss:
        params: dict[str, Any] = card.defaults()
        if card.kind in ("binary", "margin"):  # their mean is over all numbers
            return Criterion(card.fn, **params)
        return card.make(classes, **params)

    return Subject(
        f"{OURS}{card.key}",
        card.kind,
        make,
        loss_key(card.fn.__module__),
        min((MOST[name] for name in needs(card) if name in MOST), default=math.inf),
    )


def peers() -> list[Subject]:
    """The same losses elsewhere."""
    torchs: dict[str, tuple[str, Loss]] = {
        "cross_entropy": ("labels", functional.cross_entropy),
        "cross_entropy, label_smoothing": (
            "labels",
            lambda z, y: functional.cross_entropy(z, y, label_smoothing=0.1),
        ),
        "multi_margin_loss": ("labels", functional.multi_margin_loss),
        "cross_entropy, probabilities": ("targets", functional.cross_entropy),
        "binary_cross_entropy_with_logits": (
            "binary",
            functional.binary_cross_entropy_with_logits,
        ),
        "soft_margin_loss": ("margin", functional.soft_margin_loss),
    }
    found = [
        Subject(f"torch {name}", kind, partial(_same, loss), torch.__version__)
        for name, (kind, loss) in torchs.items()
    ]
    fvcore = peer("fvcore")
    if fvcore is not None:
        focal = partial(_same, peer("fvcore.nn").sigmoid_focal_loss)
        name = "fvcore sigmoid_focal_loss"
        found.append(Subject(name, "binary", focal, fvcore.__version__))
    return found


def peer(name: str) -> Any:
    """Another library's module; None where it is not installed."""
    try:
        with warnings.catch_warnings():
            # Some script their losses when they are imported, and torch warns of that.
            warnings.simplefilter("ignore", DeprecationWarning)
            return importlib.import_module(name)
    except ImportError:
        return None


def _same(loss: Loss, classes: int) -> Loss:
    """A loss that needs no number of classes."""
    return loss
