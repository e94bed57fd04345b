"""Losses of cosines in pytorch-metric-learning."""

import math

import numpy as np
import pytest
import torch

import lossbook
from tests.peers.load import peer

pytestmark = [
    pytest.mark.peers,
    # The library hands a torch tensor to scipy when it is made.
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning"),
]

PML = "pytorch_metric_learning.losses."
LABELS = torch.arange(30) % 4


def theirs(name, **options):
    """The loss of 4 classes, and what it gives for each of 30 embeddings."""
    reducers = peer("pytorch_metric_learning.reducers")
    losses = peer("pytorch_metric_learning.losses")
    loss = getattr(losses, name)(
        num_classes=4, embedding_size=3, reducer=reducers.DoNothingReducer(), **options
    ).double()
    x = torch.tensor(np.random.default_rng(0).normal(size=(30, 3)), requires_grad=True)
    return x, loss.W.detach(), loss(x, LABELS)["loss"]["losses"]


def cosines(x, w):
    return torch.nn.functional.cosine_similarity(x[:, None], w.T, dim=-1)


def equal(found, expected, x):
    torch.testing.assert_close(found, expected)
    slopes = [torch.autograd.grad(each.sum(), x)[0] for each in (found, expected)]
    torch.testing.assert_close(*slopes)


def arcface():
    """Its margin is in degrees; 28.6 of them are a little less than 0.5."""
    x, w, found = theirs("ArcFaceLoss")
    equal(found, lossbook.arcface(cosines(x, w), LABELS, margin=math.radians(28.6)), x)
    ours = lossbook.arcface(cosines(x, w), LABELS)
    assert (found < ours).any()


def cosface():
    x, w, found = theirs("CosFaceLoss")
    equal(found, lossbook.cosface(cosines(x, w), LABELS), x)


def sphereface():
    """It scales by the embedding's length as well."""
    x, w, found = theirs("SphereFaceLoss", scale=2.0)
    ours = lossbook.sphereface(cosines(x, w), LABELS, scale=2 * x.norm(dim=-1))
    equal(found, ours, x)
    assert (found - lossbook.sphereface(cosines(x, w), LABELS)).abs().max() > 1


def large_margin_softmax():
    x, w, found = theirs("LargeMarginSoftmaxLoss")
    equal(found, lossbook.large_margin_softmax(x, LABELS, w.T), x)


# (loss key, peer as the card names it): the comparison.
COMPARED = {
    ("arcface", PML + "ArcFaceLoss"): arcface,
    ("cosface", PML + "CosFaceLoss"): cosface,
    ("large_margin_softmax", PML + "LargeMarginSoftmaxLoss"): large_margin_softmax,
    ("sphereface", PML + "SphereFaceLoss"): sphereface,
}
SHOWN = list(COMPARED)


@pytest.mark.parametrize(("key", "name"), COMPARED)
def test_the_peer_is_as_the_card_says(key, name):
    assert name in lossbook.losses.CATALOGUE[key].peers
    COMPARED[key, name]()


def test_one_embedding_on_its_class_vector_spoils_their_gradient():
    """The arc cosine has an infinite slope at 1."""
    losses = peer("pytorch_metric_learning.losses")
    loss = losses.ArcFaceLoss(num_classes=2, embedding_size=2)
    loss.W.data.copy_(torch.eye(2))
    x = torch.tensor([[1.0, 0.0], [1.0, 1.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(loss(x, torch.tensor([0, 1])), x)
    assert gradient[0].isnan().any()
    unit = torch.nn.functional.normalize(x, dim=-1)
    ours = lossbook.arcface(unit @ torch.eye(2), torch.tensor([0, 1])).mean()
    assert torch.autograd.grad(ours, x)[0].isfinite().all()
