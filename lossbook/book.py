"""What the notebooks import: set up, say a result, claim, judge, ask, show.

A sentence that carries a result is the output of a cell, so that it cannot go stale:

    say("The error falls to {:2}.", error)

A statement that could be wrong is a claim with its evidence; it raises when false:

    claim("Focal loss never exceeds cross-entropy.", at_most(focal, ce))
"""

import inspect
import math
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from lossbook import style
from lossbook.evidence import (
    Evidence,
    Refuted,
    at_least,
    at_most,
    between,
    differs,
    equal,
    raises,
    true,
)

__all__ = [
    "Evidence",
    "Refuted",
    "at_least",
    "at_most",
    "between",
    "claim",
    "differs",
    "equal",
    "number",
    "quiz",
    "raises",
    "say",
    "setup",
    "show",
    "table",
    "true",
    "verdict",
]

Verdict = Literal["true", "half", "false", "unverifiable"]
VERDICTS: dict[Verdict, str] = {
    "true": "True",
    "half": "Half true",
    "false": "False",
    "unverifiable": "Cannot be verified",
}


def setup(seed: int = 0) -> np.random.Generator:
    """Prepare a notebook so that it gives the same results everywhere.

    Torch computes in float64 on one thread and starts from `seed`; figures look as in
    the rest of the book. Returns the generator for everything drawn by numpy.

    >>> setup(0).integers(10, size=3).tolist()
    [8, 6, 5]
    """
    import matplotlib.pyplot as plt
    import torch

    torch.manual_seed(seed)
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    settings: Any = style.matplotlib_settings()
    plt.rcParams.update(settings)
    _set_figure_format()
    return np.random.default_rng(seed)


def _set_figure_format() -> None:
    """Store figures as PNG without the name and version of the software."""
    try:
        from matplotlib_inline.backend_inline import set_matplotlib_formats
    except ImportError:  # no notebook, no stored figures
        return
    set_matplotlib_formats("png", metadata={"Software": None})


class Number(str):
    """A number, rounded and safe to print. Made by `number`."""


def number(
    value: Any,
    digits: int = 3,
    *,
    percent: bool = False,
    signed: bool = False,
    slack: float = 1e-6,
) -> Number:
    """Round to significant digits, and refuse a value that could round either way.

    Args:
        value: a real number (torch and numpy scalars too).
        digits: significant digits to print.
        percent: print 0.123 as 12.3 %.
        signed: print the plus as well.
        slack: how much the value may change between machines, relative to itself.

    Raises:
        ValueError: for a value on a rounding edge: its last digit would differ between
            machines. Print another number of digits.

    >>> number(0.12345, digits=2)
    '0.12'
    >>> number(0.8384, percent=True)
    '83.8 %'
    >>> number(0.1250000001, digits=2)
    Traceback (most recent call last):
    ...
    ValueError: 0.1250000001 lies on a rounding edge at 2 digits; print 1 or 3 digits
    """
    value = value.detach() if hasattr(value, "detach") else value
    x = float(value) * (100 if percent else 1)
    if not math.isfinite(x):
        raise ValueError(f"a number must be finite to be printed, got {x}")
    places = _places(x, digits)
    scaled = abs(x) * 10.0**places
    if abs(scaled - math.floor(scaled) - 0.5) <= slack * max(scaled, 1e-3):
        raise ValueError(
            f"{x:.12g} lies on a rounding edge at {digits} digits; "
            f"print {digits - 1} or {digits + 1} digits"
        )
    x = round(x, places)
    text = f"{x:,.{max(_places(x, digits), 0)}f}"  # 0.9996 to 3 digits is 1.00
    if float(text.replace(",", "")) == 0:
        text = text.lstrip("-")
    elif abs(x) < 1e-4 or abs(x) >= 1e9:
        text = f"{x:.{digits - 1}e}"
    if signed and x > 0:
        text = "+" + text
    return Number(text.replace("-", "−") + (" %" if percent else ""))


def _places(x: float, digits: int) -> int:
    """Return how many decimals show `digits` significant digits of x."""
    if x == 0:
        return digits - 1
    return digits - 1 - math.floor(math.log10(abs(x)))


def say(template: str, *values: Any, **named: Any) -> None:
    """Print a Markdown sentence with results in it.

    Args:
        template: Markdown. `{:3}` takes the next value with 3 significant digits,
            `{:2%}` as a percentage, `{:+2}` with its sign, `{}` a whole number or a
            word; `{name}` and `{name:3}` take a named value. Other braces, as in TeX,
            stay.
        values: what fills the places without a name, in order.
        named: what fills those with a name.

    Raises:
        TypeError: for a float without digits: its last digits differ between machines.
        ValueError: for too few or too many values, or one on a rounding edge.
    """
    _markdown(_fill(template, list(values), named))


def claim(statement: str, evidence: Evidence, *, key: str | None = None) -> None:
    """State what was checked, with a check mark; raise `Refuted` if it is false.

    Args:
        statement: one sentence, in Markdown.
        evidence: the executed comparison: `equal`, `at_most`, `between`, `true`, ...
        key: the anchor on the page; made from the statement if not given.
    """
    _evidence(evidence)
    evidence.require(f"claim refuted: {statement}")
    key = key or _slug(statement)
    _markdown(
        f'<div class="lb-claim" id="claim-{key}">\n\n'
        f"✓ **Claim.** {statement}  \n*Checked:* {evidence.text}.\n\n</div>",
        kind="claim",
        id=key,
        statement=statement,
        evidence=evidence.text,
        tolerance=evidence.tolerance,
    )


