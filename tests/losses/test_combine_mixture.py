"""The mixture: what its card derives, and that it holds."""

import copy
import math
import pickle
import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

import lossbook
from lossbook import (
    BackwardCorrection,
    Criterion,
    ForwardCorrection,
    HierarchicalCrossEntropy,
    Hierarchy,
    LogitAdjusted,
    Mixture,
    barron,
    binary_cross_entropy,
    binary_focal,
    brier,
    check,
    confidence_penalty,
    cosface,
    crammer_singer,
    cross_entropy,
    dice,
    exponential,
    focal,
    gce,
    hinge,
    kernels,
    label_smoothing,
    lee_lin_wahba,
    logistic,
    mae,
    normface,
    poly1,
    rce,
    schedules,
    sigmoid_loss,
    soft_cross_entropy,
    spherical_score,
    squared,
    unhinged,
    weston_watkins,
    zero_one,
)
from lossbook.evidence import Refuted
from lossbook.losses import card_of

TREE = Hierarchy.from_nested([["cat", "dog"], "car"])
MIXTURES = {
    "active_and_passive": Mixture([partial(gce, q=0.5), rce], [1.0, 0.2]),
    "at_a_limit": Mixture([partial(barron, alpha=2.0), exponential]),
    "beyond_a_formula": Mixture([partial(barron, alpha=0.0), barron]),
    "binary": Mixture([binary_cross_entropy, binary_focal]),
    "calibrated_many": Mixture([lee_lin_wahba, cross_entropy]),
    "cosines": Mixture([partial(normface, scale=10.0), normface]),
    "cosines_apart": Mixture([normface, cosface]),
    "convex_margins": Mixture([hinge, logistic], [0.5, 2.0]),
    "convex_many": Mixture([crammer_singer, weston_watkins]),
    "cross_entropy_and_focal": Mixture([cross_entropy, partial(focal, gamma=1)]),
    "cross_entropy_and_mae": Mixture([cross_entropy, mae], [1.0, 0.5]),
    "nested": Mixture([Mixture([cross_entropy, mae]), mae], [2.0, 3.0]),
    "not_bounded": Mixture([BackwardCorrection([[0.9, 0.1], [0.3, 0.7]]), brier]),
    "one_option": Mixture([HierarchicalCrossEntropy(TREE, weighting="height")]),
    "one_term": Mixture([focal], [3.0]),
    "over_data": Mixture([LogitAdjusted([5, 3, 100], tau=0.5), cross_entropy]),
    "proper": Mixture([brier, cross_entropy], [2.0, 0.5]),
    "proper_and_bounded": Mixture([brier, spherical_score]),
    "steps": Mixture([zero_one, logistic]),
    "symmetric": Mixture([mae, rce], [1.0, 0.2]),
    "symmetric_margins": Mixture([unhinged, sigmoid_loss]),
    "targets": Mixture([soft_cross_entropy, partial(soft_cross_entropy)]),
    "too_right": Mixture([hinge, squared], [2.0, 1.0]),
    "zero_weight": Mixture([focal, cross_entropy], [0.0, 2.0]),
}
CASES = [
    pytest.param(mixture.card, one, id=f"{key}-{one.name}")
    for key, mixture in MIXTURES.items()
    for one in check.applicable(mixture.card)
]


@pytest.mark.parametrize(("card", "one"), CASES)
def test_a_mixture_is_what_its_card_says(card, one):
    with kernels.force("fused"):
        assert one.run(card)


