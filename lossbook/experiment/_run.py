"""Run configs: those of one group train in one stack, and each gives one row."""

import inspect
import math
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lossbook import metrics
from lossbook.card import LossCard
from lossbook.data import (
    Task,
    observed_noise,
    ordered_costs,
    pair_noise,
    stack,
    symmetric_noise,
)
from lossbook.experiment._calls import adapted, axes_of, head_of, stacked_params
from lossbook.experiment._config import Config
from lossbook.experiment._lockstep import train
from lossbook.experiment._models import Models
from lossbook.experiment._tasks import (
    costs_of,
    fingerprint,
    resplit,
    task_of,
    tree_of,
)
from lossbook.losses import CATALOGUE

STACK = 50  # models in one stack: more do not fit the cache

Row = dict[str, Any]
Given = Mapping[str, Task]


@dataclass(frozen=True)
class _Stack:
    """Configs of one group, with their data and their loss."""

    configs: Sequence[Config]
    train: Task
    test: Task
    classes: int

    @property
    def card(self) -> LossCard:
        return CATALOGUE[self.configs[0].loss]


def run(config: Config, given: Given | None = None, **options: Any) -> Row:
    """Return the row of one training.

    Args:
        config: what to train.
        given: arrays of your own, by the name in `config.data`.
        options: `dtype` and `device`, as `run_stack` takes them.

    >>> row = run(Config(data="iris", epochs=5, hidden=()))
    >>> row["status"], row["loss"]
    ('ok', 'cross_entropy')
    """
    return run_stack([config], given, **options)[0]


def run_stack(
    configs: Sequence[Config],
    given: Given | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    device: str | None = None,
) -> list[Row]:
    """Train configs of one group in lockstep and return a row for each.

    Where the seeds draw training parts of several sizes, those of one size go together.

    Args:
        configs: that agree in all but seed, noise and the loss's parameters.
        given: arrays of your own, by the name in `config.data`.
        dtype: of the training.
        device: a GPU where there is one, else the processor.

    Returns:
        Rows with all fields of the config, `seen` and `tested` (the numbers of training
        and test examples), `resplit` (whether the seeds split the same examples), the
        metrics on the test part (`distance` and `severity` where classes have a tree or
        an order: how far predictions lie from the truth, of all examples and of
        mistakes alone), `fit_clean` and `fit_flipped` (the shares of training examples
        with a right and with a wrong label that the model gives back), `seconds` of
        training and measuring divided by the models that went together, `status` ("ok",
        or where the model left the finite numbers; its metrics are then missing),
        `data_hash` of the training and the test task, `device` by name, and the
        versions.

    Raises:
        ValueError: for configs of different groups.
    """
    _of_one_group(configs)
    parts: dict[Any, list[int]] = {}
    pairs = [task_of(config, given) for config in configs]
    for k, (a, b) in enumerate(pairs):
        parts.setdefault((a.inputs.shape, b.inputs.shape), []).append(k)
    rows: dict[int, Row] = {}
    for part in parts.values():
        made = _stacked([configs[k] for k in part], [pairs[k] for k in part])
        rows |= dict(zip(part, _rows_of(made, dtype, device), strict=True))
    common = {
        "resplit": resplit(configs[0].data, given),
        "device": device_name(device or usual_device()),
        **versions(),
    }
    return [
        rows[k] | {"data_hash": fingerprint(*pair)} | common
        for k, pair in enumerate(pairs)
    ]


def share_tested(rows: pd.DataFrame) -> float | None:
    """Return the share of tested examples where seeds split the same data, else None.

    It is what `stats.corrected_resampled_t` asks for; where it is None, the seeds are
    independent and `stats.paired_t` is right.

    Args:
        rows: of `run_stack` or `sweep`, on one data set.

    Raises:
        ValueError: for rows of data of both kinds.

    >>> share_tested(pd.DataFrame([run(Config(data="iris", epochs=1))]))
    0.4
    """
    kinds = set(rows["resplit"])
    if len(kinds) != 1:
        raise ValueError(
            "rows must be of one data set, got "
            f"{', '.join(sorted(set(rows['data']))) or 'none'}"
        )
    if not kinds.pop():
        return None
    return float(rows["tested"].sum() / (rows["seen"] + rows["tested"]).sum())


def _found(
    logits: np.ndarray, seen: np.ndarray, made: _Stack, k: int, finite: bool
) -> Row:
    """Return what is measured of a model, all missing if it left the numbers."""
    if not finite:
        return dict.fromkeys(MEASURED, math.nan)
    labels = made.test.labels[k]
    costs = costs_of(made.configs[k], made.classes)
    return (
        measured(logits, labels)
        | _severity(logits, labels, costs)
        | _fit(seen, made.train, k)
    )


