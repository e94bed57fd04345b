"""Cross-entropy and its relatives in other libraries: torch, optax, scikit-learn."""

import numpy as np
import pytest
import torch
from torch.nn.functional import kl_div, one_hot

import lossbook
from lossbook.losses import CATALOGUE
from tests.peers.load import peer

pytestmark = pytest.mark.peers


def optax_losses():
    peer("jax").config.update("jax_enable_x64", True)
    return peer("optax").losses


def torch_cross_entropy(logits, truth, **options):
    found = torch.nn.functional.cross_entropy(
        torch.tensor(logits), torch.tensor(truth), reduction="none", **options
    )
    return found.numpy()


def torch_bce(scores, targets):
    criterion = torch.nn.BCEWithLogitsLoss(reduction="none")
    return criterion(torch.tensor(scores), torch.tensor(targets)).numpy()


def torch_smoothing(logits, labels, epsilon):
    return torch_cross_entropy(logits, labels, label_smoothing=epsilon)


def optax_cross_entropy(logits, labels):
    return optax_losses().softmax_cross_entropy_with_integer_labels(logits, labels)


def optax_soft(logits, targets):
    return optax_losses().softmax_cross_entropy(logits, targets)


def optax_bce(scores, targets):
    return optax_losses().sigmoid_binary_cross_entropy(scores, targets)


def optax_smoothing(logits, labels, epsilon):
    e_y = np.eye(logits.shape[-1])[labels]
    return optax_soft(logits, optax_losses().smooth_labels(e_y, epsilon))


def torch_divergence(logits, targets):
    log_p = torch.tensor(logits).log_softmax(-1)
    return kl_div(log_p, torch.tensor(targets), reduction="none").sum(-1).numpy()


def optax_divergence(logits, targets):
    return optax_losses().kl_divergence(log_softmax(logits), targets)


def log_softmax(logits):
    return torch.tensor(logits).log_softmax(-1).numpy()


# (loss key, peer as the card names it): the peer, called as lossbook is called.
THEIRS = {
    ("cross_entropy", "torch.nn.functional.cross_entropy"): torch_cross_entropy,
    (
        "cross_entropy",
        "optax.losses.softmax_cross_entropy_with_integer_labels",
    ): optax_cross_entropy,
    ("soft_cross_entropy", "torch.nn.functional.cross_entropy"): torch_cross_entropy,
    ("soft_cross_entropy", "optax.losses.softmax_cross_entropy"): optax_soft,
    ("binary_cross_entropy", "torch.nn.BCEWithLogitsLoss"): torch_bce,
    ("binary_cross_entropy", "optax.losses.sigmoid_binary_cross_entropy"): optax_bce,
}
SMOOTHING = {
    ("label_smoothing", "torch.nn.functional.cross_entropy"): torch_smoothing,
    ("label_smoothing", "optax.losses.smooth_labels"): optax_smoothing,
}
DIVERGENCES = {
    ("distillation", "torch.nn.functional.kl_div"): torch_divergence,
    ("distillation", "optax.losses.kl_divergence"): optax_divergence,
}
SHOWN = [
    *THEIRS,
    *SMOOTHING,
    *DIVERGENCES,
    ("cross_entropy", "sklearn.metrics.log_loss"),
]


def sample(key):
    return CATALOGUE[key].sample(np.random.default_rng(1))


def ours(key, arrays, **params):
    loss = getattr(lossbook, key)
    return loss(*map(torch.tensor, arrays), **params).numpy()


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("key", "name"), THEIRS)
def test_equal_to_the_peer(key, name):
    arrays = sample(key)
    close(ours(key, arrays), THEIRS[key, name](*arrays))


def test_log_loss_is_the_mean_of_clipped_probabilities():
    """At a certain mistake it stops at -log of the dtype's resolution."""
    log_loss = peer("sklearn.metrics").log_loss
    logits, labels = sample("cross_entropy")
    p = np.exp(log_softmax(logits))
    found = log_loss(labels, p, labels=range(logits.shape[-1]))
    close(found, ours("cross_entropy", (logits, labels)).mean())
    certain = log_loss([0], [[0.0, 1.0]], labels=[0, 1])
    assert certain == pytest.approx(-np.log(np.finfo(float).eps))
    loss = ours("cross_entropy", (np.array([[-100.0, 0.0]]), np.array([0])))
    assert loss.item() == pytest.approx(100)


