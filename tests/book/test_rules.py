"""Each rule of the book's form accepts a good notebook and refuses a bad one."""

from pathlib import Path

import nbformat
import pytest

from tools import rules
from tools.contents import Chapter
from tools.notebooks import normalize
from tools.repository import address

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9aw"


def markdown(text):
    return nbformat.v4.new_markdown_cell(text)


def code(source, *, count=1, tags=(), outputs=(), **metadata):
    cell = nbformat.v4.new_code_cell(source, execution_count=count)
    cell.outputs = list(outputs)
    cell.metadata.update(metadata)
    if tags:
        cell.metadata["tags"] = list(tags)
    return cell


def install_cell():
    source = rules.INSTALL_CELL.format(address=address())
    return code(source, tags=["remove-cell"])


def image(kind="image/png"):
    return nbformat.v4.new_output("display_data", data={kind: PIXEL})


def book_of(*cells):
    notebook = nbformat.v4.new_notebook()
    notebook.cells = list(cells)
    return normalize(notebook)


def messages(rule, *cells):
    return [str(found) for found in rule(book_of(*cells))]


GOOD_FIGURE = {
    "image": {"alt": "A falling curve."},
    "figure": {"caption": "The loss.", "name": "fig-loss"},
}
GOOD = (
    markdown("# Focal loss\n\nA text with $p = 0.5$ and `gamma=2.0`."),
    install_cell(),
    code("1 + 1", count=2),
    code("plot()", count=3, outputs=[image()], mystnb=GOOD_FIGURE),
    code("widget()", count=None, tags=["nbval-skip"]),
)


@pytest.mark.parametrize("rule", rules.NOTEBOOK_RULES)
def test_a_good_notebook_has_no_finding(rule):
    assert messages(rule, *GOOD) == []


def test_a_stripped_notebook_is_refused():
    assert messages(rules.executed_in_order, code("1 + 1", count=None))


def test_cells_run_out_of_order_are_refused():
    found = messages(rules.executed_in_order, code("1", count=2), code("2", count=1))
    assert len(found) == 2


def test_a_live_cell_stores_no_output():
    notebook = book_of(code("live()", count=None, tags=["nbval-skip"]))
    notebook.cells[0].outputs = [image()]
    assert list(rules.executed_in_order(notebook))


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda nb: nb.metadata.update(widgets={}), id="widget state"),
        pytest.param(lambda nb: nb.cells[0].update(id="random12"), id="random id"),
        pytest.param(lambda nb: nb.cells[0].metadata.update(execution={}), id="timing"),
        pytest.param(lambda nb: nb.cells[0].update(source="1\n"), id="line ends"),
    ],
)
def test_what_is_not_normal_is_refused(spoil):
    notebook = book_of(code("1 + 1"))
    assert list(rules.normal_form(notebook)) == []
    spoil(notebook)
    assert list(rules.normal_form(notebook))


def test_widget_state_is_refused():
    notebook = book_of(code("1"))
    notebook.metadata["widgets"] = {}
    assert list(rules.no_widget_state(notebook))


def test_a_stored_widget_is_refused():
    view = image("application/vnd.jupyter.widget-view+json")
    assert messages(rules.no_widget_state, code("slider", outputs=[view]))


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(code("import lossbook"), id="no install cell"),
        pytest.param(code(install_cell().source), id="not hidden"),
        pytest.param(
            code(install_cell().source + "x", tags=["remove-cell"]), id="other address"
        ),
    ],
)
def test_the_install_cell_comes_first_and_hidden(first):
    assert messages(rules.install_cell_first, first, code("1"))


def test_a_long_code_cell_is_refused():
    lines = "\n".join(f"x{i} = {i}" for i in range(9))
    assert messages(rules.short_code_cells, code(lines))


def test_comments_and_blank_lines_do_not_count():
    lines = "\n\n# why\n".join(f"x{i} = {i}" for i in range(8))
    assert messages(rules.short_code_cells, code(lines)) == []


