"""Data, with the truth beside it: numpy arrays in a frozen record.

A generator takes its sizes and a `numpy.random.Generator`; nothing is drawn from
global state.
"""

from lossbook.data._cards import DATA_CARDS, DataCard, facts
from lossbook.data._costs import cheapest, ordered_costs, random_costs, zero_one_costs
from lossbook.data._csv import read_csv
from lossbook.data._disks import disks, surroundings
from lossbook.data._files import (
    Source,
    cifar10,
    cifar100,
    cifar100_hierarchy,
    fashion_mnist,
    mnist,
)
from lossbook.data._gaussians import (
    gaussian_tree,
    gaussians_with_outlier,
    rare_blobs,
    two_gaussians,
)
from lossbook.data._long_tail import by_frequency, long_tail_counts, subsample
from lossbook.data._noise import (
    flip,
    instance_noise,
    observed_noise,
    pair_noise,
    symmetric_noise,
)
from lossbook.data._plane import moons, rings, spirals
from lossbook.data._real import breast_cancer, diabetes, digits, iris, wine
from lossbook.data._special import long_servedio, ordinal
from lossbook.data._task import Task, repeat, stack, standardized

__all__ = [
    "DATA_CARDS",
    "DataCard",
    "Source",
    "Task",
    "breast_cancer",
    "by_frequency",
    "cheapest",
    "cifar10",
    "cifar100",
    "cifar100_hierarchy",
    "diabetes",
    "digits",
    "disks",
    "facts",
    "fashion_mnist",
    "flip",
    "gaussian_tree",
    "gaussians_with_outlier",
    "instance_noise",
    "iris",
    "long_servedio",
    "long_tail_counts",
    "mnist",
    "moons",
    "observed_noise",
    "ordered_costs",
    "ordinal",
    "pair_noise",
    "random_costs",
    "rare_blobs",
    "read_csv",
    "repeat",
    "rings",
    "spirals",
    "stack",
    "standardized",
    "subsample",
    "surroundings",
    "symmetric_noise",
    "two_gaussians",
    "wine",
    "zero_one_costs",
]
