"""Lee-Lin-Wahba loss: the hinge on each wrong class. Chapter: surrogates."""

import math

import numpy as np
import torch
from torch.nn.functional import relu

from lossbook import validate
from lossbook.card import LossCard, Properties
from lossbook.ops import at_label, upcast
from lossbook.shapes import Labels, Logits, NpLabels, NpLogits, NpPerExample, PerExample


def lee_lin_wahba(logits: Logits, labels: Labels) -> PerExample:
    """Return the sum over k != y of max(0, 1 + f_k) per example, f = z - mean(z).

    The loss is defined for scores that sum to zero over the classes: without that,
    ever lower scores of all classes would cost nothing. The constraint is met by
    subtracting the logits' mean, so the loss does not change with a constant that is
    added to all logits. It is calibrated: the cheapest scores are C - 1 for the
    likeliest class and -1 for all others.

    At a kink, f_k = -1, the slope used is 0. The steepest gradient grows with the
    number of classes: with a = floor(C / 2) rivals above -1 its Euclidean norm is
    sqrt(a (C - a) / C).

    Args:
        logits: (..., C), one real number a class. A class that is ruled out by -inf
            takes no part in the mean.
        labels: (...), the true class, 0 to C - 1.

    Returns:
        (...), never less than the 0/1 loss; infinite where the true class is ruled out.

    Raises:
        ValueError: for labels outside of the classes, or logits that are nan.

    >>> import torch
    >>> lee_lin_wahba(torch.tensor([[2.0, 0.0, 1.0]]), torch.tensor([0]))
    tensor([1.])
    """
    validate.logits_and_labels(logits, labels)
    z = upcast(logits)
    possible = z != -torch.inf
    # Relative to the largest logit the mean loses no digits to a shared constant.
    known = (z - z.detach().amax(-1, keepdim=True)).where(possible, 0.0)
    mean = known.sum(-1, keepdim=True) / possible.sum(-1, keepdim=True)
    lacking = relu(1 + (known - mean)).where(possible, 0.0)
    loss = lacking.scatter(-1, labels[..., None].long(), 0.0).sum(-1)
    loss = loss.where(at_label(possible, labels), torch.inf)
    return validate.explain_nan("logits", z, loss)


def lee_lin_wahba_ref(
    logits: NpLogits, labels: NpLabels
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: the wrong classes above -1, less their share in each class."""
    classes = logits.shape[-1]
    e_y = np.eye(classes)[labels]
    f = logits - logits.mean(-1, keepdims=True)
    above = (1 + f > 0) & (e_y == 0)
    return (above * (1 + f)).sum(-1), above - above.sum(-1, keepdims=True) / classes


CARD = LossCard(
    name="Lee-Lin-Wahba loss",
    family="margins",
    kind="labels",
    fn=lee_lin_wahba,
    ref=lee_lin_wahba_ref,
    summary="The hinge loss of each wrong class, on scores that sum to zero.",
    cite="lee2004multicategory",
    properties=Properties(
        convex=True,
        strictly_proper=False,
        calibrated=True,
        symmetric=False,
        monotone=True,
        shift_invariant=True,
        upper=math.inf,
    ),
)