def test_two_figures_in_a_cell_are_refused():
    cell = code("plot()", outputs=[image(), image()], mystnb=GOOD_FIGURE)
    assert messages(rules.figures_described, cell)


@pytest.mark.parametrize("part", ["alt", "caption", "name"])
@pytest.mark.parametrize("kind", ["image/png", "image/svg+xml"])
def test_a_figure_without_description_is_refused(part, kind):
    described = {
        outer: {k: v for k, v in inner.items() if k != part}
        for outer, inner in GOOD_FIGURE.items()
    }
    cell = code("plot()", outputs=[image(kind)], mystnb=described)
    assert messages(rules.figures_described, cell)


@pytest.mark.parametrize(
    "text",
    [
        "```{note}\nOnly Sphinx reads this.\n```",
        "See {func}`lossbook.focal`.",
        "See :func:`lossbook.focal`.",
        ".. note:: reStructuredText",
    ],
)
def test_text_that_only_sphinx_reads_is_refused(text):
    assert messages(rules.plain_markdown, markdown(text))


@pytest.mark.parametrize(
    "text",
    [
        ":::{note}\nReadable.\n:::",
        "See {eq}`focal`, {cite:t}`lin2017` and {numref}`fig-loss`.",
        "```python\nx = {1: `a`}\n```",
    ],
)
def test_text_that_degrades_well_is_accepted(text):
    assert messages(rules.plain_markdown, markdown(text)) == []


@pytest.mark.parametrize(
    "text",
    [
        "The accuracy is 0.93.",
        "It loses 12% of the points.",
        "It loses 12 percent.",
        "Training is 3 times slower.",
        "Training is 3x slower.",
        "A 10-fold gain.",
        "It grows by a factor of 4 here.",
        "- a list item with 1.5 in it",
        "**Bold 2.25 text**",
    ],
)
def test_a_typed_result_is_refused(text):
    assert messages(rules.no_typed_results, markdown(text))


@pytest.mark.parametrize(
    "text",
    [
        "The slope is $-1/2$, the value $0.693$.",
        "$$\n\\ell = 0.5\n$$",
        ":::{math}\n:label: eq-a\nx = 0.25\n:::",
        "Set `gamma=2.0`.",
        "```\n0.93\n```",
        "See [the page](https://example.org/2.5/x).",
        "In 2017, 10 seeds, 3 classes.",
        "It needs Python 3.11.",
        "See Section 2.3 of the article.",
        ":::{figure} x.png\n:width: 50%\n:::",
    ],
)
def test_a_number_that_is_no_result_is_accepted(text):
    assert messages(rules.no_typed_results, markdown(text)) == []


def chapter_cells(sections=rules.CHAPTER_HEADINGS):
    return [markdown("# Title"), *(markdown(f"## {name}") for name in sections)]


def test_a_chapter_with_all_sections_is_accepted():
    assert messages(rules.chapter_headings, *chapter_cells()) == []


@pytest.mark.parametrize("missing", rules.CHAPTER_HEADINGS)
def test_a_missing_section_is_named(missing):
    left = [name for name in rules.CHAPTER_HEADINGS if name != missing]
    [found] = messages(rules.chapter_headings, *chapter_cells(left))
    assert missing in found


def test_sections_in_another_order_are_refused():
    turned = rules.CHAPTER_HEADINGS[::-1]
    assert messages(rules.chapter_headings, *chapter_cells(turned))


def test_a_chapter_has_one_title():
    cells = [*chapter_cells(), markdown("# Another")]
    assert messages(rules.chapter_headings, *cells)


def test_a_heading_in_code_is_no_heading():
    cells = [*chapter_cells(), markdown("```python\n# a comment\n```")]
    assert messages(rules.chapter_headings, *cells) == []


