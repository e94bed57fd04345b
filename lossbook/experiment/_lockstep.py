"""Train many small networks at once: their weights share a leading axis.

The models are independent: the sum of their losses has, for each of them, its own
gradient. One batched matrix product serves all, which is what makes ten seeds cheap.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from lossbook.experiment._models import Head, Models

Loss = Callable[..., Tensor]
_Call = Callable[[Tensor, Tensor, Tensor | None], Tensor]
Optimizer = Literal["adam", "adamw", "sgd"]
OPTIMIZERS: tuple[Optimizer, ...] = ("adam", "adamw", "sgd")


def train(
    inputs: np.ndarray,
    labels: np.ndarray,
    loss: Loss | Sequence[Loss],
    *,
    seeds: Sequence[int],
    classes: int = 2,
    hidden: Sequence[int] = (),
    head: Head = "linear",
    steps: int = 300,
    batch_size: int | None = None,
    optimizer: Optimizer = "adam",
    learning_rate: float = 0.1,
    weight_decay: float = 0.0,
    sample_weight: np.ndarray | None = None,
    weight_from: float = 0.0,
    after_epoch: Callable[[int, Models], None] | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Models:
    """Train K networks in lockstep, the learning rate falling to 0 along a cosine.

    The seed of a model decides its initial weights and the order of its examples. It
    never depends on the loss, so that losses meet the same start and the same batches.
    A model whose output or loss leaves the finite numbers stops there, and says so in
    `Models.failed`; the others go on.

    Args:
        inputs: (K, n, features), or (n, features) for all models.
        labels: (K, n) or (n,), integer classes.
        loss: (outputs (K, b, C), labels (K, b)) -> (K, b); or K of them, one a model,
            each called with its own slice. A loss with an argument `index` is given
            the examples' positions as well.
        seeds: K numbers, one a model.
        classes: number of outputs C; for the head "embedding" the dimensions.
        hidden: widths of the hidden layers; none gives a linear model.
        head: "linear", "cosine" or "embedding", as in `Models`.
        steps: updates.
        batch_size: examples of each update; all of them where not given.
        optimizer: "adam" (its second moment forgets with 0.95, not torch's 0.999),
            "adamw" or "sgd" (momentum 0.9).
        learning_rate: at the start.
        weight_decay: on weights, not on biases.
        sample_weight: (K, n), divided by its mean; None weighs all alike.
        weight_from: share of the training after which the weights hold; before, all
            examples weigh 1 (deferred re-weighting).
        after_epoch: called with the number of epochs done and the models; they must
            not be changed.
        dtype: of the weights; that of the inputs where not given.
        device: of the training.

    Returns:
        The trained models.

    Raises:
        ValueError: for arrays whose first axes do not agree with `seeds`, an optimizer
            or a head that is none, or a batch of no examples.
    """
    x, y = (
        torch.as_tensor(inputs, device=device),
        torch.as_tensor(labels, device=device),
    )
    x = x.to(dtype or x.dtype)
    count = len(seeds)
    x = x.expand(count, *x.shape) if x.ndim == 2 else x
    y = y.expand(count, *y.shape) if y.ndim == 1 else y
    if len(x) != count or x.shape[:2] != y.shape:
        raise ValueError(
            f"inputs must be (K, n, features) and labels (K, n) for K = {count} seeds, "
            f"got {tuple(x.shape)} and {tuple(y.shape)}"
        )
    if not callable(loss) and len(loss) != count:
        raise ValueError(
            f"loss must be one function or one a seed, {count}, got {len(loss)}"
        )
    models = Models.start(
        seeds,
        [x.shape[-1], *hidden, classes],
        head=head,
        dtype=x.dtype,
        device=device,
    )
    descend = _optimizer(models, optimizer, learning_rate, weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(descend, steps)
    weight = _weights(sample_weight, x)
    batches = _batches(seeds, x.shape[1], batch_size, x.device)
    calls = _call(loss) if callable(loss) else [_call(one) for one in loss]
    failed: np.ndarray = np.full(count, -1)
    for step in range(steps):
        index, epoch_ends = next(batches)
        descend.zero_grad()
        outputs = models.outputs(x if index is None else _rows(x, index))
        outputs = _finite(outputs, failed, step)
        per_example = _losses(calls, outputs, _picked(y, index), index)
        if weight is not None and step >= weight_from * steps:
            per_example = per_example * _picked(weight, index)
        per_model = per_example.flatten(1).mean(1)
        _note(~per_model.isfinite(), failed, step)
        per_model.sum().backward()
        descend.step()
        schedule.step()
        if epoch_ends and after_epoch is not None:
            after_epoch(
                _epochs(step, x.shape[1], batch_size), _detached(models, failed)
            )
    for layer in models.layers:  # the last update has no outputs to tell of it
        for values in layer:
            _note(~values.detach().isfinite().flatten(1).all(1), failed, steps)
    return _detached(models, failed)


def _optimizer(
    models: Models, name: str, learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    groups = [
        {"params": [w for w, _ in models.layers], "weight_decay": weight_decay},
        {"params": [b for _, b in models.layers], "weight_decay": 0.0},
    ]
    if name == "adam":
        return torch.optim.Adam(groups, lr=learning_rate, betas=(0.9, 0.95), fused=True)
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=learning_rate, fused=True)
    if name == "sgd":
        return torch.optim.SGD(groups, lr=learning_rate, momentum=0.9, fused=True)
    raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {name!r}")


def _weights(sample_weight: np.ndarray | None, x: Tensor) -> Tensor | None:
    if sample_weight is None:
        return None
    weight = torch.as_tensor(sample_weight, dtype=x.dtype, device=x.device)
    weight = weight.expand(x.shape[:2])
    return weight / weight.mean(-1, keepdim=True)


def _batches(
    seeds: Sequence[int], n: int, size: int | None, device: torch.device
) -> Iterator[tuple[Tensor | None, bool]]:
    """Yield each update's examples, (K, b) positions, and whether an epoch ends.

    None stands for all examples, in their order.
    """
    if size is not None and size < 1:
        raise ValueError(f"batch_size must be at least 1, got {size}")
    if size is None or size >= n:
        while True:
            yield None, True
    orders = [np.random.default_rng([seed, 1]) for seed in seeds]
    while True:
        drawn = np.stack([order.permutation(n) for order in orders])
        epoch = torch.as_tensor(drawn, device=device)
        for start in range(0, n, size):
            yield epoch[:, start : start + size], start + size >= n


def _epochs(step: int, n: int, size: int | None) -> int:
    return step + 1 if size is None or size >= n else (step + 1) // -(-n // size)


def _rows(x: Tensor, index: Tensor) -> Tensor:
    """Return (K, b, features): each model's examples at its positions."""
    if x.stride(0) == 0:  # the same examples for all models
        return x[0].index_select(0, index.flatten()).unflatten(0, index.shape)
    first = torch.arange(len(x), device=x.device)[:, None] * x.shape[1]
    rows = x.flatten(0, 1).index_select(0, (first + index).flatten())
    return rows.unflatten(0, index.shape)


def _picked(values: Tensor, index: Tensor | None) -> Tensor:
    """Return (K, b): each model's entries at its positions."""
    return values if index is None else values.gather(1, index)


def _losses(
    calls: _Call | Sequence[_Call],
    outputs: Tensor,
    labels: Tensor,
    index: Tensor | None,
) -> Tensor:
    """Return one loss an example, from one function or from one a model."""
    if callable(calls):
        return calls(outputs, labels, index)
    return torch.stack(
        [
            call(outputs[k], labels[k], None if index is None else index[k])
            for k, call in enumerate(calls)
        ]
    )


def _call(loss: Loss) -> _Call:
    """Return how to call a loss, which may want the examples' positions."""
    read = loss.forward if isinstance(loss, torch.nn.Module) else loss
    wants_index = "index" in inspect.signature(read).parameters

    def call(outputs: Tensor, labels: Tensor, index: Tensor | None) -> Tensor:
        if not wants_index:
            return loss(outputs, labels)
        if index is None:
            index = torch.arange(labels.shape[-1], device=labels.device)
        return loss(outputs, labels, index.expand(labels.shape))

    return call


def _finite(outputs: Tensor, failed: np.ndarray, step: int) -> Tensor:
    """Return the outputs; those of models that have failed are 0, and pull nowhere."""
    if bool(outputs.detach().sum().isfinite()):  # then each of them is
        return outputs
    broken = ~outputs.detach().isfinite().flatten(1).all(1)
    if not bool(broken.any()):
        return outputs
    _note(broken, failed, step)
    return outputs.where(~broken[:, None, None], 0.0)


def _note(broken: Tensor, failed: np.ndarray, step: int) -> None:
    """Write down the first step at which a model left the finite numbers."""
    failed[broken.cpu().numpy() & (failed < 0)] = step


def _detached(models: Models, failed: np.ndarray) -> Models:
    layers = [(w.detach(), b.detach()) for w, b in models.layers]
    return Models(layers, models.head, models.scale, failed.copy())
