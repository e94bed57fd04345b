"""Evidence: what holds, what fails, and what a failure tells."""

import numpy as np
import pytest
import torch

from lossbook import evidence
from lossbook.evidence import Refuted


@pytest.mark.parametrize(
    ("made", "holds"),
    [
        (evidence.equal([1.0], [1.0 + 1e-12], within=1e-9), True),
        (evidence.equal([1.0], [1.1], within=1e-9), False),
        (evidence.equal([np.inf], [np.inf]), True),
        (evidence.equal([True, False], [True, False]), True),
        (evidence.equal([True, False], [True, True]), False),
        (evidence.equal([np.nan], [np.nan], within=1.0), False),
        (evidence.equal([], [], within=1.0), False),
        (evidence.equal(1e-30, 2e-30, within=1e-9, relative=True), False),
        (evidence.at_most([1.0, 2.0], 2.0), True),
        (evidence.at_most([1.0, np.nan], 2.0), False),
        (evidence.at_least(torch.tensor([1.0]), 2.0), False),
        (evidence.between(0.5, 0, 1), True),
        (evidence.between([0.5, 1.5], 0, 1), False),
        (evidence.differs([0.0, 0.0], [0.0, 1.0], by=0.5), True),
        (evidence.differs([0.0], [0.1], by=0.5), False),
        (evidence.true([True, False], "words"), False),
        (evidence.raises(KeyError, lambda: {}["a"]), True),
        (evidence.raises(KeyError, lambda: None), False),
    ],
)
def test_it_holds_when_it_should(made, holds):
    assert bool(made) is holds


def test_a_failure_tells_where_and_by_how_much():
    made = evidence.equal([[0.0, 1.0]], [[0.0, 1.5]], within=0.1)
    with pytest.raises(Refuted, match=r"sums agree: 1 differs from 1\.5 by 0\.5 at "):
        made.require("sums agree")


def test_what_is_printed_does_not_depend_on_the_residual():
    texts = {
        repr(evidence.equal([1.0], [1.0 + gap], within=1e-6)) for gap in (0, 1e-9, 1e-7)
    }
    assert texts == {"holds: equal within 1e-06, over 1 number"}


def test_both_must_hold():
    good, bad = evidence.at_most(1.0, 2.0), evidence.at_most(3.0, 2.0)
    assert good & good
    assert not good & bad
    assert "3 exceeds 2" in (good & bad).found
