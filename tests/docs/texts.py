"""The project's texts, and how the tests here read them."""

import re

from tools.paths import ROOT

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def read(path):
    """The text of a file."""
    return path.read_text(encoding="utf-8")


def blocks(text, language):
    """The fenced blocks of a language."""
    return [body for found, body in FENCE.findall(text) if found == language]


def code_spans(text):
    """What stands between single backticks, outside of fenced blocks."""
    return re.findall(r"`([^`]+)`", FENCE.sub("", text))


def links(text):
    """The targets of Markdown links and images."""
    found = re.findall(r"\]\(([^)]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    return [target for target in found if not target.startswith(("http", "#"))]


def commands(text):
    """Every `make ...` in code spans and shell blocks."""
    lines = [line for block in blocks(text, "bash") for line in block.splitlines()]
    spans = [" ".join(span.split()) for span in code_spans(text)]
    return [
        found[1]
        for part in [*lines, *spans]
        if (found := re.match(r"(?:[A-Z_]+=\S+ )?make (\w+)", part))
    ]


PLACE = re.compile(r"\.?[\w.-]+(/[\w.-]+)*/?")
ROOT_FILE = re.compile(r"\.(cff|md|py|toml|txt|yml)$|^LICENSE")


def paths(text):
    """The paths of this repository that a text names in code spans.

    Placeholders, and what commands make, are left out.
    """
    spans = [span.split(" ")[0] for span in code_spans(text)]
    for span in spans:
        named = PLACE.fullmatch(span) and ("/" in span or ROOT_FILE.search(span))
        made = span.startswith(("_build", ".venv", "http")) or "tilted" in span
        if named and not made:
            yield span
