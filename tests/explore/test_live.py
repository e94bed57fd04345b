"""The live forms: traits that Python and the reader both set."""

import subprocess
import sys

import numpy as np
import pytest
import traitlets

from lossbook import explore
from tests.explore.examples import FOCAL, LogisticTrain, huber, psi, weights_lab


@pytest.fixture
def sent(monkeypatch):
    """The states that widgets send to the page."""
    import ipywidgets

    messages = []

    def record(self, key=None):
        messages.append((type(self).__name__, key))

    monkeypatch.setattr(ipywidgets.Widget, "send_state", record)
    return messages


def test_a_trait_a_parameter():
    widget = huber().live()
    assert (widget.delta, widget.probe) == (1.0, 2.0)
    assert repr(widget) == "LiveExplorer(delta=1.0, probe=2.0)"


def test_setting_a_trait_reaches_the_page(sent):
    import ipywidgets

    widget = huber().live()
    slider = ipywidgets.FloatSlider(min=0.1, max=3, value=1)
    ipywidgets.link((slider, "value"), (widget, "delta"))
    sent.clear()
    slider.value = 2.5
    assert widget.delta == 2.5
    assert ("LiveExplorer", "delta") in sent
    widget.delta = 0.5
    assert slider.value == 0.5


def test_traits_have_their_range():
    widget = huber().live()
    with pytest.raises(traitlets.TraitError, match="delta"):
        widget.delta = 7
    with pytest.raises(traitlets.TraitError, match="probe"):
        widget.probe = -9


def test_the_menu_is_a_trait():
    widget = psi().live()
    widget.group = FOCAL
    with pytest.raises(traitlets.TraitError, match="group"):
        widget.group = "hinge"
    assert repr(widget).startswith("LiveExplorer(gamma=2.0, q=0.7, probe=")


def test_a_widget_s_own_names_are_refused():
    explorer = explore.Explorer(
        variable="x", params={"layout": (0, 1, 0)}, curves={"c": "layout*x"}, alt="a"
    )
    explorer.html()
    with pytest.raises(ValueError, match="must not be called layout"):
        explorer.live()


def test_a_control_trains_anew():
    train = LogisticTrain()
    live = weights_lab(train).live()
    assert train.calls[0]["weight"] == [1, 1, 1, 3, 3, 3, 10, 10, 10, 30, 30, 30]
    assert train.calls[1] == {"weight": [3.0], "threshold": [0.25]}
    live.controls["threshold"].value = 0.6
    assert train.calls[2] == {"weight": [3.0], "threshold": [0.6]}
    assert live.view.frame["numbers"] == ["1.80"]
    probability = np.array(live.view.frame["curves"][0])
    assert probability[30] == pytest.approx(0.75)
    assert live.view.busy is False
    assert repr(live) == "LiveLab(weight=3, threshold=0.6)"
    assert repr(live.view) == "LabView()"


def test_training_shows_that_it_is_busy():
    seen = []

    def train(a):
        if live is not None:
            seen.append(live.view.busy)
        return {"x": [0.0, 1.0], "curves": {"c": a[:, None] * [0.0, 1.0]}}

    live = None
    live = explore.lab(train, {"a": [1, 2]}, alt="a").live()
    live.controls["a"].value = 1.5
    assert seen == [True]
    assert live.view.frame["curves"] == [[0.0, 1.5]]


def test_a_failed_training_is_not_busy_for_ever():
    def train(a):
        if a[0] > 1:
            raise RuntimeError("diverged")
        return {"x": [0.0, 1.0], "curves": {"c": a[:, None] * [0.0, 1.0]}}

    live = explore.lab(lambda a: train(np.minimum(a, 1)), {"a": [0, 1]}, alt="a").live()
    live.controls["a"].max = 5
    live.controls["a"].value = 5
    assert live.view.busy is False


def test_what_is_no_number_is_sent_as_nothing():
    def train(a):
        return {
            "x": [0.0, 1.0],
            "curves": {"c": np.where(a[:, None] > 1, np.nan, [0.0, 1.0])},
            "numbers": {"loss": np.where(a > 1, np.inf, 1.0)},
        }

    live = explore.lab(train, {"a": [1, 2]}, alt="a").live()
    live.controls["a"].value = 2
    assert live.view.frame == {"curves": [[None, None]], "numbers": ["infinite"]}


def test_the_first_frame_is_the_first_state():
    lab = weights_lab()
    trained = lab.result.curves["probability"][3]  # weight 3, threshold 0.25
    np.testing.assert_allclose(lab.frame().curves[0], trained, atol=0.01)


def test_levels_are_spent_on_what_is_seen():
    def train(a):
        return {"x": [0.0, 1.0], "curves": {"c": a[:, None] * [1.0, 1e6]}}

    seen = explore.lab(train, {"a": [0.5, 1]}, y_range=(0, 1), alt="a")
    assert seen.tables()["c"].resolution < 0.01
    read = explore.lab(train, {"a": [0.5, 1]}, y_range=(0, 1), probe=1, alt="a")
    assert read.tables()["c"].high == 1e6


def test_wide_ranges_move_in_ratios():
    live = weights_lab().live()
    assert type(live.controls["weight"]).__name__ == "FloatLogSlider"
    assert type(live.controls["threshold"]).__name__ == "FloatSlider"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"controls": {}}, "one or 2 controls, got 0"),
        ({"controls": {key: [1, 2] for key in "abc"}}, "one or 2 controls, got 3; fix"),
        (
            {"controls": {"weight": range(1, 12), "threshold": range(6)}},
            "at most 60 states, got 66; give its controls fewer values",
        ),
        (
            {"controls": {"weight": [3, 1]}},
            "values of control weight must be ascending",
        ),
        (
            {"controls": {"weight": explore.Control([1], start=2)}},
            "start at one of its",
        ),
        ({"y_range": (1, 1)}, "y_range must be two finite numbers"),
    ],
)
def test_wrong_labs_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        weights_lab(**changes)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (
            {"x": [0, 1, 5], "curves": {"c": [[0, 0, 0]] * 2}},
            "x as at least two evenly",
        ),
        ({"x": [0, 1], "curves": {}}, "must return 1 to 6 curves, got 0"),
        (
            {"x": [0, 1], "curves": {"c": [[0, 0]]}},
            r"curve 'c' in shape \(2, 2\), got \(1, 2\)",
        ),
        (
            {"x": [0, 1], "curves": {"c": [[0, 0]] * 2}, "numbers": {"n": [1]}},
            r"number 'n' in shape \(2,\), got \(1,\)",
        ),
        (
            {"x": [0, 1], "curves": {"c": [[0, 0]] * 2}, "points": {"p": [1, 2, 3]}},
            r"points 'p' in shape \(3, 2\), got \(3,\)",
        ),
    ],
)
def test_wrong_results_are_refused(result, message):
    with pytest.raises(ValueError, match=message):
        explore.lab(lambda a: result, {"a": [1, 2]}, alt="a")


def test_without_anywidget_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(ImportError, match=r"install them with `pip install anywidget"):
        huber().live()


def test_the_static_form_needs_no_widget_and_no_torch():
    code = (
        "import sys; from tests.explore.examples import huber; huber().html();"
        "print([m for m in ('anywidget', 'ipywidgets', 'torch') if m in sys.modules])"
    )
    # The examples read the catalogue, which holds torch functions.
    code = code.replace(
        "from tests.explore.examples import huber; huber().html();",
        "from lossbook import explore;"
        "explore.Explorer(variable='x', curves={'c': 'x'}, alt='a').html();",
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"
