"""K networks of one shape, with a leading axis for the models."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Head = Literal["linear", "cosine", "embedding"]
HEADS: tuple[Head, ...] = ("linear", "cosine", "embedding")


@dataclass(frozen=True)
class Models:
    """K networks of one shape.

    Attributes:
        layers: a pair a layer: (K, in, out) weights and (K, 1, out) biases.
        head: what the last layer gives. "linear": logits. "cosine": the cosines between
            the features and one direction a class (its bias is not used). "embedding":
            the features on the unit sphere.
        scale: of the cosines, where they serve as logits.
        failed: (K,), the step at which a model left the finite numbers, -1 if it
            never did.
    """

    layers: list[tuple[Tensor, Tensor]]
    head: Head = "linear"
    scale: float = 30.0
    failed: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=int))

    def outputs(self, inputs: np.ndarray | Tensor) -> Tensor:
        """Return what the head gives: (K, n, out) of (K, n, in) or (n, in) inputs."""
        first = self.layers[0][0]
        x = torch.as_tensor(inputs, dtype=first.dtype, device=first.device)
        x = x.expand(len(first), *x.shape) if x.ndim == 2 else x
        for i, (weight, bias) in enumerate(self.layers):
            x = x.relu_() if i else x
            if self.head == "cosine" and i == len(self.layers) - 1:
                return _unit(x, -1) @ _unit(weight, -2)
            x = torch.baddbmm(bias, x, weight)
        return _unit(x, -1) if self.head == "embedding" else x

    def logits(self, inputs: np.ndarray | Tensor) -> Tensor:
        """Return (K, n, C) logits; cosines are scaled."""
        outputs = self.outputs(inputs)
        return self.scale * outputs if self.head == "cosine" else outputs

    def probabilities(self, inputs: np.ndarray | Tensor) -> np.ndarray:
        """Return (K, n, C) softmax probabilities, as numpy."""
        with torch.no_grad():
            found: np.ndarray = self.logits(inputs).softmax(-1).cpu().numpy()
        return found

    @staticmethod
    def start(
        seeds: Sequence[int],
        widths: Sequence[int],
        *,
        head: Head = "linear",
        scale: float = 30.0,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> "Models":
        """Return untrained models: He-normal weights and zero biases.

        Each model's weights are drawn from its own seed, so that a model in a stack
        starts as it would alone. They are other numbers than those which
        `default_rng(seed)` gives: data drawn from it do not come back as weights.

        Args:
            seeds: K numbers.
            widths: of the input, the hidden layers and the output.
            head: of the last layer.
            scale: of the cosines.
            dtype: torch's default dtype where not given.
            device: the processor where not given.

        Raises:
            ValueError: for a head that is none.
        """
        if head not in HEADS:
            raise ValueError(f"head must be one of {', '.join(HEADS)}, got {head!r}")
        # To numpy, seed and [seed, 0] are the same: data come from this stream.
        generators = [np.random.default_rng([seed, 3]) for seed in seeds]
        kind = dtype or torch.get_default_dtype()
        layers = []
        for fan_in, fan_out in pairwise(widths):
            spread = np.sqrt(2 / fan_in)
            drawn = [spread * g.normal(size=(fan_in, fan_out)) for g in generators]
            weight = torch.tensor(np.stack(drawn), dtype=kind, device=device)
            bias = torch.zeros(len(seeds), 1, fan_out, dtype=kind, device=device)
            layers.append((weight.requires_grad_(), bias.requires_grad_()))
        return Models(layers, head, scale)


def _unit(x: Tensor, axis: int) -> Tensor:
    """Return vectors of length 1; a vector of length 0 stays as it is."""
    length = torch.linalg.vector_norm(x, dim=axis, keepdim=True)
    return x / length.clamp(min=1e-12)
