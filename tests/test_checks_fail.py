"""A check that cannot fail checks nothing: each one meets a loss that is wrong."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy as torch_cross_entropy

from lossbook import check
from lossbook.card import Formula, SpecialCase
from lossbook.evidence import Refuted
from lossbook.losses import CATALOGUE
from lossbook.modes import values_visible

CE, FOCAL, GCE = (CATALOGUE[key] for key in ("cross_entropy", "focal", "gce"))
LOGISTIC = CATALOGUE["logistic"]
SMOOTHED = CATALOGUE["label_smoothing"]
ARCFACE, COSFACE, NORMFACE = (CATALOGUE[k] for k in ("arcface", "cosface", "normface"))


def naive(logits, labels):
    """Overflow at logit 1000, as the textbook formula does."""
    p = logits.exp() / logits.exp().sum(-1, keepdim=True)
    return -p.gather(-1, labels[..., None])[..., 0].log()


def lost_minus(logits, labels):
    return torch_cross_entropy(-logits, labels, reduction="none")


def detached(logits, labels, *, gamma=2.0):
    """Focal loss whose weight forgets its own gradient."""
    log_p = -torch_cross_entropy(logits, labels, reduction="none")
    return -((1 - log_p.exp()).detach() ** gamma) * log_p


def order_dependent(logits, labels):
    loss = CE.fn(logits, labels)
    return loss * torch.linspace(1, 2, len(loss)) if len(loss) else loss


def slipped_reference(logits, labels):
    loss, gradient = CE.ref(logits, labels)
    return loss, gradient[..., ::-1]


def deaf_to_options(logits, labels, *, epsilon=0.1, mass="uniform"):
    return SMOOTHED.ref(logits, labels, epsilon=epsilon)


def narrow(logits, labels):
    return CE.fn(logits.double(), labels).half()


def unbroadcast(logits, labels, *, gamma=2.0):
    return FOCAL.fn(logits, labels, gamma=float(torch.as_tensor(gamma).flatten()[0]))


def no_second(logits, labels):
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z):
            ctx.save_for_backward(z)
            return CE.fn(z, labels)

        @staticmethod
        def backward(ctx, upstream):
            (z,) = ctx.saved_tensors
            e_y = torch.eye(z.shape[-1], dtype=z.dtype)[labels]
            return upstream[..., None] * (z.softmax(-1) - e_y).detach()

    return Once.apply(logits)


def never_empty(logits, labels):
    return CE.fn(logits, labels) if len(labels) else torch.zeros(1) + logits.sum()


def restless(logits, labels):
    return CE.fn(logits, labels) + logits.sum(-1)


def trusting(logits, labels):
    return -logits.log_softmax(-1).gather(-1, labels[..., None].clamp(min=0))[..., 0]


def dip(scores, signs):
    """A loss whose excess risk is no convex function of the excess 0/1 risk.

    Worked by hand: H^- - H is 2 eta - 1 up to eta = 9/16, then (4 eta - 1) / 10.
    """
    margin = scores * signs
    steps = torch.where(margin >= 0, 0.9, torch.where(margin > -1, 0.3, 1.0))
    return torch.where(margin >= 1, 0.0, steps) + 0 * margin


def dented(theta):
    """The same, not made convex."""
    return np.minimum(np.abs(theta), 0.1 + 0.2 * np.abs(theta))


def by_matrix(logits, labels):
    """Autocast computes this product in bfloat16."""
    return CE.fn(logits @ torch.eye(logits.shape[-1], dtype=logits.dtype), labels)


def two_faced(logits, labels):
    """Another loss where nobody can look at the numbers."""
    return CE.fn(logits if values_visible(logits) else 2 * logits, labels)


def by_branches(logits, labels):
    total = logits.detach().sum().item()
    return CE.fn(logits if total > 0 else logits + 1, labels)


def homebound(logits, labels):
    """Meets logits of any device with zeros on the CPU."""
    return CE.fn(logits, labels) + torch.zeros(len(labels), dtype=logits.dtype)


def other_default(logits, labels, *, gamma=1.0):
    return FOCAL.fn(logits, labels, gamma=gamma)


def other_reference(logits, labels, *, gamma=1.0):
    return FOCAL.ref(logits, labels, gamma=gamma)


def other_recovery(logits, *, gamma=1.0):
    return FOCAL.recovery(logits, gamma=gamma)


def not_summing_to_one(logits):
    return np.exp(logits - logits.max(-1, keepdims=True))


def naive_sum(logits, labels):
    """0 times inf in the gradient of a class that is ruled out."""
    p = logits.softmax(-1)
    return CE.fn(logits, labels) + 0 * (p * p.log()).nan_to_num().sum(-1)


def above_one_excluded(scores):
    """The posterior of +1 for `flat_above_one`, none where it is 1."""
    return (1 + scores.clip(-1, 2)) / 2


def flat_above_one(scores, signs):
    """Squared hinge: any score above 1 is optimal where +1 is certain."""
    return (1 - scores * signs).clamp(min=0) ** 2


class Forgetful:
    """Copies of it are twice the loss."""

    def __init__(self, factor=1.0):
        self.factor = factor

    def __reduce__(self):
        return Forgetful, (2.0,)

    def __call__(self, logits, labels):
        return self.factor * CE.fn(logits, labels)


def unmasked(logits, targets):
    """0 times inf at a class that is ruled out."""
    return -(targets * logits.log_softmax(-1)).sum(-1)


def by_arccos(cosines, labels, *, margin=0.5, scale=64.0):
    """ArcFace as it is often written: the arc cosine has no slope at 1."""
    theta = cosines.acos()
    fallback = cosines - margin * np.sin(margin)
    widened = torch.where(theta <= np.pi - margin, (theta + margin).cos(), fallback)
    own = torch.nn.functional.one_hot(labels, cosines.shape[-1]).bool()
    return CE.fn(scale * torch.where(own, widened, cosines), labels)


def unlimited(cosines, labels, *, scale=30.0):
    return CE.fn(scale * cosines, labels)


def no_margin_recovered(cosines, *, margin=0.35, scale=64.0):
    return NORMFACE.recovery(cosines, scale=scale)


WRONG = [
    ("extremes", replace(ARCFACE, fn=by_arccos)),
    ("formula", replace(COSFACE, formula=NORMFACE.formula)),
    ("half_precision", replace(ARCFACE, fn=by_arccos)),
    ("recovery", replace(COSFACE, recovery=no_margin_recovered)),
    ("refusals", replace(NORMFACE, fn=unlimited)),
    ("reference", replace(CE, fn=lost_minus)),
    ("reference", replace(FOCAL, fn=detached)),
    ("reference", replace(CE, ref=slipped_reference)),
    ("central_differences", replace(CE, ref=slipped_reference)),
    ("gradcheck", replace(FOCAL, fn=detached)),
    ("gradgradcheck", replace(CE, fn=no_second)),
    ("extremes", replace(CE, fn=naive)),
    ("half_precision", replace(CE, fn=narrow)),
    ("half_precision", replace(CE, fn=naive)),
    ("batch_permutation", replace(CE, fn=order_dependent)),
    ("empty_batch", replace(CE, fn=never_empty)),
    ("one_class", replace(CE, fn=restless)),
    ("parameters_broadcast", replace(FOCAL, fn=unbroadcast)),
    ("special_cases", replace(CE, special_cases=(SpecialCase(of="mae"),))),
    ("formula", replace(CE, formula=Formula(expr="log(p)"))),
    ("formula", replace(FOCAL, formula=Formula(expr="-(1 - p)**2 * log(p)"))),
    ("slope", replace(CE, formula=Formula(expr="-log(p)", derivative="1 / p"))),
    (
        "limits",
        replace(GCE, formula=replace(GCE.formula, limits={"q": {0.0: "1 - p"}})),
    ),
    (
        "limits",
        replace(GCE, formula=replace(GCE.formula, limits={"q": {0.0: "0"}})),
    ),
    ("limits", replace(GCE, formula=replace(GCE.formula, limits={}))),
    ("psi_calculus", replace(CE, formula=Formula(expr="-2 * log(p)"))),
    ("psi_calculus", replace(FOCAL, fn=detached)),
    ("ruled_out", replace(CATALOGUE["soft_cross_entropy"], fn=unmasked)),
    ("ruled_out", replace(CE, fn=naive_sum)),
    ("refusals", replace(CE, fn=trusting)),
    ("defaults", replace(FOCAL, fn=other_default)),
    ("defaults", replace(FOCAL, ref=other_reference)),
    ("defaults", replace(FOCAL, recovery=other_recovery)),
    ("autocast", replace(CE, fn=by_matrix)),
    ("autocast", replace(CE, fn=narrow)),
    ("transforms", replace(CE, fn=two_faced)),
    ("transforms", replace(CE, fn=no_second)),
    ("transforms", replace(FOCAL, fn=unbroadcast)),
    ("compiles", replace(CE, fn=two_faced)),
    ("compiles", replace(CE, fn=by_branches)),
    ("copies", replace(CE, fn=lambda logits, labels: CE.fn(logits, labels))),
    ("copies", replace(CE, fn=Forgetful)),
    ("device", replace(CE, fn=homebound)),
    ("recovery", replace(LOGISTIC, fn=flat_above_one, recovery=above_one_excluded)),
    ("recovery", replace(CE, recovery=not_summing_to_one)),
    ("recovery", replace(CE, recovery=lambda logits: FOCAL.recovery(logits))),
    ("link", replace(LOGISTIC, link=lambda eta: LOGISTIC.link(eta) / 2)),
    ("link", replace(LOGISTIC, link=lambda eta: 2 * eta - 1)),
    ("link", replace(LOGISTIC, link=lambda eta: np.nan * eta)),
    ("link", replace(LOGISTIC, recovery=lambda scores: 1 / (1 + np.exp(-2 * scores)))),
    ("reference", replace(SMOOTHED, ref=deaf_to_options)),
    ("psi_transform", replace(LOGISTIC, transform=lambda theta: theta**2)),
    ("psi_transform", replace(LOGISTIC, transform=lambda theta: np.nan * theta)),
    ("psi_transform", replace(LOGISTIC, fn=dip, transform=dented)),
]


@pytest.mark.parametrize(
    ("name", "card"), WRONG, ids=[f"{n}-{i}" for i, (n, _) in enumerate(WRONG)]
)
def test_a_wrong_loss_is_refused(name, card):
    with pytest.raises(Refuted):
        check.CHECKS[name].run(card)


def test_a_transform_is_made_convex():
    mended = replace(LOGISTIC, fn=dip, transform=lambda theta: 0.3 * np.abs(theta))
    assert check.psi_transform(mended)


def test_every_check_was_seen_red():
    assert {name for name, _ in WRONG} | {"properties"} == set(check.CHECKS)


FLIPS = [
    pytest.param(card, name, id=f"{key}-{name}")
    for key, card in CATALOGUE.items()
    for name in check.PROPERTIES
    if card.kind in check.CHECKS["properties"].kinds
    and card.states(name, card.defaults()) is not None
]


@pytest.mark.parametrize(("card", "name"), FLIPS)
def test_a_property_turned_round_is_refused(card, name):
    flipped = not card.states(name, card.defaults())
    wrong = replace(card, properties=replace(card.properties, **{name: flipped}))
    with pytest.raises(Refuted, match=name):
        check.property_of(wrong, name)


BOUNDS = [
    pytest.param(card, name, wrong, id=f"{key}-{name}-{wrong:g}")
    for key, card in CATALOGUE.items()
    if card.kind in check.CHECKS["properties"].kinds
    for name in ("lower", "upper", "lipschitz")
    if card.kind in check.CHECKS["properties"].kinds
    and (stated := card.states(name, card.defaults())) is not None
    for off in [0.05 * max(1.0, abs(stated))]
    for wrong in ([7.5] if np.isinf(stated) else [stated - off, stated + off, np.inf])
]


@pytest.mark.parametrize(("card", "name", "wrong"), BOUNDS)
def test_a_wrong_bound_is_refused(card, name, wrong):
    wrong = -wrong if name == "lower" and np.isinf(wrong) else wrong
    mended = replace(card, properties=replace(card.properties, **{name: wrong}))
    with pytest.raises(Refuted, match=name):
        check.property_of(mended, name)


def test_an_unknown_property_is_named():
    with pytest.raises(ValueError, match=r"name must be one of .*, got 'kind'"):
        check.property_of(LOGISTIC, "kind")
