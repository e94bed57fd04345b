"""The losses of the margin in other libraries."""

import numpy as np
import pytest
import torch
from torch.nn import functional

import lossbook
from tests.peers.load import peer

pytestmark = pytest.mark.peers

SHOWN = [
    ("crammer_singer", "optax.losses.multiclass_hinge_loss"),
    ("crammer_singer", "sklearn.metrics.hinge_loss"),
    ("crammer_singer", "keras.losses.CategoricalHinge"),
    ("hinge", "keras.losses.Hinge"),
    ("hinge", "optax.losses.hinge_loss"),
    ("hinge", "sklearn.metrics.hinge_loss"),
    ("hinge", "torch.nn.functional.hinge_embedding_loss"),
    ("logistic", "torch.nn.functional.soft_margin_loss"),
    ("squared", "torch.nn.functional.mse_loss"),
    ("squared_hinge", "keras.losses.SquaredHinge"),
    ("weston_watkins", "torch.nn.functional.multi_margin_loss"),
]


def scores_and_signs():
    rng = np.random.default_rng(0)
    return torch.tensor(2 * rng.normal(size=50)), torch.tensor([-1.0, 1.0]).repeat(25)


def logits_and_labels():
    rng = np.random.default_rng(0)
    return torch.tensor(2 * rng.normal(size=(50, 4))), torch.arange(50) % 4


def close(found, expected, rtol=1e-12):
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol, rtol)


def test_optax():
    """Jax computes in float32 unless told otherwise."""
    losses = peer("optax").losses
    scores, signs = scores_and_signs()
    found = losses.hinge_loss(scores.numpy(), signs.numpy())
    close(found, lossbook.hinge(scores, signs), 1e-5)
    logits, labels = logits_and_labels()
    found = losses.multiclass_hinge_loss(logits.numpy(), labels.numpy())
    close(found, lossbook.crammer_singer(logits, labels), 1e-5)


def test_sklearn_returns_the_mean():
    hinge_loss = peer("sklearn.metrics").hinge_loss
    scores, signs = scores_and_signs()
    found = hinge_loss(signs.numpy(), scores.numpy())
    close(found, lossbook.hinge(scores, signs).mean())
    logits, labels = logits_and_labels()
    found = hinge_loss(labels.numpy(), logits.numpy())
    close(found, lossbook.crammer_singer(logits, labels).mean())


def test_sklearn_recovers_probabilities_from_modified_huber_scores():
    """What `SGDClassifier` predicts is the posterior at which its scores are best."""
    sgd = peer("sklearn.linear_model").SGDClassifier(
        loss="modified_huber", random_state=0
    )
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    sgd.fit(x, x[:, 0] + rng.normal(size=200) > 0)
    scores = sgd.decision_function(x)
    assert (np.abs(scores) > 1).any()
    recovered = lossbook.losses.CATALOGUE["modified_huber"].recovery(scores)
    close(recovered, sgd.predict_proba(x)[:, 1])


def test_torch_multi_margin_divides_by_the_classes():
    logits, labels = logits_and_labels()
    found = functional.multi_margin_loss(logits, labels, reduction="none")
    close(4 * found, lossbook.weston_watkins(logits, labels))


def test_torch_soft_margin_overflows():
    scores, signs = scores_and_signs()
    found = functional.soft_margin_loss(scores, signs, reduction="none")
    close(found, lossbook.logistic(scores, signs))
    far = torch.tensor([-88.0, -89.0], requires_grad=True)
    found = functional.soft_margin_loss(far, torch.ones(2), reduction="none")
    (gradient,) = torch.autograd.grad(found.sum(), far)
    assert found.isfinite().tolist() == [True, False]
    assert gradient.isnan().tolist() == [False, True]


def test_torch_mean_squared_error_of_the_signs():
    scores, signs = scores_and_signs()
    found = functional.mse_loss(scores, signs.double(), reduction="none")
    close(found, lossbook.squared(scores, signs))


def test_torch_hinge_embedding_is_a_loss_of_distances():
    distances, signs = scores_and_signs()
    distances = distances.abs()
    found = functional.hinge_embedding_loss(distances, signs, reduction="none")
    close(found, torch.where(signs == 1, distances, (1 - distances).relu()))
    assert (found - lossbook.hinge(distances, signs)).abs().max() > 1


def test_keras_hinges():
    """The binary ones return the mean over the last axis; here it has one entry."""
    losses = peer("keras").losses
    scores, signs = (a[:, None] for a in scores_and_signs())
    for name, ours in (("Hinge", "hinge"), ("SquaredHinge", "squared_hinge")):
        theirs = getattr(losses, name)(reduction=None)
        found = theirs(signs.numpy(), scores.float().numpy())
        close(found, getattr(lossbook, ours)(scores, signs)[:, 0], 1e-5)
        zero = theirs(np.zeros_like(scores), scores.float().numpy())
        close(
            zero, getattr(lossbook, ours)(scores, -torch.ones_like(signs))[:, 0], 1e-5
        )


def test_keras_categorical_hinge_counts_a_zero_for_the_label():
    losses = peer("keras").losses
    logits, labels = logits_and_labels()
    one_hot = np.eye(4)[labels]
    found = losses.CategoricalHinge(reduction=None)(one_hot, logits.float().numpy())
    ours = lossbook.crammer_singer(logits, labels)
    best_rival = (logits - 1e9 * torch.tensor(one_hot)).amax(-1)
    positive = best_rival >= 0
    assert 0 < positive.sum() < 50
    close(found[positive], ours[positive], 1e-5)
    z_y = logits[torch.arange(50), labels]
    close(found[~positive], (1 - z_y).relu()[~positive], 1e-5)
    assert (found - ours)[~positive].max() > 0.5
