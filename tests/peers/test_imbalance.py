"""The losses of imbalance beside those of other libraries."""

import numpy as np
import pytest
import torch

from lossbook import binary_focal, dice, focal, poly1, tversky
from tests.peers.load import peer

pytestmark = pytest.mark.peers

RNG = np.random.default_rng(0)
LOGITS = torch.tensor(3 * RNG.normal(size=(32, 4)), dtype=torch.float32)
LABELS = torch.tensor(RNG.integers(4, size=32))
ONE_HOT = torch.eye(4)[LABELS]
SCORES = torch.tensor(3 * RNG.normal(size=(8, 16)), dtype=torch.float32)
MASKS = torch.tensor(RNG.integers(2, size=(8, 16)), dtype=torch.float32)
SOFT = torch.tensor(RNG.random(size=(8, 16)), dtype=torch.float32)
# One image with two channels, as kornia wants it: softmax of these is the sigmoid.
CHANNELS = torch.stack([torch.zeros_like(SCORES), SCORES], 1)[:1, :, None]
IMAGE = MASKS[:1, None].long()


def jax(function, *arrays, **params):
    """Call a function of jax arrays with tensors."""
    numpy = peer("jax").numpy
    found = function(*(numpy.asarray(a.numpy()) for a in arrays), **params)
    return torch.tensor(np.asarray(found))


def both_classes(loss, **params):
    """The mean of a loss of the first image's object and of its background."""
    background = loss(-SCORES[:1], 1 - MASKS[:1], smooth=0.0, **params)
    return (loss(SCORES[:1], MASKS[:1], smooth=0.0, **params) + background).mean() / 2


def fvcore_focal():
    theirs = peer("fvcore.nn").sigmoid_focal_loss
    return binary_focal(SCORES, MASKS), theirs(SCORES, MASKS, alpha=0.25, gamma=2)


def keras_binary_focal():
    theirs = peer("keras.losses").binary_focal_crossentropy
    found = theirs(MASKS, SCORES, from_logits=True, apply_class_balancing=True)
    return binary_focal(SCORES, MASKS).mean(-1), found


def kornia_binary_focal():
    theirs = peer("kornia.losses").binary_focal_loss_with_logits
    return binary_focal(SCORES, SOFT), theirs(SCORES, SOFT)


def optax_sigmoid_focal():
    theirs = peer("optax.losses").sigmoid_focal_loss
    return binary_focal(SCORES, MASKS), jax(theirs, SCORES, MASKS, alpha=0.25)


def keras_focal():
    theirs = peer("keras.losses").categorical_focal_crossentropy
    return 0.25 * focal(LOGITS, LABELS), theirs(ONE_HOT, LOGITS, from_logits=True)


def kornia_focal():
    theirs = peer("kornia.losses").focal_loss
    return focal(LOGITS, LABELS), theirs(LOGITS, LABELS, alpha=None).sum(1)


def optax_poly():
    theirs = peer("optax.losses").poly_loss_cross_entropy
    return poly1(LOGITS, LABELS), jax(theirs, LOGITS, ONE_HOT)


def keras_dice():
    theirs = peer("keras.losses").dice
    found = theirs(MASKS, SCORES.sigmoid(), axis=1)
    return dice(SCORES, MASKS, smooth=0.0), found


def kornia_dice():
    theirs = peer("kornia.losses").dice_loss
    return both_classes(dice), theirs(CHANNELS, IMAGE, average="macro", eps=0.0)


def optax_dice():
    theirs = peer("optax.losses").binary_dice_loss
    return dice(SCORES, MASKS, smooth=2.0), jax(theirs, SCORES, MASKS, smooth=1.0)


def keras_tversky():
    theirs = peer("keras.losses").tversky
    found = theirs(MASKS, SCORES.sigmoid(), alpha=0.7, beta=0.3, axis=1)
    return tversky(SCORES, MASKS, alpha=0.3, beta=0.7, smooth=0.0), found


def kornia_tversky():
    theirs = peer("kornia.losses").tversky_loss
    found = theirs(CHANNELS, IMAGE, alpha=0.3, beta=0.7, eps=0.0)
    return both_classes(tversky, alpha=0.3, beta=0.7), found


def optax_tversky():
    theirs = peer("optax.losses").dice_loss
    scores, masks = SCORES[..., None], MASKS[..., None]
    found = jax(theirs, scores, masks, alpha=0.3, beta=0.7, smooth=1.0)
    return tversky(SCORES, MASKS, alpha=0.3, beta=0.7), found


COMPARED = {
    ("binary_focal", "fvcore.nn.sigmoid_focal_loss"): fvcore_focal,
    ("binary_focal", "keras.losses.binary_focal_crossentropy"): keras_binary_focal,
    (
        "binary_focal",
        "kornia.losses.binary_focal_loss_with_logits",
    ): kornia_binary_focal,
    ("binary_focal", "optax.losses.sigmoid_focal_loss"): optax_sigmoid_focal,
    ("focal", "keras.losses.categorical_focal_crossentropy"): keras_focal,
    ("focal", "kornia.losses.focal_loss"): kornia_focal,
    ("poly1", "optax.losses.poly_loss_cross_entropy"): optax_poly,
    ("dice", "keras.losses.dice"): keras_dice,
    ("dice", "kornia.losses.dice_loss"): kornia_dice,
    ("dice", "optax.losses.binary_dice_loss"): optax_dice,
    ("tversky", "keras.losses.tversky"): keras_tversky,
    ("tversky", "kornia.losses.tversky_loss"): kornia_tversky,
    ("tversky", "optax.losses.dice_loss"): optax_tversky,
}
SHOWN = list(COMPARED)


