"""Each library that a card names was compared, and each comparison is on a card.

A file of peers holds one list, `SHOWN`: the (key of the loss, name of the peer) pairs
that its tests show, best made from the table that parametrizes them. A file that
compares only what has no card needs none. Nothing foreign is
imported at the top of such a file, so that the lists can be read without the libraries.
"""

from importlib import import_module
from pathlib import Path

import pytest

from lossbook.losses import CATALOGUE

pytestmark = pytest.mark.peers

HERE = Path(__file__).parent
ABOUT_ALL = {"test_cards", "test_import"}
FAMILIES = sorted({p.stem for p in HERE.glob("test_*.py")} - ABOUT_ALL)


def shown():
    """The pairs of all files, each with the file that shows it."""
    modules = {name: import_module(f"tests.peers.{name}") for name in FAMILIES}
    return {
        tuple(pair): name
        for name, module in modules.items()
        for pair in getattr(module, "SHOWN", ())
    }


def stated():
    """The pairs on the cards, each with the sentence that tells the difference."""
    return {
        (key, name): difference
        for key, card in CATALOGUE.items()
        for name, difference in card.peers.items()
    }


def test_every_peer_on_a_card_is_compared():
    assert stated().keys() - shown().keys() == set()


def test_every_comparison_is_on_a_card():
    assert shown().keys() - stated().keys() == set()


def test_a_difference_is_one_sentence():
    for pair, difference in stated().items():
        told = not difference or difference.endswith(".")
        assert told, f"{pair}: write one sentence, or nothing where both are equal"


def test_a_file_is_of_a_family():
    families = {card.family for card in CATALOGUE.values()}
    assert {name.removeprefix("test_") for name in FAMILIES} <= families
