"""The losses of imbalance: what no card can say."""

import re
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from lossbook import (
    LDAM,
    BalancedSoftmax,
    Criterion,
    Equalized,
    LogitAdjusted,
    adjust_logits,
    asymmetric,
    binary_cross_entropy,
    binary_focal,
    check,
    cross_entropy,
    dice,
    focal_tversky,
    kernels,
    tversky,
    weights,
)
from lossbook.evidence import Refuted
from lossbook.losses import CATALOGUE

COUNTS = [600, 30, 170]
OVERLAP = [CATALOGUE[key] for key in ("dice", "tversky", "focal_tversky")]
SCORES = torch.linspace(-8, 8, 33, dtype=torch.float64)
ONES, ZEROS = torch.ones_like(SCORES), torch.zeros_like(SCORES)


def logits(n=50, classes=3):
    rng = np.random.default_rng(0)
    labels = torch.tensor(rng.integers(classes, size=n))
    return torch.tensor(3 * rng.normal(size=(n, classes))), labels


def exactly(message):
    """A pattern that only the whole message matches."""
    return f"^{re.escape(message)}$"


def gradient(loss, *arrays, **params):
    """The gradient of the sum of a loss in its first array."""
    first = arrays[0].clone().requires_grad_()
    (found,) = torch.autograd.grad(loss(first, *arrays[1:], **params).sum(), first)
    return found


# Binary focal and asymmetric loss


def test_focal_of_a_soft_target_is_the_expected_loss():
    yes, no = (binary_focal(SCORES, hard) for hard in (ONES, ZEROS))
    found = binary_focal(SCORES, 0.3 * ONES)
    torch.testing.assert_close(found, 0.3 * yes + 0.7 * no)


def test_no_alpha_weighs_both_answers_with_1():
    for hard in (ONES, ZEROS):
        both = binary_focal(SCORES, hard, alpha=None)
        torch.testing.assert_close(both, 2 * binary_focal(SCORES, hard, alpha=0.5))


def test_binary_focal_never_exceeds_cross_entropy():
    for gamma in (0.0, 0.5, 2.0, 5.0):
        for hard in (ONES, ZEROS):
            loss = binary_focal(SCORES, hard, gamma=gamma, alpha=None)
            bound = binary_cross_entropy(SCORES, hard)
            assert (loss <= bound * (1 + 1e-6)).all()  # both are rounded


def test_the_articles_alpha_says_yes_only_above_three_quarters():
    """At score 0 both pulls are equal where alpha eta = (1 - alpha)(1 - eta)."""
    score, eta = torch.zeros(1), torch.tensor([0.75])
    assert gradient(binary_focal, score, eta).tolist() == pytest.approx([0])
    assert gradient(binary_focal, score, eta + 0.01) < 0
    recover = CATALOGUE["binary_focal"].recovery
    assert recover(np.zeros(1), alpha=0.9) == pytest.approx(0.1)


@pytest.mark.parametrize("form", ["plain", "fused"])
def test_a_no_that_is_ruled_out_still_pulls(form):
    score = torch.tensor([torch.inf], requires_grad=True)
    with kernels.force(form):
        loss = binary_focal(score, torch.zeros(1), alpha=0.25)
    (pull,) = torch.autograd.grad(loss.sum(), score)
    assert loss.item() == torch.inf
    assert pull.item() == 0.75


def test_asymmetric_ignores_a_no_up_to_the_clip():
    below = torch.tensor([-1e4, -30.0, -2.95], dtype=torch.float64)  # p < 0.05
    above = torch.tensor([-2.94, 0.0], dtype=torch.float64)
    for gamma in (0.0, 0.5, 1.0, 4.0):
        for scores, free in ((below, True), (above, False)):
            no = torch.zeros_like(scores)
            loss = asymmetric(scores, no, gamma_negative=gamma)
            pull = gradient(asymmetric, scores, no, gamma_negative=gamma)
            assert (loss == 0).tolist() == [free] * len(scores)
            assert (pull == 0).tolist() == [free] * len(scores)


