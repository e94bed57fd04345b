"""The API pages name every public name once."""

import inspect
import re
from fnmatch import fnmatch

import pytest

import lossbook
from lossbook.losses import CATALOGUE
from tools import api, contents


@pytest.fixture(scope="module")
def pages():
    return {path.name: text for path, text in api.generate().items()}


def documented(pages):
    """The names that autodoc is told to document."""
    text = "\n".join(pages.values())
    names = re.findall(r"auto(?:function|class):: (\S+)", text)
    for module, listed in re.findall(
        r"automodule:: (\S+)(?:\n   :(?!members)\S+.*)*\n   :members: (.+)", text
    ):
        names += [f"{module}.{name}" for name in listed.split(", ")]
    return names


def test_every_public_function_and_class_has_its_place(pages):
    found = [api.resolve(name) for name in documented(pages)]
    for name in lossbook.__all__:
        public = getattr(lossbook, name)
        placed = inspect.ismodule(public) or any(public is one for one in found)
        assert placed, f"{name} has no place"


def test_no_name_is_documented_twice(pages):
    names = documented(pages)
    assert len(names) == len(set(names))


def test_every_loss_shows_what_its_card_states(pages):
    for card in CATALOGUE.values():
        page = pages[f"losses-{card.family}.md"]
        assert f"{{cite:t}}`{card.cite}`" in page
        assert all(f"`{name}`" in page for name in (*card.params, *card.options))


def test_a_derived_card_is_told_from_none(pages):
    page = pages["losses-combine.md"]
    assert "## Without a card" not in page
    head, _, tail = page.partition("## With a derived card")
    assert "Mixture" in tail
    assert "Mixture" not in head
    assert "## With a derived card" not in pages["losses-embedding.md"]
    assert "batch_hard" in pages["losses-embedding.md"].partition("## Without")[2]


def test_every_api_page_is_in_the_table_of_contents(pages):
    listed = contents.toc_patterns()
    for name in pages:
        path = f"book/generated/api/{name.removesuffix('.md')}"
        assert any(fnmatch(path, pattern) for pattern in listed), path
