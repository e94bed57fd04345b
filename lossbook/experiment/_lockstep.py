"""Train many small networks at once: their weights share a leading axis.

The models are independent: the sum of their losses has, for each of them, its own
gradient. One batched matrix product serves all, which is what makes ten seeds cheap.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Models:
    """K trained networks of one shape."""

    layers: list[tuple[Tensor, Tensor]]  # (K, in, out) weights and (K, 1, out) biases

    def logits(self, inputs: np.ndarray | Tensor) -> Tensor:
        """Return (K, n, C) logits of (K, n, features) or (n, features) inputs."""
        x = torch.as_tensor(inputs)
        count = len(self.layers[0][0])
        x = x.expand(count, *x.shape) if x.ndim == 2 else x
        for i, (weight, bias) in enumerate(self.layers):
            x = torch.baddbmm(bias, x.relu() if i else x, weight)
        return x

    def probabilities(self, inputs: np.ndarray | Tensor) -> np.ndarray:
        """Return (K, n, C) softmax probabilities, as numpy."""
        return self.logits(inputs).softmax(-1).numpy()


def train(
    inputs: np.ndarray,
    labels: np.ndarray,
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    seeds: Sequence[int],
    classes: int = 2,
    hidden: Sequence[int] = (),
    steps: int = 300,
    learning_rate: float = 0.1,
    weight_decay: float = 0.0,
    sample_weight: np.ndarray | None = None,
) -> Models:
    """Train K networks in lockstep with Adam on whole batches, the rate falling to 0.

    The seed of a model decides its initial weights and never depends on the loss, so
    that losses meet the same start.

    Args:
        inputs: (K, n, features), or (n, features) for all models.
        labels: (K, n) or (n,), integer classes.
        loss: (logits (K, n, C), labels (K, n)) -> (K, n).
        seeds: K numbers, one a model.
        classes: number of classes C.
        hidden: widths of the hidden layers; none gives logistic regression.
        steps: updates.
        learning_rate: of Adam at the start; it falls along a cosine.
        weight_decay: L2 penalty on weights, not on biases.
        sample_weight: (K, n), divided by its mean; None weighs all alike.

    Returns:
        The trained models.

    Raises:
        ValueError: for arrays whose first axes do not agree with `seeds`.
    """
    x, y = torch.as_tensor(inputs), torch.as_tensor(labels)
    count = len(seeds)
    x = x.expand(count, *x.shape) if x.ndim == 2 else x
    y = y.expand(count, *y.shape) if y.ndim == 1 else y
    if len(x) != count or x.shape[:2] != y.shape:
        raise ValueError(
            f"inputs must be (K, n, features) and labels (K, n) for K = {count} seeds, "
            f"got {tuple(x.shape)} and {tuple(y.shape)}"
        )
    weight = torch.ones(1) if sample_weight is None else torch.as_tensor(sample_weight)
    weight = weight / weight.mean(-1, keepdim=True)
    models = Models(_start(seeds, [x.shape[-1], *hidden, classes], x.dtype))
    groups = [
        {"params": [w for w, _ in models.layers], "weight_decay": weight_decay},
        {"params": [b for _, b in models.layers], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.Adam(
        groups, lr=learning_rate, betas=(0.9, 0.95), foreach=True
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        (weight * loss(models.logits(x), y)).mean(-1).sum().backward()
        optimizer.step()
        schedule.step()
    return Models([(w.detach(), b.detach()) for w, b in models.layers])


def _start(
    seeds: Sequence[int], widths: Sequence[int], dtype: torch.dtype
) -> list[tuple[Tensor, Tensor]]:
    """Return He-normal weights and zero biases, drawn from each model's own seed."""
    generators = [np.random.default_rng(seed) for seed in seeds]
    layers = []
    for fan_in, fan_out in pairwise(widths):
        scale = np.sqrt(2 / fan_in)
        drawn = [scale * g.normal(size=(fan_in, fan_out)) for g in generators]
        weight = torch.tensor(np.stack(drawn), dtype=dtype, requires_grad=True)
        bias = torch.zeros(len(seeds), 1, fan_out, dtype=dtype).requires_grad_()
        layers.append((weight, bias))
    return layers
