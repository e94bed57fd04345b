"""The losses that need more than logits and labels, each beside its rivals.

A case has inputs of its own and says, for each rival, how much of the rival's time the
loss may take: its goal. A rival is the textbook form, here in a few lines, or another
library; one that is not installed keeps its row, without a time.
"""

import hashlib
import inspect
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

import lossbook
from benchmarks import store
from benchmarks.cases import OURS, peer, subjects
from lossbook.losses import CATALOGUE
from lossbook.trees import Hierarchy

FAR = 1e9  # subtracted from the similarity of an example to itself
PML = "pytorch_metric_learning"


@dataclass(frozen=True)
class Rival:
    """Another way to the same loss.

    Attributes:
        name: As the table shows it.
        loss: From nothing to the mean loss; None where its library is not installed.
        goal: How much of its time ours may take, if there is a goal.
        same: Whether its numbers are the same.
        version: Of its library.
    """

    name: str
    loss: Callable[[], Tensor] | None
    goal: float | None = None
    same: bool = True
    version: str = ""


@dataclass(frozen=True)
class Scene:
    """A case with its numbers.

    Attributes:
        inputs: What gradients are asked for; a rival may hold the later ones itself.
        shape: Examples and classes, or examples and the length of their vectors.
        unit: Bytes; memory is told in this unit.
        loss: From nothing to our mean loss.
        rivals: Other ways to it.
        held: The most memory that ours may hold, in the unit, if there is a goal.
    """

    inputs: list[Tensor]
    shape: tuple[int, int]
    unit: int
    loss: Callable[[], Tensor]
    rivals: list[Rival]
    held: float | None = None


@dataclass(frozen=True)
class Case:
    """A loss among its rivals.

    Attributes:
        name: As the table shows it.
        key: The loss in the catalogue.
        unit: What memory is counted in.
        make: From whether it shall be tiny to the scene.
    """

    name: str
    key: str
    unit: str
    make: Callable[[bool], Scene]

    @property
    def subject(self) -> str:
        """Our loss, as the table shows it."""
        return OURS + self.key

    @property
    def code(self) -> str:
        """The key of the loss's code and of this case's."""
        text = store.loss_key(CATALOGUE[self.key].fn.__module__) + source(self.make)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def source(function: Callable[..., Any]) -> str:
    """The source of a function, and of the functions of this module that it uses."""
    texts: dict[str, str] = {}
    waiting = [function.__name__]
    while waiting:
        name = waiting.pop()
        found: Any = globals().get(name)
        if getattr(found, "__module__", "") == __name__ and name not in texts:
            texts[name] = inspect.getsource(found)
            waiting += re.findall(r"\w+", texts[name])
    return "\n".join(texts[name] for name in sorted(texts))


def _normal(*shape: int, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=rng)


def _trained(values: Tensor) -> Tensor:
    return values.requires_grad_()


def _unit(vectors: Tensor) -> Tensor:
    return functional.normalize(vectors, dim=-1)


def _metric_learning(
    name: str, goal: float | None, make: Callable[[Any], Callable[[], Tensor]]
) -> Rival:
    """A loss of pytorch-metric-learning, if that is installed."""
    library = peer(PML)
    shown = f"{PML} {name}"
    if library is None:
        return Rival(shown, None, goal)
    return Rival(shown, make(peer(f"{PML}.losses")), goal, version=library.__version__)


def _pot(
    name: str, goal: float | None, make: Callable[[Any], Callable[[], Tensor]]
) -> Rival:
    """A solver of POT, if that is installed."""
    library = peer("ot")
    if library is None:
        return Rival(f"POT {name}", None, goal)
    return Rival(f"POT {name}", make(library), goal, version=library.__version__)


