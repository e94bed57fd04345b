"""One sympy expression, three languages: JavaScript, numpy and torch."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import sympy
from sympy.printing.codeprinter import PrintMethodNotImplementedError

from lossbook.explore.labels import GREEK

# These have no plain torch form, or jump where JavaScript and numpy disagree.
_AS_PIECEWISE = (sympy.Max, sympy.Min, sympy.Heaviside, sympy.sign)


# sympy takes these names for functions; in a formula they are forgotten parameters.
_LETTERS = {name: sympy.Symbol(name) for name in GREEK if name != "pi"}


def parse(given: Any, names: Sequence[str], what: str) -> sympy.Expr:
    """Return `given`, a text or an expression, over real symbols called `names`.

    Args:
        given: sympy's syntax, a number, or a sympy expression.
        names: the variable and the parameters; symbols are matched by name.
        what: how messages call the expression.

    Raises:
        ValueError: it is no formula, or holds another symbol.
    """
    symbols = {name: real(name) for name in names}
    try:
        expr = sympy.sympify(given, locals=_LETTERS | symbols)
    except (sympy.SympifyError, TypeError, SyntaxError):
        raise ValueError(
            f"{what} must be a formula in sympy's syntax, got {given!r}"
        ) from None
    unknown = sorted({s.name for s in expr.free_symbols} - set(names))
    if unknown:
        raise ValueError(
            f"{what} may use {', '.join(names)}, got {', '.join(unknown)} too; "
            "add a parameter of that name, or correct the formula"
        )
    return expr.xreplace({s: symbols[s.name] for s in expr.free_symbols})


def real(name: str) -> sympy.Symbol:
    """Return the real symbol of that name."""
    return sympy.Symbol(name, real=True)


def derivative(expr: sympy.Expr, name: str) -> sympy.Expr:
    """Return the derivative in `name`; at a kink, that of one side.

    Steps are written out as cases first: sympy's own derivative of a step is a Dirac
    delta, which JavaScript has not. It is zero wherever the derivative exists.
    """
    steps = expr.replace(
        lambda part: isinstance(part, _AS_PIECEWISE),
        lambda part: part.rewrite(sympy.Piecewise),
    )
    return steps.diff(real(name))


def js_function(expr: sympy.Expr, names: Sequence[str], what: str) -> str:
    """Return the source of a JavaScript function of `names`.

    Raises:
        ValueError: JavaScript has no form of the expression.
    """
    arguments = ",".join(sympy.jscode(real(name)) for name in names)
    try:
        body = " ".join(sympy.jscode(expr).split())
    except PrintMethodNotImplementedError as error:
        missing = str(error).splitlines()[0].split(": ")[-1]
        raise ValueError(
            f"{what} must be made of functions that JavaScript has, got {missing}; "
            "write it with exp, log and the like, or give an explore.Table"
        ) from None
    except ValueError:
        raise ValueError(
            f"{what} must say what holds everywhere: its last case lacks the "
            "condition True"
        ) from None
    return f"function({arguments}){{return {body};}}"


def numpy_function(expr: sympy.Expr, names: Sequence[str]) -> Callable[..., np.ndarray]:
    """Return a numpy function of `names`; its result has the broadcast shape.

    Outside of its domain the function is nan or infinite, without a warning.
    """
    plain = sympy.lambdify([real(name) for name in names], expr, "numpy")

    def function(*arguments: Any) -> np.ndarray:
        arrays = np.broadcast_arrays(*(np.asarray(a, float) for a in arguments))
        with np.errstate(all="ignore"):
            return np.broadcast_to(np.asarray(plain(*arrays), float), arrays[0].shape)

    return function


def torch_function(expr: sympy.Expr, names: Sequence[str]) -> Callable[..., Any]:
    """Return a torch function of `names` (floats or tensors), differentiable."""
    import torch

    steps = expr.replace(
        lambda part: isinstance(part, (sympy.Max, sympy.Min, sympy.Heaviside)),
        lambda part: part.rewrite(sympy.Piecewise),
    )
    # torch's functions take no plain numbers: log(2) is one already.
    steps = steps.replace(
        lambda part: part.is_Function and not part.free_symbols,
        lambda part: part.evalf(),
    )
    plain = sympy.lambdify([real(name) for name in names], steps, "torch")

    def function(*arguments: Any) -> Any:
        like = next((a for a in arguments if isinstance(a, torch.Tensor)), None)
        dtype = torch.get_default_dtype() if like is None else like.dtype
        tensors = torch.broadcast_tensors(
            *(torch.as_tensor(a, dtype=dtype) for a in arguments)
        )
        return torch.as_tensor(plain(*tensors), dtype=dtype) + 0 * tensors[0]

    return function
