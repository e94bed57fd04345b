"""What is measured: every loss of the catalogue with examples of its own, and peers."""

import importlib
import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from lossbook.card import LossCard
from lossbook.experiment import code_key
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
QUICK = (Size(64, 10, 1, scales=(MILD, SHARP)),)


@dataclass(frozen=True)
class Subject:
    """One thing to measure.

    Attributes:
        name: As the table shows it.
        kind: What its truth is, as on a card.
        make: From the number of classes to the loss.
        code: The key of the code, a library's version, or "" for none.
    """

    name: str
    kind: str
    make: Callable[[int], Loss]
    code: str


def subjects() -> list[Subject]:
    """The catalogue's losses at their defaults, torch's, fvcore's, and the limit."""
    ours = [of_card(card) for card in CATALOGUE.values() if card.kind in KINDS]
    return [*peers(), *ours]


def of_card(card: LossCard) -> Subject:
    """A loss of the catalogue."""
    module = Path(inspect.getfile(card.fn))
    return Subject(
        f"{OURS}{card.key}",
        card.kind,
        lambda classes: card.make(classes, **card.defaults()),
        code_key([module]),
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
    try:
        with warnings.catch_warnings():
            # It scripts its losses when it is imported, and torch warns of that.
            warnings.simplefilter("ignore", DeprecationWarning)
            focal = importlib.import_module("fvcore.nn").sigmoid_focal_loss
    except ImportError:  # not among the packages of `make`
        return found
    version = importlib.import_module("fvcore").__version__
    return [
        *found,
        Subject("fvcore sigmoid_focal_loss", "binary", partial(_same, focal), version),
    ]


def _same(loss: Loss, classes: int) -> Loss:
    """A loss that needs no number of classes."""
    return loss


def batch(size: Size, scale: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits, and the truth in each kind's form; the same in every run."""
    rng = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(size.n, size.classes, generator=rng)
    labels = torch.randint(size.classes, (size.n,), generator=rng)
    others = torch.randn(size.n, size.classes, generator=rng)
    truth = {"labels": labels, "targets": others.softmax(-1)}
    if "binary" in size.kinds:
        truth["binary"] = functional.one_hot(labels, size.classes).to(logits.dtype)
        truth["margin"] = 2 * truth["binary"] - 1
    return logits.requires_grad_(), truth


def changed(frame: pd.DataFrame) -> list[str]:
    """The measured losses whose code is not the measured one any more, or gone."""
    now = {each.name: each.code for each in subjects()}
    before = dict(zip(frame.subject, frame.code, strict=True))
    ours = [name for name in before if name.startswith(OURS)]
    return [name for name in ours if now.get(name) != before[name]]


def missing(frame: pd.DataFrame) -> list[str]:
    """The losses that were not measured."""
    ours = [each.name for each in subjects() if each.name.startswith(OURS)]
    return [name for name in ours if name not in set(frame.subject)]
