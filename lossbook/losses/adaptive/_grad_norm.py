"""GradNorm: weights that let all terms pull equally hard. Chapter: weighting."""

import torch
from torch import Tensor, nn

from lossbook import validate
from lossbook.ops import upcast
from lossbook.shapes import PerBatch, Terms

LEAST = 1e-3  # no weight is let under this


class GradNorm(nn.Module):
    """sum_i w_i L_i, with weights that balance the norms of the terms' gradients.

    A term's pull is G_i = |w_i grad L_i|, the gradient taken in shared weights of the
    network. It is to be mean(G) * r_i^alpha, where r_i compares what is left of the
    loss, L_i now over L_i at first, with the mean of all terms. `balance` is the sum of
    the distances |G_i - mean(G) r_i^alpha|, with the second part held fixed, for an
    optimizer of the weights; `renormalize` afterwards lets them sum to T again. From
    Chen, Badrinarayanan, Lee and Rabinovich (GradNorm: Gradient Normalization for
    Adaptive Loss Balancing in Deep Multitask Networks, ICML 2018).

    Args:
        terms: T, how many losses are added up.
        alpha: how much harder terms pull that lag behind; 0 makes all pull the same.

    >>> w = torch.tensor([2.0], requires_grad=True)
    >>> weighting = GradNorm(2)
    >>> losses = torch.cat([3 * w, w])
    >>> balance = weighting.balance(losses, w)
    >>> balance
    tensor(2., grad_fn=<SumBackward0>)
    >>> torch.autograd.grad(balance, weighting.weights)
    (tensor([ 3., -1.]),)
    """

    first: Tensor

    def __init__(self, terms: int, *, alpha: float = 1.5) -> None:
        super().__init__()
        if terms < 1:
            raise ValueError(f"terms must be at least 1, got {terms}")
        self.alpha = alpha
        self.weights = nn.Parameter(torch.ones(terms))
        self.register_buffer("first", torch.full((terms,), torch.nan))

    def forward(self, losses: Terms) -> Tensor:
        """Return the weighted sum; no gradient flows into the weights.

        Args:
            losses: (..., T), one loss a term.

        Returns:
            (...), the loss to train the network with.

        Raises:
            ValueError: for another number of terms.
        """
        validate.terms(losses, len(self.weights))
        x = upcast(losses)
        return (self.weights.detach().to(x.dtype) * x).sum(-1)

    def balance(self, losses: Terms, shared: Tensor) -> PerBatch:
        """Return how far the pulls are from what they should be.

        The first call keeps its losses as those that later ones are compared with. The
        graph of the losses is kept, so that they can be differentiated once more.

        Args:
            losses: (T,), positive, with their graph.
            shared: the weights of the network in which the gradients are compared,
                such as those of the last layer that all terms share.

        Returns:
            (), whose gradient flows into `weights` alone.

        Raises:
            ValueError: for another number of terms.
        """
        validate.terms(losses, len(self.weights))
        now = losses.detach().to(self.weights.dtype)
        if self.first.isnan().all():
            self.first = now.clone()
        grads = [
            torch.autograd.grad(loss, shared, retain_graph=True)[0] for loss in losses
        ]
        norms = torch.stack([grad.detach().norm() for grad in grads])
        pulls = self.weights * norms.to(now.dtype)
        left = now / self.first
        rates = left / left.mean()
        wanted = (pulls.mean() * rates**self.alpha).detach()
        return (pulls - wanted).abs().sum()

    @torch.no_grad()
    def renormalize(self) -> None:
        """Scale the weights so that they sum to T; none is left below 0.001 of it.

        The article does not say what becomes of a weight that a step takes below 0.
        """
        floored = self.weights.clamp(min=LEAST)
        self.weights.copy_(floored * len(floored) / floored.sum())
