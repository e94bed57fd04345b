"""Cards and what is made of them: formulas, tables, the psi calculus."""

import inspect
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from lossbook import tables
from lossbook.card import Formula, LossCard, Param, Properties, SpecialCase
from lossbook.losses import CATALOGUE, card_of


def test_a_walk_reaches_closed_ends_and_not_open_ones():
    closed = Param(default=1, low=0, high=2, meaning="")
    half_open = Param(default=1, low=0, high=2, open_low=True, meaning="")
    assert (closed.walk()[0], closed.walk()[-1]) == (0, 2)
    assert half_open.walk()[0] > 0
    assert half_open.walk()[-1] == 2


def test_a_walk_over_whole_numbers_meets_each_once():
    whole = Param(default=4, low=1, high=4, whole=True, meaning="")
    assert whole.walk() == [1, 2, 3, 4]
    assert whole.walk(2) == [1, 4]


def test_settings_walk_every_parameter():
    settings = list(CATALOGUE["focal"].settings(3))
    assert settings == [{"gamma": g} for g in (2.0, 0.0, 2.5, 5.0)]


def test_settings_end_with_the_other_words_of_each_option():
    card = CATALOGUE["supcon"]
    last = list(card.settings(2))[-1]
    assert last == {"temperature": 0.1, "form": "in"}
    assert list(card.settings(2, options=False)) == list(card.settings(2))[:-1]


@pytest.mark.parametrize("card", CATALOGUE.values(), ids=lambda card: card.key)
def test_options_are_those_of_the_code(card):
    """Each keyword with a word as its default, but for the solvers of one problem."""
    default = {
        name: each.default
        for name, each in inspect.signature(card.fn).parameters.items()
        if isinstance(each.default, str) and name != "solver"
    }
    assert default == {name: words[0] for name, words in card.options.items()}
    for name, words in card.options.items():
        with pytest.raises(ValueError, match=f"{name} must be .*, got 'neither'"):
            card.make(**{name: "neither"})(
                *(torch.tensor(a) for a in card.sample(np.random.default_rng(0)))
            )
        assert len(set(words)) > 1


def test_what_knows_no_option_speaks_of_its_default():
    says = {"convex": lambda gamma: gamma > 1, "calibrated": True}
    says["symmetric"] = lambda gamma, form="a": form == "b"
    card = replace(
        CATALOGUE["focal"],
        options={"form": ("a", "b")},
        properties=Properties(**says),
    )
    for form, expected in (("a", (True, True, False)), ("b", (None, True, True))):
        at = {"gamma": 2.0, "form": form}
        assert tuple(card.states(name, at) for name in says) == expected


def test_an_unknown_kind_is_refused():
    focal = CATALOGUE["focal"]
    with pytest.raises(ValueError, match=r"kind must be one of labels, targets, .*'x'"):
        LossCard(
            name="",
            family="",
            kind="x",
            fn=focal.fn,
            ref=focal.ref,
            summary="",
            cite="",
        )


def test_a_card_that_cannot_draw_says_so():
    with pytest.raises(ValueError, match="must say how to draw its input: give Focal"):
        replace(CATALOGUE["focal"], kind="batch").sample(np.random.default_rng(0))


def test_formulas_are_typeset_with_the_books_symbols():
    formula = Formula(expr="strength * log(p)")
    params = {"strength": Param(default=1, low=0, high=1, meaning="", tex=r"\lambda")}
    assert formula.latex(params) == r"\lambda \ln{\left(p_y \right)}"


def test_a_stranger_has_no_card():
    assert card_of(lambda logits, labels: logits) is None


def psi(key, **params):
    return tables.psi_row(CATALOGUE[key], **params)


def test_the_psi_calculus_finds_the_known_bends():
    """Closed forms: GCE bends at q/(1+q), MAE at 1/2, Poly-1 at (eps-1)/(2 eps)."""
    assert psi("gce", q=0.7).concave_below == pytest.approx(0.7 / 1.7, abs=1e-4)
    assert psi("mae").concave_below == pytest.approx(0.5, abs=1e-4)
    assert psi("poly1", epsilon=2).concave_below == pytest.approx(0.25, abs=1e-4)
    assert psi("poly1", epsilon=1).concave_below < 1e-6
    assert psi("cross_entropy").concave_below == 0


@pytest.mark.parametrize("key", ["cross_entropy", "poly1", "gce", "mae"])
def test_the_psi_calculus_agrees_with_the_card(key):
    card = CATALOGUE[key]
    for params in card.settings(5):
        stated = card.states("lipschitz", params)
        assert tables.psi_row(card, **params).steepest == pytest.approx(stated, 1e-6)


