"""Wrong labels, at exact rates, with the right ones kept beside them."""

import numpy as np

from lossbook.data._task import Task


def symmetric_noise(classes: int, rate: float) -> np.ndarray:
    """Return the matrix that moves a share of each class evenly to all others.

    Args:
        classes: number of classes C, at least 2.
        rate: the share that is moved, 0 to 1.

    Returns:
        (C, C), T[i, j] = P(label j | true class i).

    Raises:
        ValueError: for a rate outside of 0 to 1, or fewer than 2 classes.

    >>> symmetric_noise(3, 0.2)
    array([[0.8, 0.1, 0.1],
           [0.1, 0.8, 0.1],
           [0.1, 0.1, 0.8]])
    """
    _check(classes, rate)
    return (1 - rate) * np.eye(classes) + rate * (1 - np.eye(classes)) / (classes - 1)


def pair_noise(classes: int, rate: float) -> np.ndarray:
    """Return the matrix that moves a share of each class to the next one.

    Args:
        classes: number of classes C, at least 2.
        rate: the share that is moved, 0 to 1; the last class moves to the first.

    Returns:
        (C, C), T[i, j] = P(label j | true class i).

    Raises:
        ValueError: for a rate outside of 0 to 1, or fewer than 2 classes.

    >>> pair_noise(3, 0.4)[0]
    array([0.6, 0.4, 0. ])
    """
    _check(classes, rate)
    return (1 - rate) * np.eye(classes) + rate * np.roll(np.eye(classes), 1, axis=1)


def flip(task: Task, transition: np.ndarray, *, rng: np.random.Generator) -> Task:
    """Return the task with wrong labels, in each class at the exact rate.

    Of the n_i examples of class i, n_i T[i, j] get the label j, up to rounding; which
    ones is drawn. The rate of noise is then no random number of its own.

    Args:
        task: with labels (n,).
        transition: (C, C), T[i, j] = P(label j | true class i); rows sum to 1.
        rng: draws the examples.

    Returns:
        The task with noisy `labels`, the old ones as `clean`. Its posterior stays that
        of the true class.

    Raises:
        ValueError: for a matrix that is not square with rows of probabilities, or
            labels that it does not cover.

    >>> task = Task(inputs=np.zeros((10, 1)), labels=np.zeros(10, dtype=int))
    >>> flip(task, pair_noise(2, 0.3), rng=np.random.default_rng(0)).labels.sum()
    np.int64(3)
    """
    matrix = np.asarray(transition, dtype=float)
    square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1]
    if not square or (matrix < 0).any() or not np.allclose(matrix.sum(1), 1):
        raise ValueError(
            "transition must be a square matrix whose rows are probabilities that sum "
            f"to 1, got shape {matrix.shape} with row sums {matrix.sum(-1).tolist()}"
        )
    if task.labels.max(initial=0) >= len(matrix):
        raise ValueError(
            f"transition must have a row for each class, got {len(matrix)} rows for "
            f"the label {task.labels.max()}"
        )
    noisy = task.labels.copy()
    for label, row in enumerate(matrix):
        members = rng.permutation(np.flatnonzero(task.labels == label))
        noisy[members] = np.repeat(np.arange(len(row)), _shares(row, len(members)))
    return _with_noise(task, noisy)


def instance_noise(task: Task, rate: float, *, rng: np.random.Generator) -> Task:
    """Return the task with wrong labels where the class is in doubt.

    Exactly round(rate * n) examples get their likeliest wrong class. They are drawn
    without replacement with weights P(wrong class | input): people err where it is
    hard.

    Args:
        task: with a posterior, or a rough one is made from the distances to the means
            of the classes, as if these were round Gaussians.
        rate: the share of wrong labels, 0 to 1.
        rng: draws the examples.

    Returns:
        The task with noisy `labels`, the old ones as `clean`.

    Raises:
        ValueError: for a rate outside of 0 to 1.
    """
    _check(2, rate)
    posterior = _rough_posterior(task) if task.posterior is None else task.posterior
    rivals = posterior.copy()
    rivals[np.arange(len(rivals)), task.labels] = -1.0
    doubt = 1 - posterior[np.arange(len(posterior)), task.labels] + 1e-12
    chosen = rng.choice(
        len(doubt), round(rate * len(doubt)), replace=False, p=doubt / doubt.sum()
    )
    noisy = task.labels.copy()
    noisy[chosen] = rivals[chosen].argmax(1)
    return _with_noise(task, noisy)


def observed_noise(task: Task, *, classes: int) -> np.ndarray:
    """Return the matrix of the noise in a task, counted from its clean labels.

    It is the average over the inputs. Where noise depends on the input, two examples of
    one class differ in it, and no matrix tells how.

    Args:
        task: with labels (n,); without `clean` it has no noise.
        classes: number of classes C.

    Returns:
        (C, C), T[i, j] = the share of the examples of true class i with the label j; a
        class without examples keeps its label.

    Raises:
        ValueError: for fewer classes than there are labels.

    >>> labels, clean = np.array([0, 1, 1, 1]), np.array([0, 0, 1, 1])
    >>> task = Task(inputs=np.zeros((4, 1)), labels=labels, clean=clean)
    >>> observed_noise(task, classes=3)
    array([[0.5, 0.5, 0. ],
           [0. , 1. , 0. ],
           [0. , 0. , 1. ]])
    """
    clean = task.labels if task.clean is None else task.clean
    most = max(int(task.labels.max(initial=0)), int(clean.max(initial=0)))
    if most >= classes:
        raise ValueError(
            f"classes must be more than the largest label, {most}, got {classes}"
        )
    counts = np.zeros((classes, classes))
    np.add.at(counts, (clean, task.labels), 1.0)
    missing = counts.sum(1) == 0
    counts[missing, missing] = 1.0
    return counts / counts.sum(1, keepdims=True)


def _rough_posterior(task: Task) -> np.ndarray:
    classes = range(int(task.labels.max()) + 1)
    means = np.stack([task.inputs[task.labels == c].mean(0) for c in classes])
    squared = ((task.inputs[:, None] - means) ** 2).sum(-1)
    own = squared[np.arange(len(squared)), task.labels]
    variance = own.mean() / task.inputs.shape[1]  # of one feature within a class
    odds = np.exp(-(squared - squared.min(1, keepdims=True)) / (2 * variance))
    posterior: np.ndarray = odds / odds.sum(1, keepdims=True)
    return posterior


def _with_noise(task: Task, noisy: np.ndarray) -> Task:
    clean = task.labels if task.clean is None else task.clean
    return Task(inputs=task.inputs, labels=noisy, posterior=task.posterior, clean=clean)


def _shares(row: np.ndarray, n: int) -> np.ndarray:
    """Return whole numbers near row * n that sum to n: the largest remainders win."""
    exact = row * n
    counts = np.floor(exact + 1e-9).astype(int)
    missing = n - counts.sum()
    counts[np.argsort(counts - exact, kind="stable")[:missing]] += 1
    return counts


def _check(classes: int, rate: float) -> None:
    if classes < 2:
        raise ValueError(f"classes must be at least 2, got {classes}")
    if not 0 <= rate <= 1:
        raise ValueError(f"rate must lie between 0 and 1, got {rate:g}")
