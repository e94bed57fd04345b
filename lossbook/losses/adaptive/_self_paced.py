"""Self-paced learning: examples above a threshold wait. Chapter: weighting."""

import numpy as np
import torch

from lossbook import validate
from lossbook.card import Arrays, LossCard, Param, Properties
from lossbook.ops import upcast
from lossbook.shapes import NpPerExample, Parameter, PerExample


def self_paced(losses: PerExample, *, threshold: Parameter) -> PerExample:
    """Return min(loss, threshold) per example.

    Self-paced learning gives each example a weight v in [0, 1], the one that makes
    v * loss - threshold * v least: v is 1 below the threshold and 0 from it up. What
    is left then is min(loss, threshold) - threshold: each loss is cut off, and hard
    examples have no gradient. Raising the threshold lets them in.

    Args:
        losses: (...), one loss an example, of any loss.
        threshold: what an example may cost and still be learned from, in the unit of
            the losses.

    Returns:
        (...), not above the threshold.

    Raises:
        ValueError: for losses that are nan.

    >>> import torch
    >>> self_paced(torch.tensor([0.1, 0.7, 3.0]), threshold=1.0)
    tensor([0.1000, 0.7000, 1.0000])
    """
    validate.losses(losses, empty=True)
    x = upcast(losses)
    return validate.explain_nan(
        "losses", losses, torch.where(x >= threshold, threshold, x)
    )


def self_paced_ref(
    losses: NpPerExample, *, threshold: float
) -> tuple[NpPerExample, NpPerExample]:
    """Loss and gradient: the gradient is v, the weight that the example is given."""
    v = (losses < threshold).astype(float)
    return v * losses + (1 - v) * threshold, v


def draw(rng: np.random.Generator, n: int, classes: int) -> Arrays:
    """Draw losses: not negative, most of them small, a few large."""
    return (rng.exponential(size=n),)


CARD = LossCard(
    name="Self-paced loss",
    family="adaptive",
    kind="batch",
    fn=self_paced,
    ref=self_paced_ref,
    summary="Cuts losses off at a threshold, so that hard examples wait.",
    cite="kumar2010selfpaced",
    params={
        "threshold": Param(
            default=1.0,
            low=0.0,
            high=3.0,
            meaning="loss from which on an example waits",
            tex=r"\lambda",
        )
    },
    # Not above the threshold; as low as the losses are.
    properties=Properties(lower=None, upper=lambda threshold: threshold),
    draw=draw,
)
