"""Which mode torch is in: may values be looked at, may a fused kernel run?"""

import torch
from torch import Tensor
from torch.autograd import forward_ad


def values_visible(*tensors: Tensor) -> bool:
    """Return whether Python may read the numbers in these tensors without harm.

    False on a GPU (reading would wait for it), and wherever a tensor stands for many
    or none: under `torch.compile`, `torch.export`, `torch.func` transforms, tracing.
    """
    for each in tensors:
        if not each.is_cpu or type(each) not in _PLAIN:
            return False
    return (
        not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
        and torch._C._len_torch_dispatch_stack() == 0
    )


def forward_mode() -> bool:
    """Return whether forward-mode differentiation is under way."""
    return forward_ad._current_level >= 0


_PLAIN = (Tensor, torch.nn.Parameter)
