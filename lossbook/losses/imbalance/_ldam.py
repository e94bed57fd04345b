"""LDAM: the rarer the class, the wider its margin. Chapter: long tail."""

import math
from dataclasses import KW_ONLY, dataclass

import numpy as np
from torch import Tensor
from torch.nn.functional import logsigmoid

from lossbook import validate
from lossbook.card import LossCard, Param, Properties, SpecialCase
from lossbook.ops import at_label, label_margin, over_classes, upcast
from lossbook.shapes import (
    Labels,
    Logits,
    NpLabels,
    NpLogits,
    NpPerExample,
    Parameter,
    PerExample,
)


@dataclass(frozen=True, eq=False)
class LDAM:
    """Cross-entropy of scale (cosines - margin_y e_y): margins that know the counts.

    The margin of class c is max_margin (n_min / n_c)^(1/4): the rarest class has
    max_margin, all others less. Only the true class's cosine is lowered. The cosines
    come from normalized weights and embeddings; with free logits the model can make
    any margin small by growing.

    Args:
        counts: (C,), how many training examples each class has.
        max_margin: the margin of the rarest class, a difference of cosines.
        scale: what the cosines are multiplied with, the inverse of a temperature.

    Raises:
        ValueError: for counts that are not positive, or not one a class.

    >>> import torch
    >>> loss = LDAM([1600, 100], scale=2.0)
    >>> loss(torch.tensor([[0.5, 0.0], [0.5, 0.0]]), torch.tensor([0, 1]))
    tensor([0.4741, 2.1269])
    """

    counts: Tensor
    _: KW_ONLY
    max_margin: Parameter = 0.5
    scale: Parameter = 30.0

    def __post_init__(self) -> None:
        """Check the counts, and hold them as a tensor."""
        object.__setattr__(self, "counts", validate.class_counts(self.counts))

    def __call__(self, cosines: Logits, labels: Labels) -> PerExample:
        """Return one loss an example.

        Args:
            cosines: (..., C), of the angles between embedding and classes.
            labels: (...), the true class, 0 to C - 1.

        Returns:
            (...), in nats.

        Raises:
            ValueError: for labels outside of the classes, cosines that are nan, or
                another number of classes than counts.
        """
        validate.cosines_and_labels(cosines, labels)
        validate.has_classes(cosines, len(self.counts), "counts")
        z = upcast(cosines)
        ratio = ((self.counts.min() / self.counts) ** 0.25).to(z)
        margin = self.max_margin * at_label(ratio.expand_as(z), labels)
        ahead = label_margin(over_classes(self.scale) * z, labels)
        loss = -logsigmoid(ahead - self.scale * margin)
        return validate.explain_nan("cosines", cosines, loss)


def ldam_ref(
    cosines: NpLogits,
    labels: NpLabels,
    *,
    counts: NpLogits,
    max_margin: float = 0.5,
    scale: float = 30.0,
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: cross-entropy's at the lowered cosines, times the scale."""
    margin = max_margin * (np.min(counts) / counts) ** 0.25
    e_y = np.eye(cosines.shape[-1])[labels]
    z = scale * (cosines - margin * e_y)
    z = z - z.max(-1, keepdims=True)  # scale 30 would overflow the plain formula
    log_p = z - np.log(np.exp(z).sum(-1, keepdims=True))
    return -(log_p * e_y).sum(-1), scale * (np.exp(log_p) - e_y)


CARD = LossCard(
    name="LDAM",
    family="imbalance",
    kind="cosine",
    fn=LDAM,
    ref=ldam_ref,
    summary="Cross-entropy of cosines, with wider margins for rarer classes.",
    cite="cao2019learning",
    closure=lambda rng, classes: {
        "counts": rng.permutation(np.geomspace(1000, 5, classes).round())
    },
    params={
        "max_margin": Param(
            default=0.5, low=0.0, high=1.0, meaning="margin of the rarest class"
        ),
        "scale": Param(default=30.0, low=4.0, high=30.0, meaning="inverse temperature"),
    },
    special_cases=(
        SpecialCase(of="cross_entropy", params={"max_margin": 0.0, "scale": 1.0}),
    ),
    properties=Properties(
        convex=True,
        monotone=True,
        shift_invariant=True,
        lower=None,  # the infimum over cosines depends on the number of classes
        # Cosines end at 1: with a small scale no example is as wrong as that.
        lipschitz=lambda max_margin, scale: (
            math.sqrt(2) * scale if scale >= 4 else None
        ),
    ),
)
