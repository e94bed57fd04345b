"""What a loss does to a model: surfaces, curvature, gradient shares, conflicts.

Functions of a whole model take its parameters and an objective: a function without
arguments that returns the loss at the parameters' present values. Functions of single
examples take logits and labels.

>>> import torch
>>> from torch import nn
>>> from lossbook import cross_entropy
>>> model = nn.Linear(2, 2)
>>> inputs, labels = torch.randn(8, 2), torch.randint(2, (8,))
>>> def objective():
...     return cross_entropy(model(inputs), labels).mean()
>>> line(list(model.parameters()), objective, steps=5).values.shape
(5,)
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Objective = Callable[[], Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]


# --- the surface ---------------------------------------------------------------


@dataclass(frozen=True)
class Slice:
    """The loss on a line or a plane through the parameters.

    Attributes:
        at: (steps,), where on the line; on a plane, where along either axis.
        values: (steps,) or (steps, steps), the loss there.
    """

    at: np.ndarray
    values: np.ndarray


def line(
    parameters: Sequence[Tensor],
    objective: Objective,
    *,
    direction: Sequence[Tensor] | None = None,
    reach: float = 1.0,
    steps: int = 51,
    rng: np.random.Generator | None = None,
) -> Slice:
    """Return the loss along a line through the present parameters.

    Args:
        parameters: of the model; they are put back as they were.
        objective: the loss at the present values.
        direction: one tensor a parameter; a filter-normalized random one, drawn from
            `rng` (seed 0 where not given), if there is none.
        reach: how far the line goes to either side, in lengths of the direction.
        steps: points, at least 2.
        rng: draws the direction.

    Raises:
        ValueError: for fewer than 2 steps, or a direction of another shape.

    Source: Li, Xu, Taylor, Studer, Goldstein (2018).
    """
    if direction is None:
        direction = random_direction(parameters, rng=rng or np.random.default_rng(0))
    at = _places(reach, steps)
    values = [_at(parameters, objective, [(a, direction)]) for a in at]
    return Slice(at, np.array(values))


def plane(
    parameters: Sequence[Tensor],
    objective: Objective,
    *,
    directions: tuple[Sequence[Tensor], Sequence[Tensor]] | None = None,
    reach: float = 1.0,
    steps: int = 25,
    rng: np.random.Generator | None = None,
) -> Slice:
    """Return the loss on a plane through the present parameters.

    Args:
        parameters: of the model; they are put back as they were.
        objective: the loss at the present values.
        directions: two; filter-normalized random ones if there are none.
        reach: how far the plane goes to each side, in lengths of a direction.
        steps: points along either axis, at least 2.
        rng: draws the directions (seed 0 where not given).

    Returns:
        `values[i, j]` is the loss at `at[i]` along the first and `at[j]` along the
        second direction.

    Raises:
        ValueError: as `line`.
    """
    draw = rng or np.random.default_rng(0)
    first, second = directions or (
        random_direction(parameters, rng=draw),
        random_direction(parameters, rng=draw),
    )
    at = _places(reach, steps)
    values = [
        [_at(parameters, objective, [(a, first), (b, second)]) for b in at] for a in at
    ]
    return Slice(at, np.array(values))


def between(
    parameters: Sequence[Tensor],
    objective: Objective,
    other: Sequence[Tensor],
    *,
    steps: int = 51,
    beyond: float = 0.25,
) -> Slice:
    """Return the loss on the line from the present parameters (0) to others (1).

    Args:
        parameters: of the model; they are put back as they were.
        objective: the loss at the present values.
        other: one tensor a parameter: another solution.
        steps: points, at least 2.
        beyond: how far the line goes on past either solution.

    Raises:
        ValueError: as `line`.
    """
    _places(1.0, steps)
    _same_shapes(parameters, other)
    apart = [b - a.detach() for a, b in zip(parameters, other, strict=True)]
    at = np.linspace(-beyond, 1 + beyond, steps)
    values = [_at(parameters, objective, [(a, apart)]) for a in at]
    return Slice(at, np.array(values))


def random_direction(
    parameters: Sequence[Tensor], *, rng: np.random.Generator
) -> list[Tensor]:
    """Draw a direction in which each filter is as long as the model's own.

    A filter is a row of a weight: what feeds one unit. Without this, a model whose
    weights are large looks flat: a network of ReLUs can be rescaled without changing
    what it computes. Biases and other vectors do not move.

    Args:
        parameters: of the model; weights as (out, ...), as torch's layers have them.
        rng: the generator to draw from.
    """
    direction = []
    for parameter in parameters:
        drawn = torch.as_tensor(
            rng.normal(size=tuple(parameter.shape)),
            dtype=parameter.dtype,
            device=parameter.device,
        )
        if parameter.ndim < 2:
            direction.append(torch.zeros_like(drawn))
            continue
        axes = tuple(range(1, parameter.ndim))
        own = parameter.detach().norm(dim=axes, keepdim=True)
        direction.append(drawn * own / drawn.norm(dim=axes, keepdim=True))
    return direction


def _places(reach: float, steps: int) -> np.ndarray:
    if steps < 2:
        raise ValueError(f"steps must be at least 2, got {steps}")
    return np.linspace(-reach, reach, steps)


def _same_shapes(parameters: Sequence[Tensor], other: Sequence[Tensor]) -> None:
    mine, theirs = (
        [tuple(t.shape) for t in tensors] for tensors in (parameters, other)
    )
    if mine != theirs:
        raise ValueError(
            f"there must be one tensor a parameter, of its shape: {mine}, got {theirs}"
        )


def _at(
    parameters: Sequence[Tensor],
    objective: Objective,
    moves: Sequence[tuple[float, Sequence[Tensor]]],
) -> float:
    with _moved(parameters, moves), torch.no_grad():
        return float(objective())


@contextmanager
def _moved(
    parameters: Sequence[Tensor], moves: Sequence[tuple[float, Sequence[Tensor]]]
) -> Iterator[None]:
    """Move the parameters, and put them back whatever happens."""
    for _, direction in moves:
        _same_shapes(parameters, direction)
    kept = [parameter.detach().clone() for parameter in parameters]
    try:
        with torch.no_grad():
            for length, direction in moves:
                for parameter, step in zip(parameters, direction, strict=True):
                    parameter.add_(step, alpha=float(length))
        yield
    finally:
        with torch.no_grad():
            for parameter, before in zip(parameters, kept, strict=True):
                parameter.copy_(before)


# --- curvature -----------------------------------------------------------------


def top_eigenvalue(
    parameters: Sequence[Tensor],
    objective: Objective,
    *,
    rng: np.random.Generator,
    iterations: int = 100,
    tolerance: float = 1e-4,
) -> float:
    """Return the eigenvalue of the Hessian with the largest size, by Lanczos' method.

    Its sign is that of the curvature: negative where the loss bends down most. Where
    it bends up as much in another direction, either of the two is returned. Plain power
    iteration would mix them.

    Args:
        parameters: of the model.
        objective: the loss at the present values, twice differentiable.
        rng: draws the first vector.
        iterations: restarts of the method, at most.
        tolerance: relative, of the eigenvalue.

    Returns:
        The eigenvalue; 0 for a loss that is linear in the parameters, nan where the
        curvature is no number or the method does not end.
    """
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

    gradients = torch.autograd.grad(
        objective(), parameters, create_graph=True, allow_unused=True
    )
    sizes = [p.numel() for p in parameters]

    def product(flat: np.ndarray) -> np.ndarray:
        parts = torch.as_tensor(flat.reshape(-1)).split(sizes)
        vector = [
            part.reshape(p.shape).to(p)
            for part, p in zip(parts, parameters, strict=True)
        ]
        found = _times_hessian(parameters, gradients, vector)
        return np.concatenate([f.double().cpu().numpy().ravel() for f in found])

    start = rng.normal(size=sum(sizes))
    first = product(start)
    if not np.isfinite(first).all():
        return math.nan
    if len(start) == 1 or not first.any():
        return float(first[0] / start[0])
    try:
        (found,) = eigsh(
            LinearOperator((len(start), len(start)), matvec=product, dtype=float),
            k=1,
            v0=start,
            maxiter=iterations,
            tol=tolerance,
            return_eigenvectors=False,
        )
    except ArpackNoConvergence:
        return math.nan
    return float(found)


def _times_hessian(
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    vector: Sequence[Tensor],
) -> list[Tensor]:
    """Return the Hessian times a vector: the gradient of the gradient's projection."""
    terms = [
        (g * v).sum()
        for g, v in zip(gradients, vector, strict=True)
        if g is not None and g.requires_grad
    ]
    if not terms:
        return [torch.zeros_like(v) for v in vector]
    found = torch.autograd.grad(
        torch.stack(terms).sum(), parameters, retain_graph=True, allow_unused=True
    )
    return [
        torch.zeros_like(v) if f is None else f.detach()
        for f, v in zip(found, vector, strict=True)
    ]


