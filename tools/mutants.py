"""Plant slips in the losses, one at a time: the checks must see each of them.

A slip is what a derivation or its code gets wrong by hand: a lost minus, a forgotten
factor, a transposed matrix, a label that is one off, a weight cut from the graph, a
mean for a sum, two arguments in each other's place, another constant, a turned
comparison. Each is planted by itself in a loss's module: in the torch function and what
it calls, in the numpy reference, in the functions that the card refers to. Then the
checks of `lossbook.check` run on the module's card, the cheap ones first, until one
refuses it. What no check refuses is a survivor: a gap in the checks, or a slip that
changes nothing. The second kind is listed with its reason in `mutants.toml`.

Not planted: what only words an error (a `raise`, the condition of an `if` that raises,
arguments of `validate`), annotations, texts, and how a card draws its sample.
"""

import argparse
import ast
import importlib
import importlib.util
import multiprocessing
import signal
import sys
import time
import tomllib
import types
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tools.console import say
from tools.paths import ROOT

LIST = Path(__file__).with_suffix(".toml")
PROCESSES = 2
NO_SLIP = "no slip"
SLOW = 10.0  # a mutant may take this many seconds more than the loss itself does

FACTS = {"shape", "ndim", "dtype", "device", "numel", "size", "is_floating_point"}
TRUTHS = {"labels", "targets", "signs"}
OTHER_NAME = {
    "sum": "mean",
    "mean": "sum",
    "amax": "amin",
    "amin": "amax",
    "max": "min",
    "min": "max",
    "maximum": "minimum",
    "minimum": "maximum",
}
CUT = "detached"  # the name of the function that cuts, in the changed module
TRANSPOSES = {"transpose", "swapaxes", "t"}
TRANSPOSED = {"T", "mT"}
# The order of their arguments does not matter.
COMMUTATIVE = {"maximum", "minimum", "logaddexp", "fmax", "fmin", "broadcast_tensors"}
# They look at shape and dtype of an argument, not at its graph.
GRAPHLESS = {
    "isinstance",
    "len",
    "zeros_like",
    "ones_like",
    "empty_like",
    "full_like",
    "expand_as",
    "type_as",
    "to",
    "values_visible",
}
TURNED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}
ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.MatMult)


@dataclass(frozen=True)
class Slip:
    """A slip and where it stands.

    Attributes:
        line: The line of the module.
        function: The function or class whose code has it.
        diff: What stands there and what is put in its place; numbered if the same
            stands there twice.
    """

    line: int
    function: str
    diff: str

    @property
    def text(self) -> str:
        """The slip in one line, as `mutants.toml` names it."""
        return f"{self.function}: {self.diff}"


@dataclass
class Report:
    """What became of the slips planted in one module."""

    path: str
    planted: int = 0
    killed: int = 0
    survivors: list[Slip] = field(default_factory=list)
    excluded: int = 0
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def line(self) -> str:
        """One line of progress."""
        more = f", {self.excluded} excluded" if self.excluded else ""
        if self.problems and not self.planted:
            return f"{self.path}: not examined: {self.problems[0]}"
        return (
            f"{self.path}: {self.planted} planted, {self.killed} killed, "
            f"{len(self.survivors)} survived{more} ({self.seconds:.1f} s)"
        )


@dataclass(frozen=True)
class Place:
    """A node of the module's tree, and where it hangs."""

    parent: ast.AST
    name: str
    index: int | None
    node: Any

    def put(self, node: ast.AST) -> None:
        """Hang another node there."""
        if self.index is None:
            setattr(self.parent, self.name, node)
        else:
            getattr(self.parent, self.name)[self.index] = node


@dataclass(frozen=True)
class Scope:
    """What is known of the function whose code is changed.

    Attributes:
        name: Its name; of a method, the class's name before it.
        graph: True if autograd follows its arithmetic.
        moving: The names in it that depend on logits or scores.
        matrices: The names of square matrices that the loss closes over.
    """

    name: str
    graph: bool
    moving: frozenset[str]
    matrices: frozenset[str]


def slips(tree: ast.Module, matrices: frozenset[str]) -> Iterator[tuple[Slip, Any]]:
    """Yield each slip with the tree's code in which it is planted."""
    for scope, top in scopes(tree, matrices):
        times: Counter[str] = Counter()
        for place in [*places(top)]:
            for mutant in replacements(place, scope):
                old, new = ast.unparse(place.node), ast.unparse(mutant)
                diff = f"{old} -> {new}"
                times[diff] += 1
                again = f" ({times[diff]})" if times[diff] > 1 else ""
                slip = Slip(place.node.lineno, scope.name, diff + again)
                place.put(
                    ast.fix_missing_locations(ast.copy_location(mutant, place.node))
                )
                try:
                    yield slip, compile(tree, "<mutant>", "exec")
                finally:
                    place.put(place.node)


