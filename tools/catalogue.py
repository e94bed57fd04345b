"""The pages of the catalogue: what the cards say of all losses, side by side.

Nothing stands here that is not on a card or follows from one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from lossbook import explore, style, tables
from lossbook.card import LossCard
from lossbook.check import CHECKS
from lossbook.explore.labels import symbol
from lossbook.losses import CATALOGUE
from tools import api, graph
from tools.markdown import page, raw, table

FOLDER = Path("book/generated")
LOOK = "lb-cards"
NO_BREAK = "\N{NO-BREAK SPACE}"
# What an explorer of several losses shows over each variable.
DRAWN = {
    "p": "the probability $p$ of the true class: the loss $\\psi(p)$, its gradient "
    "factor $g(p)$ and its pull on the true class's logit. The drawing is shaded where "
    "the loss is not convex in the logits.",
    "m": "the margin $m$: the loss and its slope.",
    "theta": "the angle $\\theta$ to the true class: the loss and its slope.",
    "d": "the distance $d$: the loss and its slope.",
}


def generate() -> dict[Path, str]:
    """All pages of the catalogue: path in the source tree -> text."""
    cards = list(CATALOGUE.values())
    found = tables.relations(cards)
    return {
        FOLDER / "catalogue.md": catalogue_page(cards),
        FOLDER / "curves.md": curves_page(cards),
        FOLDER / "properties.md": properties_page(cards),
        FOLDER / "special-cases.md": special_cases_page(cards, found),
        FOLDER / "elsewhere.md": elsewhere_page(cards),
    }


def by_family(cards: Sequence[LossCard]) -> Iterator[tuple[str, list[LossCard]]]:
    """The families in the order of the book, each with its losses by name."""
    order = list(style.FAMILIES)
    ranked = sorted(cards, key=lambda card: (order.index(card.family), card.key))
    for family, members in groupby(ranked, key=lambda card: card.family):
        yield family, list(members)


def sections(
    cards: Sequence[LossCard],
    header: Sequence[str],
    row: Callable[[LossCard], list[str]],
) -> Iterator[str]:
    """A heading and a table for each family; columns without a word are left out."""
    for family, members in by_family(cards):
        columns = zip(header, *map(row, members), strict=True)
        titles, *rows = zip(*(c for c in columns if any(c[1:])), strict=True)
        yield f"## {family.capitalize()}"
        yield table(titles, rows, look=LOOK)


def link(card: LossCard) -> str:
    """A link to a loss's entry in the documentation of the package."""
    place = f"api/losses-{card.family}.html#lossbook.{card.key}"
    return f'<a href="{place}">{card.name}</a>'


def check(name: str) -> str:
    """A link to a check's entry."""
    return f"{{py:obj}}`check.{name} <lossbook.check.{name}>`"


# --- all losses ------------------------------------------------------------------


def catalogue_page(cards: Sequence[LossCard]) -> str:
    """Every loss by family: what it is, its formula, its gradient, its parameters."""
    intro = (
        f"The package holds {len(cards)} losses. Each has a card next to its code, and "
        "this page is made from the cards. A formula is written over $p$, the "
        "probability of the true class, or over $m$, the margin; losses that are no "
        "function of one number have none here, but one in their documentation."
    )
    gradient = (
        "The gradient follows from the formula. Over $p$ it is the factor "
        "$g(p) = -p\\,\\psi'(p)$: the gradient in the logits is $g(p_y)\\,(p - e_y)$. "
        "Over $m$ it is the slope $d\\ell/dm$. That the formula is the code, and the "
        f"gradient autograd's, is tested: {check('formula')}, {check('slope')}, "
        f"{check('psi_calculus')}."
    )
    kinds = {card.kind for card in cards}
    called = [
        f"- `{kind}`: called with {words}"
        for kind, words in tables.CALLED_WITH.items()
        if kind in kinds
    ]
    header = ["Loss", "Formula", "Gradient", "Parameters"]
    blocks = sections(cards, header, catalogue_row)
    return page("All losses", intro, gradient, "The kinds:", "\n".join(called), *blocks)


def catalogue_row(card: LossCard) -> list[str]:
    """One loss of the catalogue."""
    gradient = ""
    if card.formula is not None:
        gradient = f"${tables.tex(card, tables.gradient(card))}$"
    params = [
        f"`{name}`: {param.meaning}; {api.span(param)}, default {param.default:.4g}"
        for name, param in card.params.items()
    ]
    params += [
        f"`{name}`: {api.either(words)}, default `{words[0]}`"
        for name, words in card.options.items()
    ]
    return [
        f"{link(card)}, `{card.kind}`. {card.summary}",
        f"${tables.formula(card)}$" if card.formula else "",
        gradient,
        "<br>".join(params),
    ]


# --- properties ------------------------------------------------------------------


