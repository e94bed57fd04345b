"""One formula, three languages."""

from dataclasses import replace

import numpy as np
import pytest
import sympy
import torch

from lossbook import explore
from lossbook.card import Formula, Param
from lossbook.explore import expressions
from lossbook.explore.from_cards import psi_expressions
from lossbook.explore.labels import number
from lossbook.losses import CATALOGUE
from tests.explore.examples import huber, psi

HINGES = {  # formulas of losses of the margin, with kinks and without
    "hinge": "Max(0, 1 - m)",
    "squared hinge": "Max(0, 1 - m)**2",
    "ramp": "Min(1, Max(0, 1 - m))",
    "exponential": "exp(-m)",
    "tangent": "(2 * atan(m) - 1)**2",
    "savage": "1 / (1 + exp(m))**2",
    "absolute": "Abs(1 - m)",
    "Huber's hinge": "Piecewise((-4 * m, m < -1), (Max(0, 1 - m)**2, True))",
    "smooth hinge": "Piecewise((0, m >= 1), ((1 - m)**2 / 2, m > 0), (1/2 - m, True))",
}
WIDE = "Max(0, width - m)**2 / width"
DRAWN = [card for card in CATALOGUE.values() if card.formula is not None]
PSI = [card for card in DRAWN if card.formula.variable == "p"]


def margin_card(name, expr, **params):
    """A card of a loss of the margin that is not in the catalogue."""
    formula = Formula(expr=expr, variable="m", domain=(-4.0, 4.0))
    return replace(CATALOGUE["logistic"], name=name, formula=formula, params=params)


def margin_cards():
    width = Param(default=1, low=0, high=5, open_low=True, meaning="of the slope")
    cards = [margin_card(name, expr) for name, expr in HINGES.items()]
    return [*cards, margin_card("wide hinge", WIDE, width=width)]


def explorers():
    yield pytest.param(explore.compare(margin_cards()), id="margins")
    yield pytest.param(huber(), id="huber")
    yield pytest.param(psi(), id="psi")
    yield pytest.param(explore.threshold(), id="threshold")
    yield pytest.param(explore.psi_calculus(PSI, over="margin"), id="psi-margin")
    for card in DRAWN:
        yield pytest.param(explore.curves(card), id=card.key)


def grid(explorer, group):
    """Places (kinks and ends included) times the ends and the middle of each slider."""
    low, high = explorer.x_range
    sliders = list(group.sliders.values())
    corners = [[s.low, s.value, s.high] for s in sliders]
    x = np.unique(
        [*np.linspace(low, high, 41), *(c for three in corners for c in three)]
    )
    mesh = np.meshgrid(x, *corners, indexing="ij")
    return np.stack([m.ravel() for m in mesh], axis=1)


def same(a, b, tolerance):
    """Equal, infinities included; undefined on both sides counts as equal."""
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("explorer", list(explorers()))
def test_javascript_and_torch_agree_with_numpy(explorer, javascript):
    names = [explorer.variable]
    for group in explorer.groups:
        points = grid(explorer, group)
        for name, expr in group.curves.items():
            source = expressions.js_function(expr, names + list(group.sliders), name)
            assert source in explorer.javascript()
            expected = explorer.numpy(name, group.name)(*points.T)
            same(javascript.values(source, points.tolist()), expected, 1e-9)
            tensors = [torch.tensor(c, dtype=torch.float64) for c in points.T]
            same(explorer.torch(name, group.name)(*tensors).numpy(), expected, 1e-9)


@pytest.mark.parametrize("card", DRAWN, ids=lambda card: card.key)
def test_the_slope_is_the_derivative(card):
    explorer = explore.curves(card)
    low, high = explorer.x_range
    # Inside the domain, and off the kinks, which lie at round places.
    x = np.linspace(low, high, 37)[1:-1] + 1e-3
    step = 1e-6
    for setting in card.settings(3):
        try:
            params = [setting[name] for name in card.params]
            drawn = "loss"
            if card.formula.variable == "theta":
                drawn = "logit of the true class"
            loss, slope = explorer.numpy(drawn), explorer.numpy("slope")
            measured = (loss(x + step, *params) - loss(x - step, *params)) / (2 * step)
            same(slope(x, *params), measured, 1e-4)
        except AssertionError as error:
            error.add_note(f"at {setting}")
            raise


@pytest.mark.parametrize("card", PSI, ids=lambda card: card.key)
def test_convexity_is_that_of_two_classes(card):
    # With two classes, psi(sigmoid(m)) is convex in the logits where it is in m.
    found = psi_expressions(card)
    names = ["p", *card.params]
    psi_of = expressions.numpy_function(found["psi"], names)
    shade = expressions.numpy_function(found["convexity"], names)
    m = np.linspace(-4, 4, 33) + 0.017
    step = 1e-3

    def at(margin, params):
        return psi_of(1 / (1 + np.exp(-margin)), *params)

    params = [param.default for param in card.params.values()]
    bend = (at(m + step, params) - 2 * at(m, params) + at(m - step, params)) / step**2
    sign = shade(1 / (1 + np.exp(-m)), *params)
    clear = np.abs(bend) > 1e-4
    assert clear.any()
    assert ((sign < 0) == (bend < 0))[clear].all()


