"""What a notebook stores, and what is refused."""

import gzip
import json
import re
import subprocess
import sys
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest

from lossbook import explore, style
from lossbook.card import Param
from lossbook.explore.explorers import BUDGET, TABLE_BUDGET
from lossbook.explore.page import script_json
from lossbook.losses import CATALOGUE
from tests.explore.examples import FOCAL, huber, psi, tabled, weights_lab

OUTPUTS = {"huber": huber, "psi": psi, "tabled": tabled, "lab": weights_lab}


@pytest.fixture(params=OUTPUTS)
def make(request):
    return OUTPUTS[request.param]


def picture(output):
    """The first frame's SVG, taken out of the stored HTML."""
    source = re.search(r'<img [^>]*src="data:image/svg\+xml,([^"]*)"', output.html())
    return ElementTree.fromstring(unquote(source[1]))


def test_a_second_run_stores_the_same_bytes(make):
    assert make().html() == make().html()


def test_another_process_stores_the_same_bytes():
    # It hashes texts differently: a set's order must not show.
    names = ", ".join(f"{make.__name__}()" for make in OUTPUTS.values())
    code = (
        "import json; from tests.explore.examples import *;"
        f"print(json.dumps([output.html() for output in [{names}]]))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert json.loads(run.stdout) == [make().html() for make in OUTPUTS.values()]


def test_nothing_is_asked_of_another_host(make):
    page = unquote(make().html()).replace("http://www.w3.org/2000/svg", "")
    assert "http" not in page
    assert not re.search(r"""(src|href)=["']?//|@import|import\(|fetch\(""", page)


def test_no_code_is_made_from_text(make):
    assert not re.search(r"\beval\(|new Function|Math\.random", make().html())


def test_budgets(make):
    output = make()
    size = len(gzip.compress(output.html().encode()))
    assert size <= output.budget
    assert output.budget == (BUDGET if make in (huber, psi) else TABLE_BUDGET)


def test_all_cards_fit_the_budget():
    for card in CATALOGUE.values():
        if card.formula is not None:
            explore.curves(card).html()


def test_too_large_an_output_is_refused():
    noise = np.random.default_rng(0).random((60, 801))
    lab = explore.lab(
        lambda a: {"x": np.linspace(0, 1, 801), "curves": {"noise": noise}},
        {"a": np.arange(60)},
        alt="noise",
    )
    with pytest.raises(
        ValueError, match=r"at most 20000 bytes gzipped, got .* use fewer"
    ):
        lab.html()


def test_the_bundle_has_html_and_a_plain_text(make):
    bundle = make()._repr_mimebundle_()
    assert set(bundle) == {"text/html", "text/plain"}
    assert bundle["text/plain"] == repr(make())
    assert "0x" not in bundle["text/plain"]


def test_plain_texts():
    assert repr(huber()) == "Explorer(loss, slope over r; sliders: delta)"
    assert repr(weights_lab()) == (
        "Lab(probability, decision, cost; controls: weight, threshold)"
    )
    assert f"menu: Cross-entropy, {FOCAL}" in repr(psi())


def test_the_first_frame_is_a_labeled_drawing():
    svg = picture(huber())
    texts = [element.text for element in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert 'alt="The Huber loss and its slope over the residual"' in huber().html()
    assert svg.get("aria-label") == "The Huber loss and its slope over the residual"
    assert {"loss", "slope", "δ = 1.00", "r", "−4", "4"} <= set(texts)
    paths = svg.iter("{http://www.w3.org/2000/svg}path")
    curves = [p for p in paths if (p.get("class") or "").startswith("c")]
    assert len(curves) == 2
    assert all(curve.get("d").startswith("M") for curve in curves)


def test_the_first_frame_is_exact():
    explorer = huber()
    frame = explorer.frame()
    paths = picture(explorer).iter("{http://www.w3.org/2000/svg}path")
    (path,) = (p.get("d") for p in paths if p.get("class") == "c0")
    x, y = np.array(re.findall(r"(-?[\d.]+) (-?[\d.]+)", path), float).T
    places = np.linspace(-4, 4, 101)
    exact = frame.sy(explorer.numpy("loss")(places, 1.0))
    assert np.abs(np.interp(frame.sx(places), x, y) - exact).max() < 0.5


def test_the_alt_text_is_escaped():
    alt = 'a < b & "c" </script>'
    explorer = huber(alt=alt)
    assert picture(explorer).get("aria-label") == alt
    assert explorer.html().count("</script>") == 1
    assert "<" not in script_json({"a": "</script><!--"})


def test_a_curve_without_values_is_broken():
    svg = picture(
        explore.Explorer(
            variable="x",
            curves={
                "hole": "Piecewise((sqrt(x - 1), Abs(x) > 1), (sqrt(-1 - x), True))",
                "gap": "log(x**2 - 1)",
            },
            x_range=(-2, 2),
            y_range=(-3, 3),
            alt="a",
        )
    )
    paths = svg.iter("{http://www.w3.org/2000/svg}path")
    d = {p.get("class"): p.get("d") for p in paths}
    assert d["c1"].count("M") == 2
    assert "nan" not in d["c0"] + d["c1"]


def test_the_ends_show_limits():
    # p ln p is 0 times infinity at 0, where its limit is 0; -ln p goes to infinity.
    explorer = explore.Explorer(
        variable="p", curves={"a": "-p*log(p)", "b": "-log(p)"}, alt="a"
    )
    first, second = explorer.frame().curves
    assert abs(first[0]) < 1e-6
    assert 20 < second[0] < np.inf


def test_the_axis_shows_the_curves_but_not_the_way_to_infinity():
    # The slope of cross-entropy at 0.005 is -200; that of the logistic loss is bounded.
    low, high = explore.curves(CATALOGUE["cross_entropy"]).y_range
    assert -20 < low < -2
    assert 1 < high < 5
    low, high = explore.curves(CATALOGUE["logistic"]).y_range
    x_low, _ = explore.curves(CATALOGUE["logistic"]).x_range
    assert low == -1
    assert high >= -x_low


@pytest.mark.parametrize("alt", ["", "  ", None])
def test_alt_is_required(alt):
    with pytest.raises(ValueError, match="alt must say what the picture shows"):
        huber(alt=alt)
    with pytest.raises(ValueError, match="alt must say what the picture shows"):
        weights_lab(alt=alt)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_range": (1, 0)}, "x_range must be two finite numbers"),
        ({"y_range": (0, np.inf)}, "y_range must be two finite numbers"),
        ({"probe": 9}, r"probe must lie in the x_range -4.0..4.0, got 9"),
        ({"curves": None}, "must have either curves or groups, got neither"),
        ({"groups": []}, "must have either curves or groups, got both"),
        ({"curves": {}}, "must have 1 to 6 curves, got 0"),
        ({"curves": dict.fromkeys("abcdefg", 1)}, "must have 1 to 6 curves, got 7"),
        ({"curves": {"a": "log(-1 - delta)"}}, "no curve has a finite value"),
        ({"params": {"delta": 3}}, r"delta must be a Slider or a tuple \(low, high"),
        ({"shade": explore.Shade("z", "z")}, "the shade may use r, delta, got z too"),
    ],
)
def test_wrong_explorers_are_refused(changes, message):
    with pytest.raises((ValueError, TypeError), match=message):
        huber(**changes)


