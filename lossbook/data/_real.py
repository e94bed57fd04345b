"""Real data that scikit-learn carries: nothing is downloaded."""

from functools import cache

import numpy as np

from lossbook.data._task import Task, standardized


def digits(*, train: int = 1200, rng: np.random.Generator) -> tuple[Task, Task]:
    """Return handwritten digits, 8 x 8 pixels: a training and a test part.

    Args:
        train: training examples, of 1797; each class keeps its share.
        rng: draws the split.

    Returns:
        Training and test task, with inputs (n, 64) between 0 and 1, labels (n,) 0 to 9.

    Raises:
        ValueError: for a number of training examples that leaves a part empty.

    Source: Alpaydin and Kaynak (1998), UCI Machine Learning Repository, CC BY 4.0; the
    test part of the original, as bundled with scikit-learn.
    """
    inputs, labels = _all_digits()
    return _split(inputs / 16, labels, train, rng)


@cache
def _all_digits() -> tuple[np.ndarray, np.ndarray]:
    """Read the file once a process: a sweep draws thousands of splits of it."""
    from sklearn.datasets import load_digits

    inputs, labels = load_digits(return_X_y=True)
    return inputs, labels


def wine(*, train: int = 100, rng: np.random.Generator) -> tuple[Task, Task]:
    """Return chemical analyses of wines from three growers: training and test part.

    Args:
        train: training examples, of 178; each class keeps its share.
        rng: draws the split.

    Returns:
        Training and test task, with inputs (n, 13), standardized by the training part,
        labels (n,) 0 to 2.

    Raises:
        ValueError: for a number of training examples that leaves a part empty.

    Source: Aeberhard and Forina (1992), UCI Machine Learning Repository, CC BY 4.0; as
    bundled with scikit-learn.
    """
    from sklearn.datasets import load_wine

    inputs, labels = load_wine(return_X_y=True)
    return standardized(*_split(inputs, labels, train, rng))


def iris(*, train: int = 90, rng: np.random.Generator) -> tuple[Task, Task]:
    """Return measurements of three species of iris: a training and a test part.

    Args:
        train: training examples, of 150; each class keeps its share.
        rng: draws the split.

    Returns:
        Training and test task, with inputs (n, 4), standardized by the training part,
        labels (n,) 0 to 2.

    Raises:
        ValueError: for a number of training examples that leaves a part empty.

    Source: Fisher (1936), UCI Machine Learning Repository, CC BY 4.0; as bundled with
    scikit-learn.
    """
    from sklearn.datasets import load_iris

    inputs, labels = load_iris(return_X_y=True)
    return standardized(*_split(inputs, labels, train, rng))


def diabetes(
    *, classes: int = 5, train: int = 292, rng: np.random.Generator
) -> tuple[Task, Task]:
    """Return the progression of diabetes in ordered bins: a training and a test part.

    The measure of progression after one year is cut into equally large bins: class 0
    is the least progression. The order is real, the bins are ours.

    Args:
        classes: number of bins.
        train: training examples, of 442; each class keeps its share.
        rng: draws the split.

    Returns:
        Training and test task, with inputs (n, 10), standardized by the training part,
        labels (n,) 0 to classes - 1.

    Raises:
        ValueError: for a number of training examples that leaves a part empty.

    Source: Efron, Hastie, Johnstone, Tibshirani (2004); as bundled with scikit-learn.
    """
    from sklearn.datasets import load_diabetes

    inputs, progression = load_diabetes(return_X_y=True)
    cuts = np.quantile(progression, np.arange(1, classes) / classes)
    labels = np.searchsorted(cuts, progression)
    return standardized(*_split(inputs, labels, train, rng))


def breast_cancer(*, ratio: int, rng: np.random.Generator) -> tuple[Task, Task]:
    """Return a training and a test half of the Wisconsin data, malignant made rare.

    Class 1 is malignant (212 of the 569 examples). Each class is split in half at
    random; then malignant examples are dropped from both halves until there is one
    for every `ratio` benign ones. Features are standardized by the training half.

    Args:
        ratio: benign examples for each malignant one, at least 2.
        rng: draws the split.

    Returns:
        The training half and the test half, with inputs (n, 30) and labels (n,).

    Raises:
        ValueError: for a ratio below 2 (the data hold fewer malignant examples).

    Source: Wolberg, Street, Mangasarian (1995), UCI Machine Learning Repository, CC BY
    4.0; as bundled with scikit-learn.
    """
    from sklearn.datasets import load_breast_cancer

    if ratio < 2:
        raise ValueError(f"ratio must be at least 2 benign to 1 malignant, got {ratio}")
    inputs, benign = load_breast_cancer(return_X_y=True)
    labels = 1 - benign
    halves: list[list[np.ndarray]] = [[], []]
    for label in (0, 1):
        members = rng.permutation(np.flatnonzero(labels == label))
        middle = len(members) // 2
        for half, part in zip(
            halves, (members[:middle], members[middle:]), strict=True
        ):
            keep = len(part) if label == 0 else len(half[0]) // ratio
            half.append(part[:keep])
    train, test = (rng.permutation(np.concatenate(half)) for half in halves)
    whole = Task(inputs=inputs, labels=labels)
    return standardized(whole.take(train), whole.take(test))


def _split(
    inputs: np.ndarray, labels: np.ndarray, train: int, rng: np.random.Generator
) -> tuple[Task, Task]:
    """Return a training and a test part in which each class keeps its share."""
    n, classes = len(labels), int(labels.max()) + 1
    if not classes <= train <= n - classes:
        raise ValueError(
            f"train must leave both parts an example a class, {classes} to "
            f"{n - classes} of {n}, got {train}"
        )
    order = rng.permutation(n)
    # Each example's place within its class, as a share: the first of all are taken.
    place = np.empty(n)
    for label in range(classes):
        members = order[labels[order] == label]
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    ranked = order[np.argsort(place[order], kind="stable")]
    whole = Task(inputs=inputs, labels=labels)
    parts = ranked[:train], ranked[train:]
    first, second = (whole.take(rng.permutation(part)) for part in parts)
    return first, second