def test_the_pull_is_steepest_at_the_edge_of_convexity():
    found = psi_expressions(CATALOGUE["focal"])
    slope = expressions.derivative(found["pull"], "p")
    both = expressions.numpy_function(slope + found["convexity"], ["p", "gamma"])
    p = np.linspace(0.01, 0.99, 50)
    same(both(p, 2.0), np.zeros(50), 1e-12)


def test_a_step_has_slope_zero_beside_the_step():
    step = expressions.parse("Heaviside(x) + Max(0, x) + sign(x)", ["x"], "a step")
    slope = expressions.numpy_function(expressions.derivative(step, "x"), ["x"])
    assert slope(np.array([-1.0, 1.0])).tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    "value", [1.5, -2.25, 0.0, -0.001, -1e9, np.inf, -np.inf, np.nan]
)
def test_numbers_are_written_alike(javascript, value):
    call = f"numberText({javascript.literal(value)}, 2)"
    assert javascript.context.eval(call) == number(value, 2)


def test_symbols_match_by_name():
    x = sympy.Symbol("x", positive=True)
    explorer = explore.Explorer(variable="x", curves={"root": sympy.sqrt(x)}, alt="a")
    assert explorer.numpy("root")(np.array(4.0)) == 2
    expr = expressions.parse(sympy.sqrt(x), ["x"], "the root")
    assert expr.free_symbols == {expressions.real("x")}


def test_constants_take_the_shape_of_the_variable():
    explorer = explore.Explorer(variable="x", curves={"one": 1}, alt="a")
    assert explorer.numpy("one")(np.zeros(3)).tolist() == [1, 1, 1]
    assert explorer.torch("one")(torch.zeros(3)).tolist() == [1, 1, 1]


def test_torch_functions_are_differentiable():
    r = torch.tensor([-2.0, 0.5, 2.0], requires_grad=True)
    huber().torch("loss")(r, 1.0).sum().backward()
    assert r.grad.tolist() == [-1.0, 0.5, 1.0]


def test_what_javascript_lacks_is_refused():
    with pytest.raises(
        ValueError,
        match=r"curve 'bell' must be made of functions that "
        r"JavaScript has, got erf; .* explore\.Table",
    ):
        explore.Explorer(variable="x", curves={"bell": "erf(x)"}, alt="a")


def test_a_formula_must_hold_everywhere():
    with pytest.raises(ValueError, match="lacks the condition True"):
        explore.Explorer(
            variable="x",
            curves={"half": sympy.Piecewise((1, sympy.Symbol("x") > 0))},
            alt="a",
        )


def test_unknown_symbols_are_refused():
    with pytest.raises(ValueError, match="curve 'loss' may use p, gamma, got beta too"):
        explore.Explorer(
            variable="p",
            params={"gamma": (0, 5, 2)},
            curves={"loss": "beta*p"},
            alt="a",
        )


def test_what_is_no_formula_is_refused():
    with pytest.raises(ValueError, match=r"'loss' must be a formula .*, got '2 \* \)'"):
        explore.Explorer(variable="p", curves={"loss": "2 * )"}, alt="a")


def test_a_card_without_a_formula_is_refused():
    cards = [card for card in CATALOGUE.values() if card.formula is None]
    card = cards[0] if cards else _without_formula()
    with pytest.raises(ValueError, match="must have a formula of one variable"):
        explore.curves(card)


def _without_formula():
    return replace(CATALOGUE["focal"], formula=None)


def test_the_calculus_wants_the_probability():
    with pytest.raises(ValueError, match=r"must be over p.*got m; use explore.curves"):
        explore.psi_calculus([CATALOGUE["logistic"]])
    with pytest.raises(ValueError, match="over must be 'p' or 'margin', got 'x'"):
        explore.psi_calculus(PSI, over="x")


def test_a_comparison_holds_each_loss_and_its_slope():
    cards = margin_cards()
    explorer = explore.compare(cards, title="Margins")
    assert [group.name for group in explorer.groups] == [card.name for card in cards]
    m = np.linspace(-4, 4, 41) + 1e-3
    for card in cards:
        params = [param.default for param in card.params.values()]
        for curve in ("loss", "slope"):
            alone = explore.curves(card).numpy(curve)(m, *params)
            same(explorer.numpy(curve, card.name)(m, *params), alone, 0)
    assert "margin m" in explorer.alt
    assert explorer.x_range == (-4.0, 4.0)
    assert list(explorer.groups[-1].sliders) == ["width"]
    assert len(explorer.html()) < 40_000


def test_a_comparison_shows_all_losses_and_is_not_ruled_by_the_steepest():
    explorer = explore.compare(margin_cards())
    low, high = explorer.y_range
    assert -10 < low < -1
    assert 2 < high < 10


def test_only_losses_over_one_variable_are_compared():
    cards = [CATALOGUE["logistic"], CATALOGUE["mae"]]
    with pytest.raises(ValueError, match="over one variable, got m, p; compare"):
        explore.compare(cards)
    with pytest.raises(ValueError, match="over one variable, got no card"):
        explore.compare([])


def test_a_card_gives_its_sliders():
    explorer = explore.curves(CATALOGUE["gce"])
    slider = explorer.groups[0].sliders["q"]
    param = CATALOGUE["gce"].params["q"]
    assert slider.value == param.default
    assert slider.high == param.high
    assert param.open_low
    assert param.low < slider.low <= param.low + 0.02 * (param.high - param.low)
