"""The comparison of stored outputs with new ones, as `make test` runs it."""

import subprocess
import sys

import nbformat
import pytest

from tools import testing
from tools.paths import ROOT

STORED = [
    ("1 + 1", "2"),
    ("x = [3]\nx;", None),  # the semicolon hides the value
    ("object()", "<object at 0x7f0000000000>"),  # addresses differ
]


@pytest.fixture
def compare(tmp_path):
    """Runs the stage's command on one notebook; returns pytest's exit status."""

    def run(stored):
        notebook = nbformat.v4.new_notebook()
        for count, (source, shown) in enumerate(stored, start=1):
            cell = nbformat.v4.new_code_cell(source, execution_count=count)
            if shown is not None:
                data = {"text/plain": shown}
                cell.outputs = [
                    nbformat.v4.new_output(
                        "execute_result", data=data, execution_count=count
                    )
                ]
            notebook.cells.append(cell)
        path = tmp_path / "stored.ipynb"
        nbformat.write(notebook, path)
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
        answer = subprocess.run(
            [*command, *testing.NBVAL, str(path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        return answer.returncode

    return run


def test_stored_outputs_that_come_out_again_pass(compare):
    assert compare(STORED) == 0


def test_a_stored_output_that_is_stale_fails(compare):
    assert compare([*STORED, ("2 + 2", "5")]) == 1
