"""Rows of similarities: logsumexp of q . k / temperature over all keys k.

The plain form holds all similarities, N x M numbers. The other one holds a block of
rows at a time. Gradients of a mean are formed along with it; for other upstream
gradients, and among the vectors of one batch, the backward pass forms it again:
products of matrices are cheap beside the memory that they fill.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from lossbook import kernels
from lossbook.kernels import power_
from lossbook.losses.embedding._vectors import products
from lossbook.ops import over_classes
from lossbook.shapes import Parameter

MANY = 2**17  # similarities; below, the plain form is as fast


def without_self(similarities: Tensor) -> Tensor:
    """Return square similarities in which an example does not meet itself.

    A finite stand-in for -inf: logsumexp has no gradient where all is -inf.
    """
    n = similarities.shape[-1]
    itself = torch.eye(n, dtype=torch.bool, device=similarities.device)
    least = torch.finfo(similarities.dtype).min / 4
    return torch.where(itself, least, similarities)


def similarities(queries: Tensor, keys: Tensor, temperature: Parameter) -> Tensor:
    """Return q . k / temperature, (N, M)."""
    return products(queries, keys) / over_classes(temperature)


def blockwise(queries: Tensor, keys: Tensor, temperature: Parameter) -> bool:
    """Return whether rows are to be formed block by block, by the rules of kernels."""
    # A stand-in for the similarities, in no memory of its own: it is large for a kernel
    # where they are many.
    columns = max(2, -(-len(keys) * kernels.LARGE // MANY))
    stand_in = queries.detach()[:, :1].expand(-1, columns)
    return kernels.usable(stand_in, keys.detach(), temperature)


def log_sums(queries: Tensor, keys: Tensor, temperature: Parameter) -> Tensor:
    """Return logsumexp over the keys of q . k / temperature, (N,), block by block.

    >>> log_sums(torch.eye(2), torch.eye(2), 1.0)  # log(e + 1)
    tensor([1.3133, 1.3133])
    """
    result: Tensor = _LogSums.apply(queries, keys, temperature)
    return result


def log_sums_without_self(vectors: Tensor, temperature: Parameter) -> Tensor:
    """Return the same for the keys' own vectors, each without itself.

    >>> log_sums_without_self(torch.eye(3), 1.0)  # log(1 + 1)
    tensor([0.6931, 0.6931, 0.6931])
    """
    result: Tensor = _LogSumsWithoutSelf.apply(vectors, temperature)
    return result


def _blocks(
    queries: Tensor, keys: Tensor, temperature: Parameter
) -> Iterator[tuple[slice, Tensor]]:
    """Yield some rows at a time of similarities in one buffer, as exponents of BASE."""
    n, m = len(queries), len(keys)
    size = max(1, kernels.BLOCK // m)
    buffer = queries.new_empty(min(size, n), m)
    columns = keys.t()
    for start in range(0, n, size):
        rows = slice(start, min(start + size, n))
        z = buffer[: rows.stop - start]
        scaled = queries[rows] * (kernels.BASE.nat / temperature)
        yield rows, torch.mm(scaled, columns, out=z)


def _no_self(z: Tensor, rows: slice) -> Tensor:
    z.diagonal(rows.start).fill_(-math.inf)
    return z


def _log_sum_(z: Tensor) -> tuple[Tensor, Tensor]:
    """Return log of the sum of BASE^z of each row, and what z sums to afterwards.

    Afterwards z holds BASE^z up to a factor for each row.
    """
    least = torch.finfo(z.dtype).min / 4
    top = z.amax(1, keepdim=True).clamp_(min=least)
    total = power_(z.sub_(top)).sum(1)
    return (kernels.BASE.log(total) + top[:, 0]).clamp_(min=least), total


class _LogSums(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, keys: Tensor, temperature: Parameter
    ) -> Tensor:
        """Return the logsumexp of each row; keep the gradients of their mean."""
        n, result = len(queries), queries.new_empty(len(queries))
        ctx.temperature, ctx.share = temperature, queries.new_ones(()) / n
        ctx.kept = _Pulls(queries, keys) if any(ctx.needs_input_grad) else None
        for rows, z in _blocks(queries, keys, temperature):
            result[rows], total = _log_sum_(z)
            if ctx.kept is not None:
                weight = ctx.share / (total * temperature)
                ctx.kept.add(rows, z.mul_(weight[:, None]))
        ctx.save_for_backward(queries, keys, result)
        return result / kernels.BASE.nat

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Return sum_k p_k k / temperature for a query, and the like for a key."""
        queries, keys, sums = ctx.saved_tensors
        if torch.is_grad_enabled():
            plain = similarities(queries, keys, ctx.temperature).logsumexp(-1)
            return *_graph(plain, (queries, keys), upstream[0]), None
        # What is kept is used up, so that a second backward pass forms it anew.
        pulls, ctx.kept = ctx.kept, None
        low, high = torch.aminmax(upstream[0])
        if pulls is not None and low == high:
            factor = (low / ctx.share).item()
            return pulls.on_queries.mul_(factor), pulls.on_keys.mul_(factor), None
        pulls = _Pulls(queries, keys)
        weight = (upstream[0] / ctx.temperature)[:, None]
        for rows, z in _blocks(queries, keys, ctx.temperature):
            pulls.add(rows, power_(z.sub_(sums[rows, None])).mul_(weight[rows]))
        return pulls.on_queries, pulls.on_keys, None


class _Pulls:
    """Gradients in queries and keys, from weights of their pairs, row by row."""

    def __init__(self, queries: Tensor, keys: Tensor) -> None:
        self.queries, self.keys = queries, keys
        self.on_queries = torch.empty_like(queries)
        self.on_keys = torch.zeros_like(keys)

    def add(self, rows: slice, weights: Tensor) -> None:
        """Add what these rows of weights, one a key, say."""
        torch.mm(weights, self.keys, out=self.on_queries[rows])
        self.on_keys.addmm_(weights.t(), self.queries[rows])


class _LogSumsWithoutSelf(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vectors: Tensor, temperature: Parameter) -> Tensor:
        """Return the logsumexp of each row, the diagonal left out."""
        result = vectors.new_empty(len(vectors))
        for rows, z in _blocks(vectors, vectors, temperature):
            result[rows], _ = _log_sum_(_no_self(z, rows))
        ctx.save_for_backward(vectors, result)
        ctx.temperature = temperature
        return result / kernels.BASE.nat

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient: as query by its own row, as key by all others.

        Similarities are symmetric, so that one block of rows is enough for both.
        """
        vectors, sums = ctx.saved_tensors
        if torch.is_grad_enabled():
            plain = without_self(similarities(vectors, vectors, ctx.temperature))
            return *_graph(plain.logsumexp(-1), (vectors,), upstream[0]), None
        gradient = torch.empty_like(vectors)
        weight = upstream[0] / ctx.temperature
        for rows, z in _blocks(vectors, vectors, ctx.temperature):
            _no_self(z, rows)
            as_key = power_(z - sums).mul_(weight)
            as_query = power_(z.sub_(sums[rows, None])).mul_(weight[rows, None])
            pull = as_query.add_(as_key)
            torch.mm(pull, vectors, out=gradient[rows])
        return gradient, None


def _graph(
    plain: Tensor, inputs: tuple[Tensor, ...], upstream: Tensor
) -> list[Tensor | None]:
    """Return gradients by autograd through the plain form, differentiable again."""
    wanted = [each for each in inputs if each.requires_grad]
    found = iter(torch.autograd.grad(plain, wanted, upstream, create_graph=True))
    return [next(found) if each.requires_grad else None for each in inputs]
