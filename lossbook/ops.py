"""The few operations that the losses share."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from lossbook import kernels, validate
from lossbook.shapes import (
    FirstSample,
    Labels,
    Logits,
    Masks,
    Parameter,
    PerExample,
    Pixels,
    SecondSample,
)

HALVES = (torch.float16, torch.bfloat16)


def upcast(values: Tensor) -> Tensor:
    """Return half-precision values in float32, all others as they are.

    >>> upcast(torch.zeros(2, dtype=torch.bfloat16)).dtype
    torch.float32
    """
    return values.float() if values.dtype in HALVES else values


def over_classes(parameter: Parameter) -> Parameter:
    """Return a parameter of the loss, shape (...), as one of the logits: (..., 1).

    >>> over_classes(torch.tensor([1.0, 2.0])).shape
    torch.Size([2, 1])
    >>> over_classes(0.5)
    0.5
    """
    return parameter[..., None] if isinstance(parameter, Tensor) else parameter


def at_label(values: Logits, labels: Labels) -> PerExample:
    """Pick each example's entry at its label: values[..., labels[...]].

    >>> at_label(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([1, 0]))
    tensor([2., 3.])
    """
    return values.gather(-1, labels[..., None].long())[..., 0]


def label_margin(logits: Logits, labels: Labels) -> PerExample:
    """Return m = z_y - logsumexp of the other logits: the log-odds of the true class.

    p_y = sigmoid(m) and 1 - p_y = sigmoid(-m), so both have all their digits, however
    close p_y is to 0 or to 1. A single class has no rivals; m is then very large.

    >>> label_margin(torch.tensor([[2.0, 0.0]]), torch.tensor([0]))
    tensor([2.])
    """
    index = labels[..., None].long()
    # Relative to the largest logit all differences are exact, also between huge ones.
    z = logits - logits.detach().amax(-1, keepdim=True)
    # A finite stand-in for -inf: logsumexp has no gradient where all is -inf.
    rivals = z.scatter(-1, index, torch.finfo(z.dtype).min / 4)
    return z.gather(-1, index)[..., 0] - rivals.logsumexp(-1)


def shifted(logits: Logits, offset: Tensor) -> Logits:
    """Return logits + offset, less each example's largest logit.

    For losses that no constant changes: differences of huge logits are exact, and an
    offset is not rounded away beside them.

    >>> shifted(torch.tensor([[1e8, 1e8 - 8]]), torch.tensor([0.0, 0.5]))
    tensor([[ 0.0000, -7.5000]])
    """
    return logits - logits.detach().amax(-1, keepdim=True) + offset


def soft_counts(
    scores: Pixels, targets: Masks
) -> tuple[PerExample, PerExample, PerExample]:
    """Return the expected true positives, false positives and false negatives.

    Sums over the last axis, with p = sigmoid(scores): of p t, p (1 - t), (1 - p) t.

    >>> soft_counts(torch.zeros(4), torch.tensor([1.0, 0.0, 0.0, 0.0]))
    (tensor(0.5000), tensor(1.5000), tensor(0.5000))
    """
    p, not_p, t = scores.sigmoid(), (-scores).sigmoid(), targets.to(scores.dtype)
    return (p * t).sum(-1), (p * (1 - t)).sum(-1), (not_p * t).sum(-1)


def pair_squares(first: FirstSample, second: SecondSample) -> Tensor:
    """Return the squared distance of each point of one sample to each of the other.

    Sums of squared differences, not differences of squares, so that a point is at 0
    from itself exactly.

    >>> pair_squares(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[25.,  0.]])
    """
    return (first[:, None] - second).square().sum(-1)


def psi_loss(
    logits: Logits,
    labels: Labels,
    psi: Callable[..., Tensor],
    factor: Callable[..., Tensor],
    **params: Parameter,
) -> PerExample:
    """Return psi(p_y) per example, for a loss of the true class's probability alone.

    Args:
        logits: (..., C), unnormalized log-probabilities.
        labels: (...), integer classes.
        psi: the loss as a function of (log p_y, log(1 - p_y), **params). Nothing is
            subtracted near 1, so it stays right where p_y rounds to 1.
        factor: g(p) = -p psi'(p) of the same arguments; the gradient in the logits is
            g(p_y) (p - e_y). The plain form does not need it: autograd differentiates
            psi. The fused form does.
        params: floats, or tensors that broadcast against the loss.

    Returns:
        (...), in float32 or wider.

    >>> def psi(log_p, log_not_p):
    ...     return -log_p
    >>> def factor(log_p, log_not_p):
    ...     return torch.ones_like(log_p)
    >>> psi_loss(torch.tensor([[2.0, 0.0]]), torch.tensor([0]), psi, factor)
    tensor([0.1269])
    """
    validate.logits_and_labels(logits, labels)
    z = upcast(logits)
    psi_, factor_ = partial(psi, **params), partial(factor, **params)
    if kernels.usable(z, labels, *params.values()):
        flat_z, flat_y = z.reshape(-1, z.shape[-1]), labels.reshape(-1).long()
        plain = partial(_psi_plain, psi=psi_)
        loss: Tensor = kernels.PsiLoss.apply(flat_z, flat_y, psi_, factor_, plain)
        loss = loss.reshape(labels.shape)
    else:
        loss = _psi_plain(z, labels, psi_)
    return validate.explain_nan("logits", z, loss)


def _psi_plain(
    logits: Tensor, labels: Tensor, psi: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    margin = label_margin(logits, labels)
    return psi(logsigmoid(margin), logsigmoid(-margin))
