"""What one training is: a frozen record, and a grid of them."""

import hashlib
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from lossbook.experiment._lockstep import OPTIMIZERS, Optimizer
from lossbook.losses import CATALOGUE

Noise = Literal["none", "symmetric", "pair", "instance"]
NOISES: tuple[Noise, ...] = ("none", "symmetric", "pair", "instance")
Profile = Literal["exponential", "step"]

Tree = Literal["right", "random"]
Weighting = Literal["none", "inverse", "effective"]
CHOICES: dict[str, tuple[str, ...]] = {
    "noise": NOISES,
    "profile": get_args(Profile),
    "tree": get_args(Tree),
    "weighting": get_args(Weighting),
    "optimizer": OPTIMIZERS,
}
# A number has one spelling, or equal configs would have different keys.
INTEGERS = ("train", "epochs", "batch_size", "seed")
FLOATS = (
    "noise_rate",
    "imbalance",
    "outliers",
    "weight_from",
    "learning_rate",
    "weight_decay",
)

Params = tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True)
class Config:
    """One training: the data, the damage done to them, the loss, the model, the seed.

    Attributes:
        data: a name in `experiment.TASKS`, or of arrays given to `sweep`.
        standardize: bring each feature of arrays given to `sweep` to mean 0 and
            standard deviation 1, by the training part; the data in `TASKS` stay.
        train: training examples of all classes before any damage; 0 for what the data
            set gives.
        noise: how training labels become wrong.
        noise_rate: the share of wrong labels, 0 to 1; 0 if `noise` is "none".
        imbalance: how many times the rarest class is rarer than the most frequent, at
            least 1.
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
    standardize: bool = True
    train: int = 0
    noise: Noise = "none"
    noise_rate: float = 0.0
    imbalance: float = 1.0
    profile: Profile = "exponential"
    outliers: float = 0.0
    tree: Tree = "right"
    loss: str = "cross_entropy"
    params: Params = ()
    weighting: Weighting = "none"
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
        object.__setattr__(self, "hidden", tuple(map(int, self.hidden)))
        object.__setattr__(self, "standardize", _truth(self.standardize))
        for name in INTEGERS:
            object.__setattr__(self, name, _whole(name, getattr(self, name)))
        for name in FLOATS:
            object.__setattr__(self, name, float(getattr(self, name)))
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
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} must be one of {', '.join(known)}, got "
                    f"{getattr(self, name)!r}"
                )
        for name in ("noise_rate", "outliers", "weight_from"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must lie between 0 and 1, got {value:g}")
        if self.noise == "none" and self.noise_rate > 0:
            raise ValueError(
                f"noise_rate must be 0 without noise, got {self.noise_rate:g}; choose "
                'noise="symmetric", "pair" or "instance"'
            )
        if not self.imbalance >= 1:
            raise ValueError(f"imbalance must be at least 1, got {self.imbalance:g}")
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

    >>> rates = [0.0, 0.2]
    >>> configs = grid(noise="pair", noise_rate=rates, loss=["focal", "mae"])
    >>> [(c.loss, c.noise_rate) for c in configs]
    [('focal', 0.0), ('mae', 0.0), ('focal', 0.2), ('mae', 0.2)]
    """
    lists = [_choices(value) for value in choices.values()]
    return [
        make(**dict(zip(choices, chosen, strict=True)))
        for chosen in itertools.product(*lists)
    ]


def config_of(row: Mapping[str, Any]) -> Config:
    """Return the config that a row of `sweep` was made from.

    >>> config = Config(loss="focal", params={"gamma": 3}, hidden=())
    >>> config_of(config.row()) == config
    True
    """
    has = CATALOGUE[row["loss"]].params
    params = {name: row.get(f"param_{name}") for name in has}
    values = {f.name: row[f.name] for f in fields(Config) if f.name != "params"}
    widths = "" if row["hidden"] == "linear" else row["hidden"]
    values["hidden"] = tuple(int(width) for width in widths.split("-") if width)
    given = {n: v for n, v in params.items() if v is not None and not math.isnan(v)}
    return Config(**values, params=tuple(given.items()))


def _whole(name: str, value: Any) -> int:
    if int(value) != value:
        raise ValueError(f"{name} must be a whole number, got {value!r}")
    return int(value)


def _truth(value: Any) -> bool:
    if value not in (True, False):
        raise ValueError(f"standardize must be True or False, got {value!r}")
    return bool(value)


def _choices(value: Any) -> Sequence[Any]:
    single = isinstance(value, str | tuple | Mapping) or not hasattr(value, "__iter__")
    return [value] if single else list(value)


def _nearest(name: str, known: Sequence[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