@pytest.mark.parametrize("pair", SHOWN, ids="-".join)
def test_they_agree_once_the_difference_is_made_up_for(pair):
    ours, theirs = COMPARED[pair]()
    torch.testing.assert_close(ours, theirs, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_power_of_fvcore_has_no_gradient_at_a_right_answer(dtype):
    theirs = peer("fvcore.nn").sigmoid_focal_loss
    scores = torch.linspace(20, 40, 9, dtype=dtype, requires_grad=True)
    for loss, is_nan in ((theirs, True), (binary_focal, False)):
        value = loss(scores, torch.ones(9, dtype=dtype), gamma=0.5, alpha=0.25)
        (gradient,) = torch.autograd.grad(value.sum(), scores)
        assert bool(gradient.isnan().all()) is is_nan


def test_soft_targets_of_fvcore_and_optax_enter_the_probability():
    """At t = p = 1/2, p_t is 1/2: the power is 1/4 and cross-entropy log 2."""
    score, half = torch.zeros(1), torch.full((1,), 0.5)
    at_half = 0.25 * np.log(2)
    assert float(binary_focal(score, half, alpha=None)) == pytest.approx(at_half)
    # Away from 1/2 they part: t = 1/2, p = 0.9 gives p_t = 1/2 again.
    score = torch.tensor([9.0]).log()
    entropy = -0.5 * (np.log(0.9) + np.log(0.1))
    mixed = -0.5 * (0.01 * np.log(0.9) + 0.81 * np.log(0.1))
    fvcore = peer("fvcore.nn").sigmoid_focal_loss(score, half)
    optax = jax(peer("optax.losses").sigmoid_focal_loss, score, half)
    assert float(fvcore) == pytest.approx(0.25 * entropy, rel=1e-5)
    assert float(optax) == pytest.approx(0.25 * entropy, rel=1e-5)
    assert float(binary_focal(score, half, alpha=None)) == pytest.approx(mixed)


def test_keras_ignores_alpha_by_default():
    theirs = peer("keras.losses").binary_focal_crossentropy
    found = theirs(MASKS, SCORES, alpha=0.9, from_logits=True)
    ours = binary_focal(SCORES, MASKS, alpha=None).mean(-1)
    torch.testing.assert_close(ours, found, rtol=2e-5, atol=1e-6)


def test_keras_clips_the_probabilities():
    theirs = peer("keras.losses").categorical_focal_crossentropy
    wrong = torch.tensor([[0.0, 50.0]])
    found = theirs(torch.tensor([[1.0, 0.0]]), wrong, alpha=1.0, from_logits=True)
    assert float(found) == pytest.approx(-np.log(1e-7), rel=1e-3)
    assert float(focal(wrong, torch.tensor([0]))) == pytest.approx(50.0)


def test_the_mean_of_kornia_divides_by_the_classes_too():
    theirs = peer("kornia.losses").focal_loss
    found = theirs(LOGITS, LABELS, alpha=None, reduction="mean")
    torch.testing.assert_close(focal(LOGITS, LABELS).mean() / 4, found)


def test_the_alpha_of_kornia_is_about_class_0():
    theirs = peer("kornia.losses").focal_loss
    weight = torch.where(LABELS == 0, 0.75, 0.25)
    found = theirs(LOGITS, LABELS, alpha=0.25).sum(1)
    torch.testing.assert_close(weight * focal(LOGITS, LABELS), found)


def test_the_dice_of_kornia_is_linear_by_default():
    """Both masses add up to the number of pixels: the denominator is constant."""
    found = peer("kornia.losses").dice_loss(CHANNELS, IMAGE)
    right = torch.where(MASKS[0] == 1, SCORES[0], -SCORES[0]).sigmoid()
    torch.testing.assert_close((1 - right).mean(), found)


def test_the_dice_of_keras_pools_the_batch():
    found = peer("keras.losses").dice(MASKS, SCORES.sigmoid())
    ours = dice(SCORES.flatten(), MASKS.flatten(), smooth=0.0)
    torch.testing.assert_close(ours, found)


def test_the_alpha_of_keras_prices_misses():
    """Half of the object is missed, nothing else is marked: FP = 0, FN = 1."""
    theirs = peer("keras.losses").tversky
    mask, found = torch.tensor([1.0, 1.0, 0.0]), torch.tensor([1.0, 0.0, 0.0])
    cost = [float(theirs(mask, found, alpha=a, beta=1.0)) for a in (0.0, 1.0)]
    assert cost == pytest.approx([0.0, 0.5], abs=1e-6)
    scores = 200 * found - 100
    ours = [float(tversky(scores, mask, alpha=a, smooth=0.0)) for a in (0.0, 1.0)]
    assert ours[0] == ours[1]


def test_an_empty_mask_rightly_left_empty_costs_1_in_keras():
    """Its constant stands in the denominator alone; ours is 0 there."""
    empty = torch.zeros(1, 16)
    assert float(peer("keras.losses").dice(empty, empty)) == 1
    assert float(dice(torch.full((1, 16), -1e3), empty, smooth=0.0)) == 0
