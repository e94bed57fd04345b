"""Losses for noisy labels, beside the little that other libraries have of them."""

import math

import numpy as np
import pytest
import torch

import lossbook
from tests.peers.load import peer

pytestmark = pytest.mark.peers

SHOWN = [
    ("generalized_jensen_shannon", "scipy.spatial.distance.jensenshannon"),
    ("mae", "torch.nn.functional.l1_loss"),
]


def batch():
    rng = np.random.default_rng(0)
    return torch.tensor(2 * rng.normal(size=(20, 4))), torch.tensor(
        rng.integers(4, size=20)
    )


def test_mae_is_four_classes_times_torchs_mean():
    logits, labels = batch()
    functional = peer("torch.nn.functional")
    theirs = functional.l1_loss(
        logits.softmax(-1), functional.one_hot(labels, 4).double()
    )
    torch.testing.assert_close(lossbook.mae(logits, labels).mean(), 4 * theirs)


def test_jensen_shannon_is_scipys_squared():
    logits, labels = batch()
    p, e_y = logits.softmax(-1).numpy(), np.eye(4)[labels]
    theirs = peer("scipy.spatial.distance").jensenshannon(e_y, p, axis=-1)
    mine = lossbook.generalized_jensen_shannon(logits, labels, pi=0.5).numpy()
    np.testing.assert_allclose(mine * math.log(2) / 2, theirs**2, rtol=1e-10)
