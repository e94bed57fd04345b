"""The driver of `make test`: every stage runs, a failure is never lost."""

import sys

import pytest

from tools import testing
from tools.testing import Result, Stage


@pytest.fixture(autouse=True)
def this_python(monkeypatch, tmp_path):
    monkeypatch.setattr(testing, "venv_program", lambda name: sys.executable)
    monkeypatch.setattr(testing, "LOGS", tmp_path)


def stage(title, code):
    return Stage(title, ("python", "-c", code))


def test_all_stages_run_and_one_failure_fails_the_whole(capsys):
    stages = [
        stage("first", "raise SystemExit(3)"),
        stage("second", "print('still here')"),
    ]
    assert testing.run(stages) == 1
    printed = capsys.readouterr().out
    assert "still here" in printed
    assert printed.splitlines()[-1] == "1 passed, 1 failed"


def test_good_stages_pass(capsys):
    assert testing.run([stage("only", "print('fine')")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 passed, 0 failed"


def test_no_collected_test_is_a_failure(capsys):
    """Pytest exits with 5 then."""
    assert testing.run([stage("empty", "raise SystemExit(5)")]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "0 passed, 1 failed"


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ("12 passed in 3.21s", {"passed": 12}),
        (
            "= 1 failed, 2 passed, 1 error in 60.00s (0:01:00) =",
            {"failed": 1, "passed": 2, "error": 1},
        ),
        (
            "2 passed, 1 skipped, 1 xfailed in 1s",
            {"passed": 2, "skipped": 1, "xfailed": 1},
        ),
        ("2 errors in 1.00s", {"error": 2}),
        ("All checks passed!", {}),
    ],
)
def test_counts_of_pytest(line, counts):
    assert testing.counts_in(f"...\n{line}\n") == counts


def test_counts_add_up_over_stages():
    results = [
        Result("tests", 1.0, 1, {"passed": 5, "failed": 2, "error": 1}),
        Result("ruff", 1.0, 0),
        Result("crashed", 1.0, 139),
    ]
    assert testing.totals(results) == (6, 4)


def test_other_libraries_come_after_the_unit_tests():
    titles = [each.title for each in testing.STAGES]
    assert titles.index("other libraries") == titles.index("unit tests") + 1


def test_the_browser_tests_come_after_the_site():
    titles = [each.title for each in testing.STAGES]
    assert titles.index("site from stored notebooks") < titles.index(
        "site in a browser"
    )
