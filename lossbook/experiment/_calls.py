"""How a loss of each kind is called on a network's outputs and integer labels."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from lossbook.card import Kind, LossCard
from lossbook.experiment._models import Head

# Kinds of losses that a classifier of labels can be trained with.
TRAINABLE: tuple[Kind, ...] = (
    "labels",
    "targets",
    "margin",
    "binary",
    "cosine",
    "stateful",
)


def head_of(card: LossCard) -> Head:
    """Return what a network must give for this loss."""
    return "cosine" if card.kind == "cosine" else "linear"


def adapted(card: LossCard, loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return the loss as a function of (outputs, labels).

    A loss of soft targets meets one-hot labels. A binary loss asks one question a class
    and adds the answers up. A margin loss of two classes takes the difference of their
    outputs; with more classes it too asks one question a class.

    Raises:
        ValueError: for a loss of pairs or of whole batches.
    """
    if card.kind in ("labels", "cosine", "stateful"):
        return loss
    calls = {"targets": _soft, "binary": _questions, "margin": _margins}
    if card.kind not in calls:
        raise ValueError(
            f"loss must be of kind {', '.join(TRAINABLE)} to train a classifier with, "
            f"got {card.key}, which is of kind {card.kind}"
        )
    return partial(calls[card.kind], loss)


def _soft(loss: Callable[..., Tensor], outputs: Tensor, labels: Tensor) -> Tensor:
    return loss(outputs, _one_hot(outputs, labels))


def _questions(loss: Callable[..., Tensor], outputs: Tensor, labels: Tensor) -> Tensor:
    return loss(outputs, _one_hot(outputs, labels)).sum(-1)


def _margins(loss: Callable[..., Tensor], outputs: Tensor, labels: Tensor) -> Tensor:
    if outputs.shape[-1] == 2:
        signs = 2.0 * labels.to(outputs.dtype) - 1
        return loss(outputs[..., 1] - outputs[..., 0], signs)
    return loss(outputs, 2 * _one_hot(outputs, labels) - 1).sum(-1)


def _one_hot(outputs: Tensor, labels: Tensor) -> Tensor:
    return one_hot(labels, outputs.shape[-1]).to(outputs.dtype)


def stacked_params(
    settings: list[dict[str, float]],
    dtype: torch.dtype,
    *,
    axes: int = 1,
    device: torch.device | str | None = None,
) -> dict[str, float | Tensor]:
    """Return each parameter once: a number if all models share it, else a column.

    Args:
        settings: the parameters of each model.
        dtype: of the columns.
        axes: of the loss, beside that of the models, as `axes_of` tells.
        device: of the columns.
    """
    found: dict[str, float | Tensor] = {}
    for name in settings[0]:
        values = [setting[name] for setting in settings]
        same = len(set(values)) == 1
        column = torch.as_tensor(np.array(values), dtype=dtype, device=device)
        found[name] = values[0] if same else column.reshape(-1, *[1] * axes)
    return found


def axes_of(card: LossCard, classes: int) -> int:
    """Return how many axes the loss of one model has: its examples, and its questions.

    A parameter that differs between models must not be taken for one of an example.
    """
    return 2 if card.kind == "binary" or (card.kind == "margin" and classes > 2) else 1
