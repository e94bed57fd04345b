"""The reverse Kullback-Leibler divergence, which looks where the model looks."""

import torch

from lossbook import validate
from lossbook.modes import values_visible
from lossbook.ops import upcast
from lossbook.shapes import Logits, PerExample, Targets


def reverse_kl(logits: Logits, targets: Targets) -> PerExample:
    """Return KL(p || q) = sum_k p_k log(p_k / q_k), p = softmax(logits), q = targets.

    The gradient in the logits is p (log(p / q) - KL). It fades where p does: a class
    that the model has given up stays so, whatever its target.

    The divergence is infinite wherever a class with target 0 has a probability, and
    a softmax always gives one. Such targets, one-hot labels among them, are refused;
    so this loss has no card, since the checks of a card use labels.

    Args:
        logits: (..., C), unnormalized log-probabilities; -inf rules a class out.
        targets: (..., C), positive probabilities that sum to 1 over the classes.

    Returns:
        (...), in nats; 0 exactly where p = q.

    Raises:
        ValueError: for targets that are not positive or do not sum to 1, or logits
            that are nan.

    >>> reverse_kl(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.5, 0.5]]))
    tensor([0.3278])
    """
    validate.logits_and_targets(logits, targets)
    if values_visible(targets) and bool((targets == 0).any()):
        raise ValueError(
            "targets must be positive, since the divergence is infinite at a target of "
            "0, got 0; smooth them, or use kl or jensen_shannon"
        )
    log_p = upcast(logits).log_softmax(-1)
    # A finite stand-in for -inf, whose p is 0: 0 times it is 0, as p log p tends to.
    log_p = log_p.clamp(min=torch.finfo(log_p.dtype).min / 4)
    log_ratio = log_p - targets.to(log_p.dtype).log()
    return validate.explain_nan("logits", logits, (log_p.exp() * log_ratio).sum(-1))
