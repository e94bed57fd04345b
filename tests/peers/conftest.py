"""What other libraries need before they are imported, and what they say then."""

import os
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent

# keras computes with torch here, and writes its settings beside the other scratch files
# instead of into the home directory.
os.environ["KERAS_BACKEND"] = "torch"
os.environ.setdefault("KERAS_HOME", str(Path(tempfile.gettempdir()) / "lossbook-keras"))
# jax looks for accelerators otherwise, and says so.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

NOTICES = [
    # fvcore scripts its losses when it is imported; nothing here calls those forms.
    r"ignore:`torch\.jit\.script` is deprecated:DeprecationWarning",
]


def pytest_collection_modifyitems(items):
    """Let the known notices pass in this folder, and nowhere else."""
    for item in items:
        if HERE in item.path.parents:
            for notice in NOTICES:
                item.add_marker(pytest.mark.filterwarnings(notice))