def scopes(
    tree: ast.Module, matrices: frozenset[str]
) -> Iterator[tuple[Scope, ast.AST]]:
    """Yield the functions and methods whose code is changed."""
    card = named_by_card(tree)
    tops = {
        each.name: each
        for each in tree.body
        if isinstance(each, ast.FunctionDef | ast.ClassDef)
    }
    root = card.get("fn", "")
    graphed = reachable(root, tops)
    drawing = reachable(card.get("draw", ""), tops) | reachable(
        card.get("closure", ""), tops
    )
    for name, top in tops.items():
        if name in drawing - graphed or name == card.get("draw"):
            continue
        graph = name in graphed
        if isinstance(top, ast.FunctionDef):
            yield Scope(name, graph, moving(top, name == root), matrices), top
            continue
        for part in top.body:
            if isinstance(part, ast.FunctionDef):
                depends = moving(part, part.name in ("__call__", "forward"))
                yield Scope(f"{name}.{part.name}", graph, depends, matrices), part
            elif isinstance(part, ast.AnnAssign) and part.value is not None:
                yield Scope(name, False, frozenset(), matrices), part


def named_by_card(tree: ast.Module) -> dict[str, str]:
    """Return the functions that the module's card names, by keyword."""
    for part in tree.body:
        if (
            isinstance(part, ast.Assign)
            and ast.unparse(part.targets[0]) == "CARD"
            and isinstance(part.value, ast.Call)
        ):
            return {k.arg or "": ast.unparse(k.value) for k in part.value.keywords}
    return {}


def reachable(root: str, tops: dict[str, Any]) -> set[str]:
    """Return the module's functions that `root` uses, itself among them."""
    found: set[str] = set()
    waiting = [root]
    while waiting:
        name = waiting.pop()
        if name in found or name not in tops:
            continue
        found.add(name)
        waiting += [n.id for n in ast.walk(tops[name]) if isinstance(n, ast.Name)]
    return found


def moving(function: ast.FunctionDef, is_root: bool) -> frozenset[str]:
    """Return the names in a function that depend on logits or scores.

    Of the loss itself, the first array does; of what it calls, every positional
    argument may.
    """
    given = [a.arg for a in function.args.args if a.arg != "self"]
    names = set(given[:1] if is_root else given) - TRUTHS
    size = -1
    while len(names) > size:
        size = len(names)
        for node in ast.walk(function):
            value = getattr(node, "value", None)
            if not isinstance(node, ast.Assign | ast.AugAssign | ast.NamedExpr):
                continue
            if isinstance(value, ast.AST) and depends_on(value, names):
                targets = (
                    node.targets if isinstance(node, ast.Assign) else [node.target]
                )
                names |= {
                    n.id
                    for t in targets
                    for n in ast.walk(t)
                    if isinstance(n, ast.Name)
                }
    return frozenset(names)


def depends_on(node: ast.AST, names: set[str] | frozenset[str]) -> bool:
    """True if the numbers (not only the shape) of a name enter the expression."""
    if isinstance(node, ast.Name):
        return node.id in names
    if isinstance(node, ast.Attribute) and node.attr in FACTS:
        return False
    return any(depends_on(child, names) for child in ast.iter_child_nodes(node))


def places(top: ast.AST) -> Iterator[Place]:
    """Yield every node that may be changed, from the top."""
    for name, value in ast.iter_fields(top):
        if name in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        nodes = value if isinstance(value, list) else [value]
        for index, node in enumerate(nodes):
            if not isinstance(node, ast.AST) or is_wording(node):
                continue
            yield Place(top, name, index if isinstance(value, list) else None, node)
            if called(node, "validate") is None:
                yield from places(node)
            elif called(node, "validate") == "explain_nan":
                # Its last argument is the result.
                last = len(node.args) - 1  # type: ignore[attr-defined]
                yield Place(node, "args", last, node.args[last])  # type: ignore[attr-defined]
                yield from places(node.args[last])  # type: ignore[attr-defined]


def is_wording(node: ast.AST) -> bool:
    """True for what only words an error, or tells of shapes."""
    if isinstance(node, ast.If):
        return all(isinstance(part, ast.Raise) for part in node.body)
    return isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr | ast.ImportFrom)


def called(node: ast.AST, module: str) -> str | None:
    """Return the name of the function of a module that a node calls."""
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == module
    ):
        return node.func.attr
    return None


