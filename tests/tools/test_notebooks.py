"""Executing notebooks: what is kept, what is run again, how a failure looks."""

import nbformat
import pytest

from tools import notebooks
from tools.notebooks import LIVE_TAG, execute_changed, normalize, read, write


@pytest.fixture
def run(checkout):
    """Executes notebooks of the checkout; returns outcomes and printed lines."""

    def execute(*paths, **options):
        lines = []
        outcomes = execute_changed(
            paths,
            root=checkout,
            store=checkout / "_build/executed",
            report=lines.append,
            **options,
        )
        return outcomes, lines

    return execute


def executed(checkout, path):
    return notebooks.executed(path, checkout, checkout / "_build/executed")


def test_outputs_are_kept_and_an_unchanged_notebook_is_not_run_again(
    run, checkout, write_notebook
):
    path = write_notebook("a.ipynb", "1 + 1")
    [first], lines = run(path)
    assert not first.cached
    assert "executed book/a.ipynb" in lines[0]
    [cell] = executed(checkout, path).cells
    assert cell.outputs[0].data["text/plain"] == "2"
    [second], _ = run(path)
    assert second.cached
    [third], _ = run(path, force=True)
    assert not third.cached


def test_a_failing_cell_is_reported_and_the_others_still_run(
    run, checkout, write_notebook, capsys
):
    bad = write_notebook("bad.ipynb", "x = 1", "raise ValueError('as told')")
    good = write_notebook("good.ipynb", "1 + 1")
    outcomes, _ = run(bad, good)
    assert notebooks.print_failures(outcomes) == 1
    printed = capsys.readouterr().out
    for part in ("book/bad.ipynb", "cell 2", "raise ValueError", "Traceback"):
        assert part in printed
    assert outcomes[1].failure is None
    assert not (checkout / "_build/executed/book/bad.ipynb").exists()


def test_a_kernel_that_dies_is_a_failure(run, write_notebook):
    path = write_notebook("dies.ipynb", "import os", "os._exit(1)")
    [outcome], _ = run(path)
    assert "cell 2" in outcome.failure


def test_an_expected_exception_is_an_output(run, checkout, write_notebook):
    tags = {0: ["raises-exception"]}
    path = write_notebook("expected.ipynb", "1 / 0", "2", tags=tags)
    [outcome], _ = run(path)
    assert outcome.failure is None
    assert executed(checkout, path).cells[0].outputs[0].ename == "ZeroDivisionError"


def test_a_live_cell_is_not_executed(run, checkout, write_notebook):
    path = write_notebook("live.ipynb", "1 / 0", "2", tags={0: [LIVE_TAG]})
    [outcome], _ = run(path)
    live, other = executed(checkout, path).cells
    assert outcome.failure is None
    assert (live.outputs, live.execution_count) == ([], None)
    assert other.execution_count == 1


def test_code_runs_in_the_notebooks_folder_on_one_thread(
    run, checkout, write_notebook, monkeypatch
):
    monkeypatch.setenv("MPLBACKEND", "svg")
    source = "import os; os.getcwd(), os.environ['OMP_NUM_THREADS']"
    path = write_notebook("deep/where.ipynb", source)
    run(path)
    [cell] = executed(checkout, path).cells
    shown = cell.outputs[0].data["text/plain"]
    assert str(checkout / "book/deep") in shown
    assert "'1'" in shown
    assert "MPLBACKEND" not in notebooks.kernel_environment()


def test_prose_changes_nothing_and_is_shown_anew(run, checkout, write_notebook):
    path = write_notebook("prose.ipynb", "1 + 1")
    run(path)
    notebook = read(checkout / path)
    notebook.cells.insert(0, nbformat.v4.new_markdown_cell("New prose"))
    write(notebook, checkout / path)
    [outcome], _ = run(path)
    assert outcome.cached
    assert executed(checkout, path).cells[0].source == "New prose"
    assert executed(checkout, path).cells[1].outputs


@pytest.fixture
def key(checkout, write_notebook):
    """The key of one notebook in the checkout's present state."""
    path = write_notebook("key.ipynb", "1 + 1")

    def compute():
        around = notebooks.surroundings(checkout)
        return notebooks.execution_key(read(checkout / path), around)

    return compute


@pytest.mark.parametrize(
    "name",
    [
        "lossbook/core.py",
        "lossbook/view.js",
        "book/results/rows.csv",
        "constraints.txt",
    ],
)
def test_the_key_follows_all_that_outputs_depend_on(key, checkout, name):
    before = key()
    (checkout / name).write_text("changed")
    assert key() != before


def test_the_key_ignores_what_outputs_do_not_depend_on(key, checkout):
    before = key()
    (checkout / "README.md").write_text("new")
    assert key() == before


def test_the_key_follows_code_and_tags(checkout, write_notebook):
    plain = read(checkout / write_notebook("one.ipynb", "1"))
    other = read(checkout / write_notebook("two.ipynb", "2"))
    tagged = read(checkout / write_notebook("tag.ipynb", "1", tags={0: [LIVE_TAG]}))
    assert len({notebooks.execution_key(nb, "") for nb in (plain, other, tagged)}) == 3


def test_seconds_of_kept_executions(run, checkout, write_notebook):
    run(write_notebook("timed.ipynb", "1"))
    [(name, seconds)] = notebooks.seconds_of(checkout / "_build/executed").items()
    assert name == "book/timed.ipynb"
    assert seconds > 0


def messy_notebook():
    notebook = nbformat.v4.new_notebook()
    notebook.metadata.update(widgets={"state": {}}, authors=["me"])
    cell = nbformat.v4.new_code_cell("1 + 1\n")
    cell.metadata.update(execution={"iopub": "12:00"}, tags=["a"], collapsed=True)
    notebook.cells = [cell, nbformat.from_dict(dict(cell, id="other"))]
    return notebook


def test_the_normal_form_holds_only_what_means_something():
    notebook = normalize(messy_notebook())
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    first, second = notebook.cells
    assert first.metadata == {"tags": ["a"]}
    assert first.source == "1 + 1"
    assert second.id == f"{first.id}-2"


def test_the_normal_form_is_stable(tmp_path):
    once = normalize(messy_notebook())
    assert normalize(once) == once
    write(once, tmp_path / "a.ipynb")
    assert read(tmp_path / "a.ipynb") == once


def test_editing_one_cell_changes_one_id():
    before = normalize(messy_notebook())
    edited = normalize(messy_notebook())
    edited.cells.insert(0, nbformat.v4.new_markdown_cell("New"))
    assert [cell.id for cell in normalize(edited).cells[1:]] == [
        cell.id for cell in before.cells
    ]


def test_another_repository_changes_no_id():
    ids = []
    for owner in ("someone", "OWNER"):
        source = f"%pip install git+https://github.com/{owner}/lossbook"
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
        ids.append(normalize(notebook).cells[0].id)
    assert ids[0] == ids[1]


def test_writing_the_same_content_leaves_the_file_alone(tmp_path):
    path = tmp_path / "a.ipynb"
    write(normalize(messy_notebook()), path)
    time = path.stat().st_mtime_ns
    write(normalize(messy_notebook()), path)
    assert path.stat().st_mtime_ns == time
