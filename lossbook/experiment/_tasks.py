"""The data of a training: drawn, then damaged, by the seed alone."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from lossbook import data
from lossbook.data import Task
from lossbook.experiment._config import Config
from lossbook.trees import Hierarchy

Pair = tuple[Task, Task]
Maker = Callable[[int, np.random.Generator], Pair]
TREES = {"gaussian_tree": (3, 3)}  # branching and depth
ORDERED = ("diabetes", "ordinal")  # whose classes are in the order of their numbers
TESTED = 2000  # test examples of a generator
SMALLEST = 1  # examples that every class keeps


def _drawn(make: Callable[..., Task], usual: int, **options: Any) -> Maker:
    """Return a maker from a generator: the test part is drawn after the training."""

    def both(train: int, rng: np.random.Generator) -> Pair:
        return (
            make(train or usual, rng=rng, **options),
            make(TESTED, rng=rng, **options),
        )

    return both


def _loaded(load: Callable[..., Pair], usual: int) -> Maker:
    """Return a maker from a loader that splits real data."""

    def both(train: int, rng: np.random.Generator) -> Pair:
        return load(train=train or usual, rng=rng)

    return both


def _tree(train: int, rng: np.random.Generator) -> Pair:
    """Every class has as many training examples, so their number is rounded."""
    branching, depth = TREES["gaussian_tree"]
    classes = branching**depth
    each = max(1, round((train or 20 * classes) / classes))
    return data.gaussian_tree(each, 100, branching=branching, depth=depth, rng=rng)


def _tumors(train: int, rng: np.random.Generator) -> Pair:
    """All benign tumors and half as many malignant ones, in two halves."""
    if train:
        raise ValueError(
            f"train must be 0 for breast_cancer, which is cut in halves, got {train}"
        )
    return data.breast_cancer(ratio=2, rng=rng)


# A name -> (training examples, generator) to training and test task. Each seed draws
# new examples of these:
DRAWN: dict[str, Maker] = {
    "gaussian_tree": _tree,
    "moons": _drawn(data.moons, 400),
    "ordinal": _drawn(data.ordinal, 400),
    "rare_blobs": _drawn(data.rare_blobs, 5000),
    "rings": _drawn(data.rings, 400, classes=3),
    "spirals": _drawn(data.spirals, 400, classes=3),
    "two_gaussians": _drawn(data.two_gaussians, 400),
}
# Of these each seed splits the same examples anew:
RESPLIT: dict[str, Maker] = {
    "breast_cancer": _tumors,
    "diabetes": _loaded(data.diabetes, 292),
    "digits": _loaded(data.digits, 1200),
    "iris": _loaded(data.iris, 90),
    "wine": _loaded(data.wine, 100),
}
TASKS: dict[str, Maker] = dict(sorted((DRAWN | RESPLIT).items()))


def resplit(name: str, given: Mapping[str, Task] | None = None) -> bool:
    """Return whether the seeds split the same examples anew, and so overlap.

    That holds for real data and for arrays of the caller's own; a generator draws new
    examples for each seed.

    Args:
        name: of the data, as in `Config.data`.
        given: arrays of the caller's own, by name.

    >>> resplit("iris"), resplit("moons")
    (True, False)
    """
    return name in (given or {}) or name in RESPLIT


def task_of(config: Config, given: Mapping[str, Task] | None = None) -> Pair:
    """Return the training and the test task of a config, damaged as it says.

    The draw depends on the seed alone, never on the loss. Only the training part is
    damaged.

    Args:
        config: names the data and the damage.
        given: arrays of the caller's own, by name; they are split 2 to 1, then
            standardized by the training part, if the config says so.

    Raises:
        ValueError: for data of an unknown name, or a number of training examples that
            the data cannot give.
    """
    rng = np.random.default_rng([config.seed, 0])
    own = (given or {}).get(config.data)
    if own is not None:
        train, test = _split(own, config.train or round(2 * len(own.labels) / 3), rng)
        if config.standardize:
            train, test = data.standardized(train, test)
    elif config.data in TASKS:
        train, test = TASKS[config.data](config.train, rng)
    else:
        known = ", ".join([*(given or {}), *TASKS])
        raise ValueError(f"data must be one of {known}, got {config.data!r}")
    return damaged(train, config, rng), test


def fingerprint(*tasks: Task) -> str:
    """Return a hash of all that tasks hold: inputs, labels, posterior, clean labels.

    >>> drawn = [task_of(Config(data="iris", seed=seed)) for seed in (0, 0, 1)]
    >>> hashes = [fingerprint(*pair) for pair in drawn]
    >>> hashes[0] == hashes[1], hashes[0] == hashes[2]
    (True, False)
    """
    digest = hashlib.sha256()
    for task in tasks:
        for array in (task.inputs, task.labels, task.posterior, task.clean):
            if array is None:
                digest.update(b"none")
                continue
            digest.update(f"{array.shape} {array.dtype}".encode())
            digest.update(array.tobytes())
    return digest.hexdigest()[:16]


def tree_of(config: Config) -> Hierarchy:
    """Return the tree over the classes, or one of its shape that knows nothing of them.

    Raises:
        ValueError: for data whose classes have no tree.
    """
    if config.data not in TREES:
        raise ValueError(
            f"data must have a tree over its classes for {config.loss}, as "
            f"{', '.join(TREES)} has, got {config.data!r}"
        )
    tree = Hierarchy.balanced(*TREES[config.data])
    if config.tree == "right":
        return tree
    mixed = np.random.default_rng([config.seed, 2]).permutation(tree.classes)
    return replace(tree, classes=tuple(map(str, mixed)))


def costs_of(config: Config, classes: int) -> np.ndarray | None:
    """Return (C, C), how far classes are from each other; None if nothing tells.

    In a tree that is the height at which they meet, always in the right tree, whatever
    the loss was told; for ordered classes, the number of steps between them.
    """
    if config.data in TREES:
        return Hierarchy.balanced(*TREES[config.data]).lca_heights.astype(float)
    if config.data in ORDERED:
        return np.asarray(data.ordered_costs(classes), dtype=float)
    return None


def damaged(task: Task, config: Config, rng: np.random.Generator) -> Task:
    """Return the training task with the config's imbalance, outliers and noise."""
    classes = int(task.labels.max()) + 1
    if config.imbalance > 1:
        most = int(np.bincount(task.labels).min())
        counts = data.long_tail_counts(
            most, classes=classes, ratio=config.imbalance, profile=config.profile
        )
        counts = np.maximum(counts, SMALLEST)
        task = data.subsample(task, rng.permutation(counts), rng=rng)
    if config.outliers > 0:
        task = _with_outliers(task, config.outliers, classes, rng)
    if config.noise_rate == 0 or config.noise == "none":
        return task
    if config.noise == "instance":
        return data.instance_noise(task, config.noise_rate, rng=rng)
    matrices = {"symmetric": data.symmetric_noise, "pair": data.pair_noise}
    return data.flip(task, matrices[config.noise](classes, config.noise_rate), rng=rng)


def _with_outliers(
    task: Task, share: float, classes: int, rng: np.random.Generator
) -> Task:
    """Move a share of the examples ten times as far out, and draw their labels anew."""
    moved = rng.choice(len(task.labels), round(share * len(task.labels)), replace=False)
    inputs, labels = task.inputs.copy(), task.labels.copy()
    center = inputs.mean(0)
    inputs[moved] = center + 10 * (inputs[moved] - center)
    labels[moved] = rng.integers(classes, size=len(moved))
    clean = task.labels if task.clean is None else task.clean
    return Task(inputs=inputs, labels=labels, posterior=None, clean=clean)


def _split(task: Task, train: int, rng: np.random.Generator) -> Pair:
    n = len(task.labels)
    if not 0 < train < n:
        raise ValueError(
            f"train must leave both parts an example, 1 to {n - 1} of {n}, got {train}"
        )
    order = rng.permutation(n)
    return task.take(order[:train]), task.take(order[train:])
