"""The page of data sets, from their cards and from the arrays themselves."""

import inspect
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from lossbook.data import DATA_CARDS, DataCard, facts, standardized
from lossbook.data import _files as files
from tools.markdown import page, table

FOLDER = Path("book/generated")
SPLITS = 5


def generate() -> dict[Path, str]:
    """The page: path in the source tree -> text."""
    return {FOLDER / "data.md": data_page(list(DATA_CARDS.values()))}


def data_page(cards: Sequence[DataCard]) -> str:
    """All data sets: those that are here, then those to be fetched."""
    here = [card for card in cards if card.source is None]
    far = [card for card in cards if card.source is not None]
    intro = (
        "The real data of this book. Every number is counted when the page is built. "
        "Data with a known truth come from generators; their page is "
        "[lossbook.data](api/module-data)."
    )
    fetched = (
        "These are larger and not part of any package here. A loader reads the "
        "original files in the folder that `root` or the environment variable "
        f"`{files.ROOT_VARIABLE}` names; with `download=True` it fetches what is "
        "missing and checks it. Nothing is fetched unasked."
    )
    return page(
        "Data sets",
        intro,
        overview(here),
        *(block for card in here for block in section(card)),
        "## To be fetched",
        fetched,
        *(block for card in far for block in section(card)),
    )


def overview(cards: Sequence[DataCard]) -> str:
    """One row a data set that is here."""
    rows = []
    for card in cards:
        found = facts(card)
        low, high = linear(card)
        rows.append(
            [
                f"[{card.title}]({anchor(card)})",
                *(str(found[name]) for name in ("features", "classes")),
                f"{found['train']} + {found['test']}",
                f"{found['ratio']:.2f}",
                f"{found['step']:.4f}",
                f"{low:.3f} to {high:.3f}",
            ]
        )
    header = [
        "Data set",
        "Features",
        "Classes",
        "Training + test examples",
        "Largest to smallest class",
        "One test example, in accuracy",
        f"Accuracy of logistic regression, {SPLITS} splits",
    ]
    return table(header, rows)


def anchor(card: DataCard) -> str:
    """The name of the card's section in links."""
    return f"data-{card.key.replace('_', '-')}"


def linear(card: DataCard) -> tuple[float, float]:
    """The lowest and highest test accuracy of a linear model over a few splits."""
    found = []
    for seed in range(SPLITS):
        train, test = standardized(*card.load(rng=np.random.default_rng(seed)))
        model = LogisticRegression(max_iter=1000).fit(train.inputs, train.labels)
        found.append(float((model.predict(test.inputs) == test.labels).mean()))
    return min(found), max(found)


def section(card: DataCard) -> list[str]:
    """A heading, what is known, and what it is good and bad for."""
    about = [
        ["Loader", f"`lossbook.data.{card.key}`"],
        ["Origin", card.origin],
        ["Described", f"[by its source]({card.url})"],
        ["License", card.license],
        *counted(card),
    ]
    level = "##" if card.source is None else "###"
    return [
        f"({anchor(card)})=",
        f"{level} {card.title}",
        "\n".join(f"- **{name}:** {value}" for name, value in about),
        listed("Good for", card.good),
        listed("Bad for", card.bad),
    ]


def counted(card: DataCard) -> list[list[str]]:
    """What the arrays say; for data to be fetched, what the loader says and needs."""
    if card.source is not None:
        summary = (inspect.getdoc(card.load) or "").splitlines()[0]
        names = ", ".join(
            f"`{card.source.folder}/{name}`" for name in card.source.files
        )
        return [
            ["Content", summary.removeprefix("Return ")],
            ["Files", names],
            ["From", f"[this address]({card.source.url})"],
        ]
    counts = facts(card)["counts"]
    names_of = card.names or tuple(f"bin {k}" for k in range(len(counts)))
    pairs = zip(names_of, counts, strict=True)
    return [["Examples of each class", ", ".join(f"{n}: {c}" for n, c in pairs)]]


def listed(title: str, points: Sequence[str]) -> str:
    """A bold title and its points."""
    return "\n".join([f"**{title}**", "", *(f"- {point}" for point in points)])
