"""Conditional risk minimization: say what costs least, not what is likeliest."""

import numpy as np
import torch
from torch import Tensor

from lossbook.shapes import Labels, Targets
from lossbook.trees import Hierarchy


def crm_decode(
    probabilities: Targets, costs: Hierarchy | Tensor | np.ndarray
) -> Labels:
    """Return argmin_k sum_j p_j D_jk: the class of the least expected cost.

    Nothing is trained. Under the model's own probabilities no other decision costs
    less on average, the likeliest class included; with costs of 0 and 1 it is that
    class.

    Args:
        probabilities: (..., C), that sum to 1 over the classes.
        costs: (C, C), the cost of saying k where j is true; or a hierarchy, which
            stands for the heights of the lowest common ancestors.

    Returns:
        (...), class indices; the lowest one among equals.

    Raises:
        ValueError: for costs of another shape.

    >>> tree = Hierarchy.from_nested([["cat", "dog"], "car"])
    >>> p = torch.tensor([[0.36, 0.20, 0.44], [0.10, 0.10, 0.80]])
    >>> p.argmax(-1), crm_decode(p, tree)
    (tensor([2, 2]), tensor([0, 2]))
    """
    table = costs.lca_heights if isinstance(costs, Hierarchy) else costs
    matrix = table if isinstance(table, Tensor) else torch.from_numpy(np.array(table))
    matrix = matrix.to(probabilities.device, torch.float64)
    classes = probabilities.shape[-1]
    if matrix.shape != (classes, classes):
        raise ValueError(
            f"costs must be one a pair of classes, shape {(classes, classes)}, got "
            f"{tuple(matrix.shape)}"
        )
    return (probabilities.double() @ matrix).argmin(-1)
