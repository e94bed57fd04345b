"""How names and numbers are written on explorers."""

import math

GREEK = {
    "alpha": "α",
    "beta": "β",
    "gamma": "γ",
    "delta": "δ",
    "epsilon": "ε",
    "zeta": "ζ",
    "eta": "η",
    "theta": "θ",
    "kappa": "κ",
    "lambda": "λ",
    "mu": "μ",
    "nu": "ν",
    "xi": "ξ",
    "pi": "π",
    "rho": "ρ",
    "sigma": "σ",
    "tau": "τ",
    "phi": "φ",
    "chi": "χ",
    "psi": "ψ",
    "omega": "ω",
}


def symbol(name: str, tex: str | None = None) -> str:
    r"""Return a parameter's name as a reader writes it.

    Args:
        name: the name in code.
        tex: its TeX, where the name alone does not tell (`strength` is λ). Anything
            but a single Greek letter is left to the name.

    >>> symbol("gamma"), symbol("strength", tex=r"\lambda"), symbol("margin_scale")
    ('γ', 'λ', 'margin scale')
    """
    if tex is not None and tex.lstrip("\\") in GREEK:
        return GREEK[tex.lstrip("\\")]
    return GREEK.get(name, name.replace("_", " "))


def number(value: float, digits: int) -> str:
    """Return `value` with `digits` decimals, as the script in the page writes it.

    >>> number(-0.5, 2), number(-0.0001, 2), number(float("inf"), 2)
    ('−0.50', '0.00', 'infinite')
    """
    if math.isnan(value):
        return "undefined"
    if math.isinf(value):
        return "infinite" if value > 0 else "−infinite"
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def decimals(step: float) -> int:
    """Return how many decimals a number needs that moves in steps of `step`.

    >>> decimals(0.05), decimals(1.0), decimals(0.0025)
    (2, 0, 4)
    """
    for digits in range(10):
        if math.isclose(round(step, digits), step, rel_tol=1e-9):
            return digits
    return 10
