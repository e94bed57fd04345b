"""Every loss of the catalogue, by every check that covers its kind."""

import pytest

from lossbook import check, kernels
from lossbook.card import KINDS
from lossbook.losses import CATALOGUE

CASES = [
    pytest.param(card, one, form, id=f"{key}-{one.name}-{form}")
    for key, card in CATALOGUE.items()
    for one in check.applicable(card)
    # torch's machinery takes the plain form anyway, and compares it with this one
    for form in (["fused"] if one.name in check.MACHINERY else ["plain", "fused"])
]


@pytest.mark.parametrize(("card", "one", "form"), CASES)
def test_check(card, one, form):
    with kernels.force(form):
        assert one.run(card)


def test_every_kind_of_loss_is_covered():
    for kind in {card.kind for card in CATALOGUE.values()}:
        names = {one.name for one in check.CHECKS.values() if kind in one.kinds}
        assert {"reference", "gradcheck", "central_differences"} <= names


def test_checks_name_kinds_that_exist():
    assert all(set(one.kinds) <= set(KINDS) for one in check.CHECKS.values())


def test_the_checks_of_torchs_machinery_can_be_left_out():
    card = CATALOGUE["focal"]
    every, fewer = check.applicable(card), check.applicable(card, machinery=False)
    assert {one.name for one in every if one not in fewer} == set(check.MACHINERY)
