"""The mends of the pages that Jupyter Book's parts write."""

from types import SimpleNamespace

import pytest
from docutils import nodes
from docutils.frontend import get_default_settings
from docutils.parsers.rst import Parser
from docutils.utils import new_document

from tools import sphinx_extension as mends


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("|z| is at most 3", r"\|z\| is at most 3"),
        ("a ** b and `a ** b | c`", r"a \*\* b and `a ** b | c`"),
        (">>> abs(a | b)", ">>> abs(a | b)"),
    ],
)
def test_a_docstring_is_plain_text_with_code(line, wanted):
    lines = [line]
    mends.plain_docstring(None, "function", "f", None, None, lines)
    assert lines == [wanted]


def test_the_result_of_an_example_is_left_alone():
    lines = [">>> table()", "| a | b |", "", "|x|"]
    mends.plain_docstring(None, "function", "f", None, None, lines)
    assert lines == [">>> table()", "| a | b |", "", r"\|x\|"]


def test_scripts_of_thebe_are_dropped_and_others_stay():
    ours = SimpleNamespace(filename="a.js", attributes={})
    theirs = SimpleNamespace(filename="sphinx-thebe.js", attributes={})
    inline = SimpleNamespace(filename=None, attributes={"body": "THEBE_JS_URL = 1"})
    context = {"script_files": [ours, theirs, inline], "css_files": [theirs, ours]}
    mends.without_thebe(None, "page", "", context, None)
    assert context == {"script_files": [ours], "css_files": [ours]}


@pytest.mark.parametrize(
    ("page", "left"), [("book/intro", True), ("book/generated/claims", False)]
)
def test_a_generated_page_has_no_source_to_edit(page, left):
    context = {"page_source_suffix": ".md"}
    mends.without_source(None, page, "", context, None)
    assert ("page_source_suffix" in context) is left


def test_a_bibliography_is_no_list_of_items():
    context = {"body": f"{mends.CITATION_LIST}<p>Doe</p></div>"}
    mends.accessible_citations(None, "page", "", context, None)
    assert "role" not in context["body"]


def test_an_anchor_in_an_output_becomes_a_target():
    document = new_document("page", get_default_settings(Parser))
    html = '<div class="lb-claim" id="claim-convex">'
    document += nodes.raw("", html, format="html")
    mends.OutputAnchors(document).apply()
    target, block = document.children
    assert target["ids"] == ["claim-convex"]
    assert block.astext() == '<div class="lb-claim">'
    assert document.nameids["claim-convex"] == "claim-convex"
