"""Barron's family beside the members of it that kornia has."""

import math

import numpy as np
import pytest
import torch

from lossbook import barron
from tests.peers.load import peer

pytestmark = pytest.mark.peers

# (loss key, peer as the card names it): where in the family it is.
THEIRS = {
    ("barron", "kornia.losses.cauchy_loss"): 0.0,
    ("barron", "kornia.losses.charbonnier_loss"): 1.0,
    ("barron", "kornia.losses.geman_mcclure_loss"): -2.0,
    ("barron", "kornia.losses.welsch_loss"): -math.inf,
}
SHOWN = list(THEIRS)


@pytest.mark.parametrize(("key", "name"), THEIRS)
def test_equal_at_this_shape(key, name):
    theirs = getattr(peer("kornia.losses"), name.rsplit(".", 1)[1])
    rng = np.random.default_rng(0)
    scores = torch.tensor(3 * rng.normal(size=50))
    signs = torch.tensor(rng.choice([-1.0, 1.0], size=50))
    found = theirs(scores, signs, reduction="none")
    torch.testing.assert_close(
        found, barron(scores, signs, alpha=THEIRS[key, name]), rtol=1e-9, atol=1e-12
    )


def test_charbonnier_is_the_default():
    theirs = peer("kornia.losses").charbonnier_loss
    scores, signs = torch.linspace(-3, 3, 9, dtype=torch.float64), torch.ones(9)
    found = theirs(scores, signs.double(), reduction="none")
    torch.testing.assert_close(found, barron(scores, signs))
