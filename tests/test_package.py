"""What a user meets first: names, start-up, completeness."""

import re
import subprocess
import sys
from functools import partial
from importlib import import_module
from inspect import isfunction
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch
from beartype import beartype

import lossbook
from lossbook import style
from lossbook.losses import CATALOGUE

ROOT = Path(lossbook.__file__).parent


def snake(name):
    """`LogitAdjusted` as a module's name: logit_adjusted."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def call_of(fn):
    """The function that takes the arrays: of a class, its call."""
    return fn if not isinstance(fn, type) else getattr(fn, "forward", fn.__call__)


@pytest.mark.parametrize("key", CATALOGUE)
def test_a_loss_is_complete(key):
    card = CATALOGUE[key]
    assert getattr(lossbook, key) is card.fn, f"name {key} in lossbook/__init__.pyi"
    assert card.family in style.FAMILIES, f"give {card.family} a stroke in style.py"
    module = Path(sys.modules[card.fn.__module__].__file__ or "")
    assert module.parent.name == card.family, f"{key} stands in another family's folder"
    assert module.stem == f"_{snake(key)}"
    assert card.summary.endswith(".")


@pytest.mark.parametrize("key", CATALOGUE)
def test_a_loss_documents_itself(key):
    fn = CATALOGUE[key].fn
    text = fn.__doc__ + (call_of(fn).__doc__ if isinstance(fn, type) else "")
    for part in ("Args:", "Returns:", "Raises:", ">>> "):
        assert part in text, f"{key} has no {part} in its docstring"


TOOLS = ("calibration", "metrics", "schedules", "weights")  # of which no card speaks


def without_card():
    """What stands beside the losses, such as decoders and miners, and the tools."""
    for family in style.FAMILIES:
        package = import_module(f"lossbook.losses.{family}")
        for name in set(package.__all__) - set(CATALOGUE):
            yield f"lossbook.{name}", getattr(package, name)
    for name in TOOLS:
        module = getattr(lossbook, name)
        for key, each in vars(module).items():
            own = getattr(each, "__module__", None) == module.__name__
            if own and isfunction(each) and not key.startswith("_"):
                yield f"lossbook.{name}.{key}", each


WITHOUT_CARD = dict(sorted(without_card()))


@pytest.mark.parametrize("name", WITHOUT_CARD)
def test_what_has_no_card_documents_itself(name):
    found = WITHOUT_CARD[name]
    text = found.__doc__
    if isinstance(found, type):
        text += call_of(found).__doc__
    for part in ("Args:", "Returns:", ">>> "):
        assert part in text, f"{name} has no {part} in its docstring"


@pytest.mark.parametrize("name", WITHOUT_CARD)
def test_what_has_no_card_is_tested_by_name(name):
    """By a test that calls it: no check of cards does."""
    paths = (ROOT.parent / "tests").rglob("test_*.py")
    *_, module, short = name.split(".")
    called = (
        rf"\b({module}|lossbook)\.{short}\b" if module in TOOLS else rf"\b{short}\b"
    )
    texts = (path.read_text() for path in paths if path.name != Path(__file__).name)
    assert any(re.search(called, text) for text in texts), f"{name} has no test"


@pytest.mark.parametrize("key", CATALOGUE)
def test_a_loss_is_cited(key):
    bibliography = (ROOT.parent / "book" / "references.bib").read_text()
    assert f"{{{CATALOGUE[key].cite}," in bibliography


@pytest.mark.parametrize("key", CATALOGUE)
def test_shapes_are_as_annotated(key):
    card = CATALOGUE[key]
    checked = jaxtyping.jaxtyped(typechecker=beartype)(call_of(card.fn))
    arrays = [torch.tensor(np.array(a)) for a in card.sample(np.random.default_rng(0))]
    if isinstance(card.fn, type):
        checked = partial(checked, card.make(4, **card.defaults()))
    else:
        checked = partial(checked, **card.closed_over(4), **card.defaults())
    checked(*arrays)
    if len(arrays) > 1:
        with pytest.raises(jaxtyping.TypeCheckError):
            checked(arrays[0][:3], arrays[1][:2], *arrays[2:])


@pytest.mark.parametrize("name", sorted(lossbook.__all__))
def test_every_public_name_is_there(name):
    assert getattr(lossbook, name) is not None


def test_import_loads_no_torch():
    code = "import lossbook, sys; print('torch' in sys.modules, 'numpy' in sys.modules)"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert out.stdout.split() == ["False", "False"]


def test_versions_agree():
    from importlib.metadata import version

    assert version("lossbook") == lossbook.__version__


def test_each_family_has_a_look_of_its_own():
    looks = [(s.light, s.dash) for s in style.FAMILIES.values()]
    assert len(set(looks)) == len(looks)
    assert len({s.marker for s in style.FAMILIES.values()}) == len(looks)