def _dot(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    return torch.stack([(x * y).sum() for x, y in zip(a, b, strict=True)]).sum()


# --- gradients of examples -----------------------------------------------------


def pulls(loss: Loss, logits: Tensor, labels: Tensor) -> Tensor:
    """Return how hard each example pulls: the length of its gradient in the logits.

    Args:
        loss: (logits, labels) to one loss an example.
        logits: (N, C).
        labels: (N,).

    Returns:
        (N,), Euclidean lengths.

    >>> from lossbook import cross_entropy
    >>> pulls(cross_entropy, torch.tensor([[0.0, 0.0]]), torch.tensor([0]))
    tensor([0.7071])
    """
    z = logits.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(z, labels).sum(), z)
    return gradient.norm(dim=-1)


def effective_weights(loss: Loss, logits: Tensor, labels: Tensor) -> Tensor:
    """Return what each example weighs against cross-entropy: the ratio of the pulls.

    For a loss of p_y alone this is its gradient factor g(p_y).

    Args:
        loss: (logits, labels) to one loss an example.
        logits: (N, C).
        labels: (N,).

    Returns:
        (N,); nan where cross-entropy itself does not pull.
    """
    p = logits.detach().softmax(-1)
    e_y = torch.nn.functional.one_hot(labels, logits.shape[-1]).to(p.dtype)
    reference = (p - e_y).norm(dim=-1)
    return pulls(loss, logits, labels) / reference.where(reference > 0, torch.nan)


