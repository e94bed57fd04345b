"""The card: everything the book states about a loss, next to its code.

Pages, tables, explorers and tests read cards; no statement about a loss stands
anywhere else. A card holds no torch, so reading the catalogue's text stays cheap.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, get_args

import numpy as np

Kind = Literal[
    "labels",  # (logits, labels): integer classes
    "targets",  # (logits, targets): probabilities of the classes
    "margin",  # (scores, signs): two classes, -1 and +1
    "binary",  # (scores, targets): elementwise, targets between 0 and 1
    "cosine",  # (cosines, labels)
    "pair",  # embeddings and how they relate
    "batch",  # not a sum over examples
    "stateful",  # remembers, or learns weights of its own
]
KINDS: tuple[Kind, ...] = get_args(Kind)

# A statement on a card: a value, a function of the parameters, or None for "not said".
Stated = bool | float | Callable[..., bool | float | None] | None


@dataclass(frozen=True, kw_only=True)
class Param:
    """A hyper-parameter: its default, its range, and whether the ends belong to it."""

    default: float
    low: float
    high: float
    meaning: str
    open_low: bool = False
    open_high: bool = False
    whole: bool = False  # whole numbers only
    tex: str | None = None  # only where the name is no Greek letter

    def walk(self, steps: int = 11) -> list[float]:
        """Return `steps` values over the range; an open end is approached to 0.1 %.

        Of whole numbers there may be fewer.
        """
        gap = 1e-3 * (self.high - self.low)
        low = self.low + gap if self.open_low else self.low
        high = self.high - gap if self.open_high else self.high
        values = np.linspace(low, high, steps)
        return [float(v) for v in (np.unique(values.round()) if self.whole else values)]


@dataclass(frozen=True, kw_only=True)
class Formula:
    """The loss as a function of one real variable, in sympy's syntax.

    `variable` is `p` (the probability of the true class), `m` (the margin), `theta`
    or `d` (a distance). For losses of soft targets the formula holds at hard ones. For
    losses of cosines it is the logit of the true class, `theta` being its angle: the
    loss is cross-entropy of it and of the other cosines times the parameter `scale`.
    `derivative` is given where sympy's own would be wrong at a kink. `limits` holds
    the formula at a parameter's open end: `{"q": {0.0: "-log(p)"}}`.
    """

    expr: str
    variable: str = "p"
    domain: tuple[float, float] = (0.0, 1.0)
    derivative: str | None = None
    limits: Mapping[str, Mapping[float, str]] = field(default_factory=dict)

    def parse(self, text: str, params: Mapping[str, Param]) -> Any:
        """Return `text` as a sympy expression over the variable and the parameters."""
        import sympy

        names = [self.variable, *params]
        return sympy.sympify(text, locals={n: _symbol(n) for n in names})

    def expression(self, params: Mapping[str, Param]) -> Any:
        """Return the loss as a sympy expression."""
        return self.parse(self.expr, params)

    def slope(self, params: Mapping[str, Param]) -> Any:
        """Return the derivative in the variable as a sympy expression."""
        if self.derivative is not None:
            return self.parse(self.derivative, params)
        return self.expression(params).diff(_symbol(self.variable))

    def numpy(self, params: Mapping[str, Param]) -> Callable[..., Any]:
        """Return the loss as a numpy function of the variable and the parameters."""
        import sympy

        names = [self.variable, *params]
        return sympy.lambdify(
            [_symbol(n) for n in names], self.expression(params), "numpy"
        )

    def latex(self, params: Mapping[str, Param]) -> str:
        """Return the formula in TeX, the variable written as the chapters write it."""
        import sympy

        written = {"p": "p_y"}.get(self.variable, self.variable)
        names = {_symbol(n): q.tex for n, q in params.items() if q.tex}
        return sympy.latex(
            self.expression(params),
            symbol_names={_symbol(self.variable): written, **names},
            ln_notation=True,
        )


@dataclass(frozen=True, kw_only=True)
class Properties:
    """Statements that the checks try to refute. `None` says nothing.

    `False` is a statement too: the checks must find a witness for it.
    """

    convex: Stated = None  # in the logits or scores
    # The expected loss has its one minimum at the truth; scores are read as log-odds.
    # For soft targets, the truth is the target itself, not labels drawn from it.
    strictly_proper: Stated = None
    calibrated: Stated = None  # its minimizer predicts the likeliest class
    # The sum over all labels is constant; a jump may hold another value.
    symmetric: Stated = None
    monotone: Stated = None  # a higher score of the true class never costs more
    shift_invariant: Stated = None  # adding a constant to all logits changes nothing
    piecewise_constant: Stated = False  # the gradient is zero wherever it exists
    lower: Stated = 0.0  # infimum over all inputs
    upper: Stated = None  # supremum over all inputs, inf if there is none
    lipschitz: Stated = None  # supremum of the gradient's Euclidean norm, inf if none


@dataclass(frozen=True, kw_only=True)
class SpecialCase:
    """At `params`, this loss is `factor` times the loss `of` at its defaults."""

    of: str
    params: Mapping[str, float] = field(default_factory=dict)
    factor: float = 1.0


Arrays = tuple[np.ndarray, ...]


@dataclass(frozen=True, kw_only=True)
class LossCard:
    """What pages, tables, explorers and tests know of a loss.

    `fn` is the torch function (arrays, then keyword-only parameters; one loss an
    example). `ref` is the same in numpy and returns (loss, gradient), the gradient
    derived by hand.

    A loss that closes over data (class counts, a matrix) is a class: `fn` makes an
    instance from that data and the parameters, all by keyword, and the instance is
    called with the arrays. `closure(rng, classes)` draws such data; `ref` takes it by
    the same keywords.
    """

    name: str
    family: str
    kind: Kind
    fn: Callable[..., Any]
    ref: Callable[..., tuple[Any, Any]]
    summary: str  # one sentence, plain words
    cite: str  # key in book/references.bib
    formula: Formula | None = None
    params: Mapping[str, Param] = field(default_factory=dict)
    # Choices that are words: keyword -> what may be said, the default first. A function
    # on the card that takes no such keyword speaks of the default alone.
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    special_cases: tuple[SpecialCase, ...] = ()
    properties: Properties = field(default_factory=Properties)
    stackable: bool = True  # may be trained in lockstep with other models
    closure: Callable[[np.random.Generator, int], Mapping[str, Any]] | None = None
    # The posterior at which given outputs are optimal: (outputs, **closure, **params)
    # to (..., C) probabilities, or P(+1) for scores. Outside of [0, 1]: none is.
    recovery: Callable[..., Any] | None = None
    # Of losses of the margin: (eta, **params) to a score of the least expected loss
    # where P(+1) = eta, infinite where no finite one is the cheapest ...
    link: Callable[..., Any] | None = None
    # ... and (theta, **params) to the psi-transform, with theta = 2 eta - 1: the best
    # function with psi(excess 0/1 risk) <= excess risk.
    transform: Callable[..., Any] | None = None
    # Value and gradient are finite, also in float32, for logits up to this size.
    reach: float = 1e4
    # The same loss in other libraries: public name -> "" where it is equal, else the
    # difference in one sentence. `tests/peers` shows each of them.
    peers: Mapping[str, str] = field(default_factory=dict)
    draw: Callable[[np.random.Generator, int, int], Arrays] | None = None
    # It hands the numbers to a solver outside of torch, so that neither torch.func,
    # torch.compile nor the meta device can carry it.
    opaque: bool = False

    def __post_init__(self) -> None:
        """Refuse a kind that no test would cover."""
        if self.kind not in KINDS:
            raise ValueError(
                f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}"
            )

    @property
    def key(self) -> str:
        """Return the public name, `lossbook.<key>`."""
        return str(self.fn.__name__)

    def defaults(self) -> dict[str, float]:
        """Return the default parameters."""
        return {name: param.default for name, param in self.params.items()}

    def settings(
        self, steps: int = 11, *, options: bool = True
    ) -> Iterator[dict[str, Any]]:
        """Yield the defaults, then a walk along each parameter's whole range.

        At last come the other words of each option, unless they are not wanted.
        """
        yield self.defaults()
        for name, param in self.params.items():
            for value in param.walk(steps):
                yield self.defaults() | {name: value}
        for name, words in self.options.items() if options else ():
            for word in words[1:]:
                yield self.defaults() | {name: word}

    def states(self, name: str, params: Mapping[str, Any]) -> bool | float | None:
        """Return what the card says of property `name` at these parameters."""
        stated: Stated = getattr(self.properties, name)
        if not callable(stated):
            return stated
        taken = self.taken(stated, params)
        return None if taken is None else stated(**taken)

    def taken(
        self, function: Callable[..., Any], params: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """Return the parameters for a function of the card that may know no options.

        None, if one is not at the default of which such a function speaks.
        """
        known = inspect.signature(function).parameters
        if any(each.kind is each.VAR_KEYWORD for each in known.values()):
            return dict(params)
        strange = self.options.keys() - known.keys()
        if any(
            params.get(n, self.options[n][0]) != self.options[n][0] for n in strange
        ):
            return None
        return {name: value for name, value in params.items() if name not in strange}

    def closed_over(self, classes: int = 4) -> dict[str, Any]:
        """Return what the loss closes over, drawn for so many classes."""
        if self.closure is None:
            return {}
        return dict(self.closure(np.random.default_rng(0), classes))

    def make(self, classes: int = 4, **params: Any) -> Callable[..., Any]:
        """Return the loss, ready to be called with arrays alone."""
        if isinstance(self.fn, type):
            instance: Callable[..., Any] = self.fn(
                **self.closed_over(classes), **params
            )
            return instance
        return partial(self.fn, **self.closed_over(classes), **params)

    def reference(self, classes: int = 4, **params: Any) -> Callable[..., Any]:
        """Return the numpy reference, ready to be called with arrays alone."""
        return partial(self.ref, **self.closed_over(classes), **params)

    def sample(self, rng: np.random.Generator, n: int = 64, classes: int = 4) -> Arrays:
        """Draw input of this loss's kind: ordinary values, in float64."""
        draw = self.draw or _DRAWS.get(self.kind)
        if draw is None:
            raise ValueError(
                f"a card of kind {self.kind!r} must say how to draw its input: "
                f"give {self.name} a `draw`"
            )
        return draw(rng, n, classes)


