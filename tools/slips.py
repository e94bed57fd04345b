"""Slips of the hand, planted in the source of a loss: `tools.mutants` judges them.

A slip is what a derivation or its code gets wrong by hand: a lost minus, a forgotten
factor, a transposed matrix, a label that is one off, a weight cut from the graph, a
mean for a sum, two arguments in each other's place, another constant, a turned
comparison. Each is planted by itself: in the torch function and what it calls, in the
numpy reference, in the functions that the card refers to.

Not planted: what only words an error (a `raise`, the condition of an `if` that raises,
arguments of `validate` and of functions named `check_...`), annotations, texts, and how
a card draws its sample.
"""

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

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
COMMUTATIVE = {
    "maximum",
    "minimum",
    "mul",
    "eq",
    "logaddexp",
    "fmax",
    "fmin",
    "max",
    "min",
    "broadcast_tensors",
    "squared_distance",
}
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
    "usable",
    "blockwise",
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


@dataclass(frozen=True)
class Place:
    """A node of the module's tree, and where it hangs.

    Attributes:
        parent: The node above it.
        name: The field of the parent.
        index: Where it stands in the field, if that is a list.
        node: The node.
        detached: True within `(...).detach()`, where a cut changes nothing.
    """

    parent: ast.AST
    name: str
    index: int | None
    node: Any
    detached: bool = False

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


def places(top: ast.AST, detached: bool = False) -> Iterator[Place]:
    """Yield every node that may be changed, from the top."""
    for name, value in ast.iter_fields(top):
        if name in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        nodes = value if isinstance(value, list) else [value]
        for index, node in enumerate(nodes):
            if not isinstance(node, ast.AST) or is_wording(node):
                continue
            at = index if isinstance(value, list) else None
            yield Place(top, name, at, node, detached)
            within = detached or (isinstance(node, ast.Call) and is_detach(node.func))
            if (checker := check_called(node)) is None:
                yield from places(node, within)
            elif checker == "explain_nan":
                # Its last argument is the result.
                last = len(node.args) - 1  # type: ignore[attr-defined]
                yield Place(node, "args", last, node.args[last], within)  # type: ignore[attr-defined]
                yield from places(node.args[last], within)  # type: ignore[attr-defined]


def is_detach(function: ast.expr) -> bool:
    """True for the method that cuts a tensor from the graph."""
    return isinstance(function, ast.Attribute) and function.attr == "detach"


def is_wording(node: ast.AST) -> bool:
    """True for what only words an error, or tells of shapes."""
    if isinstance(node, ast.If):
        return all(isinstance(part, ast.Raise) for part in node.body)
    return isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr | ast.ImportFrom)


def check_called(node: ast.AST) -> str | None:
    """Return the name of the function that checks input, where a node calls one.

    It is one of `validate`, or one that a family shares.
    """
    if not isinstance(node, ast.Call):
        return None
    function = node.func
    if isinstance(function, ast.Attribute):
        of_validate = ast.unparse(function.value) == "validate"
        return function.attr if of_validate else None
    name = name_of(function)
    return name if name.startswith("check_") or name == "explain_nan" else None


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
    if scope.graph and not place.detached and detachable(place, scope.moving):
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
        given = [k.arg for k in node.keywords]
        if name.startswith("clamp") and given in (["min"], ["max"]):
            yield ast.Call(node.func, node.args, keywords)
    if name in COMMUTATIVE | GRAPHLESS or check_called(node):
        return
    if name == "add" and all(k.arg != "alpha" for k in node.keywords):
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