@pytest.mark.parametrize(("count", "good"), [(29, 0), (30, 1), (70, 1), (71, 0)])
def test_a_chapter_has_30_to_70_cells(count, good):
    found = messages(rules.chapter_size, *[markdown("text")] * count)
    assert (found == []) == bool(good)


EXERCISE = markdown(":::{exercise} One\n:label: ex-one\nShow it.\n:::")


@pytest.mark.parametrize(
    "solution",
    [
        code("assert True", tags=["hide-cell"]),
        code("assert True", tags=["hide-input"]),
        markdown(":::{solution} ex-one\n:class: dropdown\nSo.\n:::"),
        markdown(":::{dropdown} Solution\nSo.\n:::"),
    ],
)
def test_a_collapsed_solution_is_accepted(solution):
    cells = [EXERCISE, markdown("### Solution"), solution]
    assert messages(rules.solutions_collapsed, *cells) == []


@pytest.mark.parametrize(
    "cells",
    [
        pytest.param([EXERCISE], id="no solution"),
        pytest.param([EXERCISE, code("assert True")], id="open solution"),
        pytest.param(
            [EXERCISE, EXERCISE, code("1", tags=["hide-cell"])], id="one for two"
        ),
        pytest.param([markdown("## Exercises")], id="no exercise"),
    ],
)
def test_an_exercise_without_collapsed_solution_is_refused(cells):
    assert messages(rules.solutions_collapsed, *cells)


def test_a_figure_name_used_twice_is_refused():
    one = book_of(code("plot()", mystnb=GOOD_FIGURE))
    other = book_of(code("draw()", mystnb=GOOD_FIGURE))
    assert list(rules.figure_names_unique([("a", one)])) == []
    assert list(rules.figure_names_unique([("a", one), ("b", other)]))


def test_a_claim_made_twice_is_refused():
    fields = {"lossbook": {"kind": "claim", "id": "convex"}}
    output = nbformat.v4.new_output("display_data", metadata=fields)
    notebook = book_of(code("claim()", outputs=[output]))
    assert list(rules.statements_unique([("a", notebook)])) == []
    assert list(rules.statements_unique([("a", notebook), ("b", notebook)]))


def chapter(key, *prerequisites):
    path = Path(f"book/part/{key}.ipynb")
    return Chapter(key, path, key.title(), "chapter", 20.0, prerequisites)


AGREED = (
    ["book/intro", "book/part/a", "book/part/b", "book/generated/claims"],
    {
        "book/intro": Path("book/intro.md"),
        "book/part/a": Path("book/part/a.ipynb"),
        "book/part/b": Path("book/part/b.ipynb"),
    },
    [chapter("a"), chapter("b", "a")],
)


def agreement(documents=AGREED[0], files=AGREED[1], chapters=AGREED[2]):
    return list(rules.contents_agree(documents, files, chapters))


def test_agreeing_lists_have_no_finding():
    assert agreement() == []


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"documents": AGREED[0][:2]}, id="page not listed"),
        pytest.param({"documents": [*AGREED[0], "book/gone"]}, id="no such page"),
        pytest.param({"documents": [*AGREED[0], "book/intro"]}, id="listed twice"),
        pytest.param({"documents": AGREED[0][::-1]}, id="other order"),
        pytest.param({"chapters": [chapter("a")]}, id="notebook is no chapter"),
        pytest.param({"chapters": [chapter("a", "b"), chapter("b")]}, id="forward"),
        pytest.param({"chapters": [*AGREED[2], chapter("a")]}, id="key twice"),
    ],
)
def test_lists_that_disagree_are_refused(changed):
    assert agreement(**changed)


def test_a_title_that_differs_from_the_list_is_refused():
    path = "book/part/a.ipynb"
    assert not list(
        rules.titles_agree([chapter("a")], {path: book_of(markdown("# A"))})
    )
    assert list(rules.titles_agree([chapter("a")], {path: book_of(markdown("# B"))}))
