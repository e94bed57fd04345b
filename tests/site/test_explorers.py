"""The figures with sliders work on the site's own pages, by keyboard alone."""

import pytest

from tools import contents

pytestmark = pytest.mark.site

STATE = """root => ({
  curves: [...root.querySelectorAll("svg path[class^=c]")].map(p => p.outerHTML),
  words: root.querySelector(".lbx-read").textContent,
})"""
CHAPTERS = [chapter for chapter in contents.chapters() if chapter.form == "chapter"]


@pytest.fixture(params=CHAPTERS, ids=lambda chapter: chapter.key)
def chapter_tab(request, opener):
    """A chapter's page."""
    tab = opener.open(request.param.path.with_suffix(".html").as_posix())
    yield tab
    tab.close()


def state_of(explorer):
    """What the reader sees; a drawing follows its slider at the next frame."""
    explorer.page.evaluate("() => new Promise(requestAnimationFrame)")
    return explorer.evaluate(STATE)


def press_once(slider):
    """Move a slider by one step, from the keyboard."""
    slider.focus()
    before = slider.input_value()
    slider.press("ArrowRight")
    if slider.input_value() == before:  # it stood at its end
        slider.press("ArrowLeft")
    assert slider.input_value() != before


def test_every_slider_moves_what_the_reader_sees(chapter_tab):
    try_sliders(chapter_tab)


def try_sliders(tab):
    """Move every slider on a page, and look."""
    explorers = tab.locator("div.lbx").all()
    assert explorers, "the page has an explorer"
    for explorer in explorers:
        for slider in explorer.locator("input[type=range]:visible").all():
            before = state_of(explorer)
            spoken = slider.get_attribute("aria-valuetext")
            press_once(slider)
            after = state_of(explorer)
            assert after["words"] != before["words"]
            assert slider.get_attribute("aria-valuetext") != spoken
            if not slider.get_attribute("id").endswith("-probe"):
                assert after["curves"] != before["curves"]


@pytest.fixture
def curves_tab(opener):
    """The page with the curves of all losses."""
    tab = opener.open(f"{contents.GENERATED}curves.html")
    yield tab
    tab.close()


def test_every_slider_of_the_catalogue_moves_what_the_reader_sees(curves_tab):
    try_sliders(curves_tab)


def test_the_menus_of_the_catalogue_show_every_loss(curves_tab):
    for menu in curves_tab.locator("div.lbx select").all():
        explorer = menu.locator("xpath=ancestor::div[contains(@class, 'lbx')][last()]")
        for name in menu.locator("option").all_text_contents():
            menu.select_option(name)
            explorer.locator(f".lbx-say:has-text('{name}')").wait_for(state="attached")
            assert "undefined" not in state_of(explorer)["words"]
