"""Pages made from what the notebooks displayed."""

from pathlib import Path

import nbformat
import pytest

from tools import pages


def output(**fields):
    return nbformat.v4.new_output(
        "display_data", data={"text/markdown": "shown"}, metadata={"lossbook": fields}
    )


CLAIM = {
    "kind": "claim",
    "id": "ce-convex",
    "statement": "Convex | in the logits: $|z|$.",
    "evidence": "many pairs of points",
    "tolerance": "1e-9",
}
VERDICT = {
    "kind": "verdict",
    "id": "S7",
    "verdict": "half",
    "statement": "It is always calibrated.",
    "evidence": "a fit",
    "correction": "Only in the population.",
}


@pytest.fixture
def shown():
    """One notebook with a claim and two verdicts, as the site shows it."""
    cell = nbformat.v4.new_code_cell("claim(...)")
    cell.outputs = [
        output(**CLAIM),
        output(**VERDICT),
        output(**VERDICT | {"id": "S2"}),
    ]
    cells = [
        nbformat.v4.new_markdown_cell("# Cross-entropy\n\n## Objectives"),
        nbformat.v4.new_markdown_cell("## The shape & more"),
        cell,
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    return {Path("book/foundations/cross-entropy.ipynb"): notebook}


def test_a_claim_leads_to_its_place(shown):
    [claim] = pages.statements(shown, "claim")
    assert claim.fields == CLAIM
    target = "../foundations/cross-entropy.html#claim-ce-convex"
    assert claim.link == f'<a href="{target}">Cross-entropy</a>'


def test_the_claims_page_holds_every_part_unchanged(shown):
    text = pages.generate(shown)[Path("book/generated/claims.md")]
    for part in ("statement", "evidence", "tolerance"):
        assert CLAIM[part] in text
    assert "1 claims" not in text


def test_the_verdicts_are_sorted_and_spelled_out(shown):
    verdicts = list(pages.statements(shown, "verdict"))
    text = pages.verdicts_page(verdicts)
    assert text.count("**Half true.**") == 2
    assert text.index("**S2.**") < text.index("**S7.**")
    assert "build: 2 (true: 0, half true: 2, false: 0" in text
    assert [each.fields["id"] for each in verdicts] == ["S7", "S2"]
    assert pages.number("S2") < pages.number("S7") < pages.number("S12")


def test_a_verdict_of_an_unknown_kind_is_refused(shown):
    statement = pages.Statement(VERDICT | {"verdict": "perhaps"}, "link")
    with pytest.raises(KeyError):
        pages.verdicts_page([statement])


@pytest.mark.parametrize("make", [pages.claims_page, pages.verdicts_page])
def test_a_page_without_statements_says_so(make):
    assert "No chapter of this build" in make([])


def test_times_that_were_not_measured_are_not_invented():
    times = {"book/a.ipynb": ("A", 2.5), "book/b.ipynb": ("B", None)}
    text = pages.times_page(times)
    assert "2.5" in text
    assert "not measured in this build" in text


def test_the_environment_page_names_the_running_versions():
    import torch

    assert torch.__version__ in pages.environment_page()


def test_a_table_keeps_its_rows_together():
    text = pages.table(["A", "B"], [["one\n\ntwo", "a | b"]])
    assert "* - one two\n  - a | b" in text
