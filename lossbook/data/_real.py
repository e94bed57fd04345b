"""Real data that scikit-learn carries: nothing is downloaded."""

import numpy as np

from lossbook.data._task import Task


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

    Source: Wolberg, Mangasarian, Street, Street (1995), UCI Machine Learning
    Repository, CC BY 4.0; as bundled with scikit-learn.
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
    mean, scale = inputs[train].mean(0), inputs[train].std(0)
    x = (inputs - mean) / scale
    return (
        Task(inputs=x[train], labels=labels[train]),
        Task(inputs=x[test], labels=labels[test]),
    )
