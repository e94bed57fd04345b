"""Losses of embeddings in other libraries."""

import numpy as np
import pytest
import torch
from torch.nn import functional

import lossbook
from tests.peers.load import peer

pytestmark = pytest.mark.peers

PML = "pytorch_metric_learning.losses."


def vectors(n, seed=0):
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.normal(size=(n, 5)), requires_grad=True)


def labels(n=24, classes=4):
    return torch.arange(n) % classes


def theirs(name, **options):
    """A loss of pytorch-metric-learning, one value for each of what it counts."""
    reducers = peer("pytorch_metric_learning.reducers")
    losses = peer("pytorch_metric_learning.losses")
    options = {"reducer": reducers.DoNothingReducer()} | options
    return getattr(losses, name)(**options)


def lengths_kept(power):
    distances = peer("pytorch_metric_learning.distances")
    return distances.LpDistance(normalize_embeddings=False, power=power)


def close(found, expected, rtol=1e-9):
    torch.testing.assert_close(found, expected, rtol=rtol, atol=rtol)


def supcon():
    x = vectors(24)
    found = theirs("SupConLoss", temperature=0.2)(x, labels())
    close(found["loss"]["losses"], lossbook.supcon(x, labels(), temperature=0.2))


def supcon_leaves_out_those_alone():
    x, y = vectors(24), labels()
    y[-1] = 9
    default = peer("pytorch_metric_learning.losses").SupConLoss(temperature=0.2)
    ours = lossbook.supcon(x, y, temperature=0.2)
    close(default(x, y), ours.sum() / 23)


def nt_xent():
    """Pairs of views are the positives; each counts in both directions."""
    first, second = vectors(12), vectors(12, 1)
    found = theirs("NTXentLoss", temperature=0.2)(
        torch.cat([first, second]), torch.arange(12).repeat(2)
    )
    ours = lossbook.nt_xent(first, second, temperature=0.2)
    close(found["loss"]["losses"].reshape(2, 12).mean(0), ours)


def nt_xent_forgets_opposite_views():
    first = torch.eye(2, requires_grad=True)
    default = peer("pytorch_metric_learning.losses").NTXentLoss(temperature=0.005)
    loss = default(torch.cat([first, -first]), torch.arange(2).repeat(2))
    (gradient,) = torch.autograd.grad(loss, first)
    assert loss.item() < 100
    assert (gradient == 0).all()
    assert (lossbook.nt_xent(first, -first, temperature=0.005) > 200).all()


def optax_ntxent():
    """One value for the batch: the mean over both directions of all pairs."""
    first, second = vectors(12), vectors(12, 1)
    both = torch.cat([first, second]).detach().numpy().astype(np.float32)
    found = peer("optax").losses.ntxent(both, np.arange(24) % 12, temperature=0.2)
    ours = lossbook.nt_xent(first, second, temperature=0.2).mean()
    close(torch.tensor(float(found)).double(), ours.detach(), rtol=1e-5)


def contrastive():
    """Undone: one distance, half of its square for positives and for what lacks."""
    x, y = vectors(12), labels(12)
    found = theirs("ContrastiveLoss", neg_margin=3.0, distance=lengths_kept(1))(x, y)
    for kind, same in (("pos_loss", 1), ("neg_loss", 0)):
        a, b = found[kind]["indices"]
        ours = lossbook.contrastive(x[a], x[b], torch.full_like(a, same), margin=3.0)
        close(found[kind]["losses"] ** 2 / 2, ours)
        assert (found[kind]["losses"] - ours).abs().max() > 0.1


def triplets():
    x, y = vectors(12), labels(12)
    found = theirs("TripletMarginLoss", margin=0.2, distance=lengths_kept(2))(x, y)
    a, p, n = found["loss"]["indices"]
    close(found["loss"]["losses"], lossbook.triplet(x[a], x[p], x[n]))
    assert theirs("TripletMarginLoss").margin == 0.05


def all_triplets():
    """Their mean is over the active triplets of the batch, ours over an anchor's."""
    x, y = vectors(12), labels(12)
    losses = peer("pytorch_metric_learning.losses")
    found = losses.TripletMarginLoss(margin=0.2, distance=lengths_kept(2))(x, y)
    each = theirs("TripletMarginLoss", margin=0.2, distance=lengths_kept(2))(x, y)
    active = (each["loss"]["losses"] > 0).sum()
    per_anchor = 2 * 9  # triplets of each of 12 anchors
    ours = lossbook.all_triplets(x, y).sum() * per_anchor / active
    close(found, ours)
    assert active < 12 * per_anchor