def _symbol(name: str) -> Any:
    import sympy

    return sympy.Symbol(name, real=True)


def _draw_labels(rng: np.random.Generator, n: int, classes: int) -> Arrays:
    return 3 * rng.normal(size=(n, classes)), rng.integers(classes, size=n)


def _draw_targets(rng: np.random.Generator, n: int, classes: int) -> Arrays:
    logits, _ = _draw_labels(rng, n, classes)
    targets = rng.dirichlet(np.ones(classes), size=n)
    targets[: n // 4] = np.eye(classes)[rng.integers(classes, size=n // 4)]
    return logits, targets


def _draw_margin(rng: np.random.Generator, n: int, classes: int) -> Arrays:
    return 3 * rng.normal(size=n), rng.choice([-1.0, 1.0], size=n)


def _draw_binary(rng: np.random.Generator, n: int, classes: int) -> Arrays:
    targets = rng.random(size=n)
    targets[: n // 2] = rng.integers(2, size=n // 2)
    return 3 * rng.normal(size=n), targets


def _draw_cosine(rng: np.random.Generator, n: int, classes: int) -> Arrays:
    # Off the ends, where the slope of some losses is infinite: differences are taken.
    return rng.uniform(-0.95, 0.95, size=(n, classes)), rng.integers(classes, size=n)


_DRAWS: dict[str, Callable[[np.random.Generator, int, int], Arrays]] = {
    "labels": _draw_labels,
    "targets": _draw_targets,
    "margin": _draw_margin,
    "binary": _draw_binary,
    "cosine": _draw_cosine,
}