def test_asymmetric_is_focal_where_nothing_is_asymmetric():
    for hard in (ONES, ZEROS):
        loss = asymmetric(SCORES, hard, gamma_positive=2, gamma_negative=2, clip=0)
        torch.testing.assert_close(loss, binary_focal(SCORES, hard, alpha=None))


def test_asymmetric_says_yes_far_below_one_half():
    """At p = 1/2, "yes" pulls with 1/2 and "no" with q^4 / (1 - q) - 4 q^3 ln(1 - q).

    That of "no" counts a quarter, p (1 - p), and q = 0.45.
    """
    no = (0.45**4 / 0.55 - 4 * 0.45**3 * np.log(0.55)) / 4
    recover = CATALOGUE["asymmetric"].recovery
    assert recover(np.zeros(1)) == pytest.approx(no / (0.5 + no))
    assert no / (0.5 + no) < 0.13


def test_a_no_of_asymmetric_is_bounded_by_the_clip():
    """1 - q is never below the clip, so a certain, wrong "yes" costs at most this."""
    worst = asymmetric(torch.tensor([1e4]), torch.tensor([0.0]))
    assert float(worst) == pytest.approx(-(0.95**4) * np.log(0.05), rel=1e-6)


# Class weights


def test_inverse_frequency_gives_all_classes_the_same_total():
    weight = weights.inverse_frequency(COUNTS)
    assert weight * COUNTS == pytest.approx(weight[0] * 600)
    assert weight.sum() == pytest.approx(3)


def test_powers_of_the_inverse_frequency():
    assert weights.inverse_frequency(COUNTS, power=0.0).tolist() == [1, 1, 1]
    half = weights.inverse_frequency([1, 4], power=0.5)
    assert half == pytest.approx([4 / 3, 2 / 3])


def test_the_effective_number_is_a_geometric_sum():
    for beta in (0.5, 0.9, 0.999):
        effective = [sum(beta**k for k in range(n)) for n in COUNTS]
        weight = weights.effective_number(COUNTS, beta=beta)
        assert weight * effective == pytest.approx(weight[0] * effective[0])
        assert weight.sum() == pytest.approx(3)


def test_the_effective_number_has_both_limits():
    assert weights.effective_number(COUNTS, beta=0.0).tolist() == [1, 1, 1]
    inverse = weights.inverse_frequency(COUNTS)
    assert weights.effective_number(COUNTS, beta=1.0) == pytest.approx(inverse)
    for gap in (1e-12, 2.0**-53):
        near = weights.effective_number(COUNTS, beta=1 - gap)
        assert near == pytest.approx(inverse, rel=1e-9)


def test_the_effective_number_keeps_its_digits_near_1():
    """The formula as it is written loses them: 1 - beta^n is a difference of ones."""
    beta = 1 - 1e-9
    exact = [(1 - Fraction(beta)) / (1 - Fraction(beta) ** n) for n in COUNTS]
    wanted = [float(3 * w / sum(exact)) for w in exact]
    found = weights.effective_number(COUNTS, beta=beta)
    assert found == pytest.approx(wanted, rel=1e-14)


def test_re_weighting_is_deferred():
    before, after = (weights.deferred(COUNTS, epoch, start=160) for epoch in (159, 160))
    assert before.tolist() == [1, 1, 1]
    assert after.tolist() == weights.effective_number(COUNTS, beta=0.9999).tolist()


def test_weights_are_those_of_torch():
    z, y = logits()
    weight = weights.effective_number(COUNTS)
    ours = Criterion(cross_entropy, weight=weight)(z, y)
    theirs = torch.nn.CrossEntropyLoss(weight=torch.tensor(weight))(z, y)
    torch.testing.assert_close(ours, theirs)


def test_a_weighted_class_is_recovered_more_often():
    """Weighted cross-entropy is flat where softmax(logits) is in ratio w times eta."""
    weight = torch.tensor(weights.inverse_frequency(COUNTS))
    eta = torch.tensor([0.7, 0.1, 0.2], dtype=torch.float64)
    z = (weight * eta).log().expand(3, 3)
    criterion = Criterion(cross_entropy, weight=weight, reduction="none")
    pull = gradient(lambda z, y: eta * criterion(z, y), z, torch.arange(3)).sum(0)
    torch.testing.assert_close(pull, torch.zeros_like(pull))


