"""Truncated GCE: examples that the model holds for unlikely pull no more."""

import math

import numpy as np
import torch
from torch import Tensor

from lossbook.card import Formula, LossCard, Param, Properties, SpecialCase
from lossbook.ops import psi_loss
from lossbook.shapes import (
    Labels,
    Logits,
    NpLabels,
    NpLogits,
    NpPerExample,
    Parameter,
    PerExample,
)


def truncated_gce(
    logits: Logits, labels: Labels, *, q: Parameter = 0.7, threshold: Parameter = 0.5
) -> PerExample:
    """Return (1 - max(p_y, k)^q) / q per example, with p = softmax(logits).

    Above the threshold k this is generalized cross-entropy; from k down it is constant,
    so that an example whose label the model does not believe has no gradient.

    Args:
        logits: (..., C), unnormalized log-probabilities.
        labels: (...), the true class, 0 to C - 1.
        q: above 0, at most 1. Near 0 this is cut-off cross-entropy, at 1 cut-off MAE.
        threshold: k, the p_y up to which the loss is constant; 0 cuts nothing off.

    Returns:
        (...), between 0 and (1 - k^q) / q.

    Raises:
        ValueError: for labels outside of the classes, or logits that are nan.

    >>> import torch
    >>> truncated_gce(torch.tensor([[2.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 0]))
    tensor([0.1215, 0.5492])
    """
    return psi_loss(logits, labels, psi, factor, q=q, threshold=threshold)


def psi(
    log_p: Tensor, log_not_p: Tensor, *, q: Parameter, threshold: Parameter
) -> Tensor:
    """Return (1 - max(p, k)^q) / q."""
    log_k = _log(threshold)
    return -(q * torch.where(log_p <= log_k, log_k, log_p)).expm1() / q


def factor(
    log_p: Tensor, log_not_p: Tensor, *, q: Parameter, threshold: Parameter
) -> Tensor:
    """Return g(p) = p^q above the threshold, 0 up to it."""
    return (q * log_p).exp() * (log_p > _log(threshold))


def _log(threshold: Parameter) -> Parameter:
    if isinstance(threshold, Tensor):
        return threshold.log()
    return math.log(threshold) if threshold else -math.inf


def truncated_gce_ref(
    logits: NpLogits, labels: NpLabels, *, q: float = 0.7, threshold: float = 0.5
) -> tuple[NpPerExample, NpLogits]:
    """Loss and gradient: those of GCE where p_y exceeds k, else a constant and 0."""
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    e_y = np.eye(logits.shape[-1])[labels]
    p_y = (p * e_y).sum(-1, keepdims=True)
    believed = p_y > threshold
    loss = np.where(believed, (1 - p_y**q) / q, (1 - threshold**q) / q)
    return loss[..., 0], np.where(believed, p_y**q * (p - e_y), 0.0)


def _lipschitz(q: float, threshold: float) -> float:
    """Return the largest sqrt(2) p^q (1 - p) over p > k; its top is at q / (1 + q)."""
    p = max(q / (1 + q), threshold)
    return math.sqrt(2) * p**q * (1 - p)


CARD = LossCard(
    name="Truncated generalized cross-entropy",
    family="noise",
    kind="labels",
    fn=truncated_gce,
    ref=truncated_gce_ref,
    summary="Generalized cross-entropy that ignores labels it holds for unlikely.",
    cite="zhang2018generalized",
    formula=Formula(
        expr="Piecewise(((1 - p**q) / q, p > threshold), "
        "((1 - threshold**q) / q, True))",
        derivative="Piecewise((-p**(q - 1), p > threshold), (0, True))",
        limits={
            "q": {0.0: "Piecewise((-log(p), p > threshold), (-log(threshold), True))"}
        },
    ),
    params={
        "q": Param(default=0.7, low=0.0, high=1.0, open_low=True, meaning="robustness"),
        "threshold": Param(
            default=0.5,
            low=0.0,
            high=0.9,
            meaning="probability up to which the loss is constant",
            tex="k",
        ),
    },
    special_cases=(SpecialCase(of="gce", params={"threshold": 0.0}),),
    properties=Properties(
        convex=False,
        strictly_proper=False,
        calibrated=True,
        symmetric=lambda q, threshold: q == 1 and threshold == 0,
        monotone=True,
        shift_invariant=True,
        upper=lambda q, threshold: (1 - threshold**q) / q,
        lipschitz=_lipschitz,
    ),
)
