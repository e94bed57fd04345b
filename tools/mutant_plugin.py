"""Let pytest import a changed copy of one module: `-p tools.mutant_plugin`.

`make mutants` uses it to see whether the tests of a loss refuse what no check does.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from types import ModuleType

VARIABLE = "LOSSBOOK_MUTANT"  # "module=path of its changed source"


class Changed(importlib.abc.MetaPathFinder):
    """Finds the changed copy instead of the module."""

    def __init__(self, module: str, path: str) -> None:
        self.module = module
        self.path = path

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        """Return where the changed copy is, None for any other module."""
        if fullname != self.module:
            return None
        return importlib.util.spec_from_file_location(fullname, self.path)


if VARIABLE in os.environ:
    sys.meta_path.insert(0, Changed(*os.environ[VARIABLE].split("=", 1)))
