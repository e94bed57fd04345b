"""Losses of embeddings: of pairs, triplets and whole batches; and miners."""

from lossbook.losses.embedding._all_triplets import all_triplets
from lossbook.losses.embedding._contrastive import contrastive
from lossbook.losses.embedding._info_nce import info_nce
from lossbook.losses.embedding._mine import batch_hard, semi_hard
from lossbook.losses.embedding._n_pair import n_pair
from lossbook.losses.embedding._nca import nca
from lossbook.losses.embedding._nt_xent import nt_xent
from lossbook.losses.embedding._proxy_anchor import proxy_anchor
from lossbook.losses.embedding._proxy_nca import proxy_nca
from lossbook.losses.embedding._supcon import supcon
from lossbook.losses.embedding._triplet import triplet

__all__ = [
    "all_triplets",
    "batch_hard",
    "contrastive",
    "info_nce",
    "n_pair",
    "nca",
    "nt_xent",
    "proxy_anchor",
    "proxy_nca",
    "semi_hard",
    "supcon",
    "triplet",
]
