"""Forward correction: the model states clean labels, the loss sees noisy ones."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from lossbook import validate
from lossbook.card import LossCard, Properties
from lossbook.ops import row_at, upcast
from lossbook.shapes import Labels, Logits, NpLabels, NpLogits, NpPerExample, PerExample


@dataclass(frozen=True, eq=False)
class ForwardCorrection:
    """-log (T^T p)_label, with p = softmax(logits) and a transition matrix T.

    T_ij is the probability that an example of true class i has the label j, so that
    T^T p are the probabilities of the labels if p are those of the true classes. Where
    the labels' posterior is T^T eta, the loss is least at p = eta.

    Args:
        transition: (C, C), the matrix T: a row for each true class, which sums to 1.
        loss: a loss of (logits, labels) that is applied to T^T p; None is
            cross-entropy, computed without the (..., C, C) numbers that others need.

    >>> import torch
    >>> loss = ForwardCorrection([[0.9, 0.1], [0.3, 0.7]])
    >>> loss(torch.tensor([[2.0, 0.0], [2.0, 0.0]]), torch.tensor([0, 1]))
    tensor([0.1882, 1.7630])
    """

    transition: Any
    loss: Callable[..., Tensor] | None = None

    def __post_init__(self) -> None:
        """Keep the matrix in float64; refuse what is none."""
        matrix = validate.transition_matrix(self.transition)
        object.__setattr__(self, "transition", matrix)

    def __call__(self, logits: Logits, labels: Labels) -> PerExample:
        """Return the loss of each example.

        Args:
            logits: (..., C), unnormalized log-probabilities of the true classes.
            labels: (...), the given labels, 0 to C - 1.

        Returns:
            (...), in nats; a label that T rules out costs a very large number.

        Raises:
            ValueError: for labels outside of the classes, logits that are nan, or
                another number of classes than the matrix has.
        """
        validate.logits_and_labels(logits, labels)
        validate.has_classes(logits, len(self.transition), "transition")
        z = upcast(logits)
        z = z - z.detach().amax(-1, keepdim=True)
        if self.loss is None:
            stays, leaves = self.transition.to(z), (1 - self.transition).to(z)
            this, other = row_at(stays.T, labels), row_at(leaves.T, labels)
            (top, rest), (top_2, rest_2) = _log_mean(z, this), _log_mean(z, other)
            loss = -logsigmoid((top - top_2) + (rest - rest_2))  # tops may be huge
            return validate.explain_nan("logits", logits, loss)
        top, rest = _log_mean(z[..., None, :], self.transition.to(z).T)
        log_q = validate.explain_nan("logits", logits, top + rest)
        return self.loss(log_q, labels)


def _log_mean(z: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return log(sum_i weights_i exp(z_i)) in two parts, the largest z_i and the rest.

    Classes of weight 0 take no part. Where all have it, both parts are very low
    constants.
    """
    limits = torch.finfo(z.dtype)
    allowed = torch.where(weights == 0, limits.min / 4, z)
    top = allowed.detach().amax(-1, keepdim=True)
    total = (weights * (allowed - top).exp()).sum(-1)
    return top[..., 0], total.clamp(min=limits.tiny).log()


def forward_correction_ref(
    logits: NpLogits, labels: NpLabels, *, transition: np.ndarray
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient p - r; r ~ p_i T_i,label: the true class given the label."""
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    joint = p * transition[:, labels].T  # true class i, and this label
    given = joint.sum(-1, keepdims=True)
    return -np.log(given[..., 0]), p - joint / given


def recovered(logits: NpLogits, *, transition: np.ndarray) -> NpLogits:
    """Return the posterior of the labels at which these logits are optimal: T^T p."""
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return p @ transition


def closure(rng: np.random.Generator, classes: int) -> Mapping[str, np.ndarray]:
    """Draw an asymmetric matrix: mostly the true class, and one label impossible."""
    noise = rng.dirichlet(np.ones(classes), size=classes)
    if classes > 2:
        noise[0] = np.eye(classes)[1]
    return {"transition": 0.6 * np.eye(classes) + 0.4 * noise}


CARD = LossCard(
    name="Forward correction",
    family="combine",
    kind="labels",
    fn=ForwardCorrection,
    ref=forward_correction_ref,
    summary="Cross-entropy of what the model's classes become under known label noise.",
    cite="patrini2017making",
    recovery=recovered,
    properties=Properties(
        convex=False,
        # For the posterior of the labels that it is given. For that of the true
        # classes, which goes through the matrix, both hold.
        strictly_proper=False,
        calibrated=False,
        symmetric=False,
        shift_invariant=True,
        lower=None,  # depends on the matrix
    ),
    closure=closure,
)
