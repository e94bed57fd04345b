"""A tiny checkout to try the commands on."""

import nbformat
import pytest


@pytest.fixture
def checkout(tmp_path):
    """A tree with a package, a lock and no notebook yet."""
    (tmp_path / "lossbook").mkdir()
    (tmp_path / "lossbook/core.py").write_text("ONE = 1\n")
    (tmp_path / "lossbook/view.js").write_text("let one = 1;\n")
    (tmp_path / "book/results").mkdir(parents=True)
    (tmp_path / "book/results/rows.csv").write_text("1\n")
    (tmp_path / "constraints.txt").write_text("numpy==2.0\n")
    return tmp_path


@pytest.fixture
def write_notebook(checkout):
    """Writes a notebook of code cells into the checkout."""

    def write(name, *sources, tags=None):
        notebook = nbformat.v4.new_notebook()
        for index, source in enumerate(sources):
            cell = nbformat.v4.new_code_cell(source)
            cell.metadata["tags"] = (tags or {}).get(index, [])
            notebook.cells.append(cell)
        path = checkout / "book" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, path)
        return path.relative_to(checkout)

    return write
