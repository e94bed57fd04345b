"""How long a sweep takes, one network after the other and in lockstep.

`make bench BENCH="--only lockstep"` trains the same 300 small networks in several ways
in one run: 12 losses, 5 noise rates, 5 seeds, the digits, one hidden layer of 64, 50
epochs. The ways alternate over some rounds, and the least of the rounds counts. Time is
that of a clock on the wall, since processes share the work; other programs on the
machine lengthen it.

In lockstep all 300 are trained. A way that takes one network after the other is
measured on a sample, evenly spread, and scaled to 300; the table says how many were
measured. Its networks have the weights and batches of those in lockstep, so their
accuracies must agree. Lightning draws its own batches; it is measured where it is
installed.
"""

import argparse
import importlib
import importlib.util
import logging
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from benchmarks import store
from lossbook.data import Task
from lossbook.experiment import (
    Config,
    Models,
    code_key,
    code_version,
    grid,
    sweep,
    task_of,
)
from lossbook.losses import CATALOGUE

STORED = store.ROOT / "book/results/training.parquet"
PROCESSES = 2
LOSSES = (
    "cross_entropy",
    "label_smoothing",
    "focal",
    "poly1",
    "gce",
    "mae",
    "nce",
    "rce",
    "sce",
    "crammer_singer",
    "brier",
    "soft_bootstrap",
)
RATES = (0.0, 0.1, 0.2, 0.3, 0.4)
PLAIN = "plain loop"
LOCKSTEP = f"lockstep, {PROCESSES} processes"
COLUMNS = [
    "study",
    "way",
    "models",
    "classes",
    "losses",
    "measured",
    "seconds",
    "seconds_for_all",
    "ratio",
]


@dataclass(frozen=True)
class Plan:
    """How much is trained.

    Attributes:
        seeds: Of the main table.
        epochs: Passes over the training part.
        losses: Keys of the catalogue.
        rates: Of label noise.
        sample: Networks of a way that takes one after the other.
        lightning: The same for Lightning, which takes longest.
        rounds: How often each way is measured.
        growing: Seeds of the study of cost, each number one row.
        classes: Of the study of cost.
    """

    seeds: int = 5
    epochs: int = 50
    losses: tuple[str, ...] = LOSSES
    rates: tuple[float, ...] = RATES
    sample: int = 24
    lightning: int = 6
    rounds: int = 2
    growing: tuple[int, ...] = (1, 5, 10, 25, 50)
    classes: tuple[int, ...] = (2, 10, 50, 200)

    def configs(self, **changed: Any) -> list[Config]:
        """All trainings of the main table, or of a part of it."""
        options: dict[str, Any] = {
            "loss": list(self.losses),
            "noise": "symmetric",
            "noise_rate": list(self.rates),
            "seed": range(self.seeds),
            "epochs": self.epochs,
        }
        return grid(**options | changed)


QUICK = Plan(
    seeds=2,
    epochs=2,
    losses=LOSSES[:2],
    rates=(0.0, 0.2),
    sample=4,
    lightning=1,
    rounds=1,
    growing=(1, 2),
    classes=(2, 3),
)


# --- the ways ------------------------------------------------------------------


