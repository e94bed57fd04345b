"""What README, CONTRIBUTING and the decisions say of the tree is so."""

import re

import pytest

from tests.docs.texts import PAGES, blocks, code_spans, commands, links, paths, read
from tools.cli import VERBS
from tools.paths import ROOT

README, CONTRIBUTING = ROOT / "README.md", ROOT / "CONTRIBUTING.md"
LARGEST_IMAGE = 80_000  # bytes
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@each_page
def test_commands_exist(page):
    assert set(commands(read(page))) <= set(VERBS) | {"help"}


@each_page
def test_paths_exist(page):
    missing = [path for path in paths(read(page)) if not (ROOT / path).exists()]
    assert missing == []


@each_page
def test_links_lead_somewhere(page):
    targets = [target.split("#")[0] for target in links(read(page))]
    assert [t for t in targets if not (page.parent / t).exists()] == []


def test_the_pages_name_something():
    assert {"book", "test", "serve", "repository"} <= set(commands(read(README)))
    assert {"check", "test", "notebooks"} <= set(commands(read(CONTRIBUTING)))
    assert len(list(paths(read(CONTRIBUTING)))) > 20


def test_make_has_every_verb():
    makefile = re.search(r"^VERBS := (.*)$", read(ROOT / "Makefile"), re.MULTILINE)
    assert set(makefile[1].split()) == set(VERBS) | {"help"}


def test_python_in_the_readme_runs():
    for block in blocks(read(README), "python"):
        exec(block, {})


def test_headings_that_the_contents_promise():
    anchors = re.findall(r"\]\(#([\w-]+)\)", read(CONTRIBUTING))
    headings = re.findall(r"^## (.+)$", read(CONTRIBUTING), re.MULTILINE)
    assert anchors
    assert set(anchors) <= {h.lower().replace(" ", "-") for h in headings}


def test_images_are_small_and_described():
    images = re.findall(r'<img src="([^"]+)"[^>]* alt="([^"]+)"', read(README))
    assert images
    for source, alt in images:
        assert (ROOT / source).stat().st_size <= LARGEST_IMAGE
        assert len(alt.split()) > 5


def test_decisions_are_numbered_and_listed():
    names = sorted(p.name for p in (ROOT / "docs/decisions").glob("0*.md"))
    assert [name[:4] for name in names] == [f"{i + 1:04d}" for i in range(len(names))]
    assert links(read(ROOT / "docs/decisions/README.md")) == names


@pytest.mark.parametrize(
    "path", sorted((ROOT / "docs/decisions").glob("0*.md")), ids=lambda path: path.name
)
def test_a_decision_has_its_parts(path):
    text = read(path)
    assert text.startswith(f"# {path.name[:4]} ")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings == ["Context", "Decision", "Consequences"]


def test_names_of_the_notation_are_in_the_code():
    code = "\n".join(read(path) for path in (ROOT / "lossbook").rglob("*.py"))
    words = set(re.findall(r"\w+", code))
    text = re.sub(r"\{cite:.\}`[^`]+`", "", read(ROOT / "book/notation.md"))
    spans = code_spans(text)
    names = [part for span in spans if "(" not in span for part in span.split(".")]
    assert len(names) > 20
    assert [name for name in names if name not in words] == []


# --- the helpers of this file see what they should ---------------------------------


def test_the_helpers_find_what_is_wrong():
    text = "`make tea`, `lossbook/nothing.py`, `FILE.toml x`, [a](gone.md)\n"
    text += "```bash\nX=1 make coffee  # c\n```\n"
    assert commands(text) == ["coffee", "tea"]
    assert list(paths(text)) == ["lossbook/nothing.py", "FILE.toml"]
    assert links(text) == ["gone.md"]
