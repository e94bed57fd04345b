"""Losses of hierarchies beside the same ones in other libraries."""

import numpy as np
import pytest
import torch

import lossbook
from lossbook import Hierarchy
from tests.peers.load import peer

pytestmark = pytest.mark.peers

SHOWN = [("TreeWasserstein", "ot.emd2"), ("SoftTreeWasserstein", "ot.emd2")]

TREE = Hierarchy.random(np.random.default_rng(3), 9)
LENGTHS = np.random.default_rng(1).uniform(0.1, 2.0, size=len(TREE.names))


def value_and_gradient(loss, logits):
    values = torch.stack([loss(z, i) for i, z in enumerate(logits)])
    return values.detach(), torch.autograd.grad(values.sum(), logits)[0]


@pytest.mark.parametrize("soft", [False, True], ids=["labels", "targets"])
def test_tree_wasserstein_is_exact_transport(soft):
    """Its solver knows no tree: it is given probabilities and all the distances."""
    ot = peer("ot")
    rng = np.random.default_rng(0)
    logits = torch.tensor(2 * rng.normal(size=(20, 9)), requires_grad=True)
    labels = torch.tensor(rng.integers(9, size=20))
    targets = torch.eye(9, dtype=torch.float64)[labels]
    if soft:
        targets = torch.tensor(rng.dirichlet(np.ones(9), size=20))
    cost = torch.tensor(TREE.distances(LENGTHS))
    theirs = value_and_gradient(
        lambda z, i: ot.emd2(z.softmax(-1), targets[i], cost), logits
    )
    if soft:
        loss = lossbook.SoftTreeWasserstein(TREE, LENGTHS)
        ours = value_and_gradient(lambda z, i: loss(z, targets[i]), logits)
    else:
        loss = lossbook.TreeWasserstein(TREE, LENGTHS)
        ours = value_and_gradient(lambda z, i: loss(z, labels[i]), logits)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