TAKES_COUNTS = [
    LDAM,
    BalancedSoftmax,
    Equalized,
    LogitAdjusted,
    weights.effective_number,
    weights.inverse_frequency,
    lambda counts: weights.deferred(counts, 0, start=1),
    lambda counts: adjust_logits(torch.zeros(2), counts),
]
POSITIVE = "counts must be positive and finite, got {}; leave out a class that has no "
REFUSED_COUNTS = [
    ([5, 0], POSITIVE.format("[5.0, 0.0]") + "examples"),
    ([5, -1], POSITIVE.format("[5.0, -1.0]") + "examples"),
    ([5, float("inf")], POSITIVE.format("[5.0, inf]") + "examples"),
    ([[5, 1]], "counts must hold one number a class, shape (C,), got shape (1, 2)"),
    ([], "counts must hold one number a class, shape (C,), got shape (0,)"),
]


@pytest.mark.parametrize("takes", TAKES_COUNTS)
@pytest.mark.parametrize(("counts", "message"), REFUSED_COUNTS)
def test_counts_are_refused_with_one_sentence(takes, counts, message):
    with pytest.raises(ValueError, match=exactly(message)):
        takes(counts)


def test_beta_outside_of_its_range_is_refused():
    for beta in (-0.1, 1.1, float("nan")):
        message = f"beta must lie between 0 and 1, got {beta:g}"
        with pytest.raises(ValueError, match=exactly(message)):
            weights.effective_number(COUNTS, beta=beta)


@pytest.mark.parametrize("loss", [LDAM, BalancedSoftmax, Equalized, LogitAdjusted])
def test_another_number_of_classes_is_refused(loss):
    message = exactly("logits must have 3 classes, as counts has, got 4")
    outputs, labels = logits(classes=4)
    with pytest.raises(ValueError, match=message):
        loss(COUNTS)(outputs.tanh(), labels)
    with pytest.raises(ValueError, match=message):
        adjust_logits(torch.zeros(4), COUNTS)


# Logit adjustment


def test_at_equal_logits_the_loss_is_the_surprise_of_the_prior():
    z, y = torch.zeros(2, 2), torch.arange(2)
    wanted = -torch.tensor([0.75, 0.25]).log()
    torch.testing.assert_close(LogitAdjusted([3, 1])(z, y), wanted)
    torch.testing.assert_close(BalancedSoftmax([3, 1])(z, y), wanted)


class Subtracted(LogitAdjusted):
    """Logit adjustment with the sign that belongs after training."""

    def __call__(self, logits, labels):
        adjusted = adjust_logits(logits, self.counts, tau=self.tau)
        return cross_entropy(adjusted, labels)


@pytest.mark.parametrize("name", ["reference", "recovery"])
def test_the_wrong_sign_is_refused(name):
    with pytest.raises(Refuted):
        check.CHECKS[name].run(replace(CATALOGUE["LogitAdjusted"], fn=Subtracted))


def test_only_the_ratios_of_counts_matter():
    z, y = logits()
    z = z.tanh()  # cosines, for LDAM
    for loss in (LogitAdjusted, BalancedSoftmax, LDAM, Equalized):
        more = loss([7 * n for n in COUNTS])(z, y)
        torch.testing.assert_close(loss(COUNTS)(z, y), more)


def test_adjusting_after_training_gives_what_training_adjusted_gives():
    """The logit-adjusted loss is flat at log(eta) - tau log(prior)."""
    eta = torch.tensor([0.7, 0.1, 0.2], dtype=torch.float64)
    for tau in (0.0, 0.5, 1.0, 2.0):
        z = adjust_logits(eta.log(), COUNTS, tau=tau).expand(3, 3)
        each = [
            gradient(LogitAdjusted(COUNTS, tau=tau), z, torch.full((3,), label))[0]
            for label in range(3)
        ]
        pull = eta @ torch.stack(each)
        torch.testing.assert_close(pull, torch.zeros_like(pull))


