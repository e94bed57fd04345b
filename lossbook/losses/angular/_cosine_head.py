"""CosineHead: from embeddings to cosines with class vectors. Chapter: sphere."""

import numpy as np
import torch
from torch import nn

from lossbook.losses.embedding._vectors import check_vectors, products, unit
from lossbook.ops import upcast
from lossbook.shapes import Logits, Vectors


class CosineHead(nn.Module):
    """The last layer of a network whose loss takes cosines: it learns class vectors.

    Its parameter `weight`, (C, D), holds one vector a class; only the directions
    matter. An embedding of length 0 has cosine 0 with every class and no gradient.

    Args:
        dimensions: D, the length of an embedding's axis.
        classes: C, how many classes there are.
        rng: draws the directions, uniformly.

    Raises:
        ValueError: for embeddings of another number of dimensions.

    >>> import numpy as np
    >>> head = CosineHead(2, 3, rng=np.random.default_rng(0))
    >>> _ = head.weight.data.copy_(torch.tensor([[2.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]))
    >>> head(torch.tensor([[3.0, 4.0]])).detach()
    tensor([[ 0.6000,  0.8000, -0.6000]])
    """

    def __init__(
        self, dimensions: int, classes: int, *, rng: np.random.Generator
    ) -> None:
        super().__init__()
        weight = rng.normal(size=(classes, dimensions))
        self.weight = nn.Parameter(
            torch.tensor(weight, dtype=torch.get_default_dtype())
        )

    def forward(self, embeddings: Vectors) -> Logits:
        """Return the cosines.

        Args:
            embeddings: (..., D), of any length.

        Returns:
            (..., C), from -1 to 1 up to rounding.
        """
        check_vectors(embeddings=embeddings, weight=self.weight)
        return products(unit(upcast(embeddings)), unit(upcast(self.weight)))

    def extra_repr(self) -> str:
        """Return the sizes, for the module's repr."""
        classes, dimensions = self.weight.shape
        return f"dimensions={dimensions}, classes={classes}"
