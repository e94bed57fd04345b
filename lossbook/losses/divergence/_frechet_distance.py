"""Fréchet distance of two Gaussians, as in FID. Chapter: transport."""

from typing import Any

import numpy as np
from numpy import ndarray


def frechet_distance(first_mean: Any, first_cov: Any, mean: Any, cov: Any) -> float:
    """Return |mu - nu|^2 + tr(S + T - 2 (S T)^(1/2)), in numpy.

    The squared 2-Wasserstein distance of the Gaussians N(mu, S) and N(nu, T). FID is
    this distance for means and covariances of Inception features (Heusel, Ramsauer,
    Unterthiner, Nessler and Hochreiter, NeurIPS 2017). It is a metric for evaluation:
    it has no gradient here and no card.

    S T has the eigenvalues of the symmetric R T R with R = S^(1/2), so that the trace
    of its root needs eigenvalues of symmetric matrices only, singular ones included.

    Args:
        first_mean: (D,), mu.
        first_cov: (D, D), S, symmetric and positive semidefinite.
        mean: (D,), nu.
        cov: (D, D), T, symmetric and positive semidefinite.

    Returns:
        The squared distance, 0 or more.

    Raises:
        ValueError: for shapes that do not fit, or a matrix that is no covariance.

    >>> frechet_distance([0.0], [[1.0]], [3.0], [[4.0]])
    10.0
    """
    mu, nu = (np.asarray(m, dtype=np.float64) for m in (first_mean, mean))
    if mu.ndim != 1 or mu.shape != nu.shape:
        raise ValueError(
            "the means must be two vectors of one length, got shapes "
            f"{mu.shape} and {nu.shape}"
        )
    s, t = _covariance("first_cov", first_cov, mu), _covariance("cov", cov, mu)
    values, vectors = np.linalg.eigh(s)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ t @ root).clip(0)).sum()
    distance = ((mu - nu) ** 2).sum() + np.trace(s) + np.trace(t) - 2 * shared
    return max(float(distance), 0.0)


def _covariance(name: str, value: Any, mean: ndarray) -> ndarray:
    """Return the matrix; refuse what is not symmetric with eigenvalues of 0 or more."""
    matrix: ndarray = np.asarray(value, dtype=np.float64)
    if matrix.shape != 2 * mean.shape:
        raise ValueError(
            f"{name} must have shape {2 * mean.shape}, one row and one column a "
            f"dimension, got {matrix.shape}"
        )
    slack = 1e-8 * (1 + np.abs(matrix).max(initial=0))
    if not np.allclose(matrix, matrix.T, rtol=0, atol=slack):
        raise ValueError(f"{name} must be symmetric, got a matrix that is not")
    least = np.linalg.eigvalsh(matrix).min(initial=0)
    if least < -slack:
        raise ValueError(
            f"{name} must be a covariance, got one with the eigenvalue {least:g}"
        )
    return matrix
