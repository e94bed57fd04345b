"""Formulas of cards, and what follows from them, as expressions and in TeX."""

import math
import re
from fractions import Fraction
from functools import cache
from typing import Any

from lossbook.card import LossCard
from lossbook.losses import CATALOGUE

SMALL = 64  # the largest denominator that a float is read as


def formula(card: LossCard) -> str:
    r"""Return a card's formula in TeX; "" where the loss has no scalar form.

    >>> formula(CATALOGUE["cross_entropy"])
    '-\\ln p'
    """
    if card.formula is None:
        return ""
    return tex(card, card.formula.expression(card.params))


def tex(card: LossCard, expression: Any) -> str:
    """Return an expression over a card's variable and parameters in TeX.

    It is written as the chapters write it: ln p without brackets.
    """
    import sympy

    names = {
        sympy.Symbol(name, real=True): param.tex or name_tex(name)
        for name, param in card.params.items()
    }
    return plain_tex(expression, symbol_names=names)


def plain_tex(expression: Any, **options: Any) -> str:
    r"""Return TeX as the chapters write it: the logarithm of one thing has no brackets.

    >>> plain_tex(exact(math.log(4))), plain_tex(exact(0.75))
    ('\\ln 4', '\\frac{3}{4}')
    """
    import sympy

    text = str(
        sympy.latex(expression, ln_notation=True, inv_trig_style="full", **options)
    )
    text = re.sub(r"\\ln{\\left\((\\?\w+) \\right\)}", r"\\ln \1", text)
    return text.replace("- \\ln", "-\\ln")


def name_tex(name: str) -> str:
    r"""Return a parameter's name in TeX: a Greek letter, or upright as a word.

    >>> name_tex("gamma"), name_tex("q"), name_tex("max_margin")
    ('\\gamma', 'q', '\\mathrm{max\\ margin}')
    """
    import sympy

    written = str(sympy.latex(sympy.Symbol(name)))
    if len(name) == 1 or written.startswith("\\"):
        return written
    return rf"\mathrm{{{name.replace('_', chr(92) + ' ')}}}"


def gradient(card: LossCard) -> Any:
    """Return what the formula says of the gradient, as a sympy expression.

    Over p it is the factor g(p) = -p psi'(p): the gradient in the logits is
    g(p_y) (p - e_y). Over any other variable it is the derivative.

    Raises:
        ValueError: for a card without a formula.

    >>> gradient(CATALOGUE["mae"]), gradient(CATALOGUE["logistic"])
    (2*p, -1/(exp(m) + 1))
    """
    known = CATALOGUE.get(card.key) is card
    return _known_gradient(card.key) if known else _gradient(card)


@cache
def _known_gradient(key: str) -> Any:
    return _gradient(CATALOGUE[key])


def _gradient(card: LossCard) -> Any:
    import sympy

    if card.formula is None:
        raise ValueError(f"{card.key} must have a formula, and has none")
    slope = card.formula.slope(card.params)
    if slope.has(sympy.Heaviside, sympy.sign, sympy.DiracDelta):
        # sympy's derivative of a kink: write the kink as cases, and derive those.
        cases = card.formula.expression(card.params).replace(
            lambda part: isinstance(part, (sympy.Max, sympy.Min, sympy.Abs)),
            lambda part: part.rewrite(sympy.Piecewise),
        )
        slope = cases.diff(sympy.Symbol(card.formula.variable, real=True))
        slope = sympy.piecewise_fold(slope)
    if card.formula.variable != "p":
        return slope
    p = sympy.Symbol("p", real=True)
    return sympy.powsimp(sympy.expand(-p * slope))


def exact(value: float) -> Any:
    """Return the fraction, root or logarithm that a float was made from, or the float.

    >>> exact(0.75), exact(-(2**0.5)), exact(1.25e-3)
    (3/4, -sqrt(2), 0.00125000000000000)
    """
    import sympy

    if value == int(value):
        return sympy.Integer(int(value))
    undo_and_redo = (
        (lambda v: v, lambda r: r),
        (lambda v: v * abs(v), lambda r: sympy.sign(r) * sympy.sqrt(abs(r))),
        (math.exp, sympy.log),
    )
    for undo, redo in undo_and_redo if abs(value) < SMALL else ():
        near = Fraction(undo(value)).limit_denominator(SMALL)
        if not near:
            continue
        found = redo(sympy.Rational(near.numerator, near.denominator))
        if math.isclose(float(found), value, rel_tol=1e-12):
            return found
    return sympy.Float(value)


def without_floats(expression: Any) -> Any:
    """Return an expression whose floats are what they were made from."""
    import sympy

    floats = sympy.sympify(expression).atoms(sympy.Float)
    return sympy.sympify(expression).xreplace({f: exact(float(f)) for f in floats})
