"""The reader of built pages finds what is wrong, and nothing else."""

import pytest

from tools import links

GOOD = """
<link rel="canonical" href="https://example.org/"><a href="https://example.org">out</a>
<h1 id="top">Title</h1><a href="#top">up</a><a href="b.html#part">b</a>
<a href="#">#</a><a href="mailto:a@b.c">m</a>
<img src="data:image/png;base64,AA" alt="A curve"><img src="a.png" role="presentation">
<style>p { background: url(data:image/png;base64,AA) }</style>
"""


@pytest.fixture
def findings(tmp_path):
    """Checks a site of the given page beside a sound one."""
    (tmp_path / "a.png").touch()
    (tmp_path / "b.html").write_text('<h2 id="part">Part</h2>')

    def check(text):
        (tmp_path / "a.html").write_text(text)
        return links.check(tmp_path)

    return check


def test_a_sound_page_has_no_finding(findings):
    assert findings(GOOD) == []


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('<a href="gone.html">x</a>', "links to gone.html"),
        ('<a href="b.html#gone">x</a>', "links to b.html#gone"),
        ('<a href="#gone">x</a>', "links to #gone"),
        ('<img src="gone.png" alt="x">', "loads gone.png"),
        ('<script src="https://cdn.org/a.js"></script>', "another host"),
        ('<script src="//cdn.org/a.js"></script>', "another host"),
        ('<link rel="stylesheet" href="https://cdn.org/a.css">', "another host"),
        ('<iframe src="https://cdn.org/"></iframe>', "another host"),
        ('<img src="https://cdn.org/a.png" alt="x">', "another host"),
        ('<img srcset="a.png 1x, https://cdn.org/a.png 2x" alt="x">', "another host"),
        ("<style>@import 'https://cdn.org/a.css';</style>", "another host"),
        ('<p style="background: url(https://cdn.org/a.png)">x</p>', "another host"),
        ('<img src="a.png">', "alternative text"),
        ('<img src="a.png" alt="">', "alternative text"),
        ('<img src="a.png" alt="../_images/a.png">', "alternative text"),
    ],
)
def test_what_is_wrong_is_found(findings, text, part):
    found = findings(GOOD + text)
    assert len(found) == 1
    assert part in found[0]


def test_a_style_sheet_that_loads_a_foreign_font_is_found(findings, tmp_path):
    sheet = tmp_path / "site.css"
    sheet.write_text("@font-face { src: url('https://fonts.org/a.woff') }")
    [found] = findings(GOOD)
    assert "site.css" in found


def test_an_empty_site_is_a_finding(tmp_path):
    assert links.check(tmp_path)