def share_by_class(pull: Tensor, labels: Tensor, classes: int) -> np.ndarray:
    """Return the share of all pulls that comes from each class: (classes,).

    Args:
        pull: (N,), lengths that are not negative.
        labels: (N,).
        classes: number of classes.
    """
    sums = np.bincount(labels.cpu(), pull.detach().cpu(), minlength=classes)
    return sums / max(sums.sum(), np.finfo(float).tiny)


def share_by_ease(
    pull: Tensor, logits: Tensor, labels: Tensor, *, edges: Sequence[float] = (0.5, 0.9)
) -> np.ndarray:
    """Return the share of all pulls from hard to easy examples, by p_y.

    Args:
        pull: (N,), lengths that are not negative.
        logits: (N, C).
        labels: (N,).
        edges: of the groups, rising: p_y below the first, between, above the last.

    Returns:
        (len(edges) + 1,), which sums to 1.
    """
    p_y = logits.detach().softmax(-1).gather(-1, labels[:, None])[:, 0]
    group = np.searchsorted(np.asarray(edges), p_y.cpu().numpy(), side="right")
    sums = np.bincount(group, pull.detach().cpu(), minlength=len(edges) + 1)
    return sums / max(sums.sum(), np.finfo(float).tiny)


def gradient_cosine(
    parameters: Sequence[Tensor], first: Objective, second: Objective
) -> float:
    """Return the cosine between the gradients of two terms of a loss.

    Below 0 the terms pull against each other: a step along one makes the other worse.

    Args:
        parameters: of the model.
        first: one term at the present values.
        second: the other.

    Returns:
        -1 to 1; nan where a gradient is 0.
    """
    found = []
    for term in (first, second):
        gradients = torch.autograd.grad(term(), parameters, allow_unused=True)
        found.append(
            [
                torch.zeros_like(p) if g is None else g
                for g, p in zip(gradients, parameters, strict=True)
            ]
        )
    a, b = found
    lengths = math.sqrt(float(_dot(a, a))) * math.sqrt(float(_dot(b, b)))
    return float(_dot(a, b)) / lengths if lengths else math.nan