def _rows_of(made: _Stack, dtype: torch.dtype, device: str | None) -> list[Row]:
    start = time.perf_counter()
    models = _trained(made, dtype, device)
    logits = _logits(models, made.test)
    seen = _logits(models, made.train)
    seconds = (time.perf_counter() - start) / len(made.configs)
    rows = []
    for k, config in enumerate(made.configs):
        failed = int(models.failed[k])
        finite = bool(np.isfinite(logits[k]).all() and np.isfinite(seen[k]).all())
        status = "ok" if finite else "not finite after training"
        if failed >= 0:
            status = f"not finite from step {failed}"
        found = _found(logits[k], seen[k], made, k, status == "ok")
        rows.append(
            config.row()
            | {
                "classes": made.classes,
                "seen": len(made.train.labels[k]),
                "tested": len(made.test.labels[k]),
            }
            | found
            | {"status": status, "seconds": seconds}
        )
    return rows


def history(
    config: Config,
    given: Given | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    device: str | None = None,
) -> pd.DataFrame:
    """Return a row an epoch of one training.

    Args:
        config: what to train.
        given: arrays of your own, by the name in `config.data`.
        dtype: of the training.
        device: a GPU where there is one, else the processor.

    Returns:
        Columns `epoch`, the metrics on the test part, `fit_clean`, `fit_flipped`, and
        `pull_0`, `pull_1`, ...: the share of the gradient in the logits that comes from
        the training examples of each class. All are missing where the model has left
        the finite numbers.
    """
    made = _stacked([config], [task_of(config, given)])
    rows: list[Row] = []

    def note(epoch: int, models: Models) -> None:
        logits, seen = _logits(models, made.test)[0], _logits(models, made.train)[0]
        finite = bool(np.isfinite(logits).all() and np.isfinite(seen).all())
        pulls = (
            _pulls(made, models)
            if finite
            else {f"pull_{c}": math.nan for c in range(made.classes)}
        )
        rows.append({"epoch": epoch} | _found(logits, seen, made, 0, finite) | pulls)

    _trained(made, dtype, device, after_epoch=note)
    return pd.DataFrame(rows)


# --- one stack -----------------------------------------------------------------


def _of_one_group(configs: Sequence[Config]) -> None:
    groups = {config.group() for config in configs}
    if len(groups) != 1:
        raise ValueError(
            "configs of one stack must agree in all but seed, noise and the loss's "
            f"parameters, got {len(groups)} groups; use sweep"
        )


def _stacked(configs: Sequence[Config], pairs: Sequence[tuple[Task, Task]]) -> _Stack:
    # Every task says which labels are clean, or a stack of mixed ones would not know.
    seen = stack([replace(a, clean=_clean(a)) for a, _ in pairs])
    test = stack([b for _, b in pairs])
    classes = 1 + int(max(seen.labels.max(), test.labels.max()))
    return _Stack(configs, seen, test, classes)


def _clean(task: Task) -> np.ndarray:
    return task.labels if task.clean is None else task.clean


def _trained(
    made: _Stack,
    dtype: torch.dtype,
    device: str | None,
    after_epoch: Callable[[int, Models], None] | None = None,
) -> Models:
    config = made.configs[0]
    n = made.train.labels.shape[1]
    return train(
        made.train.inputs,
        made.train.labels,
        _loss(made, dtype, device or usual_device()),
        seeds=[c.seed for c in made.configs],
        classes=made.classes,
        hidden=config.hidden,
        head=head_of(made.card),
        steps=config.epochs * -(-n // config.batch_size),
        batch_size=config.batch_size,
        optimizer=config.optimizer,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        sample_weight=_sample_weight(made),
        weight_from=config.weight_from,
        after_epoch=after_epoch,
        dtype=dtype,
        device=device or usual_device(),
    )


def _loss(made: _Stack, dtype: torch.dtype, device: torch.device | str | None) -> Any:
    """Return the loss of the whole stack, or one a model if it closes over data."""
    card = made.card
    settings = [card.defaults() | dict(c.params) for c in made.configs]
    if not isinstance(card.fn, type):
        axes = axes_of(card, made.classes)
        params = stacked_params(settings, dtype, axes=axes, device=device)
        return adapted(card, _with(card.fn, params))
    wanted = needs(card)
    losses = []
    for k, (config, own) in enumerate(zip(made.configs, settings, strict=True)):
        closed = {name: _closed_over(name, made, config, k) for name in wanted}
        losses.append(adapted(card, card.fn(**closed, **own)))
    return losses


def needs(card: LossCard) -> list[str]:
    """Return what a loss closes over: its arguments without a default.

    >>> needs(CATALOGUE["LogitAdjusted"]), needs(CATALOGUE["focal"])
    (['counts'], [])
    """
    if not isinstance(card.fn, type):
        return []
    found = inspect.signature(card.fn).parameters.values()
    return [each.name for each in found if each.default is each.empty]


def _with(
    fn: Callable[..., Tensor], params: Mapping[str, Any]
) -> Callable[..., Tensor]:
    """Return the loss at these parameters."""

    def call(outputs: Tensor, truth: Tensor) -> Tensor:
        return fn(outputs, truth, **params)

    return call


def _closed_over(name: str, made: _Stack, config: Config, k: int) -> Any:
    """Return what a loss wants to know of the data.

    The matrix of noise that depends on the input is its average over each class,
    counted from the clean labels: the best that a loss with one matrix can know.
    """
    if name == "counts":
        return np.bincount(made.train.labels[k], minlength=made.classes).clip(min=1)
    if name == "transition" and config.noise == "instance":
        clean, noisy = made.train.clean, made.train.labels[k]
        own = None if clean is None else clean[k]
        task = Task(inputs=made.train.inputs[k], labels=noisy, clean=own)
        return observed_noise(task, classes=made.classes)
    if name == "transition":
        matrix = pair_noise if config.noise == "pair" else symmetric_noise
        return matrix(made.classes, config.noise_rate)
    if name == "hierarchy":
        return tree_of(config)
    if name == "costs":
        return ordered_costs(made.classes)
    if name == "examples":
        return made.train.labels.shape[1]
    if name == "classes":
        return made.classes
    raise ValueError(
        f"{config.loss} closes over {name}, which no data set here tells; train it "
        "with experiment.train"
    )


def _sample_weight(made: _Stack) -> np.ndarray | None:
    config = made.configs[0]
    if config.weighting == "none":
        return None
    from lossbook import weights

    rules: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "inverse": weights.inverse_frequency,
        "effective": weights.effective_number,
    }
    rule = rules[config.weighting]
    rows = []
    for labels in made.train.labels:
        counts = np.bincount(labels, minlength=made.classes).clip(min=1)
        rows.append(rule(counts)[labels])
    return np.stack(rows)