def test_adjusted_logits_are_relative_to_the_prior():
    """A posterior equal to the prior says nothing: all adjusted logits are equal."""
    prior = torch.tensor(COUNTS) / 800
    adjusted = adjust_logits(prior.log(), COUNTS)
    torch.testing.assert_close(adjusted, torch.zeros(3))


def test_adjusting_broadcasts_tau_and_widens_halves():
    z = torch.zeros(2, 3, dtype=torch.bfloat16)
    found = adjust_logits(z, COUNTS, tau=torch.tensor([0.0, 1.0]))
    assert found.dtype is torch.float32
    assert found[0].tolist() == [0, 0, 0]
    torch.testing.assert_close(found[1], -(torch.tensor(COUNTS) / 800).log())


def test_a_small_prior_counts_beside_huge_logits():
    """Added to 1e8 in float32, the prior's log would be rounded away."""
    z = torch.full((1, 2), 1e8)
    loss = LogitAdjusted([3, 1])(z, torch.tensor([1]))
    assert float(loss) == pytest.approx(np.log(4))


# Equalized loss


def test_a_rare_rival_is_left_out_at_gamma_1():
    z, y = logits(classes=3)
    loss = Equalized([990, 5, 5], gamma=1.0)
    pull = gradient(loss, z, y)
    assert (pull[y != 1, 1] == 0).all()
    assert (pull[y != 2, 2] == 0).all()
    assert (pull[y != 0, 0] > 0).all()


def test_equalized_never_exceeds_cross_entropy():
    z, y = logits()
    assert (Equalized([990, 5, 5])(z, y) <= cross_entropy(z, y)).all()


def test_equalized_is_at_least_the_article_average_over_its_coin():
    z, y = logits()
    for gamma in (0.25, 0.5, 0.9):
        loss, out, kept = (
            Equalized([990, 5, 5], gamma=g)(z, y) for g in (gamma, 1.0, 0.0)
        )
        average = gamma * out + (1 - gamma) * kept
        assert (loss >= average - 1e-12).all()
        assert (loss > average + 1e-3).any()


def test_rare_means_below_the_threshold():
    z, y = torch.zeros(1, 2), torch.tensor([0])
    at, above = (
        Equalized([95, 5], threshold=t, gamma=1.0)(z, y) for t in (0.05, 0.0501)
    )
    assert float(at) == pytest.approx(np.log(2))
    assert float(above) == 0


# LDAM


def test_the_margin_falls_with_the_fourth_root_of_the_count():
    """At scale 1, cosine 0 and one rival at 0: log(1 + exp(margin))."""
    loss = LDAM([16, 1], max_margin=0.8, scale=1.0)
    found = loss(torch.zeros(2, 2), torch.arange(2))
    wanted = torch.tensor([0.4, 0.8]).exp().log1p()
    torch.testing.assert_close(found, wanted)


def test_the_margin_of_ldam_hits_rare_classes_most():
    cosines, y = torch.zeros(3, 3), torch.arange(3)
    loss = LDAM(COUNTS)(cosines, y)
    assert loss.argsort().tolist() == [0, 2, 1]


@pytest.mark.parametrize("name", ["convex", "monotone", "shift_invariant", "lipschitz"])
def test_ldam_has_the_properties_on_its_card(name):
    assert check.property_of(CATALOGUE["LDAM"], name)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_ldam_is_finite_at_the_ends_in_any_precision(dtype):
    ends = torch.tensor([[1.0, -1, -1], [-1, 1, 1], [0, 0, 0]], dtype=dtype)
    y = torch.zeros(3, dtype=torch.int64)
    loss = LDAM(COUNTS)
    assert loss(ends, y).dtype is torch.float32
    wide = loss(ends.double(), y)
    torch.testing.assert_close(loss(ends, y).double(), wide, rtol=1e-5, atol=1e-6)
    assert gradient(loss, ends, y).isfinite().all()


