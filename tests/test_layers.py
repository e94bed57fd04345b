"""Imports point downwards only."""

import ast
import re
from pathlib import Path

import pytest

import lossbook

BASE = {"modes", "shapes", "card", "style", "evidence"}
LAYERS = {  # what each part of lossbook may import from lossbook
    "modes": set(),
    "shapes": set(),
    "style": set(),
    "evidence": set(),
    "card": set(),
    "validate": {"modes", "shapes"},
    "weights": {"validate"},
    "kernels": {"modes", "shapes", "validate"},
    "ops": {"modes", "shapes", "validate", "kernels"},
    "trees": set(),
    "transport": {"modes", "shapes", "kernels", "ops"},
    "losses": {
        "modes",
        "shapes",
        "card",
        "validate",
        "kernels",
        "ops",
        "trees",
        "transport",
        "losses",
    },
    "criterion": {"modes", "card", "validate", "kernels", "losses"},
    "metrics": {"trees"},
    "calibration": set(),
    "data": {"data", "trees"},
    "check": {"card", "criterion", "evidence", "losses", "check"},
    "_compare": {"data", "experiment", "losses", "plots", "stats"},
    "diagnose": set(),
    "results": {"experiment"},
    "matrix": {"card", "experiment", "losses", "results", "stats"},
    "studies": {"data", "experiment", "losses", "matrix", "results"},
    "__main__": {"_compare", "data", "losses", "matrix", "tables"},
    "experiment": {
        "card",
        "criterion",
        "data",
        "experiment",
        "losses",
        "metrics",
        "trees",
        "weights",
    },
    "explore": {"card", "style", "explore"},
    "schedules": set(),
    "stats": set(),
    "plots": {"style", "plots"},
    "tables": {"card", "losses", "tables"},
    "book": {"evidence", "style"},
    "__init__": set(),
}
ROOT = Path(lossbook.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))


def used(path: Path) -> set[str]:
    """Return the parts of lossbook that a module imports."""
    parts = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "lossbook":
            parts |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            "lossbook."
        ):
            parts.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            parts |= {n[1] for n in names if n[0] == "lossbook" and len(n) > 1}
    return parts


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_downwards(path):
    layer = path.relative_to(ROOT).parts[0].removesuffix(".py")
    assert layer in LAYERS, f"give {layer} a place in LAYERS"
    above = used(path) - LAYERS[layer]
    assert not above, f"{layer} must not import {', '.join(sorted(above))}"


@pytest.mark.parametrize(
    "layer", ["card", "style", "explore", "evidence", "data", "trees"]
)
def test_no_torch_at_import(layer):
    paths = [p for p in MODULES if p.relative_to(ROOT).parts[0].startswith(layer)]
    for path in paths:
        top = [
            n for n in ast.parse(path.read_text()).body if "Import" in type(n).__name__
        ]
        names = {a.name for n in top if isinstance(n, ast.Import) for a in n.names}
        names |= {n.module for n in top if isinstance(n, ast.ImportFrom)}
        assert not {n for n in names if n and n.split(".")[0] == "torch"}


def test_a_loss_calls_no_other_loss():
    """A family may share a private module of operations; it has no card."""
    for path in (ROOT / "losses").rglob("_*.py"):
        if path.name == "__init__.py" or path.parent.name == "combine":
            continue
        for module in re.findall(r"from (lossbook\.losses[\w.]*)", path.read_text()):
            shared = ROOT.parent.joinpath(*module.split(".")).with_suffix(".py")
            assert shared.exists(), f"{path.name} imports the losses of {module}"
            assert "CARD" not in shared.read_text(), f"{path.name} imports a loss"