def arcface(tiny: bool) -> Scene:
    """Many classes: embeddings and class vectors to the loss."""
    n, classes, size = (12, 30, 16) if tiny else (1024, 10_000, 128)
    x, w = _trained(_normal(n, size)), _trained(_normal(classes, size, seed=1))
    y = torch.arange(n) * 7 % classes
    margin, scale = 0.5, 64.0

    def cosines() -> Tensor:
        return _unit(x) @ _unit(w).T

    def ours() -> Tensor:
        return lossbook.arcface(cosines(), y, margin=margin, scale=scale).mean()

    def textbook() -> Tensor:
        angles = cosines().clamp(-1 + 1e-6, 1 - 1e-6).acos()
        widened = angles + margin * functional.one_hot(y, classes)
        return functional.cross_entropy(scale * widened.cos(), y)

    def theirs(losses: Any) -> Callable[[], Tensor]:
        loss = losses.ArcFaceLoss(classes, size, math.degrees(margin), scale)
        loss.W.data.copy_(w.detach().T)

        def call() -> Tensor:
            loss.W.grad = None
            found: Tensor = loss(x, y)
            return found

        return call

    rivals = [
        Rival("textbook, by the angle", textbook, 0.35),
        _metric_learning("ArcFaceLoss", 0.5, theirs),
    ]
    return Scene([x, w], (n, classes), 4 * n * classes, ours, rivals)


