"""Criterion: a loss, its parameters, weights, ignored labels and a reduction."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lossbook import kernels
from lossbook import validate as checks
from lossbook.card import Kind
from lossbook.losses import card_of
from lossbook.modes import values_visible

Reduction = Literal["mean", "sum", "none"]
REDUCTIONS: tuple[Reduction, ...] = ("mean", "sum", "none")
WITH_CLASSES: tuple[Kind, ...] = ("labels", "targets", "cosine")
ELEMENTWISE: tuple[Kind, ...] = ("margin", "binary")
WITH_LABELS: tuple[Kind, ...] = ("labels", "cosine")


class Criterion(nn.Module):
    """A loss of examples, made into the number that a training step descends.

    With `cross_entropy` this is `nn.CrossEntropyLoss`, but for two batches: where
    every label is ignored, or every weight is 0, torch's mean is nan and this one is 0
    with zero gradient.

    Args:
        loss: a loss of this package, or a function of (logits, labels) that returns
            one loss an example.
        weight: (C,), one weight a class; losses of integer labels only.
        ignore_index: examples with this label count for nothing, in the sum and in
            the mean's divisor; losses of integer labels only.
        reduction: "mean" (divided by the sum of the weights), "sum", or "none".
        class_axis: where the classes stand; 1 as in torch, so that (N, C), (N, C, L)
            and (N, C, H, W) work. A single example (C,) works too.
        validate: check values on a GPU as well (it waits for them).
        params: the parameters of the loss, floats or tensors.

    Raises:
        ValueError, TypeError: for a parameter that the loss does not have, or an
            option that does not apply to its kind.

    >>> from lossbook import focal
    >>> criterion = Criterion(focal, gamma=1.0, weight=[1.0, 2.0])
    >>> criterion(torch.tensor([[2.0, 0.0]]), torch.tensor([1]))
    tensor(1.8734)
    """

    weight: Tensor | None

    def __init__(
        self,
        loss: Callable[..., Tensor],
        *,
        weight: Tensor | Sequence[float] | None = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        class_axis: int = 1,
        validate: bool = False,
        **params: float | Tensor,
    ) -> None:
        super().__init__()
        card = card_of(loss)
        self.kind: Kind = card.kind if card else "labels"
        self.loss = loss
        self.ignore_index = ignore_index
        self.reduction = reduction
        self.class_axis = class_axis
        self.validate = validate
        self.names = tuple(params)
        self._refuse_options(weight, params)
        self.register_buffer("weight", _class_weight(weight))
        for name, value in params.items():
            if isinstance(value, nn.Parameter):
                self.register_parameter(name, value)
            elif isinstance(value, Tensor):
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)

    def forward(
        self, outputs: Tensor, truth: Tensor, *, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Return the reduced loss.

        Args:
            outputs: logits with the classes on `class_axis`, or scores.
            truth: labels, targets or signs, as the loss takes them.
            sample_weight: one weight an example, of the shape of the loss.

        Returns:
            A scalar, or for reduction "none" the weighted loss of each example.
        """
        outputs, truth = self._classes_last(outputs, truth)
        keep = self._kept(outputs, truth)
        if keep is not None:
            # What is ignored must not matter, not even as nan: it is replaced.
            truth = truth.where(keep, 0)
            outputs = outputs.where(keep[..., None], 0.0)
        if self.validate:
            _check_values(self.kind, outputs, truth)
        params = {name: getattr(self, name) for name in self.names}
        if self._needs_sum(outputs, truth, sample_weight):
            with kernels.Reduced(mean=self.reduction == "mean"):
                loss = self.loss(outputs, truth, **params)
            if loss.ndim == 0:
                return loss
        else:
            loss = self.loss(outputs, truth, **params)
        weight = self._weight(loss, truth, keep, sample_weight)
        return self._reduce(loss, weight)

    def extra_repr(self) -> str:
        """Return what distinguishes this criterion, for its repr."""
        params = "".join(f", {name}={getattr(self, name)}" for name in self.names)
        name = getattr(self.loss, "__name__", type(self.loss).__name__)
        return f"{name}{params}, reduction={self.reduction!r}"

    def _classes_last(self, outputs: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        if self.kind not in WITH_CLASSES or not isinstance(outputs, Tensor):
            return outputs, truth
        axis = 0 if outputs.ndim == 1 else self.class_axis
        if not -outputs.ndim <= axis < outputs.ndim:
            raise ValueError(
                f"class_axis must be an axis of the logits, which have shape "
                f"{tuple(outputs.shape)}, got {axis}"
            )
        if self.kind == "targets" and isinstance(truth, Tensor):
            truth = truth.movedim(axis, -1) if truth.ndim == outputs.ndim else truth
        if axis in (-1, outputs.ndim - 1):  # an operation less for autograd
            return outputs, truth
        return outputs.movedim(axis, -1), truth

    def _kept(self, outputs: Tensor, truth: Tensor) -> Tensor | None:
        """Return which examples count, or None if all do."""
        if self.kind not in WITH_LABELS:
            return None
        checks.logits_and_labels(outputs, truth, values=False)
        if self.weight is not None and len(self.weight) != outputs.shape[-1]:
            raise ValueError(
                "weight must hold one number a class: there are "
                f"{outputs.shape[-1]} classes, got {len(self.weight)} weights"
            )
        if values_visible(truth) and not bool((truth == self.ignore_index).any()):
            return None
        return truth != self.ignore_index

    def _needs_sum(
        self, outputs: Tensor, truth: Tensor, sample_weight: Tensor | None
    ) -> bool:
        """Return whether losses of one number each are wanted in one number only."""
        return (
            self.kind in ELEMENTWISE
            and self.reduction != "none"
            and sample_weight is None
            and all(isinstance(each, Tensor) for each in (outputs, truth))
            and values_visible(outputs, truth)
        )

    def _weight(
        self,
        loss: Tensor,
        truth: Tensor,
        keep: Tensor | None,
        sample_weight: Tensor | None,
    ) -> Tensor | None:
        """Return one weight an example, or None if all are 1."""
        factors = []
        if self.weight is not None:
            factors.append(self.weight[truth.long()])
        if keep is not None:
            factors.append(keep)
        if sample_weight is not None:
            if sample_weight.shape != loss.shape:
                raise ValueError(
                    "sample_weight must have one entry an example, shape "
                    f"{tuple(loss.shape)}, got {tuple(sample_weight.shape)}"
                )
            factors.append(sample_weight)
        if not factors:
            return None
        weight = torch.ones_like(loss)
        for factor in factors:
            weight = weight * factor.to(loss.dtype)
        return weight.detach() if sample_weight is None else weight

    def _reduce(self, loss: Tensor, weight: Tensor | None) -> Tensor:
        if weight is None:
            if self.reduction == "none":
                return loss
            if self.reduction == "mean" and loss.numel():
                if not kernels.is_large(loss):
                    return loss.mean()
                # In torch, the gradient of mean() is an array of equal numbers.
                return loss.sum() / loss.numel()
            return loss.sum()
        # An infinite loss of weight 0 counts for nothing; 0 times inf would be nan.
        weighted = torch.where(weight == 0, 0.0, loss * weight)
        if self.reduction == "none":
            return weighted
        if self.reduction == "sum":
            return weighted.sum()
        total = weight.sum()
        return weighted.sum() / total.where(total != 0, 1.0)

    def _refuse_options(
        self, weight: Tensor | Sequence[float] | None, params: dict[str, Any]
    ) -> None:
        if self.reduction not in REDUCTIONS:
            raise ValueError(
                f'reduction must be "mean", "sum" or "none", got {self.reduction!r}'
            )
        if weight is not None and self.kind not in WITH_LABELS:
            raise ValueError(
                "weight must belong to a loss of integer labels, got one for a loss of "
                f"kind {self.kind!r}; use sample_weight at the call"
            )
        has = _parameters(self.loss)
        for name in params:
            if has is not None and name not in has:
                raise TypeError(
                    f"{name} must be a parameter of the loss, which has "
                    f"{', '.join(has) or 'none'}"
                )


def _parameters(loss: Callable[..., Any]) -> list[str] | None:
    """Return the keyword-only parameters of a loss, None if it takes any."""
    call = loss.forward if isinstance(loss, nn.Module) else loss
    found = inspect.signature(call).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in found):
        return None
    return [p.name for p in found if p.kind is p.KEYWORD_ONLY]


def _class_weight(weight: Tensor | Sequence[float] | None) -> Tensor | None:
    if weight is None:
        return None
    values = torch.as_tensor(weight)
    values = values if values.is_floating_point() else values.to(torch.float32)
    if values.ndim != 1:
        raise ValueError(
            "weight must hold one number a class, shape (C,), got "
            f"{tuple(values.shape)}"
        )
    if values_visible(values) and not bool((values.isfinite() & (values >= 0)).all()):
        raise ValueError(
            f"weight must be finite and not negative, got {values.tolist()}"
        )
    return values


def _check_values(kind: Kind, outputs: Tensor, truth: Tensor) -> None:
    check = {
        "labels": checks.logits_and_labels,
        "cosine": checks.cosines_and_labels,
        "targets": checks.logits_and_targets,
        "margin": checks.scores_and_signs,
        "binary": checks.scores_and_targets,
    }.get(kind)
    if check is not None:
        check(outputs, truth, values=True)
