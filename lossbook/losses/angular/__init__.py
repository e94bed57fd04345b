"""Losses of cosines, (cosines, labels), and what makes cosines of embeddings."""

from lossbook.losses.angular._arcface import arcface
from lossbook.losses.angular._cosface import cosface
from lossbook.losses.angular._cosine_head import CosineHead
from lossbook.losses.angular._large_margin_softmax import large_margin_softmax
from lossbook.losses.angular._normface import normface
from lossbook.losses.angular._sphereface import sphereface

__all__ = [
    "CosineHead",
    "arcface",
    "cosface",
    "large_margin_softmax",
    "normface",
    "sphereface",
]
