"""Keys of code: what a result depends on, without what is only said of it."""

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from lossbook.losses import CATALOGUE

PACKAGE = Path(__file__).parent.parent
WORDS = "lossbook.data._cards"


@cache
def code_version(loss: str) -> str:
    """Return a hash of the code that decides this loss's results.

    That is the loss's module, the experiment's, and whatever of this package they
    import, but no other loss; and what the card says of the call: its kind and its
    default parameters. Docstrings, comments and the rest of the card do not count.

    >>> code_version("focal") == code_version("mae")
    False
    """
    card = CATALOGUE[loss]
    files = sources(card.fn.__module__) | sources(__package__)
    call = f"{card.kind} {sorted(card.defaults().items())}"
    return hashlib.sha256(f"{code_key(files)} {call}".encode()).hexdigest()[:16]


def code_key(paths: Iterable[Path]) -> str:
    """Return a key of what modules compute: their code without docstrings.

    References, cards and comments are not run: a loss keeps its key when they change.
    The key is the same on every machine and with every Python.
    """
    text = "".join(f"{path.name}\n{_code_of(path)}" for path in sorted(paths))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@cache
def _code_of(path: Path) -> str:
    """Return the lines of a module that are run."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    kept = (lines[n - 1].split("#")[0].rstrip() for n in sorted(_code_lines(text)))
    return "".join(f"{line}\n" for line in kept if line)


def _code_lines(text: str) -> set[int]:
    """Return the numbers of the lines that are run."""
    lines: set[int] = set()
    for node in ast.parse(text).body:
        names = {getattr(t, "id", "") for t in getattr(node, "targets", [])}
        name = getattr(node, "name", "")
        if "CARD" in names or name.endswith("_ref") or name == "recovered":
            continue
        lines |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    for each in ast.walk(ast.parse(text)):
        if isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant):
            lines -= set(range(each.lineno, (each.end_lineno or each.lineno) + 1))
    return lines


@cache
def _imported(file: Path) -> tuple[str, ...]:
    """Return what a module imports, and perhaps imports, by dotted name."""
    found: list[str] = []
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module, *(f"{node.module}.{n.name}" for n in node.names)]
    return tuple(found)


def sources(module: str) -> set[Path]:
    """Return the files of a module and of all that it imports of this package.

    The catalogue and its families are lists of losses; it ends there. Cards of data
    sets are words.
    """
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        file = _file_of(name)
        if name in {*found, WORDS} or file is None or _is_list_of_losses(name):
            continue
        found[name] = file
        waiting += _imported(file)
    return set(found.values())


def _file_of(module: str) -> Path | None:
    """Return a module's file, None for what is no module of this package."""
    package, *parts = module.split(".")
    if package != PACKAGE.name or not parts:
        return None
    path = PACKAGE.joinpath(*parts)
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return file if file.exists() else None


def _is_list_of_losses(module: str) -> bool:
    parts = module.split(".")
    return parts[1:2] == ["losses"] and not parts[-1].startswith("_")