def verdict(
    number_: str,
    judged: Verdict,
    statement: str,
    evidence: Evidence,
    *,
    because: str,
) -> None:
    """Judge a common claim, on executed evidence; raise `Refuted` if that fails.

    Args:
        number_: the claim's number, such as "S7".
        judged: "true", "half", "false" or "unverifiable".
        statement: the claim, as it is commonly made.
        evidence: the executed comparison that supports the verdict.
        because: what is right instead, and why, in a sentence or two.
    """
    if judged not in VERDICTS:
        raise ValueError(f"judged must be one of {', '.join(VERDICTS)}, got {judged!r}")
    _evidence(evidence)
    evidence.require(f"verdict on {number_} refuted")
    word = VERDICTS[judged]
    _markdown(
        f'<div class="lb-verdict lb-{judged}" id="verdict-{number_.lower()}">\n\n'
        f"**{number_}.** “{statement}”  \n**{word}.** {because}  \n"
        f"*Checked:* {evidence.text}.\n\n</div>",
        kind="verdict",
        id=number_,
        verdict=judged,
        statement=statement,
        evidence=evidence.text,
        correction=because,
    )


def quiz(question: str, choices: Mapping[str, str], answer: str | int) -> None:
    """Ask a question; each choice opens to say whether it is right, and why.

    Args:
        question: Markdown.
        choices: each choice and what to say to the reader who took it.
        answer: the right choice, as text or as its place from 0; best computed.
    """
    names = list(choices)
    right = names[int(answer)] if not isinstance(answer, str) else answer
    if right not in choices:
        raise ValueError(f"answer must be one of the choices, got {right!r}")
    parts = [f'<div class="lb-quiz">\n\n**Your guess.** {question}\n']
    for letter, (choice, why) in zip("ABCDEFGH", choices.items(), strict=False):
        mark = "✓ Right." if choice == right else "✗ Not so."
        parts.append(
            f"<details><summary>{letter}. {choice}</summary>\n\n{mark} {why}\n\n"
            "</details>"
        )
    _markdown("\n".join([*parts, "\n</div>"]))


def show(*functions: Callable[..., Any]) -> None:
    """Show the code of the package, as it is: source without docstrings."""
    sources = [_without_docstring(inspect.getsource(f)) for f in functions]
    _markdown("```python\n" + "\n\n".join(s.strip("\n") for s in sources) + "\n```")


def table(
    columns: Mapping[str, Sequence[Any]], *, digits: int | Mapping[str, int] = 3
) -> None:
    """Show columns of words and numbers as a table; floats go through `number`."""
    lengths = {len(values) for values in columns.values()}
    if len(lengths) != 1:
        raise ValueError(f"columns must be of one length, got {sorted(lengths)}")
    cells = {}
    for name, values in columns.items():
        places = digits if isinstance(digits, int) else digits.get(name, 3)
        cells[name] = [_cell(value, places) for value in values]
    lines = [
        "| " + " | ".join(columns) + " |",
        "|" + "|".join(" --- " for _ in columns) + "|",
    ]
    for row in zip(*cells.values(), strict=True):
        lines.append("| " + " | ".join(row) + " |")
    _markdown("\n".join(lines))


def _cell(value: Any, digits: int) -> str:
    if isinstance(value, str):
        return value.replace("|", "\\|")
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return f"{int(value):,}".replace("-", "−")
    x = float(value)
    return "∞" if x == math.inf else number(x, digits)


def _markdown(text: str, **record: str) -> None:
    """Display Markdown; `record` travels as metadata, for the pages made from it."""
    try:
        from IPython.display import display
    except ImportError:
        print(text)  # noqa: T201
        return
    metadata = {"lossbook": record} if record else {}
    display({"text/markdown": text, "text/plain": text}, raw=True, metadata=metadata)


_PLACE = re.compile(
    r"\{(?P<name>[A-Za-z_]\w*)?(?::(?P<plus>\+?)(?P<digits>\d)(?P<percent>%?))?\}"
)


def _fill(template: str, values: list[Any], named: Mapping[str, Any]) -> str:
    """Put the values at their places; other braces stay."""
    waiting, unused = iter(values), set(named)

    def put(match: re.Match[str]) -> str:
        name = match["name"]
        if name is None:
            try:
                value = next(waiting)
            except StopIteration:
                raise ValueError(
                    f"every place needs a value, got {len(values)} for {template!r}"
                ) from None
        elif name in named:
            value = named[name]
            unused.discard(name)
        else:
            return match[0]
        return _written(value, match)

    text = _PLACE.sub(put, template)
    left = [*map(repr, waiting), *sorted(unused)]
    if left:
        raise ValueError(
            f"every value must stand in the sentence, {', '.join(left)} does not"
        )
    return text


def _written(value: Any, place: re.Match[str]) -> str:
    if place["digits"]:
        return number(
            value,
            int(place["digits"]),
            percent=bool(place["percent"]),
            signed=bool(place["plus"]),
        )
    if isinstance(value, bool) or not isinstance(value, str | int | np.integer):
        raise TypeError(
            f"{place[0]} must say how many digits to print, as in "
            f"{{{place['name'] or ''}:3}}, got {type(value).__name__}"
        )
    return str(value)


def _evidence(evidence: Any) -> None:
    if not isinstance(evidence, Evidence):
        raise TypeError(
            "evidence must come from equal, at_most, at_least, between, differs, "
            f"raises or true, got {type(evidence).__name__}"
        )


def _slug(statement: str) -> str:
    words = re.sub(r"[^a-z0-9 ]", "", statement.lower()).split()
    return "-".join(words[:8])


def _without_docstring(source: str) -> str:
    source = textwrap.dedent(source)
    return re.sub(r'(:\n)\s*""".*?"""\n', r"\1", source, count=1, flags=re.S)