def replacements(place: Place, scope: Scope) -> Iterator[ast.AST]:
    """Yield what may be written by mistake instead of a node."""
    node, parent = place.node, place.parent
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        if not isinstance(node.operand, ast.Constant):
            yield node.operand
    elif isinstance(node, ast.BinOp):
        yield from of_arithmetic(node)
    elif isinstance(node, ast.AugAssign):
        if isinstance(node.op, ast.Add | ast.Sub):
            sign = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
            yield ast.AugAssign(node.target, sign, node.value)
        elif isinstance(node.op, ast.Mult | ast.Div):
            yield ast.Pass()
    elif isinstance(node, ast.Compare):
        turned = TURNED.get(type(node.ops[0]))
        if turned:
            yield ast.Compare(node.left, [turned(), *node.ops[1:]], node.comparators)
    elif isinstance(node, ast.Call):
        yield from of_call(node)
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, int | float) and not isinstance(node.value, bool):
            yield ast.Constant(other_number(node.value))
    elif isinstance(node, ast.Attribute) and node.attr in TRANSPOSED:
        yield node.value
    if is_matrix(node, scope.matrices) and not is_looked_at(parent):
        yield ast.Attribute(node, "T", ast.Load())
    if is_truth(node) and not is_looked_at(parent):
        yield other_truth(node)
    if scope.graph and detachable(place, scope.moving):
        yield ast.Call(ast.Name(CUT, ast.Load()), [node], [])


def of_arithmetic(node: ast.BinOp) -> Iterator[ast.AST]:
    """Yield a lost sign, a forgotten factor or divisor, swapped sides, a transpose."""
    left, right = node.left, node.right
    if isinstance(node.op, ast.Add):
        yield ast.BinOp(left, ast.Sub(), right)
    elif isinstance(node.op, ast.Sub):
        yield ast.BinOp(left, ast.Add(), right)
        yield ast.BinOp(right, ast.Sub(), left)
    elif isinstance(node.op, ast.Mult):
        yield left
        yield right
    elif isinstance(node.op, ast.Div | ast.Pow):
        yield left
        yield ast.BinOp(right, node.op, left)
    elif isinstance(node.op, ast.MatMult):
        yield ast.BinOp(left, ast.MatMult(), ast.Attribute(right, "T", ast.Load()))


def of_call(node: ast.Call) -> Iterator[ast.AST]:
    """Yield another reduction, a lost transpose, arguments in the wrong order."""
    name = name_of(node.func)
    if isinstance(node.func, ast.Attribute):
        if name in OTHER_NAME:
            other = ast.Attribute(node.func.value, OTHER_NAME[name], ast.Load())
            yield ast.Call(other, node.args, node.keywords)
        if name in TRANSPOSES:
            yield node.func.value
        bounds = {"min": "max", "max": "min"}
        keywords = [
            ast.keyword(bounds.get(k.arg or "", k.arg), k.value) for k in node.keywords
        ]
        if name.startswith("clamp") and len(keywords) == 1:
            yield ast.Call(node.func, node.args, keywords)
    if name in COMMUTATIVE | GRAPHLESS or called(node, "validate"):
        return
    # clip returns the middle one of three numbers.
    for i in range(1 if name in ("clip", "clamp") else 0, len(node.args) - 1):
        swapped = [*node.args]
        swapped[i], swapped[i + 1] = swapped[i + 1], swapped[i]
        if ast.dump(swapped[i]) != ast.dump(node.args[i]):
            yield ast.Call(node.func, swapped, node.keywords)


def name_of(function: ast.expr) -> str:
    """Return the last name of what is called, empty if it has none."""
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def other_number(value: float) -> float:
    """Return another number of the same kind."""
    if isinstance(value, int):
        return value + 1
    return 2 * value if value else 1.0


def is_matrix(node: ast.AST, matrices: frozenset[str]) -> bool:
    """True for a square matrix that the loss closes over."""
    if not isinstance(getattr(node, "ctx", None), ast.Load):
        return False
    if isinstance(node, ast.Name):
        return node.id in matrices
    return isinstance(node, ast.Attribute) and (
        ast.unparse(node.value) == "self" and node.attr in matrices
    )


def is_truth(node: ast.AST) -> bool:
    """True for a use of labels, targets or signs."""
    return (
        isinstance(node, ast.Name)
        and isinstance(node.ctx, ast.Load)
        and node.id in TRUTHS
    )


def is_looked_at(parent: ast.AST) -> bool:
    """True if only facts such as the shape of what hangs here are used."""
    if isinstance(parent, ast.Attribute):
        return parent.attr in FACTS | TRANSPOSED
    return isinstance(parent, ast.Call) and name_of(parent.func) in GRAPHLESS


