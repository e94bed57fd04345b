"""What focal losses share: a weight on a logarithm, with all digits of its slope."""

import torch
from torch import Tensor

from lossbook.ops import finite, underived


def turned_down(weight: Tensor, log_p: Tensor) -> Tensor:
    """Return weight * log p, for a weight that is 1 and flat where p is 0.

    The slope of the weight, 0 there, must not meet log 0: the slope in p would be nan.
    Nor may a sum of two slopes stand in for it: where the weight is tiny, their digits
    would cancel.

    >>> log_p = torch.tensor([-torch.inf, -1.0], requires_grad=True)
    >>> loss = turned_down(torch.tensor([1.0, 1e-12]), log_p)
    >>> torch.autograd.grad(loss.sum(), log_p)[0]
    tensor([1.0000e+00, 1.0000e-12])
    """
    if underived(weight, log_p):
        return weight * log_p
    near = finite(log_p)
    return torch.where(log_p == near, weight * near, log_p)
