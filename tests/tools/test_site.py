"""Assembling the source tree, and what a failed build leaves."""

import subprocess

import pytest

from tools import site
from tools.console import Stopped


@pytest.fixture
def tree(tmp_path):
    return site.Tree(tmp_path / "source")


def test_the_same_content_keeps_its_time(tree):
    assert tree.put("a.md", b"one")
    time = (tree.folder / "a.md").stat().st_mtime_ns
    assert not tree.put("a.md", b"one")
    assert (tree.folder / "a.md").stat().st_mtime_ns == time
    assert tree.put("a.md", b"two")


def test_a_file_that_is_gone_vanishes(tree):
    tree.put("deep/old.md", b"old")
    again = site.Tree(tree.folder)
    again.put("new.md", b"new")
    assert again.remove_the_rest() == 1
    left = [path.name for path in tree.folder.rglob("*")]
    assert left == ["new.md"]


def test_a_folder_is_copied_with_all_that_is_in_it(tree, tmp_path):
    (tmp_path / "from/deep").mkdir(parents=True)
    (tmp_path / "from/deep/a.css").write_text("a")
    assert tree.copy(tmp_path / "from", "static")
    assert (tree.folder / "static/deep/a.css").read_text() == "a"
    assert not tree.copy(tmp_path / "from", "static")


def test_mathjax_comes_with_its_fonts_and_its_notice(tree):
    site.put_mathjax(tree)
    folder = tree.folder / "static/vendor/mathjax"
    assert (folder / "tex-mml-chtml.js").stat().st_size > 1_000_000
    assert list(folder.glob("output/chtml/fonts/woff-v2/*.woff"))
    assert "Apache License" in (folder / "NOTICE").read_text()


@pytest.fixture
def jupyter_book(tmp_path, monkeypatch):
    """Lets the test decide how Jupyter Book ends."""
    for name in ("BUILD", "HTML", "LOGS", "SOURCE", "DOCTREES"):
        monkeypatch.setattr(site, name, tmp_path / name.lower())
    (tmp_path / "doctrees").mkdir()

    def ends(status, output=""):
        answer = subprocess.CompletedProcess([], status, output, "")
        monkeypatch.setattr(site.subprocess, "run", lambda *_, **__: answer)

    return ends


def test_a_failed_build_shows_its_warnings_and_repeats_them_next_time(
    jupyter_book, tmp_path
):
    jupyter_book(1, f"reading\n{tmp_path}/source/book/a.md:3: WARNING: no such label\n")
    with pytest.raises(Stopped, match=r"(?m)^book/a\.md:3: WARNING: no such label"):
        site.run_jupyter_book()
    assert not (tmp_path / "doctrees").exists()


def test_a_fresh_build_leaves_no_old_page(jupyter_book, tmp_path):
    (tmp_path / "html").mkdir()
    (tmp_path / "html/old.html").touch()
    jupyter_book(0)
    site.run_jupyter_book()
    assert (tmp_path / "html/old.html").exists()
    site.drop_doctrees()
    site.run_jupyter_book()
    assert not (tmp_path / "html").exists()


def test_a_good_build_keeps_what_makes_the_next_one_fast(jupyter_book, tmp_path):
    jupyter_book(0)
    site.run_jupyter_book()
    assert (tmp_path / "doctrees").exists()


def test_a_failed_notebook_stops_the_book(monkeypatch, capsys):
    failed = site.notebooks.Outcome("book/a.ipynb", 1.0, "cell 3 failed")
    monkeypatch.setattr(site, "discover", list)
    monkeypatch.setattr(site, "execute_changed", lambda *_, **__: [failed])
    monkeypatch.setattr(site, "build", lambda **_: pytest.fail("must not build"))
    assert site.book(stored=False, force=False) == 1
    assert "book/a.ipynb, cell 3 failed" in capsys.readouterr().out