def properties_page(cards: Sequence[LossCard]) -> str:
    """What each card states of properties and bounds."""
    searched = [card for card in cards if card.kind in CHECKS["properties"].kinds]
    others = [card for card in cards if card not in searched]
    intro = (
        "What the cards state: *yes*, *no*, or for which parameters. An empty cell, or "
        "no column, means that nothing is stated. The last columns are the range of "
        "the loss over all inputs, from its infimum to its supremum, and the supremum "
        "of its gradient's Euclidean norm, the Lipschitz constant. A loss with an "
        "option that is a word is spoken of at its default."
    )
    meaning = "\n".join(
        [
            "- *Convex*: in the logits or scores.",
            "- *Strictly proper*: the expected loss is least at the true "
            "probabilities, and nowhere else. Where the truth is a target, it is the "
            "target that stands for them: labels drawn from it are another matter.",
            "- *Calibrated*: the outputs with the least expected loss predict the "
            "likeliest class.",
            "- *Symmetric*: the sum of the losses over all labels does not depend on "
            "the outputs, single points at a jump left aside. The risk minimizer of "
            "such a loss withstands uniform label noise {cite:p}`ghosh2017robust`.",
            "- *Monotone*: a higher score of the true class never costs more.",
            "- *Shift invariant*: a constant added to all logits changes nothing.",
        ]
    )
    checked = (
        f"Both words are tested, by {check('properties')} for a card as a whole and "
        f"{check('property_of')} for one statement, over the range of each parameter. "
        "*Yes* means that the statement survived a search: many inputs, drawn at "
        "random and along the path from certainly wrong to certainly right, and no "
        "counterexample. *No* means that the search finds a counterexample each time. "
        "A bound must not be passed, and must be reached up to one part in a hundred. "
        "So a *no* is shown by its witness, up to rounding; a *yes* is not proved by "
        "any number of inputs. Beside each name stands the article that the card "
        "cites; look there, and in what it cites, for proofs."
    )
    titles = [title.capitalize() for title in tables.SAID.values()]
    header = ["Loss", *titles, "Range", "Lipschitz"]
    blocks = [*sections(searched, header, properties_row)]
    if any(states_something(card) for card in others):
        blocks += [
            "## Stated, but not searched",
            "The search does not cover losses of these kinds.",
            table(
                header,
                [properties_row(card) for card in others if states_something(card)],
                look=LOOK,
            ),
        ]
    return page("Properties of the losses", intro, meaning, checked, *blocks)


def properties_row(card: LossCard) -> list[str]:
    """One loss in the table of properties."""
    return [
        f"{link(card)} {{cite:p}}`{card.cite}`",
        *(tables.statement(card, name) for name in tables.SAID),
        span(tables.bound(card, "lower"), tables.bound(card, "upper")),
        tables.bound(card, "lipschitz"),
    ]


def span(low: str, high: str) -> str:
    """From the infimum to the supremum, either of which may be unknown."""
    if low and high:
        return f"{low} to {high}"
    return f"from {low}" if low else f"up to {high}" if high else ""


def states_something(card: LossCard) -> bool:
    """True if a card says anything of a property."""
    return any(tables.statement(card, name) for name in tables.SAID)


# --- special cases ---------------------------------------------------------------


def special_cases_page(
    cards: Sequence[LossCard], relations: Sequence[tables.Relation]
) -> str:
    """Which losses contain which others: a drawing, and the same as a table."""
    title = "Special cases and limits"
    intro = (
        "A line leads from a loss to one that it contains. Its label says at which "
        "parameters; all others, and those of the loss on the right, are at their "
        "defaults. A factor says how many times the loss on the right it then is. On a "
        "dashed line the parameter only tends to its value."
    )
    if not relations:
        return page(title, "No loss of this build contains another.")
    tested = (
        "That the values and gradients agree at a special case is tested by "
        f"{check('special_cases')}; that a formula tends to its limit, by "
        f"{check('limits')}. That the limit is the other loss's formula, sympy shows "
        "while this page is made."
    )
    known = {card.key: card for card in cards}
    rows = [
        [
            link(known[each.loss]),
            settings(each, known[each.loss]) or "always",
            times(each),
            link(known[each.of]),
            check(each.check),
        ]
        for each in relations
    ]
    header = ["Loss", "At", "Factor", "Is", "Tested by"]
    return page(
        title,
        intro,
        figure(known, relations),
        tested,
        "## As a table",
        table(header, rows, look=LOOK),
    )


def settings(relation: tables.Relation, card: LossCard) -> str:
    """The parameters of a special case, as a reader writes them."""
    parts = []
    for name, value in relation.at.items():
        sign = "→" if name == relation.tends else "="
        parts.append(f"{symbol(name, card.params[name].tex)} {sign} {value:g}")
    # A break may come after a comma, not beside a sign.
    return ", ".join(part.replace(" ", NO_BREAK) for part in parts).replace("-", "−")


def times(relation: tables.Relation) -> str:
    """The factor of a special case; nothing for 1."""
    return "" if relation.factor == 1 else f"{relation.factor:.4g}{NO_BREAK}×"


