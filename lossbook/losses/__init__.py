"""The catalogue: a folder a family, a private module a loss, a card in each.

A module `_<loss>.py` that holds a `CARD` is in the catalogue; nothing else is to be
registered. The public spelling is `lossbook.<loss>`.
"""

from collections.abc import Callable, Iterator
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from lossbook.card import LossCard


def _cards() -> Iterator[LossCard]:
    for family in iter_modules(__path__):
        package = import_module(f"{__name__}.{family.name}")
        for module in iter_modules(package.__path__):
            found = import_module(f"{package.__name__}.{module.name}")
            if hasattr(found, "CARD"):
                yield found.CARD


def card_of(loss: Callable[..., Any]) -> LossCard | None:
    """Return the card of a loss of this package, None for anybody else's.

    A loss that is made of others, as `Mixture` is, makes its own card.

    >>> import torch
    >>> from lossbook.losses.entropy import cross_entropy
    >>> card_of(cross_entropy).name
    'Cross-entropy'
    """
    for card in CATALOGUE.values():
        of_class = isinstance(card.fn, type) and isinstance(loss, card.fn)
        if loss is card.fn or of_class:
            return card
    own = getattr(loss, "card", None)
    return own if isinstance(own, LossCard) else None


# After what the modules of losses may import from here.
CATALOGUE: dict[str, LossCard] = {card.key: card for card in _cards()}
