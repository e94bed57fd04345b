"""What the book contains: `book/chapters.toml` and `_toc.yml`."""

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tools.paths import CHAPTERS, ROOT, TOC

GENERATED = "book/generated/"


@dataclass(frozen=True)
class Chapter:
    """One entry of `chapters.toml`.

    Attributes:
        key: The chapter's short name, unique in the book.
        path: The notebook, relative to the root.
        title: The title, as the notebook's first heading has it.
        form: `chapter` for one that follows the chapter's form.
        budget: The seconds it may take to execute.
        prerequisites: Keys of the chapters to read first.
    """

    key: str
    path: Path
    title: str
    form: str
    budget: float
    prerequisites: tuple[str, ...]


def chapters(path: Path = CHAPTERS) -> list[Chapter]:
    """The chapters, in the order of the file."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        entries = tomllib.load(file).get("chapter", [])
    return [chapter_from(entry) for entry in entries]


def chapter_from(entry: dict[str, Any]) -> Chapter:
    """One chapter from its table."""
    return Chapter(
        key=entry["key"],
        path=Path("book") / entry.get("folder", "") / entry["file"],
        title=entry["title"],
        form=entry.get("form", "chapter"),
        budget=float(entry.get("budget_seconds", 20)),
        prerequisites=tuple(entry.get("prerequisites", ())),
    )


def toc_documents(path: Path = TOC) -> list[str]:
    """The documents that the table of contents names, without suffix, in order."""
    return list(entries_in(yaml.safe_load(path.read_text(encoding="utf-8"))))


def toc_patterns(path: Path = TOC) -> list[str]:
    """The documents and the patterns (`api/losses-*`) of the table of contents."""
    contents = yaml.safe_load(path.read_text(encoding="utf-8"))
    return list(entries_in(contents, keys=("root", "file", "glob")))


def entries_in(node: Any, keys: Sequence[str] = ("root", "file")) -> Iterator[str]:
    """The values of some keys anywhere under a node of the table of contents."""
    if isinstance(node, list):
        for each in node:
            yield from entries_in(each, keys)
    if isinstance(node, dict):
        for key, value in node.items():
            if key in keys:
                yield str(value)
            else:
                yield from entries_in(value, keys)


def sources(root: Path = ROOT) -> dict[str, Path]:
    """Every page of the book that stands in git: document name -> file."""
    found = [*root.glob("book/**/*.ipynb"), *root.glob("book/**/*.md")]
    return {
        path.relative_to(root).with_suffix("").as_posix(): path.relative_to(root)
        for path in sorted(found)
        if ".ipynb_checkpoints" not in path.parts
    }