def alone(config: Config, given: dict[str, Task] | None = None) -> float:
    """Train one network as one does by hand; return its accuracy on the test part."""
    torch.set_num_threads(1)
    train, test = task_of(config, given)
    x, y = torch.tensor(train.inputs, dtype=torch.float32), torch.tensor(train.labels)
    classes = 1 + int(max(train.labels.max(), test.labels.max()))
    model = network(config, x.shape[1], classes)
    loss = loss_of(config)
    steps = config.epochs * -(-len(x) // config.batch_size)
    descend, schedule = descent(model, config, steps)
    order = np.random.default_rng([config.seed, 1])
    for _ in range(config.epochs):
        for batch in torch.tensor(order.permutation(len(x))).split(config.batch_size):
            descend.zero_grad()
            loss(model(x[batch]), y[batch]).mean().backward()
            descend.step()
            schedule.step()
    return accuracy(model, test)


def network(config: Config, features: int, classes: int) -> nn.Sequential:
    """The network with the weights that it has at the start in lockstep."""
    widths = [features, *config.hidden, classes]
    start = Models.start([config.seed], widths, dtype=torch.float32).layers
    layers: list[nn.Module] = []
    for weight, bias in start:
        layer = nn.Linear(weight.shape[1], weight.shape[2])
        with torch.no_grad():
            layer.weight.copy_(weight[0].T)
            layer.bias.copy_(bias[0, 0])
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def loss_of(config: Config) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of the catalogue at its defaults."""
    card = CATALOGUE[config.loss]
    return lambda z, y: card.fn(z, y, **card.defaults())


def descent(model: nn.Module, config: Config, steps: int) -> tuple[Any, Any]:
    """The optimizer and its schedule."""
    descend = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    return descend, torch.optim.lr_scheduler.CosineAnnealingLR(descend, steps)


def accuracy(model: nn.Module, test: Task) -> float:
    """The share of test examples that the network gets right."""
    with torch.no_grad():
        found = model(torch.tensor(test.inputs, dtype=torch.float32)).argmax(-1)
    return float((found.numpy() == test.labels).mean())


def in_processes(configs: Sequence[Config]) -> list[float]:
    """Train one network after the other, in several processes."""
    jobs = joblib.Parallel(n_jobs=PROCESSES)
    return list(jobs(joblib.delayed(alone)(config) for config in configs))


def in_a_loop(configs: Sequence[Config]) -> list[float]:
    """Train one network after the other."""
    return [alone(config) for config in configs]


def in_lockstep(configs: Sequence[Config], processes: int = 1, **more: Any) -> Any:
    """Train all in stacks."""
    return sweep(configs, n_jobs=processes, progress=False, **more)


def with_lightning(configs: Sequence[Config]) -> list[float]:
    """Train one network after the other with Lightning's trainer, nothing shown."""
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self, config: Config, model: nn.Module, steps: int) -> None:
            super().__init__()
            self.config, self.model, self.steps = config, model, steps
            self.loss = loss_of(config)

        def training_step(self, batch: list[Tensor], number: int) -> Tensor:
            return self.loss(self.model(batch[0]), batch[1]).mean()

        def configure_optimizers(self) -> Any:
            descend, schedule = descent(self.model, self.config, self.steps)
            return [descend], [{"scheduler": schedule, "interval": "step"}]

    found = []
    for config in configs:
        train, test = task_of(config)
        x, y = torch.tensor(train.inputs, dtype=torch.float32), train.labels
        model = network(config, x.shape[1], int(y.max()) + 1)
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(x, torch.tensor(y)),
            batch_size=config.batch_size,
            shuffle=True,
        )
        trainer = lightning.Trainer(
            max_epochs=config.epochs,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(Module(config, model, config.epochs * len(loader)), loader)
        found.append(accuracy(model, test))
    return found


# --- the measurement -----------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, check that the ways agree, store, print."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="almost nothing is trained"
    )
    parser.add_argument("--to", type=Path, default=STORED, metavar="FILE")
    options = parser.parse_args(arguments)
    if options.quick and options.to == STORED:
        parser.error("--quick is no measurement to keep: give --to another file")
    plan = QUICK if options.quick else Plan()
    frame = pd.DataFrame([*ways(plan), *growth(plan)], columns=COLUMNS)
    frame.attrs.update(store.provenance() | {"key": key()})
    options.to.parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(options.to, index=False)
    for study, rows in frame.groupby("study", sort=False):
        print(f"\n{study}")
        print(rows.drop(columns="study").round(2).to_string(index=False))
    print(f"stored in {options.to}")
    return 0


def key() -> str:
    """A key of what is measured: this module, the losses, the experiment."""
    codes = [code_version(loss) for loss in LOSSES]
    return "-".join([code_key([Path(__file__)]), *sorted(set(codes))])


def spread(configs: Sequence[Config], size: int) -> list[Config]:
    """Some of the configs, evenly spread over all."""
    at = np.linspace(0, len(configs) - 1, min(size, len(configs))).round().astype(int)
    return [configs[k] for k in at]


def ways(plan: Plan) -> list[dict[str, Any]]:
    """All ways of the main table; the least seconds of alternating rounds."""
    configs = plan.configs()
    sample = spread(configs, plan.sample)
    runs: dict[str, tuple[list[Config], Callable[..., Any]]] = {
        PLAIN: (sample, in_a_loop),
        f"plain loop, {PROCESSES} processes": (sample, in_processes),
        "lockstep, 1 process": (configs, in_lockstep),
        LOCKSTEP: (configs, lambda c: in_lockstep(c, PROCESSES)),
    }
    if importlib.util.find_spec("lightning"):
        runs["Lightning"] = (spread(configs, plan.lightning), with_lightning)
    else:
        print("Lightning is not installed: it is left out", flush=True)
    with quiet():
        in_processes(sample[:PROCESSES])  # the processes start, and import torch
        for each, run in runs.values():
            run([replace(config, epochs=1) for config in each[:2]])
        seconds, found = alternating(runs, plan.rounds)
    agree(found[PLAIN], found[LOCKSTEP], sample, configs)
    scaled = {
        way: least * len(configs) / len(runs[way][0]) for way, least in seconds.items()
    }
    return [
        row(
            "ways to train the same networks",
            way,
            configs,
            measured=len(runs[way][0]),
            seconds=seconds[way],
            seconds_for_all=scaled[way],
            ratio=scaled[way] / scaled[PLAIN],
        )
        for way in runs
    ]


