"""The Markdown of generated pages."""

import re
from collections.abc import Sequence


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, look: str = ""
) -> str:
    """A table that leaves pipes and formulas in its cells alone.

    Args:
        header: The titles of the columns.
        rows: The cells.
        look: A class of `static/site.css`.
    """
    lines = [
        ":::{list-table}",
        ":header-rows: 1",
        *([f":class: {look}"] if look else []),
        "",
    ]
    for row in [header, *rows]:
        marks = ["* -"] + ["  -"] * (len(row) - 1)
        for mark, cell in zip(marks, row, strict=True):
            lines.append(f"{mark} {one_line(str(cell))}")
    return "\n".join([*lines, ":::"])


def one_line(text: str) -> str:
    """The text without breaks of the line; spaces that must not break stay."""
    return re.sub(r"[ \t\n]+", " ", text).strip(" \n")


def page(title: str, *blocks: str) -> str:
    """A page of blocks under a title."""
    return "\n\n".join([f"# {title}", *blocks]) + "\n"


def raw(html: str) -> str:
    """A block of HTML that Markdown leaves alone, blank lines included."""
    return f"````{{raw}} html\n{html}\n````"
