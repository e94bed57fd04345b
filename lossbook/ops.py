"""The few operations that the losses share."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from lossbook import kernels, validate
from lossbook.shapes import Labels, Logits, Parameter, PerExample

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


def expm1(values: Tensor) -> Tensor:
    """Return exp(x) - 1, with all digits in the derivative exp(x) as well.

    torch forms the derivative from the result, as (exp(x) - 1) + 1: where x is far
    below 0, nothing is left of it.

    >>> x = torch.tensor(-20.0, requires_grad=True)
    >>> torch.autograd.grad(expm1(x), x)
    (tensor(2.0612e-09),)
    """
    return torch.where(values < -1, values.exp() - 1, values.expm1())


def rows(table: Tensor, labels: Labels) -> Tensor:
    """Pick each example's row of a table (C, ...): table[labels].

    torch turns the single label of one example into a number, when it is written as an
    index; that fails where vmap takes the batch apart.

    >>> rows(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([1, 0]))
    tensor([[3., 4.],
            [1., 2.]])
    """
    picked = table.index_select(0, labels.reshape(-1).long())
    return picked.reshape(*labels.shape, *table.shape[1:])


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