@pytest.mark.parametrize(
    ("key", "name"), [pair for pair in THEIRS if pair[0] == "soft_cross_entropy"]
)
def test_a_class_ruled_out_and_not_wanted_is_nan_elsewhere(key, name):
    logits = np.array([[1.0, 0.0, -np.inf]])
    targets = np.array([[0.3, 0.7, 0.0]])
    assert np.isnan(np.asarray(THEIRS[key, name](logits, targets))).all()
    without = ours(key, (logits[:, :2], targets[:, :2]))
    close(ours(key, (logits, targets)), without)


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.5])
@pytest.mark.parametrize(("key", "name"), SMOOTHING)
def test_others_smooth_uniformly(key, name, epsilon):
    arrays = sample(key)
    theirs = SMOOTHING[key, name](*arrays, epsilon)
    close(ours(key, arrays, epsilon=epsilon), theirs)
    classes = arrays[0].shape[-1]
    offclass = ours(
        key, arrays, epsilon=epsilon * (classes - 1) / classes, mass="offclass"
    )
    close(offclass, theirs)


@pytest.mark.parametrize(("key", "name"), DIVERGENCES)
def test_others_know_no_temperature(key, name):
    logits, targets = sample(key)
    theirs = DIVERGENCES[key, name]
    close(ours(key, (logits, targets), temperature=1.0), theirs(logits, targets))
    softened = targets ** (1 / 4)
    softened = softened / softened.sum(-1, keepdims=True)
    close(
        ours(key, (logits, targets), temperature=4.0),
        16 * np.asarray(theirs(logits / 4, softened)),
    )


def test_kl_div_takes_the_student_first_and_as_logarithms():
    """The name reads KL(first || second); what is computed is KL(second || first)."""
    p, q = np.array([[0.5, 0.5]]), np.array([[0.9, 0.1]])
    student = torch.tensor(p)
    found = kl_div(student.log(), torch.tensor(q), reduction="batchmean").item()
    assert found == pytest.approx((q * np.log(q / p)).sum())
    assert found != pytest.approx((p * np.log(p / q)).sum(), rel=0.01)
    assert found == pytest.approx(ours("distillation", (np.log(p), q), temperature=1))
    reversed_ = kl_div(torch.tensor(q), student, reduction="batchmean").item()
    assert reversed_ < 0  # the arguments in the other order: no divergence at all


def test_kl_div_averages_over_classes_too():
    log_p = torch.zeros(2, 3, dtype=torch.float64).log_softmax(-1)
    q = one_hot(torch.tensor([0, 2]), 3).double()
    with pytest.warns(UserWarning, match="divides the total loss by both"):
        mean = kl_div(log_p, q, reduction="mean").item()
    loss = lossbook.distillation(log_p, q, temperature=1.0)
    assert mean == pytest.approx(loss.mean().item() / 3)


def test_temperature_scaling_is_scikit_learns():
    """Its calibrator of a finished model fits one temperature, as precisely as 1e-3."""
    base, frozen = peer("sklearn.base"), peer("sklearn.frozen")

    class Given(base.ClassifierMixin, base.BaseEstimator):
        """A finished model whose logits are its input."""

        def fit(self, logits, labels):
            self.classes_ = np.unique(labels)
            return self

        def decision_function(self, logits):
            return logits

        def predict(self, logits):
            return self.classes_[logits.argmax(-1)]

    rng = np.random.default_rng(0)
    logits = 6 * rng.normal(size=(2000, 4))
    cumulated = torch.tensor(logits / 3).softmax(-1).cumsum(-1).numpy()
    labels = (rng.random((2000, 1)) > cumulated).sum(-1).clip(0, 3)
    model = frozen.FrozenEstimator(Given().fit(logits, labels))
    calibrator = peer("sklearn.calibration").CalibratedClassifierCV(
        model, method="temperature"
    )
    theirs = calibrator.fit(logits, labels).predict_proba(logits)
    temperature = lossbook.calibration.fit_temperature(logits, labels)
    scaled = lossbook.calibration.apply_temperature(torch.tensor(logits), temperature)
    np.testing.assert_allclose(scaled.softmax(-1).numpy(), theirs, atol=1e-3)
    assert abs(torch.tensor(logits).softmax(-1).numpy() - theirs).max() > 0.1
