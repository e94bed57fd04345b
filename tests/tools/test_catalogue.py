"""The pages of the catalogue say of each card what it states."""

import re
from dataclasses import replace

import pytest

from lossbook import tables
from lossbook.card import Param, SpecialCase
from lossbook.losses import CATALOGUE
from tools import catalogue, contents

CARDS = list(CATALOGUE.values())


@pytest.fixture(scope="module")
def pages():
    return {path.stem: text for path, text in catalogue.generate().items()}


def test_every_page_is_in_the_table_of_contents(pages):
    listed = contents.toc_documents()
    assert {f"book/generated/{name}" for name in pages} <= set(listed)


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.key)
def test_a_loss_is_in_the_catalogue(card, pages):
    text = pages["catalogue"]
    [row] = [r for r in text.split("* - ") if r.startswith(catalogue.link(card))]
    assert card.summary in row
    assert all(f"`{name}`: {p.meaning}; " in row for name, p in card.params.items())
    for name, words in card.options.items():
        assert f"`{name}`: `{words[0]}` or `{words[1]}`" in row
    if card.formula:
        assert f"${tables.formula(card)}$" in row
        assert f"${tables.tex(card, tables.gradient(card))}$" in row


def test_a_column_that_is_empty_is_left_out():
    plain = "\n".join(
        catalogue.sections(
            [CATALOGUE["mae"]],
            ["Loss", "A", "B"],
            lambda card: [card.key, "", "word"],
        )
    )
    assert "- B" in plain
    assert "- A" not in plain


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.key)
def test_what_is_stated_is_in_the_table_of_properties(card, pages):
    text = pages["properties"]
    rows = [r for r in text.split("* - ") if r.startswith(catalogue.link(card))]
    if catalogue.states_something(card):
        [row] = rows
        assert f"{{cite:p}}`{card.cite}`" in row
        stated = [tables.statement(card, name) for name in tables.SAID]
        cells = [line.strip(" -\n") for line in row.split("\n")]
        assert [s for s in stated if s] == [c for c in cells if c in stated and c]


def test_a_range_says_which_end_it_knows():
    assert catalogue.span("$0$", "$1$") == "$0$ to $1$"
    assert catalogue.span("$0$", "") == "from $0$"
    assert catalogue.span("", "$1$") == "up to $1$"
    assert catalogue.span("", "") == ""


def test_what_no_check_covers_stands_apart():
    card = replace(CATALOGUE["mae"], kind="batch", name="Strange")
    text = catalogue.properties_page([CATALOGUE["gce"], card])
    before, after = text.split("## Stated, but not searched")
    assert "Strange" in after
    assert "Strange" not in before
    assert "## Stated" not in catalogue.properties_page([CATALOGUE["gce"]])


def test_each_relation_is_a_line_and_a_row(pages):
    text = pages["special-cases"]
    found = tables.relations()
    assert found
    assert text.count('<path class="line') == len(found)
    assert text.count('<path class="line dashed"') == sum(bool(r.tends) for r in found)
    assert text.count("* - ") - 1 == len(found)
    gce, mae = CATALOGUE["gce"], CATALOGUE["mae"]
    assert re.search(
        rf"\* - {re.escape(catalogue.link(gce))}\n  - q\xa0=\xa01\n  - 0\.5\xa0×\n"
        rf"  - {re.escape(catalogue.link(mae))}\n  - .*check\.special_cases",
        text,
    )


def test_a_build_without_relations_says_so():
    text = catalogue.special_cases_page([CATALOGUE["mae"]], [])
    assert "No loss of this build" in text


def test_a_special_case_at_any_parameters_is_one_always():
    twin = replace(
        CATALOGUE["gce"], special_cases=(SpecialCase(of="mae", factor=2.0),), params={}
    )
    known = [replace(twin, formula=None), CATALOGUE["mae"]]
    text = catalogue.special_cases_page(known, tables.relations(known))
    assert "- always" in text


def test_names_of_other_libraries_stand_with_their_difference():
    card = replace(
        CATALOGUE["mae"], peers={"there.same": "", "there.other": "It is a half."}
    )
    text = catalogue.elsewhere_page([card, CATALOGUE["gce"]])
    assert "- `there.same`\n  - Equal." in text
    assert "- `there.other`\n  - It is a half." in text
    assert f"was compared for: {catalogue.link(CATALOGUE['gce'])}." in text


def test_every_loss_is_drawn_or_named(pages):
    drawn, _, named = pages["curves"].partition("## Not drawn")
    for card in CARDS:
        if card.formula:
            assert f'"label":"{card.name}"' in drawn
        else:
            assert catalogue.link(card) in named


def test_explorers_that_are_too_large_are_divided():
    """A hundred losses of one family need several menus."""
    many = [
        replace(
            CATALOGUE["focal"],
            name=f"Focal {i}",
            params={
                "gamma": Param(default=2, low=0, high=5, meaning=f"{i**9} of many")
            },
        )
        for i in range(60)
    ]
    found = list(catalogue.explorers(many, "p"))
    assert len(found) > 1
    names = [group.name for each in found for group in each.groups]
    assert names == [card.name for card in many]
