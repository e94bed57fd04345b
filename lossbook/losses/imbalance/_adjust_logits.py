"""Post-hoc logit adjustment: the prior divided out after training."""

from typing import Any

from lossbook import validate
from lossbook.ops import over_classes, upcast
from lossbook.shapes import Logits, Parameter


def adjust_logits(logits: Logits, counts: Any, *, tau: Parameter = 1.0) -> Logits:
    """Return logits - tau log(prior), the prior being counts / sum(counts).

    For a model that was trained with plain cross-entropy: where its softmax is the
    posterior, the largest adjusted logit at tau = 1 has the least balanced error. The
    sign is opposite to that in `LogitAdjusted`, whose logits need no adjustment.

    Args:
        logits: (..., C), unnormalized log-probabilities.
        counts: (C,), how many training examples each class has.
        tau: how much of the prior is divided out; 0 changes nothing.

    Returns:
        (..., C).

    Raises:
        ValueError: for counts that are not positive, or not one a class of the logits.

    >>> import torch
    >>> adjust_logits(torch.tensor([[2.0, 0.0]]), [900, 100])
    tensor([[2.1054, 2.3026]])
    """
    prior = validate.class_counts(counts)
    validate.has_classes(logits, len(prior), "counts")
    z = upcast(logits)
    return z - over_classes(tau) * (prior / prior.sum()).log().to(z)
