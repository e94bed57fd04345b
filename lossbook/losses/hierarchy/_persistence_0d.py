"""The topology of a cloud of points, at its simplest: when do its parts join?"""

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import cdist
from torch import Tensor

from lossbook.ops import upcast

Embeddings = Float[Tensor, "points dimensions"]
Deaths = Float[Tensor, "edges"]


def persistence_0d(embeddings: Embeddings) -> Deaths:
    """Return the scales at which the parts of a point cloud join, in rising order.

    Let a ball grow around each point, and let two points join once they are as far
    apart as the scale (the Rips filtration). At scale 0 each point is a part of its
    own; N - 1 times two parts become one. These scales, the deaths of 0-dimensional
    persistence, are the edge lengths of a minimum spanning tree.

    A loss is made of them: `deaths.square().sum()` pulls all points into one part,
    `-deaths[-(k - 1):].sum()` drives k parts away from each other. This is what a
    topological loss is; a loss on a tree of classes, often called so, has no topology.

    The gradient of an edge's length is the unit vector along it. It jumps where
    another tree becomes the shortest, and is 0 for points that coincide.

    Args:
        embeddings: (N, D), at least one point.

    Returns:
        (N - 1,), in the units of the embeddings.

    Raises:
        ValueError: for anything but a matrix of finite numbers.

    >>> persistence_0d(torch.tensor([[0.0], [1.0], [5.0], [7.0]]))
    tensor([1., 2., 4.])
    """
    _refuse(embeddings)
    points = upcast(embeddings)
    first, second = _spanning_tree(points.detach().double().cpu().numpy())
    ends = points[torch.from_numpy(first)], points[torch.from_numpy(second)]
    squares = (ends[0] - ends[1]).square().sum(-1)
    # The root of 0 has no slope: where points coincide, the length is the constant 0.
    apart = squares > 0
    lengths = torch.where(apart, torch.where(apart, squares, 1.0).sqrt(), 0.0)
    return lengths.sort().values


def _spanning_tree(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the N - 1 edges of a minimum spanning tree."""
    lengths = cdist(points, points)
    # To scipy a length of 0 is no edge. The order of the lengths is all that counts.
    ranks = np.unique(lengths, return_inverse=True)[1].reshape(lengths.shape) + 1.0
    tree = minimum_spanning_tree(ranks).tocoo()
    return tree.row.astype(np.int64), tree.col.astype(np.int64)


def _refuse(embeddings: Tensor) -> None:
    if embeddings.ndim != 2 or not len(embeddings):
        raise ValueError(
            "embeddings must be one row a point, shape (N, D), got shape "
            f"{tuple(embeddings.shape)}"
        )
    if not bool(embeddings.detach().isfinite().all()):
        raise ValueError("embeddings must be finite, got nan or an infinite number")
