"""Optimal transport between probabilities of classes: solvers that losses share.

A plan moves the predicted mass p = softmax(logits) to the true mass q. Its entry
P[t, k] is what meets at true class t from predicted class k, and each unit of it pays
costs[t, k]. So rows belong to the truth, columns to the prediction, as in a confusion
matrix. The potentials f (of predicted classes) and g (of true ones) are the duals of
the two marginals; f is the gradient in p.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossbook import kernels
from lossbook.modes import forward_mode, values_visible
from lossbook.ops import over_classes
from lossbook.shapes import Logits, Parameter, PerExample, Targets

# exp(-costs / epsilon) must not underflow where the scalings are multiplied.
STEEPEST = {torch.float32: 60.0, torch.float64: 600.0}

# Of (logits, may the scalings be multiplied?): the loss, and its gradient in p.
Solve = Callable[[Tensor, bool], tuple[Tensor, Tensor]]


def cost_matrix(costs: Any, *, symmetric: bool = False) -> Tensor:
    """Return (C, C) costs in float64; refuse what is no matrix of costs.

    >>> cost_matrix([[0, 1], [2, 0]])
    tensor([[0., 1.],
            [2., 0.]], dtype=torch.float64)
    """
    values = torch.as_tensor(costs, dtype=torch.float64)
    if values.ndim != 2 or values.shape[0] != values.shape[1] or not values.numel():
        raise ValueError(
            "costs must be a square matrix, one row a true class and one column a "
            f"predicted one, got shape {tuple(values.shape)}"
        )
    wrong = ~(values.isfinite() & (values >= 0))
    if bool(wrong.any()):
        raise ValueError(
            "costs must be finite and not negative, got "
            f"{values[wrong][0].item():g}; a constant added to all of them changes no "
            "minimum"
        )
    if symmetric and not torch.equal(values, values.T):
        raise ValueError(
            "costs must be symmetric, since the divergence compares each side with "
            "itself, got a matrix that is not; use (costs + costs.T) / 2, or Sinkhorn"
        )
    return values


def positive(name: str, value: Parameter, instead: str) -> None:
    """Refuse a number that is not positive and finite; tensors are not looked at."""
    if not isinstance(value, Tensor) and not 0 < value < math.inf:
        raise ValueError(
            f"{name} must be positive and finite, got {value:g}; {instead}"
        )


def whole(name: str, value: int) -> None:
    """Refuse what is no positive whole number."""
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a whole number, 1 or more, got {value!r}")


def by_envelope(z: Logits, solve: Solve, *others: Any) -> PerExample:
    """Return the loss, its gradient taken from the potentials at the solution.

    At the solution the potentials are optimal, so that their own derivatives cancel
    (the envelope theorem): nothing of the iterations is kept. Where more than value
    and gradient is asked for (second derivatives, `torch.func`, `torch.compile`, a
    gradient in anything but the logits), autograd goes through the iterations.
    """
    wanted = any(isinstance(o, Tensor) and o.requires_grad for o in others)
    hidden = forward_mode() or not values_visible() or z.is_meta
    if wanted or hidden or kernels.plain_forced():
        return solve(z, False)[0]
    loss: Tensor = _Envelope.apply(z, solve)
    return loss


class _Envelope(torch.autograd.Function):
    """A loss whose gradient in p is known when its value is."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, solve: Solve) -> Tensor:
        """Solve, and keep the gradient in p."""
        # No lower precision inside: exp(60) times exp(-60) must still be 1.
        with torch.autocast(z.device.type, enabled=False):
            loss, slope = solve(z, True)
        ctx.save_for_backward(z, slope)
        ctx.solve = solve
        return loss

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Return p (slope - its mean); through the iterations if a graph is wanted."""
        z, slope = ctx.saved_tensors
        if torch.is_grad_enabled():
            loss, _ = ctx.solve(z, False)
            (gradient,) = torch.autograd.grad(loss, z, upstream[0], create_graph=True)
            return gradient, None
        p = z.softmax(-1)
        gradient = p * (slope - (p * slope).sum(-1, keepdim=True))
        return gradient * upstream[0][..., None], None


def potentials(
    log_p: Tensor,
    q: Targets,
    costs: Tensor,
    *,
    epsilon: Parameter,
    iterations: int,
    damping: Parameter = 1.0,
    multiply: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return f / epsilon and g / epsilon of entropic transport after Sinkhorn's steps.

    The plan is P[t, k] = q_t p_k exp((f_k + g_t - costs[t, k]) / epsilon). The last
    step fits f, so that the predicted marginal is exact; the true one is as exact as
    the iterations made it.

    Args:
        log_p: (..., C), log-probabilities of the predicted classes.
        q: (..., C), probabilities of the true classes.
        costs: (C, C), in the dtype of log_p.
        epsilon: strength of the entropy, in the units of the costs.
        iterations: pairs of steps, at most; they end where nothing changes any more.
        damping: 1 fits the marginals, less (rho / (rho + epsilon)) lets them go.
        multiply: whether the scalings exp(f / epsilon) may be multiplied by a matrix
            that all examples share, which is many times as fast, where their size
            permits it.

    >>> log_p = torch.tensor([0.5, 0.5]).log()
    >>> f, g = potentials(
    ...     log_p, torch.tensor([1.0, 0.0]), 1 - torch.eye(2), epsilon=0.5, iterations=1
    ... )
    >>> (f - f[0]) * 0.5
    tensor([0., 1.])
    """
    if multiply and isinstance(epsilon, int | float):
        steepest = float(costs.max()) / epsilon
        if log_p.dtype in STEEPEST and steepest < STEEPEST[log_p.dtype]:
            f, g = _by_products(log_p, q, costs / -epsilon, iterations, damping)
            if bool((f.isfinite() & g.isfinite()).all()):
                return f, g
    damped = over_classes(damping)
    m = costs / over_classes(over_classes(epsilon))
    log_q = q.log()
    g = torch.zeros_like(log_p)
    for step in range(iterations):
        before = g
        f = damped * to_predicted(g, log_q, m)
        g = damped * to_true(f, log_p, m)
        g = balanced(f, g, log_p, log_q, damped)
        if settled(step, g, before):
            break
    return damped * to_predicted(g, log_q, m), g