SAID = {
    ("active_and_passive", "strictly_proper"): False,
    ("active_and_passive", "symmetric"): False,
    ("active_and_passive", "upper"): 2 + 0.2 * 4,
    ("at_a_limit", "convex"): True,
    ("at_a_limit", "calibrated"): True,
    ("calibrated_many", "convex"): True,
    ("calibrated_many", "calibrated"): None,
    ("cosines", "strictly_proper"): None,
    ("cosines", "convex"): True,
    ("convex_margins", "convex"): True,
    ("convex_margins", "calibrated"): True,
    ("convex_margins", "lipschitz"): 2.5,
    ("convex_many", "calibrated"): None,
    ("cross_entropy_and_focal", "convex"): None,
    ("cross_entropy_and_focal", "symmetric"): None,
    ("cross_entropy_and_focal", "strictly_proper"): False,
    ("cross_entropy_and_focal", "upper"): math.inf,
    ("cross_entropy_and_mae", "convex"): None,
    ("cross_entropy_and_mae", "strictly_proper"): False,
    ("cross_entropy_and_mae", "symmetric"): False,
    ("cross_entropy_and_mae", "lower"): 0.0,
    ("cross_entropy_and_mae", "lipschitz"): None,
    ("not_bounded", "lower"): -math.inf,
    ("not_bounded", "upper"): math.inf,
    ("one_option", "convex"): True,
    ("one_option", "strictly_proper"): False,
    ("one_term", "convex"): False,
    ("one_term", "calibrated"): True,
    ("proper", "strictly_proper"): True,
    ("proper", "calibrated"): True,
    ("proper", "convex"): None,
    ("proper_and_bounded", "lower"): -1.0,
    ("proper_and_bounded", "upper"): 2.0,
    ("steps", "strictly_proper"): None,
    ("symmetric", "symmetric"): True,
    ("symmetric", "monotone"): True,
    ("symmetric", "shift_invariant"): True,
    ("too_right", "lower"): 0.0,
    ("too_right", "lipschitz"): math.inf,
    ("too_right", "monotone"): None,
    ("zero_weight", "convex"): True,
    ("zero_weight", "lipschitz"): 2 * math.sqrt(2),
}


@pytest.mark.parametrize(("key", "name"), SAID)
def test_what_follows_is_said_and_no_more(key, name):
    expected = SAID[key, name]
    found = getattr(MIXTURES[key].card.properties, name)
    if expected is None or isinstance(expected, bool):
        assert found is expected
    else:
        assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("key", "name"), [kn for kn, said in SAID.items() if said in (True, False)]
)
def test_the_contrary_is_refuted(key, name):
    card = MIXTURES[key].card
    turned = {name: not getattr(card.properties, name)}
    wrong = replace(card, properties=replace(card.properties, **turned))
    with pytest.raises(Refuted, match=name):
        check.property_of(wrong, name)


def test_what_is_not_said_may_go_either_way():
    """Convex plus not convex: enough of the first, and the sum is convex."""
    for weight, convex in ((0.4, True), (5.0, False)):
        card = Mixture([cross_entropy, mae], [1.0, weight]).card
        sure = replace(card, properties=replace(card.properties, convex=convex))
        assert check.property_of(sure, "convex")


@pytest.mark.parametrize(
    "mixture",
    [
        Mixture([partial(gce, q=torch.tensor([[0.2], [0.9]])), mae]),
        Mixture([ForwardCorrection([[0.9, 0.1], [0.3, 0.7]], loss=mae), mae]),
    ],
)
def test_nothing_is_said_of_what_no_card_speaks_of(mixture):
    """Parameters of several models at once; a correction of another loss."""
    card = mixture.card
    assert card.formula is None
    for name in [*check.PROPERTIES, "lower", "upper", "lipschitz"]:
        assert not getattr(card.properties, name)


def logits_and_labels():
    rng = np.random.default_rng(0)
    labels = torch.tensor(rng.integers(4, size=50))
    return torch.tensor(3 * rng.normal(size=(50, 4))), labels


@pytest.mark.parametrize("c", [0.5, 2.0])
def test_cross_entropy_plus_a_miss_is_poly1(c):
    """A miss is 1 - p_y, half of MAE."""
    logits, labels = logits_and_labels()
    found = Mixture([cross_entropy, mae], [1.0, c / 2])(logits, labels)
    torch.testing.assert_close(found, poly1(logits, labels, epsilon=c))