def test_parameters_of_ldam_may_differ_between_models():
    cosines = torch.rand(5, 3, dtype=torch.float64) * 2 - 1
    y = torch.tensor([0, 1, 2, 0, 1])
    margins = torch.tensor([[0.0], [0.5]], dtype=torch.float64)
    scales = torch.tensor([[1.0], [30.0]], dtype=torch.float64)
    both = LDAM(COUNTS, max_margin=margins, scale=scales)(
        cosines.expand(2, 5, 3), y.expand(2, 5)
    )
    for i in range(2):
        m, s = float(margins[i]), float(scales[i])
        alone = LDAM(COUNTS, max_margin=m, scale=s)(cosines, y)
        torch.testing.assert_close(both[i], alone)


def test_ldam_refuses_what_is_no_number():
    cosines = torch.tensor([[0.0, float("nan"), 0.0]])
    with pytest.raises(ValueError, match=r"^cosines must be finite numbers"):
        LDAM(COUNTS)(cosines, torch.tensor([0]))


def test_ldam_takes_part_in_a_criterion():
    cosines, y = torch.rand(6, 3) * 2 - 1, torch.tensor([0, 1, 2, 0, 1, -100])
    weight = weights.deferred(COUNTS, 160, start=160)
    loss = LDAM(COUNTS)
    found = Criterion(loss, weight=weight)(cosines, y)
    each, w = loss(cosines[:5], y[:5]), torch.tensor(weight, dtype=torch.float32)[y[:5]]
    torch.testing.assert_close(found, (w * each).sum() / w.sum())


# Overlap