def balanced(
    f: Tensor, g: Tensor, log_p: Tensor, log_q: Tensor, damped: Parameter
) -> Tensor:
    """Return g less the constant that f should have in its place.

    Where marginals may differ, a constant moved from g to f changes the dual value,
    and the steps alone find the best one slowly. At it, both sides agree on the mass of
    the plan: sum p exp(-f / rho) = sum q exp(-g / rho). Where marginals are kept the
    constant has no effect.
    """
    if not isinstance(damped, Tensor) and damped == 1:
        return g
    ratio = (1 - damped) / damped  # epsilon / rho
    of_p = (log_p - ratio * f).logsumexp(-1, keepdim=True)
    of_q = (log_q - ratio * g).logsumexp(-1, keepdim=True)
    return g - (of_p - of_q) / (2 * ratio)


def settled(step: int, now: Tensor, before: Tensor) -> bool:
    """Return whether a step changed nothing but the last digits, of any example.

    Asked at the second step and at each tenth after it, where numbers may be seen.
    """
    if step % 10 != 1 or not values_visible(now):
        return False
    slack = 4 * torch.finfo(now.dtype).eps
    return bool(((now - before).abs() <= slack * (1 + now.abs())).all())


def to_predicted(g: Tensor, log_q: Tensor, m: Tensor) -> Tensor:
    """Return the f that fits the predicted marginal, all in units of epsilon."""
    return -((g + log_q)[..., :, None] - m).logsumexp(-2)