# --- what is measured ----------------------------------------------------------

MEASURED = (
    "accuracy",
    "balanced_error",
    "nll",
    "brier",
    "ece",
    "distance",
    "severity",
    "fit_clean",
    "fit_flipped",
)


def measured(logits: np.ndarray, labels: np.ndarray) -> Row:
    """Return the metrics of (n, C) logits on (n,) labels, softmax as probabilities.

    The probabilities of a loss that has none (hinge) are what softmax makes of its
    outputs; their calibration is reported as it is.
    """
    shifted = logits - logits.max(-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    p, predicted = np.exp(log_p), logits.argmax(-1)
    classes = np.unique(labels)
    recalls = [metrics.recall(predicted, labels, int(c)) for c in classes]
    one_hot = np.eye(logits.shape[-1])[labels]
    return {
        "accuracy": float((predicted == labels).mean()),
        "balanced_error": 1 - float(np.mean(recalls)),
        "nll": -float(log_p[np.arange(len(labels)), labels].mean()),
        "brier": float(((p - one_hot) ** 2).sum(-1).mean()),
        "ece": float(metrics.ece(p, labels)),
    }


def _severity(logits: np.ndarray, labels: np.ndarray, costs: np.ndarray | None) -> Row:
    """Return how far predictions lie from the truth: of all, and of mistakes alone.

    Where nothing tells how far classes are from each other, both are missing.
    """
    if costs is None:
        return {"distance": math.nan, "severity": math.nan}
    predicted = logits.argmax(-1)
    far, wrong = costs[predicted, labels], predicted != labels
    severity = float(far[wrong].mean()) if wrong.any() else math.nan
    return {"distance": float(far.mean()), "severity": severity}


def _fit(logits: np.ndarray, task: Task, k: int) -> Row:
    """Return how many right and how many wrong labels the model has learned.

    The share of labels that there are none of is missing.
    """
    labels = task.labels[k]
    right, learned = labels == _clean(task)[k], logits.argmax(-1) == labels

    def share(of: np.ndarray) -> float:
        return float(learned[of].mean()) if of.any() else math.nan

    return {"fit_clean": share(right), "fit_flipped": share(~right)}


def _logits(models: Models, task: Task) -> np.ndarray:
    with torch.no_grad():
        found: np.ndarray = models.logits(task.inputs).double().cpu().numpy()
    return found


def _pulls(made: _Stack, models: Models) -> Row:
    """Return each class's share of the gradient's length in the logits."""
    outputs = models.outputs(made.train.inputs).detach().requires_grad_()
    labels = torch.as_tensor(made.train.labels, device=outputs.device)
    loss = _loss(made, outputs.dtype, outputs.device)
    one = loss if callable(loss) else None
    value = one(outputs, labels) if one else loss[0](outputs[0], labels[0])
    (gradient,) = torch.autograd.grad(value.sum(), outputs)
    lengths = gradient[0].norm(dim=-1).cpu().numpy()
    pulls = np.bincount(made.train.labels[0], lengths, minlength=made.classes)
    return {f"pull_{c}": v for c, v in enumerate(pulls / max(pulls.sum(), 1e-300))}


def usual_device() -> str:
    """Return the kind of a GPU where there is one, else that of the processor."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def device_name(device: str) -> str:
    """Return what a device is: the GPU's name, else its kind.

    >>> device_name("cpu")
    'cpu'
    """
    kind = torch.device(device).type
    return torch.cuda.get_device_name(device) if kind == "cuda" else kind


@cache
def versions() -> Row:
    """Return what the numbers were made with; scikit-learn brings the real data."""
    import sklearn

    import lossbook

    return {
        "lossbook": lossbook.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "sklearn": sklearn.__version__,
        "python": platform.python_version(),
    }
