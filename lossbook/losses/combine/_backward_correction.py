"""Backward correction: a loss on noisy labels whose mean is the one on clean labels."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossbook import validate
from lossbook.card import LossCard, Properties
from lossbook.losses.combine._forward_correction import closure, recovered
from lossbook.ops import rows, upcast
from lossbook.shapes import Labels, Logits, NpLabels, NpLogits, NpPerExample, PerExample


@dataclass(frozen=True, eq=False)
class BackwardCorrection:
    """sum_j (T^-1)_label,j (-log p_j), with p = softmax(logits), T a transition matrix.

    T_ij is the probability that an example of true class i has the label j. The mean
    over the labels of an example is the cross-entropy to its true class, exactly. The
    price: weights below 0, so that single losses have no lower bound, and a variance
    that grows with the noise. -inf is no legal logit here.

    Args:
        transition: (C, C), the matrix T: a row for each true class, which sums to 1;
            invertible.

    >>> import torch
    >>> loss = BackwardCorrection([[0.9, 0.1], [0.3, 0.7]])
    >>> loss(torch.tensor([[2.0, 0.0], [2.0, 0.0]]), torch.tensor([0, 1]))
    tensor([-0.2064,  3.1269])
    """

    transition: Any
    inverse: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Keep the matrix and its inverse in float64; refuse what has none."""
        matrix = validate.transition_matrix(self.transition)
        rank = int(torch.linalg.matrix_rank(matrix))
        if rank < len(matrix):
            raise ValueError(
                f"transition must be invertible, got {len(matrix)} rows of rank "
                f"{rank}; ForwardCorrection takes any transition matrix"
            )
        object.__setattr__(self, "transition", matrix)
        object.__setattr__(self, "inverse", torch.linalg.inv(matrix))

    def __call__(self, logits: Logits, labels: Labels) -> PerExample:
        """Return the loss of each example.

        Args:
            logits: (..., C), unnormalized log-probabilities of the true classes.
            labels: (...), the given labels, 0 to C - 1.

        Returns:
            (...), in nats; it may be negative.

        Raises:
            ValueError: for labels outside of the classes, logits that are not finite,
                or another number of classes than the matrix has.
        """
        validate.logits_and_labels(logits, labels)
        validate.has_classes(logits, len(self.transition), "transition")
        z = upcast(logits)
        z = z - z.detach().amax(-1, keepdim=True)
        # The weights of a label sum to 1, as the rows of T do.
        weights = rows(self.inverse.to(z), labels)
        loss = z.logsumexp(-1) - (weights * z).sum(-1)
        return validate.no_class_ruled_out(logits, loss)


def backward_correction_ref(
    logits: NpLogits, labels: NpLabels, *, transition: np.ndarray
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: all classes' cross-entropies, weighted by the label's row."""
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    weights = np.linalg.inv(transition)[labels]
    each = p[..., None, :] - np.eye(logits.shape[-1])  # the gradient for class j
    gradient = (weights[..., None] * each).sum(-2)
    return (weights * -np.log(p)).sum(-1), gradient


CARD = LossCard(
    name="Backward correction",
    family="combine",
    kind="labels",
    fn=BackwardCorrection,
    ref=backward_correction_ref,
    summary="Cross-entropy reweighted to be right in the mean under known label noise.",
    cite="patrini2017making",
    recovery=recovered,
    properties=Properties(
        convex=True,
        # For the posterior of the labels that it is given. For that of the true
        # classes, which goes through the matrix, both hold.
        strictly_proper=False,
        calibrated=False,
        symmetric=False,
        shift_invariant=True,
        lower=-math.inf,
        upper=math.inf,
    ),
    closure=closure,
)
