"""The API pages: one a family of losses, one a public module.

What stands on them comes from docstrings (through Sphinx's autodoc) and from the
cards of the losses.
"""

import importlib
import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lossbook
from lossbook import tables
from lossbook.card import LossCard, Param
from lossbook.losses import CATALOGUE

FOLDER = Path("book/generated/api")
# A module of losses has its own pages.
WITHOUT_PAGE = {"losses"}


def generate() -> dict[Path, str]:
    """All API pages: path in the source tree -> text."""
    texts = {"training": training_page(), "comparing": comparing_page()}
    for family in sorted({card.family for card in CATALOGUE.values()}):
        texts[f"losses-{family}"] = family_page(family)
    for name in public_modules():
        texts[f"module-{name}"] = module_page(name)
    return {FOLDER / f"{name}.md": text for name, text in texts.items()}


def public_modules() -> list[str]:
    """The modules with a page: public ones, and those whose names they pass on."""
    listed = [name for name in lossbook.__all__ if name not in WITHOUT_PAGE]
    names = {name for name in listed if inspect.ismodule(getattr(lossbook, name))}
    for name in list(names):
        names |= {owner for owner, _ in passed_on(name)}
    return sorted(names)


def passed_on(name: str) -> list[tuple[str, str]]:
    """The names that a module passes on from others: (owner, name)."""
    module = importlib.import_module(f"lossbook.{name}")
    found = []
    for each in getattr(module, "__all__", []):
        home = getattr(getattr(module, each), "__module__", "") or ""
        parts = home.split(".")
        if parts[0] == "lossbook" and len(parts) > 1 and parts[1] != name:
            found.append((parts[1], each))
    return found


def directives(lines: Iterable[str]) -> str:
    """A block that Sphinx reads as reStructuredText, as autodoc needs it."""
    return "\n".join(["```{eval-rst}", *lines, "```"])


def function(name: str) -> str:
    """The documentation of one public name."""
    found = resolve(name)
    if not inspect.isclass(found):
        return directives([f".. autofunction:: {name}"])
    return directives([f".. autoclass:: {name}", f"   {members(found)}"])


def members(loss: type) -> str:
    """Which methods to show: of a loss its call, of any other class all.

    A loss has nothing else; what it holds stands among the arguments of its class.
    """
    if not any(card.fn is loss for card in CATALOGUE.values()):
        return ":members:"
    if "forward" in vars(loss):
        return ":members: forward"
    return ":special-members: __call__"


