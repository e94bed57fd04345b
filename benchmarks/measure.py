"""How it is measured: interleaved rounds, the least of each, one thread.

Every subject is timed once a round, in a random order that is new in each round, with
garbage collection off. The clock is the thread's own, which stands still while other
programs have the processor; the least of the rounds is what the computation takes at
best. The time is that of the loss, its mean, and the gradient in the logits.
"""

import gc
import multiprocessing
import random
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from benchmarks.cases import BASELINE, Size, Subject, subjects
from benchmarks.families import CASES, Case, Scene
from lossbook.losses import CATALOGUE

LIMIT = "memory limit"
ROUNDS = 5  # of a case, at least
LASTING = 2.0  # seconds of a case, at least
SEEN = 2**20  # bytes
NUMBERS = ("scale", "limit", "goal", "peak_goal")
Step = Callable[[], object]
Row = dict[str, Any]


def rows_of(size: Size, chosen: list[Subject]) -> list[Row]:
    """One row a subject and scale, at a size."""
    steps: dict[tuple[str, float], Step] = {}
    about: dict[str, Subject] = {each.name: each for each in chosen}
    units = 0
    for scale in size.scales:
        logits, truth = batch(size, scale)
        units = logits.numel() * logits.element_size()
        for each in chosen:
            if each.kind in size.kinds and size.classes <= each.most:
                loss = each.make(size.classes)
                steps[each.name, scale] = _step(loss, logits, truth[each.kind])
    read, written = logits.detach(), torch.zeros_like(logits.detach())
    steps[LIMIT, size.scales[0]] = lambda: written.copy_(read)
    with one_thread():
        seconds = least(steps, size.rounds)
        peaks = {key: peak_bytes(step) / units for key, step in steps.items()}
    limit = seconds[LIMIT, size.scales[0]]
    return [
        _row(
            subject=name,
            kind=about[name].kind if name in about else "",
            n=size.n,
            classes=size.classes,
            scale=scale,
            milliseconds=1e3 * taken,
            ratio=taken / seconds[BASELINE, scale],
            limit=taken / limit,
            peak=peaks[name, scale],
            code=about[name].code if name in about else "",
        )
        for (name, scale), taken in seconds.items()
    ]


def apart(rows: Callable[..., list[Row]], *given: Any) -> list[Row]:
    """The rows of a size or a case, from a process of its own.

    What was computed before leaves memory, and reusing it is faster than to get new
    one. So no row depends on the size before.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as process:
        return process.submit(rows, *given).result()


def rows_named(size: Size, names: list[str]) -> list[Row]:
    """The rows of subjects of these names."""
    return rows_of(size, [each for each in subjects() if each.name in names])


def case(name: str, tiny: bool) -> list[Row]:
    """The rows of a case."""
    [found] = [each for each in CASES if each.name == name]
    return rows_of_case(found, tiny)


def rows_of_case(case: Case, tiny: bool) -> list[Row]:
    """One row for our loss, one for each rival: how much of its time ours takes."""
    scene = case.make(tiny)
    calls = {case.subject: scene.loss}
    calls |= {each.name: each.loss for each in scene.rivals if each.loss is not None}
    steps = {name: _gradients(loss, scene) for name, loss in calls.items()}
    with one_thread():
        seconds = least(steps, 1) if tiny else least(steps, ROUNDS, LASTING)
        peaks = {name: peak_bytes(step) / scene.unit for name, step in steps.items()}
    n, classes = scene.shape
    ours = seconds[case.subject]
    about = {each.name: each for each in scene.rivals}
    return [
        _row(
            case=case.name,
            subject=name,
            kind=CATALOGUE[case.key].kind,
            n=n,
            classes=classes,
            milliseconds=1e3 * seconds.get(name, float("nan")),
            ratio=ours / seconds.get(name, float("nan")),
            goal=about[name].goal if name in about else None,
            peak=peaks.get(name, float("nan")),
            peak_goal=None if name in about else scene.held,
            code=about[name].version if name in about else case.code,
        )
        for name in [case.subject, *about]
    ]


def batch(size: Size, scale: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits, and the truth in each kind's form; the same in every run."""
    rng = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(size.n, size.classes, generator=rng)
    labels = torch.randint(size.classes, (size.n,), generator=rng)
    others = torch.randn(size.n, size.classes, generator=rng)
    truth = {"labels": labels, "targets": others.softmax(-1)}
    if "binary" in size.kinds:
        truth["binary"] = functional.one_hot(labels, size.classes).to(logits.dtype)
        truth["margin"] = 2 * truth["binary"] - 1
    return logits.requires_grad_(), truth


def _row(**found: Any) -> Row:
    """A row; what a kind of row has not is empty."""
    return {"case": "", **dict.fromkeys(NUMBERS, float("nan")), **_numbers(found)}


def _numbers(found: Row) -> Row:
    return {name: float("nan") if v is None else v for name, v in found.items()}


def _gradients(loss: Callable[[], torch.Tensor], scene: Scene) -> Step:
    """The loss, and its gradients in the inputs."""

    def step() -> None:
        loss().backward()
        for each in scene.inputs:
            each.grad = None

    return step


def _step(loss: Callable[..., Any], logits: torch.Tensor, truth: torch.Tensor) -> Step:
    """Loss, mean and gradient."""

    def step() -> None:
        loss(logits, truth).mean().backward()
        logits.grad = None

    return step


def least(
    steps: dict[Any, Step], rounds: int, lasting: float = 0.0
) -> dict[Any, float]:
    """The least seconds of each step, over interleaved rounds; one more warms up.

    There are at least so many rounds, and as many as take so many seconds in all.
    """
    order = list(steps)
    draw = random.Random(0)
    seconds = dict.fromkeys(steps, float("inf"))
    number, total = 0, 0.0
    while number <= rounds or total < lasting:
        draw.shuffle(order)
        for key in order:
            start = time.thread_time()
            steps[key]()
            taken = time.thread_time() - start
            total += taken
            if number:
                seconds[key] = min(seconds[key], taken)
        number += 1
    return seconds


def peak_bytes(step: Step) -> int:
    """The most memory that a step holds at once beyond what was held before.

    torch's profiler sees each of its allocations and releases. numpy's large arrays, of
    which it does not know, are added at their own most. The number is exact where they
    are held all along, and else not too small.
    """
    step()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        step()
    now = peak = 0
    for event in found.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            peak = max(peak, now)
    return peak + _outside_torch(step)


def _outside_torch(step: Step) -> int:
    """The most bytes of numpy's arrays, where it is more than Python's objects take."""
    tracemalloc.start()
    try:
        step()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return most if most >= SEEN else 0


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread, no garbage collection."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        torch.set_num_threads(threads)
