"""The command line and the Makefile offer the same verbs."""

import re
import subprocess
import sys

import pytest

from tools import cli, environment, lock, repository, testing
from tools.console import Stopped
from tools.paths import ROOT


def test_the_makefile_lists_the_verbs():
    text = (ROOT / "Makefile").read_text()
    verbs = re.search(r"^VERBS := (.+)$", text, re.MULTILINE)[1].split()
    assert sorted(verbs) == sorted([*cli.VERBS, "help"])


def test_help_names_every_verb(capsys):
    assert cli.main(["help"]) == 0
    printed = capsys.readouterr().out
    assert all(verb in printed for verb in cli.VERBS)
    assert "TORCH_INDEX" in printed


def test_a_stopped_command_prints_one_message(monkeypatch, capsys):
    def stop(options, rest):
        raise Stopped("do this instead")

    monkeypatch.setitem(cli.VERBS, "book", stop)
    assert cli.main(["book"]) == 1
    assert capsys.readouterr().err.strip() == "do this instead"


def test_the_command_line_needs_the_standard_library_only():
    """A fresh machine has nothing else before the environment is made."""
    code = "import tools.cli, sys; print(*(m for m in sys.modules if '.' not in m))"
    answer = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, cwd=ROOT
    )
    assert answer.returncode == 0, answer.stderr
    foreign = set(answer.stdout.split()) - set(sys.stdlib_module_names)
    assert foreign <= {"tools", "__main__"}


def test_an_old_python_is_told_what_is_needed(monkeypatch, capsys):
    text = (ROOT / "tools/__main__.py").read_text()
    start = text.index("def restart"), text.index("if sys.version_info < OLDEST")
    space = {"shutil": cli.shutil, "subprocess": subprocess, "sys": sys}
    exec("CANDIDATES = []\n" + text[start[0] : start[1]], space)
    assert space["restart_on_newer_python"]() == 1
    assert "needs Python 3.11 or newer" in capsys.readouterr().err


def test_the_lock_names_public_versions():
    text = lock.constraints_from("numpy==2.0\ntorch==2.13.0+cpu\n\n")
    assert text.endswith("numpy==2.0\ntorch==2.13.0\n")
    assert lock.locked_torch(text) == "2.13.0"


def test_the_lock_covers_every_environment():
    assert set(environment.PEERS) < set(lock.REQUIREMENTS)


@pytest.fixture
def prepared(monkeypatch):
    """What a verb sets up and runs, without doing it."""
    calls = []
    monkeypatch.setattr(cli.environment, "ensure", lambda *names: calls.append(names))
    monkeypatch.setattr(cli.browser, "find_or_install", lambda: None)
    monkeypatch.setattr(cli.testing, "run", lambda stages: calls.append(stages) or 0)
    return calls


@pytest.mark.parametrize(
    ("verb", "stages"), [("peers", [testing.PEERS]), ("test", testing.STAGES)]
)
def test_other_libraries_are_set_up_before_they_are_compared(prepared, verb, stages):
    assert cli.main([verb]) == 0
    assert prepared == [(environment.PEERS,), stages]


@pytest.mark.parametrize("arguments", [[], ["lossbook"], ["http://a/b"], ["a", "b"]])
def test_an_address_that_is_none_is_refused(arguments):
    with pytest.raises(Stopped, match="must look like"):
        repository.main(arguments)


def test_the_address_is_replaced_in_every_file(tmp_path, monkeypatch):
    old, new = repository.address(), "https://github.com/someone/their-book"
    (tmp_path / "README.md").write_text(f"{old}/issues and {old}.")
    (tmp_path / "other.md").write_text("https://github.com/numpy/numpy")
    monkeypatch.setattr(
        repository, "files", lambda: [tmp_path / "README.md", tmp_path / "other.md"]
    )
    assert repository.main([new]) == 0
    assert (tmp_path / "README.md").read_text() == f"{new}/issues and {new}."
    assert "numpy/numpy" in (tmp_path / "other.md").read_text()