def test_wrong_groups_are_refused():
    def explorer(*groups, **options):
        return explore.Explorer(variable="x", groups=groups, alt="a", **options)

    a = explore.Group(name="a", curves={"c": "x"})
    with pytest.raises(ValueError, match="at least one group, got none"):
        explorer()
    with pytest.raises(ValueError, match="names that differ, got a, a"):
        explorer(a, a)
    with pytest.raises(ValueError, match="each group has its own params and shade"):
        explorer(a, params={})
    with pytest.raises(ValueError, match="group must be one of a, got 'b'"):
        explorer(a).numpy("c", "b")
    with pytest.raises(ValueError, match="curve must be one of c, got 'd'"):
        explorer(a).numpy("d")


@pytest.mark.parametrize(
    ("slider", "message"),
    [
        ({"high": np.inf}, "must be finite"),
        ({"high": 0}, "low must be below its high, got 0 and 0"),
        ({"value": 2}, "value must lie in 0..1, got 2"),
        ({"step": 0.2}, "low plus a whole number of steps, got low 0, step 0.2"),
        ({"step": -1}, "low plus a whole number of steps"),
        ({"value": 1 / 3}, "no plain step leads from 0 over 0.33"),
    ],
)
def test_wrong_sliders_are_refused(slider, message):
    with pytest.raises(ValueError, match=message):
        explore.Slider(**({"low": 0, "high": 1, "value": 0.5} | slider))


@pytest.mark.parametrize(
    ("param", "ends"),
    [
        ({"low": 0, "high": 1, "default": 0.7}, (0, 1)),
        ({"low": 0, "high": 1, "default": 0.7, "open_low": True}, (0.01, 1)),
        ({"low": 0, "high": 1, "default": 0.9999, "open_high": True}, (0, 0.9999)),
    ],
)
def test_sliders_leave_open_ends_out(param, ends):
    slider = explore.Slider.of(Param(meaning="m", **param), "tau")
    assert (slider.low, slider.high) == ends
    steps = (slider.value - slider.low) / slider.step
    assert steps == pytest.approx(round(steps), abs=1e-6)
    assert slider.label == "τ"


def test_shared_parameters_get_keys_of_their_own():
    groups = [
        explore.Group(name=name, params={"a": (0, 1, 0.5)}, curves={"c": "a*x"})
        for name in ("One", "The other")
    ]
    explorer = explore.Explorer(variable="x", groups=groups, alt="a")
    keys = [s["key"] for g in explorer.spec()["groups"] for s in g["sliders"]]
    assert keys == ["one_a", "the_other_a"]


def contrast(one, other):
    """The contrast of two colors, by the rule of WCAG 2."""

    def luminance(color):
        parts = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(
            parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4
        )
        return float(linear @ [0.2126, 0.7152, 0.0722])

    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_lines_stand_out_from_the_page(scheme):
    for stroke in style.CURVES:
        assert contrast(getattr(stroke, scheme), style.PAGE[scheme]) >= 3


def test_strokes_differ_without_color():
    assert len({stroke.dash for stroke in style.CURVES}) == len(style.CURVES)
    shapes = [style.MARKERS[stroke.marker] for stroke in style.CURVES]
    assert len(set(shapes)) == len(style.CURVES)


def test_every_stroke_has_its_rules():
    page = huber().html()
    for k in range(len(style.CURVES)):
        assert f".lbx .c{k} {{ stroke-dasharray: var(--dash-{k}); }}" in page
        assert f".lbx .c{k}, .lbx .m{k} {{ stroke: var(--curve-{k}); }}" in page
        assert f".lbx .m{k}, .lbx .p{k} {{ fill: var(--curve-{k}); }}" in page
        assert f"--dash-{k}:" in page


def test_the_spec_is_json(make):
    assert json.loads(script_json(make().spec()))["frame"]
