"""Distances between distributions, and between samples."""

from lossbook.losses.divergence._chi_squared import chi_squared
from lossbook.losses.divergence._energy_distance import energy_distance
from lossbook.losses.divergence._exact_transport import ExactTransport
from lossbook.losses.divergence._expected_cost import ExpectedCost
from lossbook.losses.divergence._frechet_distance import frechet_distance
from lossbook.losses.divergence._hellinger import hellinger
from lossbook.losses.divergence._jensen_shannon import jensen_shannon
from lossbook.losses.divergence._kl import kl
from lossbook.losses.divergence._mmd import mmd
from lossbook.losses.divergence._reverse_kl import reverse_kl
from lossbook.losses.divergence._sinkhorn import Sinkhorn
from lossbook.losses.divergence._sinkhorn_divergence import SinkhornDivergence
from lossbook.losses.divergence._squared_emd import squared_emd
from lossbook.losses.divergence._total_variation import total_variation
from lossbook.losses.divergence._unbalanced_transport import UnbalancedTransport
from lossbook.losses.divergence._wasserstein_1d import wasserstein_1d

__all__ = [
    "ExactTransport",
    "ExpectedCost",
    "Sinkhorn",
    "SinkhornDivergence",
    "UnbalancedTransport",
    "chi_squared",
    "energy_distance",
    "frechet_distance",
    "hellinger",
    "jensen_shannon",
    "kl",
    "mmd",
    "reverse_kl",
    "squared_emd",
    "total_variation",
    "wasserstein_1d",
]