def torch_triplet():
    """Distances, not their squares, and 1e-6 added to each difference."""
    a, p, n = (vectors(12, seed) for seed in range(3))
    found = functional.triplet_margin_loss(a, p, n, margin=0.2, reduction="none")
    near, far = ((a - other + 1e-6).norm(dim=-1) for other in (p, n))
    close(found, (near - far + 0.2).relu())
    assert (found - lossbook.triplet(a, p, n)).abs().max() > 1


def torch_hinge_embedding():
    """Of distances, without squares: undone by squaring and halving."""
    a, b = vectors(12), vectors(12, 1)
    same = torch.arange(12) % 2
    found = functional.hinge_embedding_loss(
        (a - b).norm(dim=-1), 2 * same - 1, margin=3.0, reduction="none"
    )
    ours = lossbook.contrastive(a, b, same, margin=3.0)
    close(found**2 / 2, ours)
    assert (found - ours).abs().max() > 0.1


def torch_cosine_embedding():
    """1 - cosine is half of the squared distance of directions."""
    a, b = vectors(12), vectors(12, 1)
    same = torch.arange(12) % 2
    found = functional.cosine_embedding_loss(a, b, 2 * same - 1, reduction="none")
    units = [functional.normalize(each, dim=-1) for each in (a, b)]
    ours = lossbook.contrastive(*units, same)
    close(found[same == 1], ours[same == 1])
    cosine = (units[0] * units[1]).sum(-1)
    close(found[same == 0], cosine[same == 0].relu())
    assert (found - ours)[same == 0].abs().max() > 0.1


def n_pairs():
    """Undone: it normalizes embeddings, and pairs up examples by their labels."""
    a, p = vectors(6), vectors(6, 1)
    found = theirs("NPairsLoss")(torch.cat([a, p]), torch.arange(6).repeat(2))
    units = [functional.normalize(each, dim=-1) for each in (a, p)]
    close(found["loss"]["losses"], lossbook.n_pair(*units))
    assert (found["loss"]["losses"] - lossbook.n_pair(a, p)).abs().max() > 0.1


def nca():
    x = vectors(24)
    found = theirs("NCALoss", distance=lengths_kept(2))(x, labels())
    close(found["loss"]["losses"], lossbook.nca(x, labels()))
    units = functional.normalize(x, dim=-1)
    of_directions = theirs("NCALoss")(x, labels())["loss"]["losses"]
    close(of_directions, lossbook.nca(units, labels()))


def proxy_nca():
    x = vectors(24)
    loss = theirs("ProxyNCALoss", num_classes=4, embedding_size=5, softmax_scale=3)
    loss = loss.double()
    found = loss(x, labels())["loss"]["losses"]
    ours = lossbook.proxy_nca(x, labels(), loss.proxies, scale=3.0, form="all")
    close(found, ours)
    published = lossbook.proxy_nca(x, labels(), loss.proxies, scale=3.0)
    assert (published < ours).all()


def proxy_anchor():
    x = vectors(24)
    losses = peer("pytorch_metric_learning.losses")
    loss = losses.ProxyAnchorLoss(num_classes=6, embedding_size=5).double()
    close(loss(x, labels()), lossbook.proxy_anchor(x, labels(), loss.proxies))


# (loss key, peer as the card names it): the comparison.
COMPARED = {
    ("all_triplets", PML + "TripletMarginLoss"): all_triplets,
    ("contrastive", PML + "ContrastiveLoss"): contrastive,
    ("contrastive", "torch.nn.functional.cosine_embedding_loss"): (
        torch_cosine_embedding
    ),
    ("contrastive", "torch.nn.functional.hinge_embedding_loss"): torch_hinge_embedding,
    ("n_pair", PML + "NPairsLoss"): n_pairs,
    ("nca", PML + "NCALoss"): nca,
    ("nt_xent", PML + "NTXentLoss"): nt_xent,
    ("nt_xent", "optax.losses.ntxent"): optax_ntxent,
    ("proxy_anchor", PML + "ProxyAnchorLoss"): proxy_anchor,
    ("proxy_nca", PML + "ProxyNCALoss"): proxy_nca,
    ("supcon", PML + "SupConLoss"): supcon,
    ("triplet", PML + "TripletMarginLoss"): triplets,
    ("triplet", "torch.nn.functional.triplet_margin_loss"): torch_triplet,
}
SHOWN = list(COMPARED)


@pytest.mark.parametrize(("key", "name"), COMPARED)
def test_the_peer_is_as_the_card_says(key, name):
    assert name in lossbook.losses.CATALOGUE[key].peers
    COMPARED[key, name]()


@pytest.mark.parametrize(
    "shown", [supcon_leaves_out_those_alone, nt_xent_forgets_opposite_views]
)
def test_what_else_the_card_says(shown):
    shown()
