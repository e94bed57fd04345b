"""Dynamic weight average: terms that fall slowly gain weight. Chapter: weighting."""

import torch
from torch import Tensor, nn

from lossbook import validate
from lossbook.ops import upcast
from lossbook.shapes import Terms


class DynamicWeightAverage(nn.Module):
    """sum_i w_i L_i, with w = T softmax(r / temperature).

    r_i is a term's mean loss in the last epoch over that in the epoch before: below 1
    where it fell. `record` takes an epoch's mean losses. Until two epochs are recorded,
    all weights are 1. They depend on ratios only: a term's unit matters for its pull,
    but not for its weight. From Liu, Johns and Davison (End-to-End Multi-Task Learning
    with Attention, CVPR 2019).

    Args:
        terms: T, how many losses are added up.
        temperature: the larger, the more even are the weights.

    >>> weighting = DynamicWeightAverage(2)
    >>> weighting.record(torch.tensor([1.0, 1.0]))
    >>> weighting.weights
    tensor([1., 1.])
    >>> weighting.record(torch.tensor([0.5, 1.0]))
    >>> weighting.weights
    tensor([0.8756, 1.1244])
    """

    history: Tensor

    def __init__(self, terms: int, *, temperature: float = 2.0) -> None:
        super().__init__()
        if terms < 1:
            raise ValueError(f"terms must be at least 1, got {terms}")
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, got {temperature:g}")
        self.temperature = temperature
        # The mean losses of the epoch before the last one, and of the last one.
        self.register_buffer("history", torch.full((2, terms), torch.nan))

    @property
    def weights(self) -> Tensor:
        """The weights of the terms, which sum to T."""
        before, last = self.history
        terms = len(last)
        if before.isnan().any():
            return torch.ones_like(last)
        return terms * (last / before / self.temperature).softmax(-1)

    def forward(self, losses: Terms) -> Tensor:
        """Return the weighted sum.

        Args:
            losses: (..., T), one loss a term.

        Returns:
            (...), the loss to train the network with.

        Raises:
            ValueError: for another number of terms.
        """
        validate.terms(losses, self.history.shape[-1])
        x = upcast(losses)
        return (self.weights.to(x.dtype) * x).sum(-1)

    @torch.no_grad()
    def record(self, losses: Terms) -> None:
        """Keep the mean losses of an epoch.

        Args:
            losses: (T,), positive.

        Raises:
            ValueError: for another number of terms, or losses that are not positive.
        """
        terms = self.history.shape[-1]
        validate.terms(losses, terms)
        if losses.shape != (terms,) or not bool((losses > 0).all()):
            raise ValueError(
                "losses must be one positive mean loss a term, as their ratios are "
                f"compared, got {losses.tolist()}"
            )
        self.history = torch.stack([self.history[1], losses.to(self.history.dtype)])
