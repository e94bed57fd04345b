"""Stored studies: computed once, resumed, keyed, found again."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from lossbook import results
from lossbook.experiment import Config, code_key, grid
from lossbook.results import Jobs, Study
from tools import results as command

SMALL = {"data": "iris", "hidden": (), "epochs": 3}
CALLS: list[int] = []


def study(**options):
    made = {"loss": ["cross_entropy", "focal"], "seed": range(3), **SMALL, **options}
    return Study(name="small", about="A few.", configs=lambda: grid(**made))


def squared(number):
    """A job of two rows that notes its calls."""
    CALLS.append(number)
    return [{"value": number**2}, {"value": -number}]


def jobs(numbers=(1, 2, 3)):
    return Jobs(
        name="jobs",
        about="Squares.",
        settings=lambda: [{"number": n} for n in numbers],
        make=squared,
        each=2,
    )


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "CLONE", tmp_path / "stored")
    return tmp_path


def computed(place, made, *arguments):
    studies = {made.name: made}
    return command.main(
        [*arguments, "--jobs", "1"], studies, place / "stored", place / "finished"
    )


def test_the_command_says_the_number_of_trainings_and_stores_the_rows(place, capsys):
    assert computed(place, study()) == 0
    shown = capsys.readouterr().out
    assert shown.index("small: 6 trainings") < shown.index("6 rows")
    rows = results.read("small")
    assert len(rows) == 6
    assert rows.attrs["study"] == "small"
    assert set(rows.attrs["code"]) == {"cross_entropy", "focal"}
    assert results.stale(study(), rows) == []
    for name in ("torch", "numpy", "python", "machine"):
        assert rows.attrs[name]


def test_more_trainings_that_depend_on_results_are_announced(place, capsys):
    made = Study(
        name="more",
        about="",
        configs=lambda: grid(**SMALL, seed=range(2)),
        most=lambda: 5,
    )
    computed(place, made)
    assert "more: 2 trainings, up to 3 more" in capsys.readouterr().out


def test_an_unknown_study_is_refused_with_the_known_ones(place, capsys):
    with pytest.raises(SystemExit):
        computed(place, study(), "tiny")
    assert "STUDY must be one of small, got 'tiny'" in capsys.readouterr().err


def trained_again(monkeypatch, call):
    """The trainings that a call runs."""
    from lossbook.experiment import _sweep

    ran, run_stack = [], _sweep.run_stack

    def noted(configs, *arguments, **options):
        ran.extend(configs)
        return run_stack(configs, *arguments, **options)

    monkeypatch.setattr(_sweep, "run_stack", noted)
    call()
    return ran


def test_only_what_is_missing_is_trained(place, monkeypatch):
    """From an interrupted run, and from what is stored."""
    store = place / "finished/small"
    study(seed=range(2)).rows(store, 1, progress=False)
    ran = trained_again(monkeypatch, lambda: computed(place, study()))
    assert {config.seed for config in ran} == {2}
    for path in store.iterdir():
        path.unlink()
    assert trained_again(monkeypatch, lambda: computed(place, study())) == []


def test_rows_of_another_machine_do_not_stand_beside_new_ones(place, monkeypatch):
    computed(place, study())
    rows = results.read("small")
    rows.attrs["torch"] = "1.0"
    rows.to_parquet(place / "stored/small.parquet")
    for path in (place / "finished/small").iterdir():
        path.unlink()
    assert len(trained_again(monkeypatch, lambda: computed(place, study()))) == 6


def test_a_changed_loss_and_a_changed_plan_are_stale(place, monkeypatch):
    computed(place, study())
    rows = results.read("small")
    version = results.code_version
    monkeypatch.setattr(
        results, "code_version", lambda k: "new" if k == "focal" else version(k)
    )
    assert results.stale(study(), rows) == ["focal"]
    assert results.stale(study(epochs=4), rows) == ["focal", "the list of trainings"]


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("Says something", "Says more", True),
        ("a comment", "another", True),
        ("CARD = 1", "CARD = 2", True),
        ("logits.sum()", "logits.mean()", False),
    ],
)
def test_a_key_is_that_of_what_runs(old, new, same, tmp_path):
    text = '''def tilted(logits):
    """Says something."""
    return logits.sum()  # a comment
CARD = 1
'''
    assert old in text
    for name, content in (("a", text), ("b", text.replace(old, new))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tilted.py").write_text(content)
    keys = {code_key([tmp_path / name / "tilted.py"]) for name in "ab"}
    assert (len(keys) == 1) is same


def test_a_default_on_a_card_is_part_of_the_key(monkeypatch):
    """Rows at the default have no parameter of their own."""
    from dataclasses import replace

    from lossbook.experiment import _code

    card = _code.CATALOGUE["focal"]
    gamma = replace(card.params["gamma"], default=3.0)
    other = replace(card, params={"gamma": gamma})
    keys = [_code.code_version.__wrapped__("focal")]
    monkeypatch.setitem(_code.CATALOGUE, "focal", other)
    assert _code.code_version.__wrapped__("focal") not in keys


def test_jobs_are_computed_once(place):
    CALLS.clear()
    computed(place, jobs((1, 2)))
    computed(place, jobs())
    assert CALLS == [1, 2, 3]
    rows = results.read("jobs")
    assert rows[["number", "part", "value"]].to_numpy().tolist() == [
        [1, 0, 1],
        [1, 1, -1],
        [2, 0, 4],
        [2, 1, -2],
        [3, 0, 9],
        [3, 1, -3],
    ]
    assert jobs().trainings() == (6, 6)
    assert results.stale(jobs(), rows) == []
    assert results.stale(jobs((1,)), rows) == ["the list of trainings"]
    again = jobs().again(rows.iloc[3].to_dict())
    assert again == {"number": 2, "value": -2}


def test_a_row_computed_again_is_compared_with_the_stored_one(place):
    computed(place, study())
    rows = results.read("small")
    [row, *others] = results.sample(rows, 3)
    assert len(others) == 2
    again = study().again(row)
    assert results.apart(row, again, 1e-3) == []
    worse = again | {"accuracy": again["accuracy"] - 0.1}
    [told] = results.apart(row, worse, results.WITHIN)
    assert told.startswith("accuracy: stored")
    assert results.apart(row, again | {"seconds": 1e9, "torch": "x"}, 1e-3) == []
    assert results.apart(row, again | {"status": "failed"}, 1e-3)
    assert results.apart(row, again | {"nll": float("nan")}, 1e-3)
    assert Config(loss="focal", **SMALL).epochs == row["epochs"]


def test_what_is_not_stored_is_refused_with_the_command(place):
    message = r'none are; in a clone of the repository, run `make results RESULTS="no"`'
    with pytest.raises(FileNotFoundError, match=message):
        results.read("no")


def test_an_installed_package_carries_the_rows_along(tmp_path):
    """As pip installs it from the repository, on Colab for instance."""
    root = results.PACKAGE.parent
    source = tmp_path / "source"
    (source / "lossbook").mkdir(parents=True)
    (source / "lossbook/__init__.py").write_text('__version__ = "0"\n')
    for name in ("pyproject.toml", "README.md", "LICENSE", "LICENSE-TEXT"):
        (source / name).write_bytes((root / name).read_bytes())
    for path in root.glob("requirements*.txt"):
        (source / path.name).write_bytes(path.read_bytes())
    (source / "book/results").mkdir(parents=True)
    pd.DataFrame({"a": [1]}).to_parquet(source / "book/results/tiny.parquet")
    build = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path)]
    answer = subprocess.run(
        [sys.executable, *build, str(source)], capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    [wheel] = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert [n for n in names if n.endswith("data/share/lossbook/results/tiny.parquet")]
    install = ["-m", "pip", "install", "-q", "--no-deps", "--no-index", "-I"]
    prefix = tmp_path / "prefix"
    answer = subprocess.run(
        [sys.executable, *install, "--prefix", str(prefix), str(wheel)],
        capture_output=True,
        text=True,
        env=dict(os.environ, PIP_DISABLE_PIP_VERSION_CHECK="1"),
    )
    assert answer.returncode == 0, answer.stderr
    [site] = {path.parent for path in prefix.rglob("lossbook/__init__.py")}
    site = site.parent
    for part in results.PACKAGE.rglob("*"):  # the modules, where pip puts them
        if part.is_file() and "__pycache__" not in part.parts:
            target = site / "lossbook" / part.relative_to(results.PACKAGE)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(part.read_bytes())
    code = "from lossbook import results; print(results.find('tiny'))"
    answer = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=dict(os.environ, PYTHONPATH=str(site)),
    )
    assert Path(answer.stdout.strip()).is_relative_to(prefix), answer.stderr