def test_the_steepest_focal_pull_lies_where_it_bends():
    for gamma in (0.5, 1, 2, 5):
        row = psi("focal", gamma=gamma)
        assert row.at == row.concave_below > 0


def test_a_loss_of_no_probability_has_no_psi():
    with pytest.raises(ValueError, match="logistic must be a function of p_y"):
        psi("logistic")


def test_the_table_says_for_which_parameters():
    columns = tables.properties([CATALOGUE[k] for k in ("focal", "poly1", "gce")])
    assert columns["convex"] == ["for gamma = 0", "for epsilon ≤ 1", "no"]
    assert columns["strictly proper"] == ["for gamma = 0", "for epsilon = 0", "no"]
    assert columns["symmetric"] == ["no", "no", "for q = 1"]


# --- conditions in words ---------------------------------------------------------


def stating(convex, **ranges):
    """A card with these parameters that says this of convexity."""
    params = {
        name: Param(default=low, low=low, high=high, meaning="")
        for name, (low, high) in ranges.items()
    }
    return replace(
        CATALOGUE["focal"],
        params=params,
        special_cases=(),
        properties=Properties(convex=convex),
    )


@pytest.mark.parametrize(
    ("says", "words"),
    [
        (None, ""),
        (True, "yes"),
        (lambda a: False, "no"),
        (lambda a: a <= 1.25, "for a ≤ 1.25"),
        (lambda a: a < 1.25, "for a < 1.25"),
        (lambda a: a < 1, "for a < 1"),
        (lambda a: a >= math.sqrt(2), "for a ≥ 1.41421"),
        (lambda a: a > 3, "for a > 3"),
        (lambda a: a == 2, "for a = 2"),
        (lambda a: a != 2, "for a ≠ 2"),
        (lambda a: a > 0, "for a > 0"),
        (lambda a: 1 <= a < 3, "for a ≥ 1 and < 3"),
        (lambda a: a in (0, 1), "for a = 0 or = 1"),
        (lambda a: a < 1 or a > 3, "for a < 1 or > 3"),
        (lambda a: True if a > 1 else None, "for a > 1; otherwise not stated"),
        (lambda a: False if a > 1 else None, "no for a > 1; otherwise not stated"),
    ],
)
def test_a_condition_is_found_from_what_the_card_says(says, words):
    assert tables.statement(stating(says, a=(0.0, 5.0)), "convex") == words


@pytest.mark.parametrize(
    ("says", "words"),
    [
        (lambda a, b: b <= 2, "for b ≤ 2"),
        (lambda a, b: a == 0 and b <= 2, "for a = 0 and b ≤ 2"),
        (lambda a, b: a == 0 or b > 2, "for a = 0 or b > 2"),
        (lambda a, b: a + b < 4, "depends on a and b"),
        (lambda a, b: not (a == 0 and b == 0), "for a > 0 or b > 0"),
    ],
)
def test_conditions_on_two_parameters_are_joined(says, words):
    card = stating(says, a=(0.0, 5.0), b=(0.0, 3.0))
    assert tables.statement(card, "convex") == words


def bounded(upper, **ranges):
    return replace(stating(True, **ranges), properties=Properties(upper=upper))


@pytest.mark.parametrize(
    ("upper", "text"),
    [
        (math.inf, r"$\infty$"),
        (-math.inf, r"$-\infty$"),
        (0.75, "$3 / 4$"),
        (math.log(4), r"$\ln 4$"),
        (math.sqrt(3) / 2, r"$\sqrt{3} / 2$"),
        (1.23456789, "$1.235$"),
        (lambda gamma: 2.0, "$2$"),
        (lambda gamma: math.sqrt(2) * gamma, r"$\sqrt{2} \gamma$"),
        (lambda gamma: 1 / gamma, r"$\frac{1}{\gamma}$"),
        # What compares its parameters cannot be read, or would be read wrongly.
        (lambda gamma: max(gamma, 2), "$2$ at gamma = 1"),
        (lambda gamma: 7.0 if gamma == 2 else gamma, "$1$ at gamma = 1"),
        (lambda gamma: math.exp(gamma), "$2.718$ at gamma = 1"),
    ],
)
def test_a_bound_is_exact_or_names_its_parameters(upper, text):
    found = tables.bound(bounded(upper, gamma=(1.0, 5.0)), "upper")
    assert found == text


def test_a_parameter_that_is_a_word_is_upright():
    card = bounded(lambda max_margin: max_margin**2, max_margin=(1.0, 2.0))
    assert tables.bound(card, "upper") == r"$\mathrm{max\ margin}^{2}$"


# --- gradients from formulas -------------------------------------------------------

DRAWN = [card for card in CATALOGUE.values() if card.formula is not None]


