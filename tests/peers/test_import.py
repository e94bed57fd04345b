"""Every library of requirements-peers.txt imports beside this torch."""

import pytest

from tests.peers.load import peer
from tools.paths import ROOT

pytestmark = pytest.mark.peers

MODULES = {  # distribution -> what is imported of it
    "POT": "ot",
    "fvcore": "fvcore.nn",
    "geomloss": "geomloss",
    "jax": "jax",
    "keras": "keras",
    "kornia": "kornia.losses",
    "optax": "optax",
    "pytorch-metric-learning": "pytorch_metric_learning.losses",
}


def required():
    """The names of the distributions in requirements-peers.txt."""
    lines = (ROOT / "requirements-peers.txt").read_text().splitlines()
    return {line.split(">=")[0] for line in lines if line[0] not in "#-"}


@pytest.mark.parametrize("module", MODULES.values())
def test_it_imports(module):
    assert peer(module).__name__ == module


def test_every_library_is_imported_here():
    assert required() == set(MODULES)
