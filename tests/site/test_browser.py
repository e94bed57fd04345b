"""What a reader's browser sees of the built site."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.site.conftest import FRONT, Opener
from tools import contents
from tools.repository import address

pytestmark = pytest.mark.site

# Console messages that are no fault of a page, each with its reason.
ALLOWED_ERRORS: dict[str, str] = {}


def explained(error):
    return any(known in error for known in ALLOWED_ERRORS)


def test_no_page_asks_another_host(visits):
    asked = {v.name: v.foreign_requests for v in visits if v.foreign_requests}
    assert asked == {}


def test_no_page_logs_an_error(visits):
    errors = {
        visit.name: [error for error in visit.errors if not explained(error)]
        for visit in visits
    }
    assert {name: found for name, found in errors.items() if found} == {}


def test_no_page_is_wider_than_a_phone(visits):
    wide = {
        visit.name: (visit.phone_content, visit.phone_width)
        for visit in visits
        if visit.phone_content > visit.phone_width
    }
    assert wide == {}


def test_every_formula_is_typeset(visits):
    assert {v.name: v.unset_formulas for v in visits if v.unset_formulas} == {}


def test_the_front_page_leads_to_the_introduction(opener):
    tab = opener.context.new_page()
    tab.goto(opener.base + FRONT)
    tab.wait_for_url("**/book/intro.html")


def test_search_finds_a_word_of_the_book(opener):
    tab = opener.open("search.html")
    field = tab.locator("#search-input, main input[type=search]").first
    field.fill("log-sum-exp")
    field.press("Enter")
    results = tab.locator("#search-results li a")
    results.first.wait_for()
    assert results.count() > 0


def important_pages():
    """Pages of each kind: introduction, quickstart, a chapter, generated ones."""
    documents = contents.toc_documents()
    chapters = [
        chapter.path.with_suffix("").as_posix()
        for chapter in contents.chapters()
        if chapter.form == "chapter"
    ]
    wanted = ["book/intro", "book/quickstart", *chapters[:1]]
    generated = [name for name in documents if name.startswith(contents.GENERATED)]
    wanted += [name for name in generated if "/api/" not in name]
    return [f"{name}.html" for name in wanted if name in documents]


@pytest.mark.parametrize("name", important_pages())
def test_no_serious_barrier(name, chromium, base_url, scheme):
    """No finding of axe-core that is serious or critical, in light and dark."""
    # A color that still changes is none to judge.
    context = chromium.new_context(color_scheme=scheme, reduced_motion="reduce")
    tab = Opener(context, base_url).open(name)
    assert tab.locator("html").get_attribute("data-theme") == scheme
    found = Axe().run(tab).response["violations"]
    context.close()
    serious = {
        each["id"]: [node["html"][:200] for node in each["nodes"]]
        for each in found
        if each["impact"] in ("serious", "critical")
    }
    assert serious == {}


def test_launch_buttons_lead_to_the_repository(opener):
    """A chapter opens on Colab and Binder from the one address."""
    notebooks = [path.as_posix() for path in contents.sources().values()]
    chapter = next(path for path in notebooks if path.endswith(".ipynb"))
    tab = opener.open(chapter.replace(".ipynb", ".html"))
    links = tab.locator("a").evaluate_all("found => found.map(a => a.href)")
    place = address().removeprefix("https://github.com/")
    colab = f"https://colab.research.google.com/github/{place}/blob/main/{chapter}"
    binder = f"https://mybinder.org/v2/gh/{place}/main?urlpath=lab/tree/{chapter}"
    assert colab in links
    assert binder in links