def supcon(tiny: bool) -> Scene:
    """All pairs of a batch."""
    n, size = (24, 8) if tiny else (4096, 128)
    x, y = _trained(_normal(n, size)), torch.arange(n) % max(4, n // 16)
    temperature = 0.1

    def ours() -> Tensor:
        return lossbook.supcon(x, y, temperature=temperature).mean()

    def textbook() -> Tensor:
        u = _unit(x)
        itself = torch.eye(n)
        log_p = (u @ u.T / temperature - FAR * itself).log_softmax(-1)
        positive = (y[:, None] == y).float() - itself
        return -((positive * log_p).sum(-1) / positive.sum(-1)).mean()

    def theirs(losses: Any) -> Callable[[], Tensor]:
        loss = losses.SupConLoss(temperature=temperature)
        return lambda: loss(x, y)

    rivals = [
        Rival("textbook, all pairs at once", textbook, 0.35),
        _metric_learning("SupConLoss", 0.35, theirs),
    ]
    return Scene([x], (n, size), 4 * n * n, ours, rivals, held=0.5)


def info_nce(tiny: bool) -> Scene:
    """Queries among the keys of a batch."""
    n, size = (24, 8) if tiny else (4096, 128)
    queries, keys = _trained(_normal(n, size)), _trained(_normal(n, size, seed=1))
    temperature = 0.07

    def ours() -> Tensor:
        return lossbook.info_nce(queries, keys, temperature=temperature).mean()

    def textbook() -> Tensor:
        similar = _unit(queries) @ _unit(keys).T / temperature
        return functional.cross_entropy(similar, torch.arange(n))

    rivals = [Rival("textbook, all pairs at once", textbook, 0.5)]
    return Scene([queries, keys], (n, size), 4 * n * n, ours, rivals, held=0.5)


def all_triplets(tiny: bool) -> Scene:
    """All triplets of a batch: 15 million of 1024 examples."""
    n, size = (24, 8) if tiny else (1024, 128)
    x, y = _trained(_normal(n, size) / size**0.5), torch.arange(n) % max(4, n // 16)
    margin = 0.2

    def ours() -> Tensor:
        return lossbook.all_triplets(x, y, margin=margin).mean()

    def textbook() -> Tensor:
        d = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").square()
        total = x.new_zeros(())
        for a in range(n):
            same = y == y[a]
            near, far = d[a, same & (torch.arange(n) != a)], d[a, ~same]
            total = total + (near[:, None] - far + margin).relu().mean()
        return total / n

    def theirs(losses: Any) -> Callable[[], Tensor]:
        loss = losses.TripletMarginLoss(
            margin,
            distance=peer(f"{PML}.distances").LpDistance(
                normalize_embeddings=False, power=2
            ),
            reducer=peer(f"{PML}.reducers").MeanReducer(),
        )
        return lambda: loss(x, y)

    rivals = [
        Rival("textbook, anchor by anchor", textbook),
        _metric_learning("TripletMarginLoss", 0.05, theirs),
    ]
    return Scene([x], (n, size), 4 * n * n, ours, rivals)


def _ancestors(tree: Hierarchy, alpha: float) -> Callable[[Tensor, Tensor], Tensor]:
    """The textbook form: probabilities times the matrix of who lies below whom."""
    below = torch.zeros(len(tree.classes), len(tree.names))
    for v in range(len(tree.names)):
        below[torch.tensor(tree.order[tree.start[v] : tree.stop[v]]), v] = 1
    paths = torch.tensor(tree.paths)
    depths = torch.tensor(tree.depths)[paths[:, :-1]]
    weights = torch.exp(-alpha * depths) * (paths[:, :-1] != tree.root)

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        mass = logits.softmax(-1) @ below
        log_mass = mass.gather(-1, paths[labels]).log()
        turns = log_mass[:, :-1] - log_mass[:, 1:]
        return -(weights[labels] * turns).sum(-1)

    return loss


def hierarchy(tiny: bool) -> Scene:
    """A tree of three levels with 1000 leaves."""
    tree = Hierarchy.balanced(*((3, 2) if tiny else (10, 3)))
    return _on_tree(tree, 12 if tiny else 256, [])


def deep_hierarchy(tiny: bool) -> Scene:
    """A tree of ten levels with 1024 leaves, and one of two levels with as many."""
    deep, flat = ((2, 4), (4, 2)) if tiny else ((2, 10), (32, 2))
    others = [Hierarchy.balanced(*flat)]
    return _on_tree(Hierarchy.balanced(*deep), 12 if tiny else 256, others)


def _on_tree(tree: Hierarchy, n: int, others: list[Hierarchy]) -> Scene:
    alpha, classes = 0.1, len(tree.classes)
    z, y = _trained(3 * _normal(n, classes)), torch.arange(n) * 7 % classes
    loss = lossbook.HierarchicalCrossEntropy(tree, alpha=alpha)
    dense = _ancestors(tree, alpha)

    def on(tree: Hierarchy) -> Rival:
        flat = lossbook.HierarchicalCrossEntropy(tree, alpha=alpha)
        name = f"{OURS}HierarchicalCrossEntropy, {tree.height} levels"
        return Rival(name, lambda: flat(z, y).mean(), 1.5, same=False)

    rivals = [
        Rival("textbook, matrix of ancestors", lambda: dense(z, y).mean(), 0.35),
        *map(on, others),
    ]
    return Scene([z], (n, classes), z.nbytes, lambda: loss(z, y).mean(), rivals)


def _distances(classes: int) -> Tensor:
    """Costs of ordered classes, up to 1."""
    place = torch.linspace(0, 1, classes)
    return (place[:, None] - place).abs()


def sinkhorn(tiny: bool) -> Scene:
    """100 iterations for each of a batch of predictions, one matrix of costs."""
    n, classes, epsilon, steps = (6, 5, 0.5, 200) if tiny else (256, 100, 0.02, 100)
    z, q = _trained(_normal(n, classes)), _normal(n, classes, seed=1).softmax(-1)
    costs = _distances(classes)
    loss = lossbook.Sinkhorn(costs, epsilon=epsilon, iterations=steps)

    def textbook() -> Tensor:
        """Iterations in logarithms, which autograd runs through backwards."""
        log_p, log_q, m = z.log_softmax(-1), q.log(), costs / epsilon
        f = torch.zeros_like(log_p)
        for _ in range(steps):
            g = -((log_p + f)[:, None, :] - m).logsumexp(-1)
            f = -((log_q + g)[:, :, None] - m).logsumexp(-2)
        return epsilon * ((log_p.exp() * f).sum(-1) + (q * g).sum(-1)).mean()

    def theirs(ot: Any) -> Callable[[], Tensor]:
        def entropy(p: Tensor) -> Tensor:
            return -(p * p.log()).sum(-1)

        def call() -> Tensor:
            """Its value lacks the entropies of both sides."""
            p = z.softmax(-1)
            found = ot.solve_batch(
                costs.expand(n, classes, classes),
                epsilon,
                q,
                p,
                max_iter=steps,
                tol=0.0,
                method="sinkhorn",
                grad="autodiff",
            )
            value: Tensor = found.value + epsilon * (entropy(p) + entropy(q))
            return value.mean()

        return call

    rivals = [
        Rival("textbook, in logarithms", textbook, 0.05),
        _pot("solve_batch", 0.05, theirs),
    ]
    return Scene([z], (n, classes), z.nbytes, lambda: loss(z, q).mean(), rivals)


def expected_cost(tiny: bool) -> Scene:
    """Transport to a label: there is one plan, and nothing to solve."""
    n, classes = (6, 5) if tiny else (256, 100)
    z, y = _trained(_normal(n, classes)), torch.arange(n) * 7 % classes
    costs = _distances(classes)
    loss, solver = lossbook.ExpectedCost(costs), lossbook.Sinkhorn(costs, epsilon=0.02)
    q = functional.one_hot(y, classes).float()

    def theirs(ot: Any) -> Callable[[], Tensor]:
        def call() -> Tensor:
            p, t, m = z.double().softmax(-1), q.double(), costs.double()
            each = [ot.emd2(a, b, m) for a, b in zip(t, p, strict=True)]
            return torch.stack(each).mean()

        return call

    rivals = [
        Rival(f"{OURS}Sinkhorn", lambda: solver(z, q).mean(), 0.2),
        _pot("emd2, example by example", 0.01, theirs),
    ]
    return Scene([z], (n, classes), z.nbytes, lambda: loss(z, y).mean(), rivals)


PAIRS, LOGITS = "all pairs", "the logits"
CASES = (
    Case("ArcFace, 10 000 classes", "arcface", "the cosines", arcface),
    Case("SupCon", "supcon", PAIRS, supcon),
    Case("InfoNCE", "info_nce", PAIRS, info_nce),
    Case("All triplets", "all_triplets", PAIRS, all_triplets),
    Case("Hierarchy, 3 levels", "HierarchicalCrossEntropy", LOGITS, hierarchy),
    Case("Hierarchy, 10 levels", "HierarchicalCrossEntropy", LOGITS, deep_hierarchy),
    Case("Sinkhorn", "Sinkhorn", LOGITS, sinkhorn),
    Case("Transport to a label", "ExpectedCost", LOGITS, expected_cost),
)


def codes() -> dict[tuple[str, str], str]:
    """The key of the code of each loss of ours, by case and subject, as it is now."""
    ours = [each for each in subjects() if each.name.startswith(OURS)]
    plain = {("", each.name): each.code for each in ours}
    return plain | {(case.name, case.subject): case.code for case in CASES}


def changed(frame: pd.DataFrame) -> list[str]:
    """The measured losses whose code is not the measured one any more, or gone."""
    now = codes()
    rows = zip(frame.case, frame.subject, frame.code, strict=True)
    ours = [row for row in rows if row[1].startswith(OURS) and row[2]]
    return sorted({name for case, name, code in ours if now.get((case, name)) != code})


def missing(frame: pd.DataFrame) -> list[str]:
    """The losses that were not measured."""
    there = set(zip(frame.case, frame.subject, strict=True))
    return sorted({each[1] for each in codes() if each not in there})


def absent(frame: pd.DataFrame) -> list[str]:
    """The rivals that were not installed where the rows were measured."""
    return sorted(frame[frame.milliseconds.isna()].subject)
