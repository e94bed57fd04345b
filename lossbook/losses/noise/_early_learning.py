"""Early-learning regularization: stay near what the model believed before."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from lossbook import validate
from lossbook.card import Arrays, LossCard, Param, Properties
from lossbook.ops import label_margin, row_at, upcast
from lossbook.shapes import (
    Labels,
    Logits,
    NpLabels,
    NpLogits,
    NpPerExample,
    Parameter,
    PerExample,
)

# 1 - <t, p> is not let under this share by a memory that has become certain.
LEAST = 1e-4


class EarlyLearning(nn.Module):
    """Cross-entropy plus strength * log(1 - <t, p>), t the memory of the example.

    The memory is a moving average of the predictions p = softmax(logits) of each
    example, from zero: t <- decay * t + (1 - decay) * p. A call in training mode first
    updates the memory of the examples it sees, then uses it; no gradient flows through
    it. In eval mode the memory is used and kept. An example that stands twice in a
    batch is updated once, with its mean prediction.

    1 - <t, p> is computed as (1 - sum_j t_j) + sum_j t_j (1 - p_j). The first part,
    decay^n after n visits, is held at 1e-4 or more: so the logarithm has a bound, and
    its gradient no kink.

    Args:
        examples: how many examples there are; the buffer `memory` is (examples, C).
        classes: C.
        strength: weight of the regularizer.
        decay: what the memory keeps of itself at a visit, from 0 to 1.
        targets: (examples, C), fixed targets in the place of a memory that learns,
            such as predictions of an earlier run; none negative, sums at most 1.

    >>> loss = EarlyLearning(examples=100, classes=2)
    >>> logits, labels = torch.tensor([[2.0, 0.0]]), torch.tensor([0])
    >>> loss(logits, labels, torch.tensor([7]))
    tensor([-0.6846])
    >>> loss.memory[7]
    tensor([0.2642, 0.0358])
    """

    memory: Tensor

    def __init__(
        self,
        examples: int,
        classes: int,
        strength: Parameter = 3.0,
        decay: Parameter = 0.7,
        targets: Any = None,
    ) -> None:
        super().__init__()
        for name, size in (("examples", examples), ("classes", classes)):
            if size < 1:
                raise ValueError(f"{name} must be at least 1, got {size}")
        self.strength = strength
        self.decay = decay
        self.learns = targets is None
        memory = torch.zeros(examples, classes) if self.learns else _fixed(targets)
        if memory.shape != (examples, classes):
            raise ValueError(
                "targets must have one row an example and one column a class, "
                f"{(examples, classes)}, got shape {tuple(memory.shape)}"
            )
        self.register_buffer("memory", memory)

    def forward(self, logits: Logits, labels: Labels, index: Labels) -> PerExample:
        """Return the loss of each example, after its memory is updated.

        Args:
            logits: (..., C), unnormalized log-probabilities.
            labels: (...), the given class, 0 to C - 1.
            index: (...), which example each row is, 0 to examples - 1.

        Returns:
            (...), at least strength * log(1e-4); it may be negative.

        Raises:
            ValueError: for labels outside of the classes, an index outside of the
                examples, or logits that are nan.
        """
        validate.logits_and_labels(logits, labels)
        examples, classes = self.memory.shape
        validate.has_classes(logits, classes, "the memory")
        validate.index_of_examples(index, labels, examples)
        z = upcast(logits)
        # What is nan must not enter the memory.
        log_p = validate.explain_nan("logits", z, z.log_softmax(-1))
        if self.training and self.learns:
            target = self._visit(log_p.exp(), index.long())
        else:
            target = row_at(self.memory, index).to(z.dtype)
        unseen = (1 - target.sum(-1)).clamp(min=LEAST)
        distance = unseen - (target * log_p.expm1()).sum(-1)
        surprise = -logsigmoid(label_margin(z, labels))
        loss = surprise + self.strength * distance.log()
        return validate.explain_nan("logits", z, loss)

    @torch.no_grad()
    def _visit(self, p: Tensor, index: Tensor) -> Tensor:
        """Move the memory of the examples seen towards p; return their new memory."""
        flat_p, flat = p.reshape(-1, p.shape[-1]), index.reshape(-1)
        same = (flat[:, None] == flat).to(p.dtype)
        mean = same @ flat_p / same.sum(-1, keepdim=True)
        kept = self.memory[flat].to(p.dtype)
        target = self.decay * kept + (1 - self.decay) * mean
        self.memory[flat] = target.to(self.memory.dtype)
        return target.reshape(p.shape)


def _fixed(targets: Any) -> Tensor:
    """Return fixed targets as a tensor of a floating dtype; refuse what is none."""
    values = torch.as_tensor(targets)
    values = values if values.is_floating_point() else values.float()
    if not bool((values >= 0).all()) or bool((values.sum(-1) > 1 + 1e-4).any()):
        raise ValueError(
            "targets must be probabilities, none negative, with a sum of at most 1 an "
            f"example, got a least one of {values.min().item():.6g} and a largest sum "
            f"of {values.sum(-1).max().item():.6g}"
        )
    return values


def early_learning_ref(
    logits: NpLogits,
    labels: NpLabels,
    index: NpLabels,
    *,
    examples: int,
    classes: int,
    targets: np.ndarray,
    strength: float = 3.0,
    decay: float = 0.7,
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient for given targets t, which have no gradient of their own."""
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    e_y = np.eye(logits.shape[-1])[labels]
    t = targets[index]
    agreement = (t * p).sum(-1, keepdims=True)
    certain = np.maximum(LEAST - (1 - t.sum(-1, keepdims=True)), 0)
    distance = 1 - agreement + certain
    loss = -np.log((p * e_y).sum(-1)) + strength * np.log(distance[..., 0])
    return loss, (p - e_y) - strength / distance * p * (t - agreement)


def draw(rng: np.random.Generator, n: int, classes: int) -> Arrays:
    """Draw logits, labels, and which of 64 examples each row is."""
    logits = 3 * rng.normal(size=(n, classes))
    return logits, rng.integers(classes, size=n), rng.integers(64, size=n)


def closure(rng: np.random.Generator, classes: int) -> Mapping[str, Any]:
    """Draw fixed targets of 64 examples; a quarter of them sum to 1."""
    targets = rng.dirichlet(np.ones(classes), size=64)
    targets[16:] *= rng.random(size=(48, 1))
    return {"examples": 64, "classes": classes, "targets": targets}


CARD = LossCard(
    name="Early-learning regularization",
    family="noise",
    kind="stateful",
    fn=EarlyLearning,
    ref=early_learning_ref,
    summary="Cross-entropy that rewards agreement with the model's own past.",
    cite="liu2020early",
    params={
        "strength": Param(
            default=3.0, low=0.0, high=7.0, meaning="weight of the regularizer"
        ),
        "decay": Param(default=0.7, low=0.0, high=1.0, meaning="the memory's inertia"),
    },
    properties=Properties(
        lower=lambda strength, decay: strength * math.log(LEAST), upper=math.inf
    ),
    stackable=False,
    closure=closure,
    draw=draw,
)
