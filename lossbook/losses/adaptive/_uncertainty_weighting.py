"""Uncertainty weighting: each term learns its own weight. Chapter: weighting."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import nn
from torch.nn.functional import softplus

from lossbook import validate
from lossbook.card import Arrays, LossCard, Properties
from lossbook.ops import upcast
from lossbook.shapes import NpPerExample, NpTerms, PerExample, Terms

Penalty = Literal["log", "log1p"]


class UncertaintyWeighting(nn.Module):
    """sum_i exp(-s_i) L_i + s_i, with a learned log-variance s_i for each term L_i.

    For given losses the sum is least at s_i = log L_i, where it is T + sum_i log L_i
    for T terms: once the weights have settled, the geometric mean of the losses is
    minimized, each gradient divided by its loss. So a term's unit does not matter. A
    loss of 0 or below has no least s_i: the sum then falls without bound.

    With `penalty="log1p"` the second part is log(1 + exp(s_i)), after Liebel and Körner
    (Auxiliary Tasks in Multi-task Learning, 2018). It is positive, and so is the sum of
    losses that are not negative. Then a term's unit matters again: for a large L_i the
    weight is near 1 / L_i, for a small one near 1 / sqrt(L_i).

    Others write the sum with another constant, as L / (2 sigma^2) + log sigma, and so
    have sigma^2 = L, which is half of this sum at s = log sigma^2; or as
    L / sigma^2 + log sigma, and so have sigma^2 = 2 L.

    Args:
        terms: T, how many losses are added up.
        log_variances: (T,), where s starts; 0 by default, which adds the losses up as
            they are.
        penalty: "log" or "log1p", of the variance exp(s_i).

    Raises:
        ValueError: for another penalty.

    >>> import torch
    >>> weighting = UncertaintyWeighting(2)
    >>> weighting(torch.tensor([0.5, 2.0]))
    tensor(2.5000, grad_fn=<SumBackward1>)
    >>> [name for name, _ in weighting.named_parameters()]
    ['log_variances']
    """

    def __init__(
        self, terms: int, log_variances: Any = None, *, penalty: Penalty = "log"
    ) -> None:
        super().__init__()
        if penalty not in get_args(Penalty):
            raise ValueError(f'penalty must be "log" or "log1p", got {penalty!r}')
        self.penalty = penalty
        if terms < 1:
            raise ValueError(f"terms must be at least 1, got {terms}")
        start = torch.zeros(terms) if log_variances is None else log_variances
        values = torch.as_tensor(start).detach().clone()
        values = values if values.is_floating_point() else values.float()
        if values.shape != (terms,):
            raise ValueError(
                f"log_variances must hold one number a term, shape ({terms},), got "
                f"shape {tuple(values.shape)}"
            )
        self.log_variances = nn.Parameter(values)

    def forward(self, losses: Terms) -> PerExample:
        """Return the weighted sum.

        Args:
            losses: (..., T), positive; torch.stack makes one tensor of several losses.

        Returns:
            (...), without a lower bound if the penalty is "log".

        Raises:
            ValueError: for another number of terms, or losses that are nan.
        """
        validate.terms(losses, len(self.log_variances))
        x = upcast(losses)
        s = self.log_variances.to(x.dtype)
        paid = s if self.penalty == "log" else softplus(s)
        return validate.explain_nan("losses", losses, ((-s).exp() * x + paid).sum(-1))


def uncertainty_weighting_ref(
    losses: NpTerms, *, terms: int, log_variances: np.ndarray, penalty: Penalty = "log"
) -> tuple[NpPerExample, NpTerms]:
    """Loss and gradient in the losses: their weights exp(-s_i)."""
    weight = np.exp(-log_variances)
    variance = np.exp(log_variances)
    paid = np.log(variance if penalty == "log" else 1 + variance)
    loss = (weight * losses + paid).sum(-1)
    return loss, np.broadcast_to(weight, losses.shape)


def draw(rng: np.random.Generator, n: int, classes: int) -> Arrays:
    """Draw positive losses of as many terms as `classes` says, in different units."""
    return (np.geomspace(0.1, 10, classes) * rng.exponential(size=(n, classes)),)


def closure(rng: np.random.Generator, classes: int) -> Mapping[str, Any]:
    """Draw log-variances."""
    return {"terms": classes, "log_variances": rng.normal(size=classes)}


CARD = LossCard(
    name="Uncertainty weighting",
    family="adaptive",
    kind="batch",
    fn=UncertaintyWeighting,
    ref=uncertainty_weighting_ref,
    summary="Adds losses up with learned weights, which settle at one over each loss.",
    cite="kendall2018multitask",
    options={"penalty": ("log", "log1p")},
    properties=Properties(lower=None),
    stackable=False,
    closure=closure,
    draw=draw,
)
