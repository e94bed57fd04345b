"""Other libraries, imported by name; one that does not import fails its test."""

import importlib

import pytest


def peer(name):
    """The module of another library, or a failed test that says why there is none.

    Not `pytest.importorskip`: a library may fail with any error, and a peer that is
    not compared must be seen.
    """
    try:
        return importlib.import_module(name)
    except Exception as error:  # whatever a foreign module raises
        pytest.fail(f"{name} does not import ({error!r}): run `make peers`")