def masks(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def sure(predicted):
    """Scores of a prediction that is certain to the last digit."""
    return 800 * torch.as_tensor(predicted, dtype=torch.float64) - 400


TRUE, FOUND = masks([1, 1, 1, 0, 0, 0]), masks([1, 1, 0, 1, 0, 0])


def test_overlap_of_sets_by_hand():
    """TP = 2, FP = 1, FN = 1."""
    scores = sure(FOUND)
    assert float(dice(scores, TRUE, smooth=0.0)) == pytest.approx(1 - 4 / 6)
    assert float(dice(scores, TRUE)) == pytest.approx(1 - 5 / 7)
    jaccard = tversky(scores, TRUE, alpha=1.0, beta=1.0, smooth=0.0)
    assert float(jaccard) == pytest.approx(1 - 2 / 4)
    root = focal_tversky(scores, TRUE, smooth=0.0)  # TP + 0.3 FP + 0.7 FN = 3
    assert float(root) == pytest.approx((1 / 3) ** 0.75)


def test_alpha_prices_what_is_found_too_much():
    """One pixel of two is right; the other is found in vain, or missed."""
    in_vain = tversky(sure([1, 1]), masks(1, 0), alpha=0.3, beta=0.7, smooth=0.0)
    missed = tversky(sure([1, 0]), masks(1, 1), alpha=0.3, beta=0.7, smooth=0.0)
    assert float(in_vain) == pytest.approx(0.3 / 1.3)
    assert float(missed) == pytest.approx(0.7 / 1.7)


@pytest.mark.parametrize("card", OVERLAP, ids=lambda card: card.key)
def test_overlap_losses_lie_between_0_and_1(card):
    scores, targets = map(torch.tensor, card.sample(np.random.default_rng(1), 500))
    for params in card.settings():
        for stretch in (1, 100):
            loss = card.fn(stretch * scores, targets, **params)
            assert ((loss >= 0) & (loss <= 1)).all()
        assert (card.fn(sure(TRUE), TRUE, **params) < 1e-12).all()
    wrong = card.fn(sure(1 - TRUE), TRUE, **card.defaults() | {"smooth": 0.0})
    assert float(wrong) == pytest.approx(1)


@pytest.mark.parametrize("card", OVERLAP, ids=lambda card: card.key)
def test_overlap_losses_are_not_convex(card):
    truth, a, b = masks(1, 0), masks(-6, -6), masks(0, -6)
    ends = (card.fn(a, truth, smooth=0.0) + card.fn(b, truth, smooth=0.0)) / 2
    assert float(card.fn((a + b) / 2, truth, smooth=0.0) - ends) > 0.1


def test_a_nearly_right_mask_keeps_its_digits():
    """Neither 1 - p nor 1 - dice is formed: the loss is half of what p lacks."""
    loss = dice(masks(50), masks(1), smooth=0.0)
    assert float(loss) == pytest.approx(np.exp(-50) / 2, rel=1e-12, abs=0)


@pytest.mark.parametrize("card", OVERLAP, ids=lambda card: card.key)
def test_pixels_have_no_order(card):
    scores, targets = map(torch.tensor, card.sample(np.random.default_rng(1), 8))
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    found = card.fn(scores[:, order], targets[:, order])
    torch.testing.assert_close(found, card.fn(scores, targets))


def test_one_loss_an_image_is_not_one_loss_a_batch():
    """The second image has no object; alone, one wrong pixel costs half."""
    truth = masks([1, 1, 1, 1], [0, 0, 0, 0])
    scores = sure(masks([1, 1, 1, 1], [1, 0, 0, 0]))
    assert dice(scores, truth).tolist() == pytest.approx([0, 1 / 2])
    assert float(dice(scores.flatten(), truth.flatten())) == pytest.approx(1 / 10)


def test_an_empty_mask_costs_what_is_predicted():
    scores, empty = masks([1, -1, 0, 2]), masks([0, 0, 0, 0])
    p = scores.sigmoid()
    total = p.sum()
    for loss, priced in ((dice, total), (tversky, total / 2)):
        torch.testing.assert_close(loss(scores, empty)[0], priced / (priced + 1))
    slope = gradient(dice, scores, empty)
    torch.testing.assert_close(slope, p * (1 - p) / (total + 1) ** 2)


def test_an_empty_mask_without_smoothing_teaches_nothing():
    scores, empty = masks([1, -1, 0, 2]), masks([0, 0, 0, 0])
    for card in OVERLAP:
        loss = card.fn(scores, empty, smooth=0.0)
        pull = gradient(card.fn, scores, empty, smooth=0.0)
        torch.testing.assert_close(loss, torch.ones(1, dtype=torch.float64))
        torch.testing.assert_close(pull, torch.zeros_like(pull))
        nothing = card.fn(scores - 1e4, empty, smooth=0.0)
        assert nothing.tolist() == [0]


@pytest.mark.parametrize("card", OVERLAP, ids=lambda card: card.key)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_overlap_is_finite_at_extreme_scores(card, dtype):
    ends = [0.0, 20.0, 50.0, 90.0, 100.0, 400.0, 1e3, 1e4]
    scores = torch.tensor([*ends, *(-e for e in ends)], dtype=dtype)
    # Every score in every kind of image: all alike, and beside ordinary ones.
    images = torch.stack([scores.new_ones(4, 1) * scores, scores.expand(4, -1)], 0)
    images = torch.cat([images.mT.flatten(0, 1), images.flatten(0, 1)[:, :4]])
    for truth in ([0.0] * 4, [1.0] * 4, [1.0, 0, 0, 1], [0.5, 0, 1, 0.1]):
        targets = torch.tensor(truth, dtype=dtype).expand_as(images)
        for smooth in (0.0, 1e-3, 1.0):
            for params in card.settings():
                at = params | {"smooth": smooth}
                assert card.fn(images, targets, **at).isfinite().all()
                assert gradient(card.fn, images, targets, **at).isfinite().all()


@pytest.mark.parametrize("card", OVERLAP, ids=lambda card: card.key)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_overlap_of_halves_is_computed_in_float32(card, dtype):
    """A sum of 70000 pixels is more than a float16 holds."""
    scores = torch.full((70000,), 3.0, dtype=dtype)
    targets = torch.ones(70000, dtype=dtype)
    loss = card.fn(scores, targets)
    assert loss.dtype is torch.float32
    torch.testing.assert_close(loss, card.fn(scores.float(), targets.float()))
    assert gradient(card.fn, scores, targets).dtype is dtype


def test_the_gradient_of_the_root_is_small_at_a_right_mask():
    for size in (5.0, 20.0, 100.0, 1e4):
        scores = size * (2 * TRUE - 1)
        pull = gradient(focal_tversky, scores, TRUE, gamma=3.0)
        assert pull.isfinite().all()
        assert (pull.abs() <= 2 / 3 * focal_tversky(scores, TRUE, gamma=3.0)).all()


def test_the_root_pulls_harder_at_small_losses_only():
    """x^(3/4) is steeper than x below (4/3)^(-4)."""
    turn = (3 / 4) ** 4
    for loss, harder in ((turn - 0.01, True), (turn + 0.01, False)):
        # One pixel of the object, beta = 1, no smoothing: the Tversky loss is 1 - p.
        score = torch.tensor([np.log((1 - loss) / loss)])
        at = {"alpha": 0.3, "beta": 1.0, "smooth": 0.0}
        one = torch.ones(1, dtype=torch.float64)
        assert float(tversky(score, one, **at)) == pytest.approx(loss)
        steep = gradient(focal_tversky, score, one, **at).abs()
        plain = gradient(tversky, score, one, **at).abs()
        assert bool(steep > plain) is harder


LAST_AXIS = (
    "scores must have a last axis with one entry a pixel, got shape {}; flatten(1) "
    "makes one axis of an image's pixels"
)
REFUSED_MASKS = [
    (torch.zeros(()), torch.zeros(()), LAST_AXIS.format("()")),
    (torch.zeros(2, 0), torch.zeros(2, 0), LAST_AXIS.format("(2, 0)")),
    (
        torch.zeros(2, 3),
        torch.zeros(2, 4),
        "targets must have the shape of scores, (2, 3), got (2, 4)",
    ),
    (
        torch.zeros(2),
        torch.tensor([0.0, 255.0]),
        "targets must lie between 0 and 1, got 255; turn signs -1 and +1 into targets "
        "with (signs + 1) / 2",
    ),
    (
        torch.zeros(2, dtype=torch.int64),
        torch.zeros(2),
        "scores must be of a floating dtype, got torch.int64",
    ),
]


@pytest.mark.parametrize("card", OVERLAP, ids=lambda card: card.key)
@pytest.mark.parametrize(("scores", "targets", "message"), REFUSED_MASKS)
def test_masks_are_refused_with_one_sentence(card, scores, targets, message):
    with pytest.raises((ValueError, TypeError), match=exactly(message)):
        card.fn(scores, targets)


@pytest.mark.parametrize("card", OVERLAP, ids=lambda card: card.key)
def test_overlap_names_a_score_that_is_nan(card):
    scores = torch.tensor([[0.0, 1.0], [0.0, float("nan")]])
    with pytest.raises(
        ValueError, match=r"^scores must be finite .* got nan at \(1, 1"
    ):
        card.fn(scores, torch.zeros(2, 2))


@pytest.mark.parametrize("card", OVERLAP, ids=lambda card: card.key)
def test_no_images_have_no_losses(card):
    scores = torch.zeros(0, 5, requires_grad=True)
    loss = card.fn(scores, torch.zeros(0, 5))
    assert loss.shape == (0,)
    (pull,) = torch.autograd.grad(loss.sum(), scores)
    assert pull.shape == (0, 5)


@pytest.mark.parametrize("card", OVERLAP, ids=lambda card: card.key)
def test_masks_may_be_integers(card):
    scores, targets = SCORES, (SCORES > 1)
    expected = card.fn(scores, targets.double())
    for dtype in (torch.bool, torch.int64, torch.uint8):
        torch.testing.assert_close(card.fn(scores, targets.to(dtype)), expected)


def test_a_beta_that_is_all_but_0_weighs_classes_alike():
    found = weights.effective_number([1e6, 1.0], beta=1e-300)
    np.testing.assert_array_equal(found, [1.0, 1.0])


@pytest.mark.parametrize("loss", [dice, tversky])
def test_masks_smaller_than_a_pixel_have_an_overlap(loss):
    """Two soft masks of a tenth and of a half: twice a twentieth over three fifths."""
    values = {"smooth": 0.0}
    found = loss(torch.zeros(1, 1), torch.tensor([[0.1]]), **values)
    assert found.item() == pytest.approx(1 - 0.1 / 0.6)