def alternating(
    runs: dict[str, tuple[list[Config], Callable[..., Any]]], rounds: int
) -> tuple[dict[str, float], dict[str, Any]]:
    """The least seconds of each way, and what it found last."""
    seconds, found = dict.fromkeys(runs, float("inf")), {}
    for number in range(rounds):
        for way, (configs, run) in runs.items():
            start = time.perf_counter()
            found[way] = run(configs)
            taken = time.perf_counter() - start
            seconds[way] = min(seconds[way], taken)
            print(f"round {number + 1}, {way}: {taken:.1f} s", flush=True)
    return seconds, found


def agree(
    one_by_one: Sequence[float],
    together: pd.DataFrame,
    sample: Sequence[Config],
    configs: Sequence[Config],
) -> None:
    """Say how far the accuracies of both ways differ.

    Raises:
        ValueError: where they differ by more than rounding can do.
    """
    rows = dict(zip(configs, together["accuracy"], strict=True))
    pairs = zip(sample, one_by_one, strict=True)
    apart = max(abs(rows[config] - found) for config, found in pairs)
    print(f"largest difference in test accuracy, loop and lockstep: {apart:.4f}")
    if apart > 0.02:
        raise ValueError(
            "networks in lockstep must be as if alone, their test accuracies differ by "
            f"{apart:.4f}"
        )


def growth(plan: Plan) -> list[dict[str, Any]]:
    """What lockstep costs as seeds, losses and classes grow, in one process."""
    studies: list[tuple[str, list[Config], dict[str, Task]]] = []
    rate = {"noise_rate": plan.rates[-1]}
    for seeds in plan.growing:
        configs = plan.configs(loss=plan.losses[0], seed=range(seeds), **rate)
        studies.append(("as seeds grow", configs, {}))
    for losses in sorted({1, len(plan.losses) // 2, len(plan.losses)}):
        configs = plan.configs(loss=list(plan.losses[:losses]), **rate)
        studies.append(("as losses grow", configs, {}))
    for classes in plan.classes:
        configs = plan.configs(data="clouds", loss=plan.losses[0], **rate)
        studies.append(("as classes grow", configs, {"clouds": clouds(classes)}))
    return [grown(*study, plan.rounds) for study in studies]


def grown(
    study: str, configs: list[Config], given: dict[str, Task], rounds: int
) -> dict[str, Any]:
    """One row: its seconds, and the ratio to one network after the other."""
    few = spread(configs, 2)
    runs: dict[str, tuple[list[Config], Callable[..., Any]]] = {
        PLAIN: (few, lambda each: [alone(config, given) for config in each]),
        "lockstep": (configs, lambda each: in_lockstep(each, given=given)),
    }
    with quiet():
        seconds, _ = alternating(runs, rounds)
    scaled = seconds[PLAIN] * len(configs) / len(few)
    return row(
        study,
        "lockstep, 1 process",
        configs,
        classes=given["clouds"].labels.max() + 1 if given else 10,
        measured=len(configs),
        seconds=seconds["lockstep"],
        seconds_for_all=seconds["lockstep"],
        ratio=seconds["lockstep"] / scaled,
    )


def clouds(classes: int) -> Task:
    """1800 points in 64 dimensions, in round clouds, one a class."""
    rng = np.random.default_rng(0)
    labels = np.arange(1800) % classes
    centers = rng.normal(size=(classes, 64))
    return Task(inputs=centers[labels] + rng.normal(size=(1800, 64)), labels=labels)


def row(
    study: str, way: str, configs: Sequence[Config], *, classes: int = 10, **rest: Any
) -> dict[str, Any]:
    """One row of the table."""
    counted = {
        "models": len(configs),
        "classes": int(classes),
        "losses": len({config.loss for config in configs}),
    }
    return {"study": study, "way": way} | counted | rest


@contextmanager
def quiet() -> Any:
    """One thread, and no advice of Lightning's; its settings are meant."""
    if importlib.util.find_spec("lightning"):
        importlib.import_module("lightning.pytorch")  # it sets its logger's level
    logger = logging.getLogger("lightning.pytorch")
    level, threads = logger.level, torch.get_num_threads()
    logger.setLevel(logging.ERROR)
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings():
            if "lightning" in sys.modules:
                warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        torch.set_num_threads(threads)


if __name__ == "__main__":
    raise SystemExit(main())
