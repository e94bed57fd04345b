"""Flooding: the mean loss of a batch bounces off a level above zero."""

import numpy as np

from lossbook import validate
from lossbook.card import Arrays, LossCard, Param, Properties
from lossbook.ops import upcast
from lossbook.shapes import NpPerExample, Parameter, PerBatch, PerExample


def flooding(losses: PerExample, *, level: Parameter) -> PerBatch:
    """Return |mean - b| + b of a batch of losses, with b the flood level.

    Below the level the gradient turns round, so that training climbs back to it. It is
    the batch's mean that floats: single losses may be lower. At the level itself the
    gradient is 0.

    Args:
        losses: (...), one loss an example, of any loss.
        level: b, in the unit of the losses.

    Returns:
        (), not below the level.

    Raises:
        ValueError: for an empty batch.

    >>> import torch
    >>> flooding(torch.tensor([0.1, 0.3]), level=0.5)
    tensor(0.8000)
    """
    validate.losses(losses)
    return (upcast(losses).mean() - level).abs() + level


def flooding_ref(
    losses: NpPerExample, *, level: float
) -> tuple[np.ndarray, NpPerExample]:
    """Loss and gradient: the mean's, with its sign turned below the level."""
    side = np.sign(losses.mean() - level)
    value = np.abs(losses.mean() - level) + level
    return value, np.full_like(losses, side / losses.size)


def draw(rng: np.random.Generator, n: int, classes: int) -> Arrays:
    """Draw losses: not negative, most of them small, with a mean near 0.2."""
    return (0.2 * rng.exponential(size=n),)


CARD = LossCard(
    name="Flooding",
    family="noise",
    kind="batch",
    fn=flooding,
    ref=flooding_ref,
    summary="Keeps the mean training loss from falling below a level.",
    cite="ishida2020flooding",
    params={
        "level": Param(default=0.1, low=0.0, high=0.5, meaning="flood level", tex="b")
    },
    properties=Properties(lower=lambda level: level),
    draw=draw,
)
