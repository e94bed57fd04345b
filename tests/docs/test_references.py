"""References, licenses and the citation of this project."""

import re
import tomllib
from datetime import date

import nbformat
import yaml
from pybtex.database import parse_file

import lossbook
from lossbook.losses import CATALOGUE
from tests.docs.texts import read
from tools.contents import sources
from tools.paths import ROOT

CITE = re.compile(r"\{cite:[a-z]+\}`([^`]+)`")
# Entries that no page cites yet, each with its reason.
ALLOWED: dict[str, str] = {}

BIBLIOGRAPHY = parse_file(str(ROOT / "book/references.bib"))
PYPROJECT = tomllib.loads(read(ROOT / "pyproject.toml"))["project"]
CITATION = yaml.safe_load(read(ROOT / "CITATION.cff"))


def cited():
    """Every key that a page or a card cites."""
    keys = {card.cite for card in CATALOGUE.values()}
    for path in sources().values():
        text = read(ROOT / path)
        if path.suffix == ".ipynb":
            cells = nbformat.reads(text, 4).cells
            text = "\n".join(c.source for c in cells if c.cell_type == "markdown")
        keys |= {
            key.strip() for found in CITE.findall(text) for key in found.split(",")
        }
    return keys - {""}


def test_every_citation_has_an_entry():
    assert cited() - set(BIBLIOGRAPHY.entries) == set()


def test_every_entry_is_cited():
    assert set(BIBLIOGRAPHY.entries) - cited() - set(ALLOWED) == set()


def test_what_is_allowed_is_not_cited():
    assert set(ALLOWED) & cited() == set()


def test_entries_are_complete():
    for key, entry in BIBLIOGRAPHY.entries.items():
        assert entry.persons.get("author"), f"{key} has no author"
        assert entry.fields.get("title"), f"{key} has no title"
        assert 1700 < int(entry.fields["year"]) <= date.today().year, key


def test_entries_are_sorted_and_plain():
    text = read(ROOT / "book/references.bib")
    assert text.isascii()
    assert list(BIBLIOGRAPHY.entries) == sorted(BIBLIOGRAPHY.entries)


def test_the_citation_is_of_this_version():
    assert CITATION["version"] == lossbook.__version__
    assert CITATION["cff-version"] == "1.2.0"
    assert {"title", "message", "authors"} <= set(CITATION)
    assert CITATION["repository-code"] == PYPROJECT["urls"]["Repository"]


def test_the_changelog_has_this_version():
    versions = re.findall(
        r"^## \[([\d.]+)\]", read(ROOT / "CHANGELOG.md"), re.MULTILINE
    )
    assert versions[0] == lossbook.__version__


def test_licenses_are_there_and_named():
    code, text = read(ROOT / "LICENSE"), read(ROOT / "LICENSE-TEXT")
    assert code.startswith("BSD 3-Clause License")
    assert "Attribution 4.0 International" in text
    for page in ("README.md", "CONTRIBUTING.md"):
        assert "LICENSE`" in read(ROOT / page) or "(LICENSE)" in read(ROOT / page)
        assert "LICENSE-TEXT" in read(ROOT / page)


def test_the_license_is_the_same_everywhere():
    assert CITATION["license"] == PYPROJECT["license"] == "BSD-3-Clause"