def expected_gradient(loss, logits, eta):
    z = logits.clone().requires_grad_()
    labels = torch.arange(len(z))
    costs = loss(z.expand(len(z), -1), labels)
    (slope,) = torch.autograd.grad((eta * costs).sum(), z)
    return slope


@pytest.mark.parametrize("c", [0.5, 2.0])
def test_an_improper_term_moves_the_optimum(c):
    """It rests where eta_i (1 / p_i + c) is the same for all classes."""
    loss = Mixture([cross_entropy, mae], [1.0, c / 2])
    p = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
    eta = 1 / (1 / p + c)
    eta = eta / eta.sum()
    assert expected_gradient(loss, p.log(), eta).abs().max() < 1e-12
    assert (eta - p).abs().max() > 0.02
    assert expected_gradient(loss, p.log(), p).abs().max() > 0.01
    assert expected_gradient(loss, eta.log(), eta).abs().max() > 0.01
    assert p[0] > eta[0]  # surer of the likeliest class than is true


def test_a_proper_term_does_not():
    p = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
    loss = Mixture([brier, cross_entropy], [5.0, 0.1])
    assert expected_gradient(loss, p.log(), p).abs().max() < 1e-12


@pytest.mark.parametrize(
    ("mixture", "recovered"),
    [
        (MIXTURES["proper"], [0.6, 0.3, 0.1]),
        (Mixture([cross_entropy], [2.0]), [0.6, 0.3, 0.1]),
        # The label's mass 0.9 eta + 0.1 / 3, solved for eta.
        (
            Mixture([label_smoothing]),
            [(p - 0.1 / 3) / 0.9 for p in (0.6, 0.3, 0.1)],
        ),
        (MIXTURES["cross_entropy_and_mae"], None),  # moved, and not by a card's rule
        (MIXTURES["one_option"], None),  # of another form than the card speaks of
        (Mixture([partial(label_smoothing, mass="offclass")]), None),
        (MIXTURES["cosines"], None),
        (MIXTURES["targets"], None),
    ],
)
def test_a_posterior_is_recovered_where_it_is_known(mixture, recovered):
    """In ratio 1 / p to eta for a proper sum: what the outputs state is the truth."""
    found = mixture.card.recovery
    if recovered is None:
        assert found is None
        return
    logits = np.log([[0.6, 0.3, 0.1]])
    closed = mixture.card.closed_over(3)
    assert found(logits, **closed)[0].tolist() == pytest.approx(recovered)


def test_a_proper_sum_of_scores_recovers_the_logistic_function():
    recovery = MIXTURES["convex_margins"].card.recovery
    assert recovery is None  # the hinge has no posterior
    proper = Mixture([logistic, partial(logistic)], [0.5, 2.0])
    scores = np.array([0.0, math.log(3), -1e3])
    found = proper.card.recovery(scores, **proper.card.closed_over())
    assert found.tolist() == pytest.approx([0.5, 0.75, 0.0])


def test_a_schedule_needs_a_time():
    logits, labels = logits_and_labels()
    late = Mixture([cross_entropy, mae], [1.0, partial(schedules.deferred, start=0.8)])
    torch.testing.assert_close(
        late.at(0.5)(logits, labels), cross_entropy(logits, labels)
    )
    torch.testing.assert_close(
        late.at(0.9)(logits, labels), poly1(logits, labels, epsilon=2.0)
    )
    assert late.at(0.5).card.properties.strictly_proper is True
    assert late.at(0.9).card.properties.strictly_proper is False
    assert late.__name__ == "cross_entropy + (schedule) mae"
    message = (
        "weights must be numbers here, got a schedule for mae; choose a time, as in "
        "mixture.at(0.5)"
    )
    for call in (
        lambda: late(logits, labels),
        lambda: late.card,
        lambda: Criterion(late),
    ):
        with pytest.raises(ValueError, match=exactly(message)):
            call()


