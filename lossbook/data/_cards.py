"""Cards of data sets: where they come from, what they are good and bad for.

What can be counted does not stand here: `facts` counts it in the arrays.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lossbook.data import _files, _real
from lossbook.data._files import Source
from lossbook.data._task import Task

UCI = "https://archive.ics.uci.edu/dataset/"
BY_POLICY = (
    "CC BY 4.0, which the donation policy of the UCI Machine Learning Repository "
    "states for its data sets"
)


@dataclass(frozen=True, kw_only=True)
class DataCard:
    """What is known of a data set beside its numbers.

    Attributes:
        key: the loader's name in `lossbook.data`.
        title: in plain words.
        load: the loader; bundled ones take `rng`.
        names: of the classes, in the order of their numbers; none for image data that
            must be fetched, and for bins that have no names.
        origin: who made it, and what is measured.
        url: where it is described.
        license: as far as it is stated, and by whom.
        good: what it is good for.
        bad: what it is bad for.
        source: where its files come from; None for what scikit-learn bundles.
    """

    key: str
    title: str
    load: Callable[..., tuple[Task, Task]]
    names: tuple[str, ...] = ()
    origin: str
    url: str
    license: str
    good: tuple[str, ...]
    bad: tuple[str, ...]
    source: Source | None = None


def facts(card: DataCard) -> dict[str, Any]:
    """Return what can be counted in a bundled data set, as its loader gives it.

    Args:
        card: of a data set without a `source`.

    Returns:
        `features`, `classes`, `train` and `test` (examples in either part by default),
        `counts` (of each class in both parts), `ratio` (the largest to the smallest
        class) and `step` (what one test example is worth in accuracy).

    >>> found = facts(DATA_CARDS["iris"])
    >>> found["counts"], found["train"], found["test"]
    ([50, 50, 50], 90, 60)
    """
    train, test = card.load(rng=np.random.default_rng(0))
    counts = np.bincount(np.concatenate([train.labels, test.labels]))
    return {
        "features": train.inputs.shape[1],
        "classes": len(counts),
        "train": len(train.labels),
        "test": len(test.labels),
        "counts": counts.tolist(),
        "ratio": float(counts.max() / counts.min()),
        "step": 1 / len(test.labels),
    }


_BUNDLED = (
    DataCard(
        key="digits",
        title="Handwritten digits, small",
        load=_real.digits,
        names=tuple("0123456789"),
        origin="E. Alpaydin and C. Kaynak (1998): digits written by hand on a form, as "
        "the number of dark pixels in each field of an 8 x 8 grid. scikit-learn "
        "bundles the test part of the original, written by thirteen people.",
        url=UCI + "80/optical+recognition+of+handwritten+digits",
        license=BY_POLICY,
        good=(
            "Label noise and long tails made on purpose: the classes are nearly of one "
            "size, and each has more than a hundred examples.",
            "Sweeps of hundreds of trainings on a laptop.",
        ),
        bad=(
            "Clean labels: a linear model leaves few errors, so losses can differ by "
            "little.",
            "Statements on large images or deep networks.",
            "New writers: both parts of our split come from the same people.",
        ),
    ),
    DataCard(
        key="breast_cancer",
        title="Breast cancer, Wisconsin, diagnostic",
        load=partial(_real.breast_cancer, ratio=2),
        names=("benign", "malignant"),
        origin="W. H. Wolberg, W. N. Street and O. L. Mangasarian (1995): measurements "
        "of cell nuclei in pictures of samples that a needle took. Our loader splits "
        "in halves and drops malignant samples from both; the counts are those of two "
        "benign samples to each malignant one.",
        url=UCI + "17/breast+cancer+wisconsin+diagnostic",
        license=BY_POLICY,
        good=(
            "Two classes whose confusions cost differently.",
            "A rarer class: `ratio` says how rare malignant samples are.",
        ),
        bad=(
            "Hard problems: a linear model leaves few errors.",
            "Rare classes beyond a few dozen to one: malignant samples run out.",
            "Medical conclusions.",
        ),
    ),
    DataCard(
        key="wine",
        title="Wines of three growers",
        load=_real.wine,
        names=("grower 1", "grower 2", "grower 3"),
        origin="S. Aeberhard and M. Forina (1992): chemical analyses of wines from one "
        "region of Italy.",
        url=UCI + "109/wine",
        license=BY_POLICY,
        good=(
            "A first training in a moment.",
            "Units of their own: the measurements differ in spread by orders of "
            "magnitude.",
        ),
        bad=(
            "Ranking losses: the test part is so small that one example is more than a "
            "hundredth of accuracy.",
            "Hard problems: a linear model leaves few errors.",
        ),
    ),
    DataCard(
        key="iris",
        title="Three species of iris",
        load=_real.iris,
        names=("setosa", "versicolor", "virginica"),
        origin="R. A. Fisher (1936): length and width of petals and sepals. The copy "
        "in scikit-learn is the article's; the one of the UCI repository has two wrong "
        "rows, as scikit-learn notes.",
        url=UCI + "53/iris",
        license=BY_POLICY + "; the numbers themselves were printed in the article",
        good=(
            "Examples and tests that take no time.",
            "One class that a single measurement parts from the others, beside two "
            "that overlap.",
        ),
        bad=(
            "Ranking losses: the test part is so small that one example is more than a "
            "hundredth of accuracy.",
        ),
    ),
    DataCard(
        key="diabetes",
        title="Progression of diabetes, in ordered bins",
        load=_real.diabetes,
        origin="B. Efron, T. Hastie, I. Johnstone and R. Tibshirani (2004): ten "
        "measurements of patients, and how far the disease went in a year. The bins of "
        "equal size are ours.",
        url="https://www4.stat.ncsu.edu/~boos/var.select/diabetes.html",
        license="none is stated with the data; scikit-learn distributes it",
        good=(
            "Classes with a real order: losses and costs that grow with the distance.",
            "Classes that overlap: a linear model gets fewer than half of the bins "
            "right, though more than by chance.",
        ),
        bad=(
            "Classes that mean something by themselves: a cut parts patients whose "
            "measure is nearly the same.",
            "Accuracy as the only measure: it takes all wrong bins for equally wrong.",
        ),
    ),
)
_FETCHED = (
    DataCard(
        key="mnist",
        title="MNIST",
        load=_files.mnist,
        origin="Y. LeCun, C. Cortes and C. Burges: handwritten digits, from data of "
        "NIST, a standards institute.",
        url="https://keras.io/api/datasets/mnist/",
        license="CC BY-SA 3.0, as the documentation of Keras states",
        good=("Comparing with articles that use it.",),
        bad=("A first experiment: it must be fetched, and `digits` is here.",),
        source=_files.MNIST,
    ),
    DataCard(
        key="fashion_mnist",
        title="Fashion-MNIST",
        load=_files.fashion_mnist,
        origin="H. Xiao, K. Rasul and R. Vollgraf (2017): pictures of articles that "
        "Zalando sells, in the format of MNIST.",
        url="https://github.com/zalandoresearch/fashion-mnist",
        license="MIT, in the repository of its authors",
        good=("A second data set for code that reads MNIST.",),
        bad=("A first experiment: it must be fetched.",),
        source=_files.FASHION_MNIST,
    ),
    DataCard(
        key="cifar10",
        title="CIFAR-10",
        load=_files.cifar10,
        origin="A. Krizhevsky (2009): small color pictures of ten things.",
        url="https://www.cs.toronto.edu/~kriz/cifar.html",
        license="none found",
        good=("Comparing with articles on label noise and long tails.",),
        bad=("The small fully connected networks of `experiment`.",),
        source=_files.CIFAR10,
    ),
    DataCard(
        key="cifar100",
        title="CIFAR-100",
        load=_files.cifar100,
        origin="A. Krizhevsky (2009): small color pictures of a hundred things, each "
        "in one of twenty superclasses.",
        url="https://www.cs.toronto.edu/~kriz/cifar.html",
        license="none found",
        good=(
            "Mistakes of different weight: `cifar100_hierarchy` gives the tree of the "
            "superclasses.",
        ),
        bad=("The small fully connected networks of `experiment`.",),
        source=_files.CIFAR100,
    ),
)
DATA_CARDS: dict[str, DataCard] = {card.key: card for card in (*_BUNDLED, *_FETCHED)}