def figure(known: Mapping[str, LossCard], relations: Sequence[tables.Relation]) -> str:
    """The drawing: boxes in the colors of the families, in a frame that scrolls."""
    edges = [
        graph.Edge(
            each.loss,
            each.of,
            ", ".join(filter(None, [settings(each, known[each.loss]), times(each)])),
            dashed=each.tends is not None,
        )
        for each in relations
    ]
    names = {name for edge in edges for name in (edge.tail, edge.head)}
    drawing = graph.svg(
        edges,
        {name: f"family-{known[name].family}" for name in names},
        title=f"{len(edges)} lines between {len(names)} losses, from the general to "
        "the special. The table below lists them.",
        identity="lb-graph",
    )
    families = [family for family, _ in by_family([known[name] for name in names])]
    legend = "".join(
        f'<li class="family-{family}"><svg width="26" height="16" aria-hidden="true">'
        f'<rect x="2" y="2" width="22" height="12" rx="3"/></svg>{family}</li>'
        for family in families
    )
    return raw(
        f"<style>{family_styles(families)}</style>"
        f'<div class="lb-graph" role="region" tabindex="0" '
        f'aria-label="Drawing of special cases">{drawing}</div>'
        f'<ul class="lb-graph-families" aria-label="Families">{legend}</ul>'
    )


def family_styles(families: Sequence[str]) -> str:
    """The colors and dashes of the families' boxes, light and dark."""
    rules = []
    for family in families:
        stroke = style.FAMILIES[family]
        dash = " ".join(f"{length:g}" for length in stroke.dash) or "none"
        box = f".family-{family} rect"
        rules.append(f"{box}{{stroke:{stroke.light};stroke-dasharray:{dash}}}")
        rules.append(f"html[data-theme=dark] {box}{{stroke:{stroke.dark}}}")
    return "".join(rules)


# --- other libraries -------------------------------------------------------------


def elsewhere_page(cards: Sequence[LossCard]) -> str:
    """The same losses in other libraries."""
    title = "The same loss elsewhere"
    intro = (
        "Other libraries have some of these losses, under the same name or another. "
        "*Equal* means equal values on the same input, with the reduction left out; "
        "otherwise the sentence says what differs. `make peers` compares each pair; "
        "the tests are in `tests/peers`, a file a family."
    )
    with_peers = [card for card in cards if card.peers]
    without = [card for card in cards if not card.peers]
    blocks: list[str] = []
    for family, members in by_family(with_peers):
        rows = [
            [link(card), f"`{peer}`", difference or "Equal."]
            for card in members
            for peer, difference in sorted(card.peers.items())
        ]
        blocks += [
            f"## {family.capitalize()}",
            table(["Loss", "Elsewhere", "Difference"], rows, look=LOOK),
        ]
    if without:
        names = ", ".join(link(card) for _, m in by_family(without) for card in m)
        blocks += ["## Not compared", f"No counterpart was compared for: {names}."]
    return page(title, intro, *blocks)


# --- curves ----------------------------------------------------------------------


def curves_page(cards: Sequence[LossCard]) -> str:
    """Every loss with a formula, drawn: an explorer a family and variable."""
    intro = (
        "Each drawing shows the losses of a family, from their cards alone. The menu "
        "chooses the loss, the sliders its parameters; the point moves along the "
        "curves with its own slider, or with a finger or mouse on the drawing."
    )
    blocks: list[str] = []
    drawn = [card for card in cards if card.formula is not None]
    for family, members in by_family(drawn):
        blocks.append(f"## {family.capitalize()}")
        for variable, losses in by_variable(members):
            blocks.append(f"Over {DRAWN.get(variable, f'${variable}$')}")
            blocks += [raw(each.html()) for each in explorers(losses, variable)]
    rest = [card for card in cards if card.formula is None]
    if rest:
        names = ", ".join(link(card) for _, m in by_family(rest) for card in m)
        blocks += [
            "## Not drawn",
            f"These losses are no function of one number: {names}.",
        ]
    return page("The curves of all losses", intro, *blocks)


def by_variable(
    cards: Sequence[LossCard],
) -> Iterator[tuple[str, list[LossCard]]]:
    """The variables of formulas, each with its losses."""
    found: dict[str, list[LossCard]] = {}
    for card in cards:
        assert card.formula is not None
        found.setdefault(card.formula.variable, []).append(card)
    yield from found.items()


def explorers(cards: Sequence[LossCard], variable: str) -> Iterator[explore.Explorer]:
    """As few explorers as their limit of size allows."""
    draw = explore.psi_calculus if variable == "p" else explore.compare
    made = draw(cards)
    try:
        made.html()
    except ValueError:
        if len(cards) == 1:
            raise
        middle = len(cards) // 2
        for half in (cards[:middle], cards[middle:]):
            yield from explorers(half, variable)
    else:
        yield made
