"""torch.compile as users call it, down to machine code."""

import shutil

import numpy as np
import pytest
import torch

from lossbook.losses import CATALOGUE

COMPILER = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
# Inductor imports parts of torch that torch itself calls deprecated.
NOTICE = r"ignore:`torch\.jit\.script_method` is deprecated:DeprecationWarning"


@pytest.mark.slow
@pytest.mark.filterwarnings(NOTICE)
@pytest.mark.skipif(not COMPILER, reason="inductor needs a C++ compiler; none is here")
@pytest.mark.parametrize("key", ["focal", "soft_cross_entropy", "logistic"])
def test_compiled_to_machine_code(key, tmp_path, monkeypatch):
    """Nothing of an earlier run is used: the cache is new."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    card = CATALOGUE[key]
    first, *rest = (torch.tensor(a) for a in card.sample(np.random.default_rng(0)))
    torch.compiler.reset()
    found = {}
    for form, loss in (("plain", card.fn), ("compiled", torch.compile(card.fn))):
        z = first.clone().requires_grad_()
        loss = loss(z, *rest, **card.defaults())
        (gradient,) = torch.autograd.grad(loss.sum(), z)
        found[form] = (loss.detach(), gradient)
    torch.compiler.reset()
    torch.testing.assert_close(found["compiled"], found["plain"], rtol=1e-12, atol=0)
    assert list(tmp_path.rglob("*.so")), "inductor compiled nothing"
