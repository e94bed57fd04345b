"""Metrics of decisions and of probabilities, in numpy.

Decisions and labels have the examples as their last axis, (..., n). Probabilities have
the classes behind them, (..., n, C). Other axes, such as one for the models of a
lockstep run, are kept.
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from lossbook.trees import Hierarchy

Scheme = Literal["equal_width", "equal_mass"]
Forecast = Literal["top_label", "classwise"]


def recall(predicted: np.ndarray, labels: np.ndarray, label: int = 1) -> np.ndarray:
    """Return the share of class `label` that is found: (..., n) to (...).

    It is nan where no example is of this class.

    Args:
        predicted: (..., n), the decisions.
        labels: (..., n), the true classes.
        label: the class in question.

    Returns:
        (...), between 0 and 1.

    >>> recall(np.array([1, 0, 0]), np.array([1, 1, 0]))
    np.float64(0.5)
    """
    of_class = labels == label
    with np.errstate(invalid="ignore"):
        return ((predicted == label) & of_class).sum(-1) / of_class.sum(-1)


def precision(predicted: np.ndarray, labels: np.ndarray, label: int = 1) -> np.ndarray:
    """Return the share of predictions `label` that are right; nan if there are none.

    Args:
        predicted: (..., n), the decisions.
        labels: (..., n), the true classes.
        label: the class in question.

    Returns:
        (...), between 0 and 1.

    >>> precision(np.array([1, 1, 0]), np.array([1, 0, 0]))
    np.float64(0.5)
    """
    said = predicted == label
    with np.errstate(invalid="ignore"):
        return (said & (labels == label)).sum(-1) / said.sum(-1)


def f1(predicted: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return 2 TP / (2 TP + FP + FN) of class 1: (..., n) to (...).

    It is the harmonic mean of precision and recall, and of two masks their Dice
    coefficient. Where class 1 neither occurs nor is predicted it is nan.

    >>> f1(np.array([1, 1, 0, 0]), np.array([1, 0, 1, 0]))
    np.float64(0.5)
    """
    said, true = np.asarray(predicted, bool), np.asarray(labels, bool)
    hits, whole = (said & true).sum(-1), said.sum(-1) + true.sum(-1)
    with np.errstate(invalid="ignore"):
        found: np.ndarray = 2 * hits / whole
    return found