def other_truth(node: ast.Name) -> ast.AST:
    """Return labels that are one off, signs turned round, targets of the other side."""
    if node.id == "labels":
        return ast.BinOp(node, ast.Sub(), ast.Constant(1))
    if node.id == "signs":
        return ast.UnaryOp(ast.USub(), node)
    return ast.BinOp(ast.Constant(1), ast.Sub(), node)


def detachable(place: Place, names: frozenset[str]) -> bool:
    """True for an operand or an argument that carries gradient."""
    parent, node = place.parent, place.node
    if not isinstance(node, ast.expr) or not depends_on(node, names):
        return False
    if isinstance(node, ast.Compare | ast.Starred | ast.Tuple | ast.List | ast.Lambda):
        return False
    if isinstance(parent, ast.BinOp):
        return isinstance(parent.op, ARITHMETIC) and place.name in ("left", "right")
    if isinstance(parent, ast.Call) and place.name == "args":
        name = name_of(parent.func)
        condition = name == "where" and place.index == 0
        return name not in GRAPHLESS and not condition
    return False


class Cut:
    """Cuts a tensor from the graph, and remembers whether it ever hung there."""

    def __init__(self) -> None:
        self.hung = False

    def __call__(self, value: Any) -> Any:
        """Return the value without its graph."""
        if not getattr(value, "requires_grad", False):
            return value
        self.hung = True
        return value.detach()


def used_names(code: types.CodeType) -> set[str]:
    """Return the names that code uses, with all functions in it."""
    inner = [part for part in code.co_consts if isinstance(part, types.CodeType)]
    return {*code.co_names}.union(*map(used_names, inner))


class Overdue(BaseException):
    """A mutant takes too long. No check catches it as an error of the loss."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise `Overdue` in the block after so many seconds, where the system can."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def ring(*_: Any) -> None:
        raise Overdue

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def kernels_at_work() -> Iterator[list[bool]]:
    """Collect, for each call of a loss that has a fused form, whether it served."""
    from lossbook import kernels

    usable = kernels.usable
    served: list[bool] = []

    def watched(*arguments: Any) -> bool:
        served.append(usable(*arguments))
        return bool(served[-1])

    with patch.object(kernels, "usable", watched):
        yield served


class Trial:
    """The checks of one loss, run on changed copies of its module.

    Args:
        module: The name of the loss's module.
        checks: The checks; by default those that cover the card's kind.
    """

    def __init__(self, module: str, checks: Sequence[Any] | None = None) -> None:
        from lossbook import check

        self.original = importlib.import_module(module)
        card = self.original.CARD
        chosen = check.applicable(card) if checks is None else checks
        source = Path(self.original.__file__ or "").read_text(encoding="utf-8")
        self.tree = ast.parse(source)
        self.runs = [(one, form) for one in chosen for form in ("fused", "plain")]
        self.cost = dict.fromkeys(self.runs, 1.0)
        self.kills: Counter[tuple[Any, ...]] = Counter()
        self.matrices = frozenset(
            name
            for name, value in card.closed_over().items()
            if len(getattr(value, "shape", ())) == 2
            and value.shape[0] == value.shape[1]
        )

    def slips(self) -> Iterator[tuple[Slip, Any]]:
        """Yield the slips of this module, each with its code."""
        return slips(self.tree, self.matrices)

    def baseline(self) -> str | None:
        """Time each check on the loss as it is; return what refuses it, if any does.

        A loss that has no fused form is checked in the plain one alone from then on.
        """
        with kernels_at_work() as served:
            for run in self.runs:
                start = time.perf_counter()
                if (found := self._refused(self.original.CARD, run)) is not None:
                    return f"{run[0].name} ({run[1]}) refuses the loss: {found}"
                self.cost[run] = time.perf_counter() - start
        if not any(served):
            self.runs = [run for run in self.runs if run[1] == "plain"]
        return None

    def killed_by(self, code: Any, function: str) -> str | None:
        """Return what sees that the code is not the loss, None if nothing does.

        `NO_SLIP` is returned for a cut where there is no graph to be cut.

        Args:
            code: The module with a slip in it.
            function: Where the slip is: what has seen those there comes early.
        """
        name = f"{self.original.__name__}__mutant"
        module = types.ModuleType(name)
        module.__file__ = self.original.__file__
        cut = module.__dict__[CUT] = Cut()
        sys.modules[name] = module
        try:
            with deadline(SLOW + 3 * sum(self.cost.values())):
                killer = self._killed_by(code, function, module)
            cuts_nothing = CUT in used_names(code) and not cut.hung
            return NO_SLIP if killer is None and cuts_nothing else killer
        except Overdue:
            return "the clock"
        finally:
            del sys.modules[name]

    def _killed_by(
        self, code: Any, function: str, module: types.ModuleType
    ) -> str | None:
        try:
            exec(code, module.__dict__)
            card = module.CARD
        except Exception:
            return "its import"

        def dear(run: Any) -> float:
            return self.cost[run] / float(1 + self.kills[function, *run]) ** 2

        for run in sorted(self.runs, key=dear):
            if self._refused(card, run) is not None:
                self.kills[function, *run] += 1
                return str(run[0].name)
        return None

    def _refused(self, card: Any, run: tuple[Any, Any]) -> str | None:
        from lossbook import kernels

        one, form = run
        with ExitStack() as stack:
            stack.enter_context(kernels.force(form))
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            try:
                one.run(card)
            except Exception as error:  # whatever the changed code raises
                return f"{type(error).__name__}: {error}"
        return None


def examine(module: str, excluded: Sequence[str] = ()) -> Report:
    """Plant every slip of one module; tell which survive."""
    import torch

    torch.set_num_threads(1)
    start = time.perf_counter()
    trial = Trial(module)
    report = Report(file_of(module))
    problem = trial.baseline()
    if problem is not None:
        report.problems.append(problem)
        return report
    unseen = set(excluded)
    for slip, code in trial.slips():
        if slip.text in excluded:
            unseen.discard(slip.text)
            report.excluded += 1
            continue
        killer = trial.killed_by(code, slip.function)
        report.planted += killer != NO_SLIP
        report.killed += killer not in (None, NO_SLIP)
        if killer is None:
            report.survivors.append(slip)
    report.problems += [
        f"mutants.toml excludes what is not planted: {t}" for t in unseen
    ]
    report.seconds = time.perf_counter() - start
    return report


def file_of(module: str) -> str:
    """Return the path of a module's file, from the root of the checkout."""
    found = importlib.util.find_spec(module)
    return Path(found.origin or "").relative_to(ROOT).as_posix() if found else module


