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

CE, FOCAL, GCE = (CATALOGUE[key] for key in ("cross_entropy", "focal", "gce"))
LOGISTIC = CATALOGUE["logistic"]


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


WRONG = [
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
    ("limits", replace(GCE, formula=replace(GCE.formula, limits={}))),
    ("psi_calculus", replace(CE, formula=Formula(expr="-2 * log(p)"))),
    ("psi_calculus", replace(FOCAL, fn=detached)),
    ("refusals", replace(CE, fn=trusting)),
    ("recovery", replace(CE, recovery=lambda logits: FOCAL.recovery(logits))),
    ("link", replace(LOGISTIC, link=lambda eta: LOGISTIC.link(eta) / 2)),
    ("link", replace(LOGISTIC, link=lambda eta: 2 * eta - 1)),
    ("link", replace(LOGISTIC, link=lambda eta: np.nan * eta)),
    ("link", replace(LOGISTIC, recovery=lambda scores: 1 / (1 + np.exp(-2 * scores)))),
    ("transform", replace(LOGISTIC, transform=lambda theta: theta**2)),
    ("transform", replace(LOGISTIC, transform=lambda theta: np.nan * theta)),
    ("transform", replace(LOGISTIC, fn=dip, transform=dented)),
]


@pytest.mark.parametrize(
    ("name", "card"), WRONG, ids=[f"{n}-{i}" for i, (n, _) in enumerate(WRONG)]
)
def test_a_wrong_loss_is_refused(name, card):
    with pytest.raises(Refuted):
        check.CHECKS[name].run(card)


def test_a_transform_is_made_convex():
    mended = replace(LOGISTIC, fn=dip, transform=lambda theta: 0.3 * np.abs(theta))
    assert check.transform(mended)


def test_every_check_was_seen_red():
    assert {name for name, _ in WRONG} | {"properties"} == set(check.CHECKS)


FLIPS = [
    pytest.param(card, name, id=f"{key}-{name}")
    for key, card in CATALOGUE.items()
    for name in check.PROPERTIES
    if card.states(name, card.defaults()) is not None
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
    if (stated := card.states(name, card.defaults())) is not None
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