def resolve(name: str) -> Any:
    """The object of a dotted public name."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def training_page() -> str:
    """What turns a loss per example into a number to train with."""
    return f"# Training\n\n{function('lossbook.Criterion')}\n"


def comparing_page() -> str:
    """An A/B test of two losses, from Python and from the shell."""
    names = ("lossbook.compare", "lossbook.Comparison")
    shell = (
        "From the shell, also with a table of your own:\n\n"
        "```bash\n"
        "python -m lossbook compare focal cross_entropy --data digits --imbalance 50\n"
        "python -m lossbook compare mae cross_entropy --csv table.csv --label kind\n"
        "python -m lossbook list\n"
        "python -m lossbook show focal\n"
        "```"
    )
    return "\n\n".join(["# Comparing", *map(function, names), shell]) + "\n"


def family_page(family: str) -> str:
    """The losses of a family, what their cards state, then what has no card here."""
    cards = [card for card in CATALOGUE.values() if card.family == family]
    blocks = [f"# Losses: {family}"]
    for card in sorted(cards, key=lambda each: each.key):
        blocks += [f"## {card.name}", function(f"lossbook.{card.key}"), facts(card)]
    others = without_card(family)
    derived = [name for name in others if has_derived_card(name)]
    if derived:
        words = (
            "A loss that is made of others has no card in the catalogue. Its card "
            "follows from those of its terms, and is found as its attribute `card`."
        )
        blocks += ["## With a derived card", words]
        blocks += [function(f"lossbook.{name}") for name in derived]
    others = [name for name in others if name not in derived]
    if others:
        words = "What is no loss of an output and its truth has no card."
        blocks += ["## Without a card", words]
        blocks += [function(f"lossbook.{name}") for name in others]
    return "\n\n".join(blocks) + "\n"


def without_card(family: str) -> list[str]:
    """The public names of a family that have no card, such as decoders."""
    package = importlib.import_module(f"lossbook.losses.{family}")
    return sorted(set(package.__all__) - CATALOGUE.keys())


def has_derived_card(name: str) -> bool:
    """True if instances make their own card, as `Mixture` does."""
    found = getattr(lossbook, name)
    return inspect.isclass(found) and hasattr(found, "card")


def facts(card: LossCard) -> str:
    """The statements of a card, as a list."""
    lines = [
        f"- Source: {{cite:t}}`{card.cite}`",
        f"- Kind: `{card.kind}`, called with {tables.CALLED_WITH[card.kind]}",
    ]
    if card.closure is not None:
        data = " and ".join(f"`{name}`" for name in card.closed_over())
        lines.append(f"- Closes over data: {data}")
    if card.formula is not None:
        variable = {"p": "p_y"}.get(card.formula.variable, card.formula.variable)
        written = card.formula.latex(card.params)
        lines.append(f"- As a function of ${variable}$: ${written}$")
    for name, param in card.params.items():
        lines.append(
            f"- `{name}`: {param.meaning}; from `{span(param)}`, "
            f"default `{param.default:g}`"
        )
    for name, words in card.options.items():
        lines.append(f"- `{name}`: {either(words)}; default `{words[0]}`")
    for case in card.special_cases:
        at = ", ".join(f"{name} = {value:g}" for name, value in case.params.items())
        scale = "" if case.factor == 1 else f"{case.factor:g} times "
        where = f"At `{at}`" if at else "Always"
        lines.append(f"- {where} it is {scale}`lossbook.{case.of}`.")
    lines += stated(card)
    if card.reach != LossCard.reach:
        lines.append(
            f"- Value and gradient are finite for inputs up to ±{card.reach:g}"
        )
    for peer, difference in card.peers.items():
        lines.append(f"- Elsewhere `{peer}`: {difference or 'equal'}")
    return "\n".join(lines)


def either(words: Iterable[str]) -> str:
    """The words of an option, such as `out` or `in`."""
    return " or ".join(f"`{word}`" for word in words)


def span(param: Param) -> str:
    """The range of a parameter, such as (0, 1]: the round bracket is an open end."""
    left, right = "(" if param.open_low else "[", ")" if param.open_high else "]"
    return f"{left}{param.low:g}, {param.high:g}{right}"


def stated(card: LossCard) -> list[str]:
    """The properties of a card in words: what is so, what is not, and the bounds."""
    words = {title: tables.statement(card, n) for n, title in tables.SAID.items()}
    is_so = [title for title, word in words.items() if word == "yes"]
    is_not = [title for title, word in words.items() if word == "no"]
    lines = [f"- Is {', '.join(is_so)}"] if is_so else []
    lines += [f"- Is not {', '.join(is_not)}"] if is_not else []
    lines += [
        f"- Is {title} {word}".replace(" no for ", " not for ", 1)
        for title, word in words.items()
        if word not in ("yes", "no", "")
    ]
    ends = {title: tables.bound(card, name) for name, title in tables.BOUNDS.items()}
    said = [f"{title} {end}" for title, end in ends.items() if end]
    return [*lines, *([f"- Has {', '.join(said)}"] if said else [])]


def module_page(name: str) -> str:
    """A public module: its own words, then each of its public names."""
    module = importlib.import_module(f"lossbook.{name}")
    others = {each: owner for owner, each in passed_on(name)}
    lines = [f".. automodule:: lossbook.{name}", "   :member-order: bysource"]
    if hasattr(module, "__all__"):
        own = [each for each in module.__all__ if each not in others]
        lines += ["   :imported-members:", f"   :members: {', '.join(own)}"]
    else:
        lines += ["   :members:"]
    blocks = [f"# lossbook.{name}", directives(lines)]
    if others:
        links = [f"{{py:obj}}`lossbook.{owner}.{e}`" for e, owner in others.items()]
        blocks.append(f"Also found here: {', '.join(links)}.")
    return "\n\n".join(blocks) + "\n"