def to_true(f: Tensor, log_p: Tensor, m: Tensor) -> Tensor:
    """Return the g that fits the true marginal, all in units of epsilon."""
    return -((f + log_p)[..., None, :] - m).logsumexp(-1)


def _by_products(
    log_p: Tensor, q: Tensor, log_kernel: Tensor, iterations: int, damping: Parameter
) -> tuple[Tensor, Tensor]:
    """Return f and g through their exponentials: a matrix product a half step."""
    p, kernel = log_p.exp(), log_kernel.exp()
    transposed = kernel.T.contiguous()
    exponent = -over_classes(damping)
    lossy = isinstance(damping, Tensor) or damping != 1
    log_q = q.log()
    qv, v = q, torch.ones_like(q)
    for step in range(iterations):
        before = v
        u = (qv @ kernel).pow_(exponent)
        v = ((u * p) @ transposed).pow_(exponent)
        if lossy:
            v = balanced(u.log(), v.log(), log_p, log_q, -exponent).exp()
        qv = q * v
        if settled(step, v, before):
            break
    u = (qv @ kernel).pow_(exponent)
    return u.log(), v.log()


def self_potential(
    log_p: Tensor,
    costs: Tensor,
    *,
    epsilon: Parameter,
    iterations: int,
    multiply: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return the potential h / epsilon of p against itself, and one step after it.

    For symmetric costs both sides have one potential. Each step goes half the way,
    which converges fast.
    """
    m = costs / over_classes(over_classes(epsilon))
    h = torch.zeros_like(log_p)
    if multiply and isinstance(epsilon, int | float):
        steepest = float(costs.max()) / epsilon
        if log_p.dtype in STEEPEST and steepest < STEEPEST[log_p.dtype]:
            p, kernel, u = log_p.exp(), (-m).exp(), torch.ones_like(log_p)
            for step in range(iterations):
                before = u
                u = (u / ((u * p) @ kernel)).sqrt_()
                if settled(step, u, before):
                    break
            after = ((u * p) @ kernel).log_().neg_()
            h = u.log()
            if bool((h.isfinite() & after.isfinite()).all()):
                return h, after
            h = torch.zeros_like(log_p)
    for step in range(iterations):
        before = h
        h = (h + to_true(h, log_p, m)) / 2
        if settled(step, h, before):
            break
    return h, to_true(h, log_p, m)


def exact(p: np.ndarray, q: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Return the potential f of predicted classes, by linear programming (scipy).

    Args:
        p: (C,), probabilities of the predicted classes, which sum to 1.
        q: (C,), probabilities of the true classes, which sum to 1.
        costs: (C, C), a row a true class.

    >>> f = exact(np.array([0.5, 0.5]), np.array([1.0, 0.0]), 1 - np.eye(2))
    >>> f - f[0]
    array([0., 1.])
    """
    from scipy.optimize import linprog
    from scipy.sparse import eye_array, kron, vstack

    n = len(p)
    each = np.ones((1, n))
    rows, columns = kron(eye_array(n), each), kron(each, eye_array(n))
    # The last constraint follows from the others.
    solved = linprog(
        costs.ravel(),
        A_eq=vstack([rows, columns]).tocsr()[:-1],
        b_eq=np.concatenate([q, p])[:-1],
        method="highs",
        options={
            "primal_feasibility_tolerance": 1e-10,
            "dual_feasibility_tolerance": 1e-10,
        },
    )
    if not solved.success:
        raise RuntimeError(f"the transport problem was not solved: {solved.message}")
    g = solved.eqlin.marginals[:n]
    return best_potential(g, q, costs)


def best_potential(g: np.ndarray, q: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Return the largest f that `g` allows: exact also where p is next to nothing.

    True classes without mass allow everything.

    >>> best_potential(np.array([0.0, 9.0]), np.array([1.0, 0.0]), 1 - np.eye(2))
    array([0., 1.])
    """
    allowed: np.ndarray = (costs - g[:, None])[q > 0].min(0)
    return allowed
