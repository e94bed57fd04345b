"""What one training is: a frozen record, and a grid of them."""

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from lossbook.experiment._lockstep import OPTIMIZERS, Optimizer
from lossbook.losses import CATALOGUE

Noise = Literal["none", "symmetric", "pair", "instance"]
NOISES: tuple[Noise, ...] = ("none", "symmetric", "pair", "instance")
Profile = Literal["exponential", "step"]

Params = tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True)
class Config:
    """One training: the data, the damage done to them, the loss, the model, the seed.

    Attributes:
        data: a name in `experiment.TASKS`, or of arrays given to `sweep`.
        train: training examples before any damage; 0 for what the data set gives.
        noise: how training labels become wrong.
        noise_rate: the share of wrong labels, 0 to 1.
        imbalance: how many times the rarest class is rarer than the most frequent.
        profile: of the imbalance.
        outliers: the share of training examples that are moved far away, with a label
            drawn at random.
        tree: for losses that know one, the "right" tree over the classes or a "random"
            one of the same shape.
        loss: a key of `lossbook.losses.CATALOGUE`.
        params: of the loss, as pairs of name and value; a mapping is taken too.
        weighting: class weights: "none", "inverse" or "effective".
        weight_from: share of the training after which the weights hold.
        hidden: widths of the hidden layers; none gives a linear model.
        epochs: passes over the training examples.
        batch_size: examples of an update.
        optimizer: "adam", "adamw" or "sgd".
        learning_rate: at the start; it falls to 0 along a cosine.
        weight_decay: on weights, not on biases.
        seed: decides data, damage, initial weights and order. It is the same for all
            losses: they meet the same draw.
    """

    data: str = "digits"
    train: int = 0
    noise: Noise = "none"
    noise_rate: float = 0.0
    imbalance: float = 1.0
    profile: Profile = "exponential"
    outliers: float = 0.0
    tree: Literal["right", "random"] = "right"
    loss: str = "cross_entropy"
    params: Params = ()
    weighting: Literal["none", "inverse", "effective"] = "none"
    weight_from: float = 0.0
    hidden: tuple[int, ...] = (64,)
    epochs: int = 50
    batch_size: int = 128
    optimizer: Optimizer = "adamw"
    learning_rate: float = 3e-3
    weight_decay: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Bring parameters into one form and refuse what cannot be run."""
        pairs = self.params.items() if isinstance(self.params, Mapping) else self.params
        params = tuple(sorted((name, float(value)) for name, value in pairs))
        object.__setattr__(self, "params", params)
        object.__setattr__(self, "hidden", tuple(self.hidden))
        if self.loss not in CATALOGUE:
            raise ValueError(
                f"loss must be a key of the catalogue, got {self.loss!r}"
                f"{_nearest(self.loss, list(CATALOGUE))}"
            )
        has = CATALOGUE[self.loss].params
        for name, _ in params:
            if name not in has:
                raise ValueError(
                    f"params must be parameters of {self.loss}, which has "
                    f"{', '.join(has) or 'none'}, got {name}"
                )
        if self.noise not in NOISES:
            raise ValueError(
                f"noise must be one of {', '.join(NOISES)}, got {self.noise!r}"
            )
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(
                f"optimizer must be one of {', '.join(OPTIMIZERS)}, got "
                f"{self.optimizer!r}"
            )
        for name in ("noise_rate", "outliers", "weight_from"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must lie between 0 and 1, got {value:g}")
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be at least 1, got {getattr(self, name)}"
                )

    def row(self) -> dict[str, Any]:
        """Return the fields as columns of a row; each parameter is a column."""
        columns = {f.name: getattr(self, f.name) for f in fields(self)}
        columns["hidden"] = "-".join(map(str, self.hidden)) or "linear"
        params = columns.pop("params")
        columns["setting"] = ", ".join(f"{name}={value:g}" for name, value in params)
        return columns | {f"param_{name}": value for name, value in params}

    def key(self, salt: str = "") -> str:
        """Return a name of this training that is the same on every machine.

        Args:
            salt: what else decides the result: the code's and the data's version.
        """
        text = json.dumps(asdict(self), sort_keys=True) + salt
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def group(self) -> "Config":
        """Return what configs trained in one stack have in common.

        Runs may differ in seed, in the labels' noise and in the loss's parameters.
        """
        return replace(self, seed=0, noise="none", noise_rate=0.0, params=())


def grid(make: type[Config] = Config, **choices: Any) -> list[Config]:
    """Return a config for each combination of the choices.

    Args:
        make: the record, `Config`.
        choices: by field name, one value for all, or a list, range or other sequence of
            values (a tuple is one value, since `hidden` and `params` are tuples).

    >>> len(grid(loss=["focal", "mae"], noise_rate=[0.0, 0.2], seed=range(10)))
    40
    """
    lists = [_choices(value) for value in choices.values()]
    return [
        make(**dict(zip(choices, chosen, strict=True)))
        for chosen in itertools.product(*lists)
    ]


def _choices(value: Any) -> Sequence[Any]:
    single = isinstance(value, str | tuple | Mapping) or not hasattr(value, "__iter__")
    return [value] if single else list(value)


def _nearest(name: str, known: Sequence[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
