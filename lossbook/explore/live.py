"""The live forms: widgets whose traits Python and the reader both set."""

from typing import TYPE_CHECKING, Any

import numpy as np

from lossbook.explore.labels import symbol
from lossbook.explore.page import runtime, script_json, stylesheet

if TYPE_CHECKING:
    from lossbook.explore.explorers import Explorer
    from lossbook.explore.labs import Control, Lab, Result

LOG_FROM = 20.0  # a control over at least this ratio moves in ratios


def live_explorer(explorer: "Explorer") -> Any:
    """Return an explorer as a widget with one trait a slider."""
    anywidget, traitlets = _packages()
    spec = explorer.spec()
    traits: dict[str, Any] = {}
    sliders = [s for group in spec["groups"] for s in group["sliders"]]
    for slider in [*sliders, spec["probe"]]:
        traits[slider["key"]] = traitlets.Float(
            slider["value"], min=slider["min"], max=slider["max"]
        ).tag(sync=True)
    if len(spec["groups"]) > 1:
        names = [group["label"] for group in spec["groups"]]
        traits["group"] = traitlets.Enum(names, default_value=names[0]).tag(sync=True)
    taken = [name for name in traits if hasattr(anywidget.AnyWidget, name)]
    if taken:
        raise ValueError(
            f"a live explorer's parameters must not be called {', '.join(taken)}: "
            "widgets use the name themselves; choose another one"
        )
    esm = _module(explorer.markup(), spec, explorer.javascript())
    return _widget(anywidget, "LiveExplorer", esm, traits)


def live_lab(lab: "Lab") -> Any:
    """Return a lab as ipywidgets controls above a drawing that is trained anew."""
    anywidget, traitlets = _packages()
    import ipywidgets

    spec = lab.common_spec() | {
        "live": True,
        "groups": [
            {
                "label": "",
                "sliders": [],
                "curves": [{"label": name, "digits": 3} for name in lab.result.curves],
                "numbers": [
                    {"label": name, "texts": [""]} for name in lab.result.numbers
                ],
                "shade": "",
            }
        ],
    }
    undefined = "function(){return NaN;}"
    functions = f"[{{curves:[{','.join([undefined] * len(lab.result.curves))}]}}]"
    start = {n: float(c.values[c.first]) for n, c in lab.controls.items()}
    traits = {
        "frame": traitlets.Dict(_frame(lab, lab.retrain(**start))).tag(sync=True),
        "busy": traitlets.Bool(False).tag(sync=True),
    }
    if lab.probe is not None:
        low, high = lab.x_range
        traits["probe"] = traitlets.Float(lab.probe, min=low, max=high).tag(sync=True)
    esm = _module(lab.markup(), spec, functions)
    view = _widget(anywidget, "LabView", esm, traits)
    controls = {name: _control(name, control) for name, control in lab.controls.items()}

    def train_anew(_change: Any) -> None:
        view.busy = True
        try:
            setting = {name: control.value for name, control in controls.items()}
            view.frame = _frame(lab, lab.retrain(**setting))
        finally:
            view.busy = False

    for control in controls.values():
        control.observe(train_anew, names="value")

    class LiveLab(ipywidgets.VBox):
        """Controls above the drawing."""

        def __repr__(self) -> str:
            """Return the setting; the same on every run."""
            setting = ", ".join(f"{n}={c.value:g}" for n, c in controls.items())
            return f"LiveLab({setting})"

    box = LiveLab([*controls.values(), view])
    box.controls, box.view = controls, view
    return box


def _packages() -> tuple[Any, Any]:
    try:
        import anywidget
        import traitlets
    except ImportError:
        raise ImportError(
            "live() needs the packages anywidget and ipywidgets; install them with "
            "`pip install anywidget ipywidgets`"
        ) from None
    return anywidget, traitlets


def _module(markup: str, spec: dict[str, Any], functions: str) -> str:
    """Return the JavaScript module of a widget: the page's script, bound to a model."""
    return (
        f"{runtime()}\n"
        "export default { render({ model, el }) {\n"
        'const root = element("div", { class: "lbx" }, el);\n'
        f"root.innerHTML = {script_json(markup)};\n"
        f"bind(model, root, {script_json(spec)}, {functions});\n"
        "} };"
    )


def _widget(anywidget: Any, name: str, esm: str, traits: dict[str, Any]) -> Any:
    shown = [key for key in traits if key not in ("frame", "busy")]

    def represent(self: Any) -> str:
        setting = ", ".join(f"{key}={getattr(self, key)!r}" for key in shown)
        return f"{name}({setting})"

    members = {"_esm": esm, "_css": stylesheet(), "__repr__": represent} | traits
    return type(name, (anywidget.AnyWidget,), members)()


def _control(name: str, control: "Control") -> Any:
    """Return a slider over the control's range; it trains when it is let go."""
    import ipywidgets

    low, high = float(control.values[0]), float(control.values[-1])
    common: dict[str, Any] = {
        "value": float(control.values[control.first]),
        "description": control.label or symbol(name),
        "continuous_update": False,
        "style": {"description_width": "initial"},
    }
    if low > 0 and high / low >= LOG_FROM:
        return ipywidgets.FloatLogSlider(
            min=np.log10(low), max=np.log10(high), step=0.01, **common
        )
    return ipywidgets.FloatSlider(min=low, max=high, step=(high - low) / 100, **common)


def _frame(lab: "Lab", result: "Result") -> dict[str, Any]:
    """Return the one trained state as plain lists and texts."""
    return {
        "curves": [
            [float(y) if np.isfinite(y) else None for y in values[0]]
            for values in result.curves.values()
        ],
        "numbers": [
            lab.number_texts(name, values)[0] for name, values in result.numbers.items()
        ],
    }
