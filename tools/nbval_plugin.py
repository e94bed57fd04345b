"""A pytest plugin: nbval runs a cell as Jupyter does, with history.

Without history, IPython overlooks the `;` that hides a cell's last value, and nbval
finds an output that the stored notebook rightly lacks.
"""

from typing import Any

from nbval.kernel import RunningKernel


def execute_with_history(
    self: Any, cell_input: str, allow_stdin: bool | None = None
) -> str:
    """Send a cell to the kernel; return the message's id."""
    message: str = self.kc.execute(
        cell_input, store_history=True, allow_stdin=allow_stdin, stop_on_error=False
    )
    return message


def pytest_configure() -> None:
    """Replace nbval's own way."""
    RunningKernel.execute_cell_input = execute_with_history
