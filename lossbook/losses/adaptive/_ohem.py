"""Online hard example mining: only the largest losses of a batch count.

Chapter: weighting.
"""

import numpy as np
import torch

from lossbook import validate
from lossbook.card import Arrays, LossCard, Param, Properties
from lossbook.ops import upcast
from lossbook.shapes import NpPerExample, Parameter, PerBatch, PerExample


def ohem(losses: PerExample, *, keep: Parameter = 0.25) -> PerBatch:
    """Return the mean of the largest losses, a share `keep` of the batch.

    Where keep * N is no integer, the last of them counts in part, so that the result is
    continuous in `keep`: at 1 it is the mean of all losses, near 0 the largest.

    Args:
        losses: (...), one loss an example, of any loss.
        keep: above 0, at most 1; the share of the examples that counts.

    Returns:
        (), between the mean and the maximum of the losses.

    Raises:
        ValueError: for an empty batch, or losses that are nan.

    >>> import torch
    >>> ohem(torch.tensor([0.1, 3.0, 0.7, 0.2]), keep=0.5)
    tensor(1.8500)
    """
    validate.losses(losses)
    ranked = upcast(losses).flatten().sort(descending=True).values
    count = keep * ranked.numel()
    rank = torch.arange(ranked.numel(), dtype=ranked.dtype, device=ranked.device)
    weight = (count - rank).clamp(0, 1)
    return validate.explain_nan("losses", losses, (weight * ranked).sum() / count)


def ohem_ref(
    losses: NpPerExample, *, keep: float = 0.25
) -> tuple[np.ndarray, NpPerExample]:
    """Loss and gradient: 1 / (keep * N) for each loss that counts in full."""
    count = keep * losses.size
    weight = np.zeros(losses.size)
    left = count
    for i in np.argsort(-losses, axis=None, kind="stable"):
        weight[i] = min(left, 1.0) / count
        left -= min(left, 1.0)
    value = (weight * losses.ravel()).sum()
    return np.asarray(value), weight.reshape(losses.shape)


def draw(rng: np.random.Generator, n: int, classes: int) -> Arrays:
    """Draw losses: not negative, most of them small, a few large."""
    return (rng.exponential(size=n),)


CARD = LossCard(
    name="Hard example mining",
    family="adaptive",
    kind="batch",
    fn=ohem,
    ref=ohem_ref,
    summary="The mean of the largest losses of a batch; the rest has no gradient.",
    cite="shrivastava2016training",
    params={
        "keep": Param(
            default=0.25,
            low=0.0,
            high=1.0,
            open_low=True,
            meaning="share of the examples that counts",
            tex=r"\kappa",
        )
    },
    properties=Properties(lower=None),  # that of the losses
    draw=draw,
)