def balanced_accuracy(predicted: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the mean recall of two classes: 1/2 for whoever always says the same.

    Args:
        predicted: (..., n), the decisions, 0 or 1.
        labels: (..., n), the true classes, 0 or 1.

    Returns:
        (...), between 0 and 1; nan if a class has no example.

    >>> balanced_accuracy(np.array([0, 0, 0]), np.array([1, 1, 0]))
    np.float64(0.5)
    """
    return (recall(predicted, labels, 0) + recall(predicted, labels, 1)) / 2


def accuracy(predicted: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the share of predictions that are right: (..., n) to (...).

    Args:
        predicted: (..., n), the decisions.
        labels: (..., n), the true classes.

    Returns:
        (...), between 0 and 1.

    >>> accuracy(np.array([0, 2, 1]), np.array([0, 2, 2]))
    np.float64(0.6666666666666666)
    """
    return (predicted == labels).mean(-1)


def negative_log_likelihood(
    probabilities: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """Return the mean of -log p_y in nats: (..., n, C) to (...).

    Nothing is clipped: it is infinite where a label was given no probability.

    Args:
        probabilities: (..., n, C), of the classes.
        labels: (..., n), the true classes.

    Returns:
        (...), 0 or more.

    >>> negative_log_likelihood(np.array([[0.5, 0.5], [0.25, 0.75]]), np.array([0, 0]))
    np.float64(1.0397207708399179)
    """
    p, y = _forecasts(probabilities, labels)
    with np.errstate(divide="ignore"):
        return -np.log(np.take_along_axis(p, y[..., None], -1)[..., 0]).mean(-1)


@dataclass(frozen=True)
class Reliability:
    """The data of a reliability diagram; the bins are the last axis of each array.

    Attributes:
        count: how many forecasts fell into the bin.
        confidence: their mean probability, nan in an empty bin.
        accuracy: the share of them that came true, nan in an empty bin.
        edges: the bins' ends, one more than there are bins.
    """

    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    edges: np.ndarray


def reliability(
    probabilities: np.ndarray,
    labels: np.ndarray,
    *,
    bins: int = 15,
    scheme: Scheme = "equal_width",
    of: Forecast = "top_label",
) -> Reliability:
    """Return what forecasts said and what came true, bin by bin.

    A bin holds its upper end and not its lower one, and the first bin holds both. With
    `scheme="equal_width"` the bins cut 0 to 1 into equal parts; with "equal_mass" they
    are cut at quantiles of the forecasts, and equal forecasts stay together.

    Args:
        probabilities: (..., n, C), which sum to 1 over the classes.
        labels: (..., n), the true class, 0 to C - 1.
        bins: how many, at least 1.
        scheme: "equal_width" or "equal_mass".
        of: "top_label" for one forecast an example, that the likeliest class is true
            (the first of several); "classwise" for C forecasts, one a class.

    Returns:
        Arrays (..., bins), for "classwise" (..., C, bins).

    Raises:
        ValueError, TypeError: for input that is not as above.

    >>> p = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]])
    >>> found = reliability(p, np.array([0, 1, 1]), bins=2)
    >>> found.count, found.confidence, found.accuracy
    (array([0, 3]), array([nan, 0.8]), array([       nan, 0.66666667]))
    """
    p, y = _forecasts(probabilities, labels)
    _options(bins, scheme, of)
    return _binned(*_said_and_true(p, y, of), bins, scheme)


def ece(
    probabilities: np.ndarray,
    labels: np.ndarray,
    *,
    bins: int = 15,
    scheme: Scheme = "equal_width",
    of: Forecast = "top_label",
) -> np.ndarray:
    """Return the expected calibration error: (..., n, C) to (...).

    The mean over forecasts of |accuracy - confidence| of their bin; for "classwise"
    the mean of this over the classes. It is a number to report and none to descend:

    - It is not continuous: a forecast that crosses the edge of a bin moves it by a
      jump.
    - It is biased: with few forecasts a bin, accuracy strays from confidence by chance,
      and each stray counts. Perfectly calibrated forecasts have an expected value above
      0, which falls as n grows and rises with the number of bins.
    - It is no proper score: to state the class frequencies, whatever the example, is
      calibrated.

    Args:
        probabilities: (..., n, C), which sum to 1 over the classes.
        labels: (..., n), the true class, 0 to C - 1.
        bins: how many, at least 1.
        scheme: "equal_width" or "equal_mass", as in `reliability`.
        of: "top_label" or "classwise", as in `reliability`.

    Returns:
        (...), 0 to 1.

    Raises:
        ValueError, TypeError: for input that is not as above.

    >>> p = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]])
    >>> round(float(ece(p, np.array([0, 1, 1]))), 3)  # (2 |1/2 - 0.9| + |1 - 0.6|) / 3
    0.4
    """
    found = reliability(probabilities, labels, bins=bins, scheme=scheme, of=of)
    gap = np.nan_to_num(np.abs(found.accuracy - found.confidence))
    error = (found.count * gap).sum(-1) / found.count.sum(-1)
    return error.mean(-1) if of == "classwise" else error


@dataclass(frozen=True)
class BrierDecomposition:
    """The mean Brier score in parts, each summed over the classes.

    Attributes:
        reliability: squared distance of each bin's mean forecast to what came true
            there; 0 is calibrated.
        resolution: variance between bins of what came true; what forecasts tell apart.
        uncertainty: variance of the labels; no forecast changes it.
        within: what forecasts do inside of their bins: their variance there, less
            twice their covariance with the labels.
    """

    reliability: np.ndarray
    resolution: np.ndarray
    uncertainty: np.ndarray
    within: np.ndarray

    @property
    def total(self) -> np.ndarray:
        """Return the Brier score, reliability - resolution + uncertainty + within."""
        return self.reliability - self.resolution + self.uncertainty + self.within


def brier_decomposition(
    probabilities: np.ndarray,
    labels: np.ndarray,
    *,
    bins: int = 15,
    scheme: Scheme = "equal_width",
) -> BrierDecomposition:
    """Return the parts of the mean Brier score: (..., n, C) to (...).

    The score of an example is sum_k (p_k - e_k)^2, from 0 to 2, e being the one-hot
    label. Murphy's identity, score = reliability - resolution + uncertainty, holds
    exactly where all forecasts of a bin are equal. Otherwise it is off by `within`, and
    with this term the sum is exact for any forecasts and bins.

    Args:
        probabilities: (..., n, C), which sum to 1 over the classes.
        labels: (..., n), the true class, 0 to C - 1.
        bins: how many for each class, at least 1.
        scheme: "equal_width" or "equal_mass", as in `reliability`.

    Returns:
        The four parts, (...) each.

    Raises:
        ValueError, TypeError: for input that is not as above.

    >>> p = np.array([[0.8, 0.2], [0.8, 0.2], [0.4, 0.6], [0.4, 0.6]])
    >>> parts = brier_decomposition(p, np.array([0, 0, 0, 1]))
    >>> [round(float(part), 3) for part in (parts.resolution, parts.uncertainty)]
    [0.125, 0.375]
    >>> round(float(parts.total), 3)  # (2 * 2 * 0.04 + 2 * 0.36 + 2 * 0.16) / 4
    0.3
    """
    p, y = _forecasts(probabilities, labels)
    _options(bins, scheme, "classwise")
    said, true = _said_and_true(p, y, "classwise")
    found = _binned(said, true, bins, scheme)
    share = found.count / said.shape[-1]
    base = true.mean(-1)
    which = _bin_of(said, found.edges)
    off = said - np.take_along_axis(found.confidence, which, -1)
    surprise = true - np.take_along_axis(found.accuracy, which, -1)

    def over_bins(squares: np.ndarray) -> np.ndarray:
        return (share * np.nan_to_num(squares)).sum((-2, -1))

    return BrierDecomposition(
        reliability=over_bins((found.confidence - found.accuracy) ** 2),
        resolution=over_bins((found.accuracy - base[..., None]) ** 2),
        uncertainty=(base * (1 - base)).sum(-1),
        within=(off**2 - 2 * off * surprise).mean(-1).sum(-1),
    )


def _said_and_true(
    p: np.ndarray, y: np.ndarray, of: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the forecasts and whether each came true: (..., n) or (..., C, n)."""
    if of == "top_label":
        return p.max(-1), (p.argmax(-1) == y).astype(float)
    true = y[..., None] == np.arange(p.shape[-1])
    return p.swapaxes(-1, -2), true.astype(float).swapaxes(-1, -2)


def _binned(said: np.ndarray, true: np.ndarray, bins: int, scheme: str) -> Reliability:
    """Return counts and means of (..., n) forecasts in bins."""
    cuts = np.linspace(0, 1, bins + 1)
    if scheme == "equal_mass":
        edges = np.moveaxis(np.quantile(said, cuts, axis=-1), 0, -1)
    else:
        edges = np.broadcast_to(cuts, (*said.shape[:-1], bins + 1))
    rows = said.size // said.shape[-1]
    # One bincount for all rows: the bins of row i are numbered from i * bins on.
    which = _bin_of(said, edges).reshape(rows, -1) + bins * np.arange(rows)[:, None]
    count, sum_said, sum_true = (
        np.bincount(which.ravel(), weights, rows * bins).reshape(*said.shape[:-1], bins)
        for weights in (None, said.ravel(), true.ravel())
    )
    with np.errstate(invalid="ignore"):  # 0 / 0 in an empty bin is nan
        return Reliability(count, sum_said / count, sum_true / count, edges)


def _bin_of(said: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the bin of each forecast: how many inner edges lie below it."""
    n, ends = said.shape[-1], edges.shape[-1]
    pairs = zip(said.reshape(-1, n), edges.reshape(-1, ends), strict=True)
    found = [np.searchsorted(cuts[1:-1], row) for row, cuts in pairs]
    return np.array(found, dtype=int).reshape(said.shape)


def _forecasts(probabilities: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return (..., n, C) probabilities and (..., n) labels, or say what is wrong."""
    p, y = np.asarray(probabilities), np.asarray(labels)
    if p.ndim < 2 or not p.shape[-1] or not p.shape[-2]:
        raise ValueError(
            "probabilities must have the shape (..., n, C), with an example and a "
            f"class at least, got {p.shape}"
        )
    if not np.issubdtype(p.dtype, np.floating):
        raise TypeError(f"probabilities must be of a floating dtype, got {p.dtype}")
    if not np.issubdtype(y.dtype, np.integer):
        raise TypeError(f"labels must be integers, got {y.dtype}")
    if y.shape not in (p.shape[:-1], p.shape[-2:-1]):
        shared = f", or {p.shape[-2:-1]} for all of them" if p.ndim > 2 else ""
        raise ValueError(
            "labels must have the shape of probabilities without the classes, "
            f"{p.shape[:-1]}{shared}, got {y.shape}"
        )
    if not (p >= 0).all():
        raise ValueError(
            f"probabilities must be numbers from 0 to 1, got {p[~(p >= 0)][0]:g}; of "
            "logits, take the softmax"
        )
    total = p.sum(-1, dtype=float).ravel()
    worst = np.abs(total - 1).argmax()
    if abs(total[worst] - 1) > 10 * np.finfo(p.dtype).eps ** 0.5:
        raise ValueError(
            f"probabilities must sum to 1 over the classes, got {total[worst]:g}; of "
            "logits, take the softmax"
        )
    if y.min() < 0 or y.max() >= p.shape[-1]:
        raise ValueError(
            f"labels must lie in 0..{p.shape[-1] - 1} (there are {p.shape[-1]} "
            f"classes), got {y.min() if y.min() < 0 else y.max()}"
        )
    return p.astype(float), np.broadcast_to(y, p.shape[:-1])


def _options(bins: int, scheme: str, of: str) -> None:
    """Refuse options that do not exist."""
    if not isinstance(bins, int | np.integer) or bins < 1:
        raise ValueError(f"bins must be a whole number, at least 1, got {bins!r}")
    if scheme not in get_args(Scheme):
        raise ValueError(
            f'scheme must be "equal_width" or "equal_mass", got {scheme!r}'
        )
    if of not in get_args(Forecast):
        raise ValueError(f'of must be "top_label" or "classwise", got {of!r}')


def lca_height(
    predicted: np.ndarray, labels: np.ndarray, hierarchy: Hierarchy
) -> np.ndarray:
    """Return how high prediction and label meet, on average: (..., n) to (...).

    Right predictions count, with 0. The height is that of the lowest common ancestor.

    Args:
        predicted: (..., n), the decisions.
        labels: (..., n), the true classes.
        hierarchy: the tree over the classes.

    Returns:
        (...), in edges, between 0 and the height of the tree.

    >>> tree = Hierarchy.from_nested([["cat", "dog"], "car"])
    >>> lca_height(np.array([0, 1, 2, 2]), np.array([0, 0, 0, 2]), tree)
    np.float64(0.75)
    """
    return hierarchy.lca_heights[predicted, labels].mean(-1)


def mistake_severity(
    predicted: np.ndarray, labels: np.ndarray, hierarchy: Hierarchy
) -> np.ndarray:
    """Return the mean of `lca_height` over the mistakes alone; nan if there are none.

    A model that makes more mistakes, but small ones, has a lower severity. So it is to
    be read together with the accuracy, or replaced by `lca_height`.

    Args:
        predicted: (..., n), the decisions.
        labels: (..., n), the true classes.
        hierarchy: the tree over the classes.

    Returns:
        (...), in edges.

    >>> tree = Hierarchy.from_nested([["cat", "dog"], "car"])
    >>> mistake_severity(np.array([0, 1, 2, 2]), np.array([0, 0, 0, 2]), tree)
    np.float64(1.5)
    """
    heights = hierarchy.lca_heights[predicted, labels]
    with np.errstate(invalid="ignore"):
        return heights.sum(-1) / (predicted != labels).sum(-1)


def hierarchical_distance_at_k(
    scores: np.ndarray, labels: np.ndarray, hierarchy: Hierarchy, k: int = 1
) -> np.ndarray:
    """Return the mean of `lca_height` over the k classes of the highest scores.

    Args:
        scores: (..., n, C), logits or probabilities.
        labels: (..., n), the true classes.
        hierarchy: the tree over the C classes.
        k: how many classes count, 1 to C. For k above 1 the best that can be had is
            more than 0: one class alone is the true one.

    Returns:
        (...), the mean over the examples and their k classes.

    >>> tree = Hierarchy.from_nested([["cat", "dog"], "car"])
    >>> hierarchical_distance_at_k(np.array([[3.0, 2.0, 1.0]]), np.array([0]), tree, 2)
    np.float64(0.5)
    """
    if not 1 <= k <= scores.shape[-1]:
        raise ValueError(
            f"k must lie in 1..{scores.shape[-1]}, the number of classes, got {k}"
        )
    best = np.argsort(-scores, axis=-1, kind="stable")[..., :k]
    return hierarchy.lca_heights[best, labels[..., None]].mean((-2, -1))


def coarse_error(
    predicted: np.ndarray, labels: np.ndarray, hierarchy: Hierarchy, depth: int = 1
) -> np.ndarray:
    """Return the share of predictions in a wrong group at a depth: (..., n) to (...).

    Args:
        predicted: (..., n), the decisions.
        labels: (..., n), the true classes.
        hierarchy: the tree over the classes.
        depth: how far the groups lie from the root.

    Returns:
        (...), between 0 and 1.

    >>> tree = Hierarchy.from_nested([["cat", "dog"], "car"])
    >>> coarse_error(np.array([0, 1, 2, 2]), np.array([0, 0, 0, 2]), tree)
    np.float64(0.25)
    """
    group = hierarchy.level(depth)
    return (group[predicted] != group[labels]).mean(-1)