@pytest.mark.parametrize("card", DRAWN, ids=lambda card: card.key)
def test_the_gradient_of_the_tables_is_the_slope(card):
    """As numbers: what the page shows is rewritten, and must stay the same function."""
    import sympy

    names = [card.formula.variable, *card.params]
    symbols = [sympy.Symbol(name, real=True) for name in names]
    shown = sympy.lambdify(symbols, tables.gradient(card), "numpy")
    loss = sympy.lambdify(symbols, card.formula.expression(card.params), "numpy")
    low, high = np.clip(card.formula.domain, -4, 4)
    x = np.linspace(low, high, 38)[1:-1] + 1e-3  # off the kinks, at round places
    x, step = x[x < high - 1e-3], 1e-6
    for params in card.settings(3):
        values = list(params.values())
        slope = (loss(x + step, *values) - loss(x - step, *values)) / (2 * step)
        wanted = -x * slope if card.formula.variable == "p" else slope
        np.testing.assert_allclose(
            np.broadcast_to(shown(x, *values), x.shape), wanted, rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize(
    ("expr", "slope"),
    [
        ("Max(0, 1 - m)", lambda m: np.where(m < 1, -1.0, 0.0)),
        ("Max(0, 1 - m)**2", lambda m: np.where(m < 1, 2 * m - 2, 0.0)),
        ("Min(1, Max(0, 1 - m))", lambda m: np.where((m > 0) & (m < 1), -1.0, 0.0)),
        ("Abs(1 - m)", lambda m: np.sign(m - 1)),
    ],
)
def test_kinks_are_written_as_cases(expr, slope):
    import sympy

    formula = Formula(expr=expr, variable="m", domain=(-4.0, 4.0))
    card = replace(CATALOGUE["logistic"], formula=formula)
    found = tables.gradient(card)
    assert not found.has(sympy.Heaviside, sympy.sign, sympy.DiracDelta)
    m = np.linspace(-3, 3, 50)
    shown = sympy.lambdify(sympy.Symbol("m", real=True), found, "numpy")(m)
    np.testing.assert_allclose(shown, slope(m))


def test_a_loss_without_a_formula_has_no_gradient_to_show():
    card = replace(CATALOGUE["mae"], formula=None)
    assert tables.formula(card) == ""
    with pytest.raises(ValueError, match="mae must have a formula, and has none"):
        tables.gradient(card)


# --- relations -----------------------------------------------------------------------


def test_relations_hold_between_the_losses_themselves():
    """Special cases exactly; limits approach, and the rest shrinks with the way."""
    for found in tables.relations():
        card, other = CATALOGUE[found.loss], CATALOGUE[found.of]
        arrays = [torch.as_tensor(a) for a in card.sample(np.random.default_rng(0))]
        wanted = found.factor * other.make()(*arrays)
        if found.tends is None:
            loss = card.make(**card.defaults() | dict(found.at))(*arrays)
            assert torch.allclose(loss, wanted, rtol=1e-9), found
            continue
        param = card.params[found.tends]
        end = found.at[found.tends]
        side = 1 if end == param.low else -1
        rests = []
        for way in (1e-2, 1e-3):
            near = end + side * way * (param.high - param.low)
            at = card.defaults() | dict(found.at) | {found.tends: near}
            rests.append(float((card.make(**at)(*arrays) - wanted).abs().max()))
        assert rests[1] < 0.5 * rests[0], found


def test_a_limit_is_a_relation_up_to_a_factor():
    doubled = replace(
        CATALOGUE["gce"],
        formula=Formula(expr="2 * (1 - p**q) / q", limits={"q": {0.0: "-2 * log(p)"}}),
        special_cases=(),
    )
    [found] = tables.relations([doubled, CATALOGUE["cross_entropy"]])
    assert (found.of, found.factor, found.tends) == ("cross_entropy", 2.0, "q")
    assert found.check == "limits"


@pytest.mark.parametrize("limit", ["-log(p) + 1", "-log(p) * p", "1 - p", "0"])
def test_another_limit_is_no_relation(limit):
    other = replace(
        CATALOGUE["gce"],
        formula=Formula(expr="(1 - p**q) / q", limits={"q": {0.0: limit}}),
        special_cases=(),
    )
    assert tables.relations([other, CATALOGUE["cross_entropy"]]) == []


def test_losses_that_are_called_otherwise_are_not_related():
    cards = [CATALOGUE["gce"], CATALOGUE["soft_cross_entropy"]]
    assert tables.relations(cards) == []


def test_a_special_case_of_a_loss_that_is_not_given_is_left_out():
    card = replace(CATALOGUE["mae"], special_cases=(SpecialCase(of="cross_entropy"),))
    assert tables.relations([card]) == []
    assert len(tables.relations([card, CATALOGUE["cross_entropy"]])) == 1