def test_a_term_of_weight_0_may_be_infinite():
    scores, signs = torch.tensor([-1e4]), torch.tensor([1.0])
    assert Mixture([exponential, hinge], [0.0, 1.0])(scores, signs).item() == 10001


def test_criterion_takes_a_mixture_for_what_it_is():
    mixture = MIXTURES["convex_margins"]
    scores, signs = torch.tensor([0.5, -2.0]), torch.tensor([1.0, 1.0])
    criterion = Criterion(mixture)
    assert criterion.kind == "margin"
    torch.testing.assert_close(criterion(scores, signs), mixture(scores, signs).mean())
    assert "0.5 hinge + 2 logistic" in repr(criterion)
    copied = pickle.loads(pickle.dumps(criterion))
    assert copied(scores, signs) == criterion(scores, signs)


def test_it_copies_and_keeps_its_own_data():
    """The card speaks of data drawn; the loss has its own."""
    mixture = MIXTURES["over_data"]
    logits, labels = torch.zeros(1, 3), torch.tensor([1])
    expected = LogitAdjusted([5, 3, 100], tau=0.5)(logits, labels) + math.log(3)
    torch.testing.assert_close(mixture(logits, labels), expected)
    torch.testing.assert_close(copy.deepcopy(mixture)(logits, labels), expected)
    assert mixture.card.name == "LogitAdjusted(tau=0.5) + cross_entropy"


def test_its_card_is_found_as_that_of_any_loss():
    mixture = MIXTURES["nested"]
    assert card_of(mixture).name == "2 (cross_entropy + mae) + 3 mae"
    assert card_of(len) is None


def exactly(message):
    """A pattern that only the whole message matches."""
    return f"^{re.escape(message)}$"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Mixture([]), "losses must hold at least one loss, got none"),
        (
            lambda: Mixture([cross_entropy, hinge, mae]),
            "losses must be of one kind, got cross_entropy, which is of kind labels, "
            "and hinge, which is of kind margin",
        ),
        (
            lambda: Mixture([soft_cross_entropy, confidence_penalty]),
            "losses must be of one kind, got soft_cross_entropy, which is of kind "
            "targets, and confidence_penalty, which is of kind labels",
        ),
        (
            lambda: Mixture([dice]),
            "losses must be of kind labels, targets, margin, binary, cosine, got dice, "
            "which is of kind batch",
        ),
        (
            lambda: Mixture([LogitAdjusted]),
            "losses must be losses of this package, or instances of them, got "
            "<class 'lossbook.losses.imbalance._logit_adjusted.LogitAdjusted'>",
        ),
        (
            lambda: Mixture([lossbook.diagnose]),
            "losses must be losses of this package, or instances of them, got "
            f"{lossbook.diagnose!r}",
        ),
        (
            lambda: Mixture([cross_entropy, mae], [1.0]),
            "weights must hold one weight a loss, 2, got 1",
        ),
        (
            lambda: Mixture([cross_entropy, mae], [1.0, -0.5]),
            "weights must be finite and not negative, got -0.5; what is subtracted is "
            "no part of a mixture",
        ),
        (
            lambda: Mixture([cross_entropy, mae], [1.0, math.inf]),
            "weights must be finite and not negative, got inf; what is subtracted is "
            "no part of a mixture",
        ),
        (
            lambda: Mixture([cross_entropy], [lambda progress: -1.0]).at(0.5),
            "weights must be finite and not negative, got -1; what is subtracted is "
            "no part of a mixture",
        ),
        (
            lambda: Mixture([cross_entropy, mae], [0.0, 0.0]),
            "weights must not all be 0, got a sum without a term",
        ),
        (
            lambda: Mixture([cross_entropy]).at(2.0),
            "progress must lie between 0 and 1, got 2; it is the share of training "
            "that is done",
        ),
    ],
)
def test_what_is_no_mixture_is_refused(call, message):
    with pytest.raises(ValueError, match=exactly(message)):
        call()
