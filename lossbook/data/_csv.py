"""Tables of the reader's own: features in columns, one column with the label."""

import difflib
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from lossbook.data._task import Task


def read_csv(path: str | Path, *, label: str = "") -> tuple[Task, list[str]]:
    """Return a table as a task, and the names of its classes.

    The features stay as they are in the file. What brings them to one scale must be
    learned from training rows alone: `experiment` does so when it splits the task, and
    `standardized` does it by hand.

    Args:
        path: a file with a head of column names; all columns but the label's hold
            numbers.
        label: the name of the label's column; the last one where not given.

    Returns:
        The task, and the classes' names in the order of their numbers.

    Raises:
        FileNotFoundError: for no such file.
        ValueError: for a file that is no such table; the message names the line.
    """
    import pandas as pd

    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} must be a file, and there is none")
    try:
        with warnings.catch_warnings():
            # A row that is longer than the head is an error, not a new index.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            # As text: a cell that is no number is to be named, not change its column.
            frame = pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False)
    except pd.errors.EmptyDataError:
        raise ValueError(f"{path} must hold a table, and is empty") from None
    except (
        pd.errors.ParserError,
        pd.errors.ParserWarning,
        UnicodeDecodeError,
    ) as error:
        raise ValueError(f"{path} must hold a table: {error}") from None
    frame.index = _lines(path, len(frame))
    column = label or str(frame.columns[-1])
    if column not in frame.columns:
        raise ValueError(
            f"label must be a column of {path}, got {column!r}; its columns are "
            f"{_listed(frame.columns)}{_nearest(column, frame.columns)}"
        )
    features = frame.drop(columns=column)
    if not len(frame) or not len(features.columns):
        raise ValueError(
            f"{path} must hold rows and at least one feature beside the label, got "
            f"{len(frame)} rows and {len(features.columns)} features"
        )
    inputs = np.column_stack([_numbers(features[name], path) for name in features])
    names, labels, counts = np.unique(
        frame[column].str.strip(), return_inverse=True, return_counts=True
    )
    if "" in names:
        line = frame.index[frame[column].str.strip() == ""][0]
        raise ValueError(f"{path}, line {line}: the label {column!r} is missing")
    if len(names) < 2 or counts.min() < 3:
        found = ", ".join(f"{n}: {c}" for n, c in zip(names, counts, strict=True))
        raise ValueError(
            f"{column!r} must hold at least 2 classes with at least 3 examples each, "
            f"got {found}"
        )
    return Task(inputs=inputs, labels=labels), [str(name) for name in names]


def _lines(path: Path, rows: int) -> list[int]:
    """Return the file's line of each row; blank lines are no rows."""
    text = path.read_text(encoding="utf-8").splitlines()
    written = [i for i, line in enumerate(text, start=1) if line]
    # Where a cell holds line breaks, the lines are more than the rows.
    return written[1:] if len(written) == rows + 1 else list(range(2, rows + 2))


def _numbers(column: Any, path: Path) -> np.ndarray:
    """Return a column of text as numbers; name the first cell that is none."""
    values = np.empty(len(column))
    for i, (line, text) in enumerate(column.items()):
        try:
            values[i] = math.nan if "_" in text else float(text)
        except ValueError:
            values[i] = np.nan
        if not np.isfinite(values[i]):
            shown = repr(text) if text.strip() else "nothing"
            raise ValueError(
                f"{path}, line {line}: {column.name!r} must be a finite number, got "
                f"{shown}"
            )
    return values


def _listed(columns: Any) -> str:
    names = [repr(str(name)) for name in columns]
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")


def _nearest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, [str(k) for k in known], n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
