"""The book in git keeps its form."""

import tomllib

from tools import rules
from tools.notebooks import code_cells, read
from tools.paths import CHAPTERS, ROOT


def test_the_book_has_no_finding():
    assert [str(found) for found in rules.check_book()] == []


def test_a_chapter_opens_with_its_question_and_its_time():
    with CHAPTERS.open("rb") as file:
        entries = tomllib.load(file)["chapter"]
    for entry in entries:
        if entry["form"] == "chapter":
            notebook = read(ROOT / "book" / entry["folder"] / entry["file"])
            opening = notebook.cells[0].source
            assert entry["question"] in opening
            assert f"{entry['minutes']} minutes" in opening


def test_a_chapter_judges_the_claims_that_it_announces():
    with CHAPTERS.open("rb") as file:
        entries = tomllib.load(file)["chapter"]
    for entry in entries:
        notebook = read(ROOT / "book" / entry["folder"] / entry["file"])
        records = [
            output.get("metadata", {}).get("lossbook", {})
            for cell in code_cells(notebook)
            for output in cell.outputs
        ]
        judged = [r["id"] for r in records if r.get("kind") == "verdict"]
        assert judged == entry["claims"]
