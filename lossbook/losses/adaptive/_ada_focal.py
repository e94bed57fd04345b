"""AdaFocal: focal loss whose focusing follows the calibration of the model.

Chapter: weighting.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lossbook import validate
from lossbook.card import Arrays, LossCard, Properties
from lossbook.ops import label_margin, upcast
from lossbook.shapes import Labels, Logits, NpLabels, NpLogits, NpPerExample, PerExample


class AdaFocal(nn.Module):
    """-(1 - p_y)^gamma log p_y, each bin of p_y with its own gamma.

    A negative gamma means inverse focal loss, -(1 + p_y)^|gamma| log p_y, which makes a
    model surer of itself as focal loss makes it less sure. `update` moves each gamma
    by what validation data say of the bin: up where the confidence exceeds the
    accuracy, down where it falls short. At bin edges the loss jumps; the gradient is
    that of gamma held fixed.

    Args:
        bins: how many bins of p_y; all start with the same width and gamma.
        gamma: where they start.
        rate: lambda, how fast gamma moves; the defaults are those of the article's
            own code.
        low: gamma is not let under this.
        high: nor above this.
        switch: where |gamma| falls below this, the loss changes sides, to gamma of
            this size with the other sign.
        gammas: (bins,), what each bin starts with in the place of `gamma`.

    >>> loss = AdaFocal(bins=2)
    >>> logits, labels = torch.tensor([[2.0, 0.0]]), torch.tensor([0])
    >>> loss(logits, labels)
    tensor([0.0151])
    >>> loss.update(torch.tensor([[2.0, 0.0]] * 2), torch.tensor([0, 1]))
    >>> loss.gammas
    tensor([1.0000, 1.4635])
    """

    gammas: Tensor
    edges: Tensor

    def __init__(
        self,
        bins: int = 15,
        gamma: float = 1.0,
        rate: float = 1.0,
        low: float = -2.0,
        high: float = 20.0,
        switch: float = 0.2,
        gammas: Any = None,
    ) -> None:
        super().__init__()
        if bins < 1:
            raise ValueError(f"bins must be at least 1, got {bins}")
        if not low <= -switch < 0 < switch <= high:
            raise ValueError(
                "switch must be above 0, with -switch and switch between low and high, "
                f"got low {low:g}, switch {switch:g}, high {high:g}"
            )
        self.rate, self.low, self.high, self.switch = rate, low, high, switch
        start = torch.full((bins,), float(gamma)) if gammas is None else gammas
        start = torch.as_tensor(start).clone()
        if start.shape != (bins,):
            raise ValueError(
                f"gammas must hold one number a bin, shape ({bins},), got shape "
                f"{tuple(start.shape)}"
            )
        self.register_buffer("gammas", start)
        # The edges between bins: a p_y of at least the first is in the second bin.
        self.register_buffer("edges", torch.arange(1, bins) / bins)

    def forward(self, logits: Logits, labels: Labels) -> PerExample:
        """Return the loss of each example.

        Args:
            logits: (..., C), unnormalized log-probabilities.
            labels: (...), the true class, 0 to C - 1.

        Returns:
            (...), not negative.

        Raises:
            ValueError: for labels outside of the classes, or logits that are nan.
        """
        validate.logits_and_labels(logits, labels)
        margin = label_margin(upcast(logits), labels)
        log_p = nn.functional.logsigmoid(margin)
        log_not_p = nn.functional.logsigmoid(-margin)
        gamma = self.gamma_at(log_p.detach().exp())
        # log(1 - p) where focal, log(1 + p) where inverse focal.
        base = torch.where(gamma >= 0, log_not_p, log_p.exp().log1p())
        loss = -(gamma.abs() * base).exp() * log_p
        return validate.explain_nan("logits", logits, loss)

    def gamma_at(self, p: PerExample) -> PerExample:
        """Return the gamma of each probability's bin."""
        index = (p[..., None] >= self.edges.to(p.dtype)).sum(-1)
        return self.gammas.to(p.dtype)[index[..., None]][..., 0]

    @torch.no_grad()
    def update(self, logits: Logits, labels: Labels) -> None:
        """Move each gamma by the calibration of validation data, once an epoch.

        The bins become those that hold equally many of the examples, by confidence C,
        the largest probability. With A the accuracy in a bin, gamma is multiplied by
        exp(rate (C - A)), or divided by it where gamma is negative. A bin without
        examples keeps its gamma.

        Args:
            logits: (N, C), the model's output for validation data.
            labels: (N,), their true classes.

        Raises:
            ValueError: for labels outside of the classes, or logits that are nan.
        """
        validate.logits_and_labels(logits, labels)
        logits, labels = logits.reshape(-1, logits.shape[-1]), labels.reshape(-1)
        if not len(labels):
            return
        p = upcast(logits).softmax(-1)
        confidence, predicted = validate.explain_nan("logits", logits, p).max(-1)
        bins = len(self.gammas)
        if bins > 1:
            share = torch.arange(1, bins).to(p) / bins
            self.edges = torch.quantile(confidence, share)
        index = (confidence[:, None] >= self.edges.to(p.dtype)).sum(-1)
        member = nn.functional.one_hot(index, bins).to(p.dtype)
        count = member.sum(0)
        over = (confidence - (predicted == labels).to(p.dtype)) @ member
        step = self.rate * over / count.clamp(min=1)
        gamma = self.gammas.to(p.dtype)
        moved = gamma * torch.where(gamma > 0, step, -step).exp()
        other_side = torch.where(moved > 0, -self.switch, self.switch)
        moved = torch.where(moved.abs() < self.switch, other_side, moved)
        moved = moved.clamp(self.low, self.high)
        self.gammas = torch.where(count > 0, moved, gamma).to(self.gammas.dtype)


def ada_focal_ref(
    logits: NpLogits, labels: NpLabels, *, bins: int, gammas: np.ndarray
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: the product rule in p_y with a weight w(p_y) in front."""
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    e_y = np.eye(logits.shape[-1])[labels]
    p_y = (p * e_y).sum(-1, keepdims=True)
    gamma = gammas[np.minimum((p_y * bins).astype(int), bins - 1)]
    size, sign = np.abs(gamma), np.where(gamma >= 0, 1, -1)
    base = 1 - sign * p_y
    weight, slope = base**size, -sign * size * base ** (size - 1)
    gradient = (slope * np.log(p_y) + weight / p_y) * p_y * (p - e_y)
    return (-weight * np.log(p_y))[..., 0], gradient


def draw(rng: np.random.Generator, n: int, classes: int) -> Arrays:
    """Draw logits and labels."""
    return 3 * rng.normal(size=(n, classes)), rng.integers(classes, size=n)


def closure(rng: np.random.Generator, classes: int) -> Mapping[str, Any]:
    """Draw the gammas of five bins, focal ones and inverse ones."""
    return {"bins": 5, "gammas": rng.permutation([-2.0, -0.2, 0.2, 1.0, 5.0])}


CARD = LossCard(
    name="AdaFocal",
    family="adaptive",
    kind="stateful",
    fn=AdaFocal,
    ref=ada_focal_ref,
    summary="Focal loss that focuses more where the model is too sure of itself.",
    cite="ghosh2022adafocal",
    properties=Properties(lower=0.0, upper=np.inf),
    stackable=False,
    closure=closure,
    draw=draw,
)
