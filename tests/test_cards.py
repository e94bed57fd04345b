"""Cards and what is made of them: formulas, tables, the psi calculus."""

import numpy as np
import pytest

from lossbook import tables
from lossbook.card import Formula, LossCard, Param
from lossbook.losses import CATALOGUE, card_of


def test_a_walk_reaches_closed_ends_and_not_open_ones():
    closed = Param(default=1, low=0, high=2, meaning="")
    half_open = Param(default=1, low=0, high=2, open_low=True, meaning="")
    assert (closed.walk()[0], closed.walk()[-1]) == (0, 2)
    assert half_open.walk()[0] > 0
    assert half_open.walk()[-1] == 2


def test_a_walk_over_whole_numbers_meets_each_once():
    whole = Param(default=4, low=1, high=4, whole=True, meaning="")
    assert whole.walk() == [1, 2, 3, 4]
    assert whole.walk(2) == [1, 4]


def test_settings_walk_every_parameter():
    settings = list(CATALOGUE["focal"].settings(3))
    assert settings == [{"gamma": g} for g in (2.0, 0.0, 2.5, 5.0)]


def test_an_unknown_kind_is_refused():
    focal = CATALOGUE["focal"]
    with pytest.raises(ValueError, match=r"kind must be one of labels, targets, .*'x'"):
        LossCard(
            name="",
            family="",
            kind="x",
            fn=focal.fn,
            ref=focal.ref,
            summary="",
            cite="",
        )


def test_a_card_that_cannot_draw_says_so():
    from dataclasses import replace

    with pytest.raises(ValueError, match="must say how to draw its input: give Focal"):
        replace(CATALOGUE["focal"], kind="batch").sample(np.random.default_rng(0))


def test_formulas_are_typeset_with_the_books_symbols():
    formula = Formula(expr="strength * log(p)")
    params = {"strength": Param(default=1, low=0, high=1, meaning="", tex=r"\lambda")}
    assert formula.latex(params) == r"\lambda \ln{\left(p_y \right)}"


def test_a_stranger_has_no_card():
    assert card_of(lambda logits, labels: logits) is None


def psi(key, **params):
    return tables.psi_row(CATALOGUE[key], **params)


def test_the_psi_calculus_finds_the_known_bends():
    """Closed forms: GCE bends at q/(1+q), MAE at 1/2, Poly-1 at (eps-1)/(2 eps)."""
    assert psi("gce", q=0.7).concave_below == pytest.approx(0.7 / 1.7, abs=1e-4)
    assert psi("mae").concave_below == pytest.approx(0.5, abs=1e-4)
    assert psi("poly1", epsilon=2).concave_below == pytest.approx(0.25, abs=1e-4)
    assert psi("poly1", epsilon=1).concave_below < 1e-6
    assert psi("cross_entropy").concave_below == 0


@pytest.mark.parametrize("key", ["cross_entropy", "poly1", "gce", "mae"])
def test_the_psi_calculus_agrees_with_the_card(key):
    card = CATALOGUE[key]
    for params in card.settings(5):
        stated = card.states("lipschitz", params)
        assert tables.psi_row(card, **params).steepest == pytest.approx(stated, 1e-6)


def test_the_steepest_focal_pull_lies_where_it_bends():
    for gamma in (0.5, 1, 2, 5):
        row = psi("focal", gamma=gamma)
        assert row.at == row.concave_below > 0


def test_a_loss_of_no_probability_has_no_psi():
    with pytest.raises(ValueError, match="logistic must be a function of p_y"):
        psi("logistic")


def test_the_table_says_for_which_parameters():
    columns = tables.properties([CATALOGUE[k] for k in ("focal", "poly1", "gce")])
    assert columns["convex"] == ["for gamma = 0", "for epsilon ≤ 1", "no"]
    assert columns["strictly proper"] == ["for gamma = 0", "for epsilon = 0", "no"]
    assert columns["symmetric"] == ["no", "no", "for q = 1"]