def exclusions() -> dict[str, list[str]]:
    """Return the slips that change nothing, by file."""
    found: dict[str, list[str]] = {}
    for entry in tomllib.loads(LIST.read_text(encoding="utf-8"))["equivalent"]:
        if not entry["reason"].strip():
            raise ValueError(f"{LIST.name}: give a reason for {entry['slip']}")
        found.setdefault(entry["file"], []).append(entry["slip"])
    return found


def modules_of(keys: Sequence[str]) -> list[str]:
    """Return the modules of these losses, of all without any."""
    from lossbook.losses import CATALOGUE

    unknown = set(keys) - set(CATALOGUE)
    if unknown:
        raise SystemExit(f"no loss is called {', '.join(sorted(unknown))}")
    return [CATALOGUE[key].fn.__module__ for key in keys or CATALOGUE]


def main(arguments: Sequence[str]) -> int:
    """Examine the losses named, all without a name; 1 if a slip survives."""
    made = argparse.ArgumentParser(prog="mutants", description="Plant slips.")
    made.add_argument("losses", nargs="*", help="keys of the catalogue (default: all)")
    options = made.parse_args(arguments)
    modules, excluded = modules_of(options.losses), exclusions()
    stale = [f for f in excluded if not (ROOT / f).exists()]
    reports = []
    # A fresh process: torch does not survive a fork of a process that has used it.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, mp_context=context) as pool:
        waiting = [
            pool.submit(examine, m, excluded.get(file_of(m), ())) for m in modules
        ]
        for done in as_completed(waiting):
            report = done.result()
            say(report.line())
            for slip in report.survivors:
                say(f"   survived: {report.path}:{slip.line}: {slip.text}")
            reports.append(report)
    return summarize(reports, stale)


def summarize(reports: Sequence[Report], stale: Sequence[str] = ()) -> int:
    """Print problems and totals; return the exit status."""
    ordered = sorted(reports, key=lambda report: report.path)
    problems = [f"{r.path}: {text}" for r in ordered for text in r.problems]
    problems += [f"mutants.toml names {file}, which is not there" for file in stale]
    survivors = sum(len(r.survivors) for r in ordered)
    for text in problems:
        say(f"problem: {text}")
    planted, killed = (
        sum(getattr(r, name) for r in ordered) for name in ("planted", "killed")
    )
    say(f"\n{planted} planted, {killed} killed, {survivors} survived")
    return 1 if survivors or problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
