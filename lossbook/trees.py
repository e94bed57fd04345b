"""Trees whose leaves are the classes.

A `Hierarchy` is made from parents, from nested names, or from a table with one row a
class. It knows what the losses and metrics of a hierarchy ask for: who lies above a
class, which classes lie below a node, and how far two classes are apart.

Classes are numbered 0 to C - 1, nodes 0 to n - 1. In the order of a walk that goes
down before it goes on (depth-first), the classes below a node are neighbors: each
subtree is an interval `start[v]:stop[v]` of `order`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

__all__ = ["Hierarchy"]

Nested: TypeAlias = "Mapping[str, Nested] | Sequence[str | Nested]"


@dataclass(frozen=True)
class Hierarchy:
    """A rooted tree whose leaves are the classes.

    Usually made by `from_parents`, `from_nested` or `from_table`.

    Args:
        parents: of each node the number of its parent, -1 for the root.
        names: of each node its name; no two are equal.
        classes: the names of the leaves, in the order of the class indices.

    Raises:
        ValueError: for a cycle, a parent that is no node, several roots, equal names,
            a tree without a class, or classes that are not exactly the leaves.

    >>> tree = Hierarchy.from_nested({"animal": ["cat", "dog"], "vehicle": ["car"]})
    >>> tree.classes
    ('cat', 'dog', 'car')
    >>> tree.path(0)
    ('cat', 'animal', 'root')
    """

    parents: tuple[int, ...]
    names: tuple[str, ...]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse what is no tree over the classes."""
        _refuse_names(self.names, self.parents)
        _refuse_parents(self.names, self.parents)
        _refuse_classes(self.names, self.parents, self.classes)

    @classmethod
    def from_parents(
        cls,
        parents: Mapping[str, str | None] | Sequence[int] | np.ndarray,
        names: Sequence[str] | None = None,
        classes: Sequence[str] | None = None,
    ) -> "Hierarchy":
        """Make a hierarchy from each node's parent.

        Args:
            parents: names with the name of their parent, or numbers, one a node, -1
                for the root. Among names the root may be left out, or have `None`.
            names: of the nodes, where `parents` are numbers; "0", "1", ... if missing.
            classes: the leaves' names in the order of the class indices; in the order
                of the nodes if missing.

        >>> tree = Hierarchy.from_parents(
        ...     {"cat": "pet", "dog": "pet", "ox": "animal", "pet": "animal"}
        ... )
        >>> tree.classes, tree.names[tree.root]
        (('cat', 'dog', 'ox'), 'animal')
        >>> Hierarchy.from_parents([-1, 0, 0, 1, 1]).classes
        ('2', '3', '4')
        """
        if isinstance(parents, Mapping):
            above, known = _numbered(parents)
        else:
            above = tuple(int(p) for p in parents)
            known = tuple(
                map(str, range(len(above))) if names is None else map(str, names)
            )
        _refuse_names(known, above)
        _refuse_parents(known, above)
        inner = set(above)
        leaves = tuple(n for i, n in enumerate(known) if i not in inner)
        return cls(above, known, leaves if classes is None else tuple(classes))

    @classmethod
    def from_nested(
        cls, nested: Nested, *, root: str = "root", classes: Sequence[str] | None = None
    ) -> "Hierarchy":
        """Make a hierarchy from names within names.

        Args:
            nested: a mapping from the name of a node to what lies below it, or a list
                of classes and of further such groups. A group in a list has no name;
                it gets that of its parent and its place.
            root: the name of the root.
            classes: the leaves' names in the order of the class indices; in the order
                of reading if missing.

        >>> Hierarchy.from_nested([["cat", "dog"], "car"]).names
        ('root', 'root.0', 'cat', 'dog', 'car')
        """
        above, names = [-1], [root]

        def add(name: str, parent: int) -> int:
            above.append(parent)
            names.append(str(name))
            return len(names) - 1

        def walk(below: Nested, node: int) -> None:
            if isinstance(below, Mapping):
                for name, further in below.items():
                    walk(further, add(name, node))
                return
            for place, item in enumerate(below):
                if isinstance(item, str):
                    add(item, node)
                else:
                    walk(item, add(f"{names[node]}.{place}", node))

        walk([nested] if isinstance(nested, str) else nested, 0)
        return cls.from_parents(above, names, classes)

    @classmethod
    def from_table(
        cls, rows: Sequence[Sequence[str]], *, root: str = "root"
    ) -> "Hierarchy":
        """Make a hierarchy from a taxonomy: one row a class, from coarse to fine.

        Args:
            rows: of each class the names of its levels; the last one is its own. Rows
                may differ in length. The order of the rows is that of the classes.
            root: the name of the root, which no row holds.

        >>> tree = Hierarchy.from_table(
        ...     [("animal", "cat"), ("vehicle", "car"), ("animal", "dog")]
        ... )
        >>> tree.classes, tree.order
        (('cat', 'car', 'dog'), array([0, 2, 1]))
        """
        parents: dict[str, str | None] = {root: None}
        for row in rows:
            if not len(row):
                raise ValueError(
                    "rows must name at least their class, got an empty row"
                )
            for name, parent in zip(row, [root, *row[:-1]], strict=True):
                if name == root:
                    raise ValueError(
                        f"rows must not hold the root's name, got {root!r} in "
                        f"{tuple(row)!r}; name the root otherwise with root="
                    )
                if parents.setdefault(name, parent) != parent:
                    raise ValueError(
                        f"a name must stand under one parent, got {name!r} under "
                        f"{parents[name]!r} and {parent!r}; make such names longer"
                    )
        return cls.from_parents(parents, classes=[row[-1] for row in rows])

    @classmethod
    def balanced(cls, branching: int, depth: int) -> "Hierarchy":
        """Make a tree in which each inner node has `branching` children.

        >>> Hierarchy.balanced(3, 2).classes[:4]
        ('0.0', '0.1', '0.2', '1.0')
        """
        if branching < 1 or depth < 1:
            raise ValueError(
                f"branching and depth must be at least 1, got {branching} and {depth}"
            )
        parents: dict[str, str | None] = {"root": None}
        level = ["root"]
        for _ in range(depth):
            below = [
                (f"{name}.{i}" if name != "root" else str(i), name)
                for name in level
                for i in range(branching)
            ]
            parents.update(below)
            level = [name for name, _ in below]
        return cls.from_parents(parents)

    @classmethod
    def random(cls, rng: np.random.Generator, classes: int) -> "Hierarchy":
        """Draw a binary tree: two groups of classes after another are put together.

        Such a tree knows nothing of the classes; it is what a true one must beat.

        >>> tree = Hierarchy.random(np.random.default_rng(0), 5)
        >>> len(tree.classes), len(tree.names)
        (5, 9)
        """
        if classes < 1:
            raise ValueError(f"classes must be at least 1, got {classes}")
        above = [-1] * classes
        groups = list(range(classes))
        while len(groups) > 1 or len(above) == 1:
            pair = rng.permutation(len(groups))[:2]
            for i in pair:
                above[groups[i]] = len(above)
            groups = [g for i, g in enumerate(groups) if i not in pair]
            groups.append(len(above))
            above.append(-1)
        return cls.from_parents(above)

    @cached_property
    def root(self) -> int:
        """Return the root's number."""
        return self.parents.index(-1)

    @cached_property
    def leaves(self) -> np.ndarray:
        """Return (C,), the node of each class."""
        where = {name: i for i, name in enumerate(self.names)}
        return _fixed([where[name] for name in self.classes])

    @cached_property
    def children(self) -> tuple[tuple[int, ...], ...]:
        """Return the children of each node, in the order of the nodes."""
        below: list[list[int]] = [[] for _ in self.parents]
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                below[parent].append(node)
        return tuple(map(tuple, below))

    @cached_property
    def depths(self) -> np.ndarray:
        """Return (n,), the number of edges between each node and the root."""
        depths = np.zeros(len(self.names), dtype=int)
        for node in self._down:
            if node != self.root:
                depths[node] = depths[self.parents[node]] + 1
        return _fixed(depths)

    @cached_property
    def heights(self) -> np.ndarray:
        """Return (n,), the number of edges between each node and its deepest leaf."""
        heights = np.zeros(len(self.names), dtype=int)
        for node in reversed(self._down):
            if node != self.root:
                parent = self.parents[node]
                heights[parent] = max(heights[parent], heights[node] + 1)
        return _fixed(heights)

    @property
    def height(self) -> int:
        """Return the number of edges between the root and its deepest leaf."""
        return int(self.heights[self.root])

    @cached_property
    def order(self) -> np.ndarray:
        """Return (C,), the class indices in depth-first order."""
        label = {node: k for k, node in enumerate(self.leaves)}
        return _fixed([label[node] for node in self._down if node in label])

    @cached_property
    def start(self) -> np.ndarray:
        """Return where the classes below each node begin in `order`, (n,)."""
        return _fixed(self._intervals[0])

    @cached_property
    def stop(self) -> np.ndarray:
        """Return where the classes below each node end in `order`, (n,)."""
        return _fixed(self._intervals[1])

    def node(self, name: str) -> int:
        """Return the number of the node with this name."""
        if name not in self.names:
            raise ValueError(f"name must be that of a node, got {name!r}")
        return self.names.index(name)

    def below(self, name: str) -> tuple[str, ...]:
        """Return the names of the classes at or below a node.

        >>> Hierarchy.from_nested({"animal": ["cat", "dog"]}).below("animal")
        ('cat', 'dog')
        """
        node = self.node(name)
        return tuple(
            self.classes[k] for k in self.order[self.start[node] : self.stop[node]]
        )

    def path(self, label: int) -> tuple[str, ...]:
        """Return the names from a class, given by its index, up to the root."""
        return tuple(self.names[node] for node in self._climb(self.leaves[label]))

    @cached_property
    def paths(self) -> np.ndarray:
        """Return (C, height + 1), the nodes from each class up to the root.

        A class that is less deep than others has its root repeated.

        >>> Hierarchy.from_nested([["cat", "dog"], "car"]).paths
        array([[2, 1, 0],
               [3, 1, 0],
               [4, 0, 0]])
        """
        paths = np.full((len(self.classes), self.height + 1), self.root)
        for label, leaf in enumerate(self.leaves):
            path = list(self._climb(leaf))
            paths[label, : len(path)] = path
        return _fixed(paths)

    def level(self, depth: int) -> np.ndarray:
        """Return (C,), the group of each class at a depth, numbered from 0.

        A group is the classes below one node of this depth. A class that lies less
        deep is a group of its own. Depth 0 has one group; the height, one a class.

        >>> Hierarchy.from_nested([["cat", "dog"], "car"]).level(1)
        array([0, 0, 1])
        """
        if not 0 <= depth <= self.height:
            raise ValueError(
                f"depth must lie in 0..{self.height}, the tree's height, got {depth}"
            )
        above = (self.depths[self.leaves] - depth).clip(0)
        nodes = self.paths[np.arange(len(self.classes)), above]
        return np.unique(nodes, return_inverse=True)[1].reshape(-1)

    @cached_property
    def levels(self) -> np.ndarray:
        """Return `level` of each depth from 1 to the height, (height, C).

        >>> Hierarchy.from_nested([["cat", "dog"], "car"]).levels
        array([[0, 0, 1],
               [0, 1, 2]])
        """
        return _fixed([self.level(d) for d in range(1, self.height + 1)])

    @cached_property
    def lca_heights(self) -> np.ndarray:
        """Return (C, C), the height of the lowest common ancestor of two classes.

        >>> Hierarchy.from_nested([["cat", "dog"], "car"]).lca_heights
        array([[0, 1, 2],
               [1, 0, 2],
               [2, 2, 0]])
        """
        return _fixed(self._at_lca(self.heights))

    def distances(
        self, lengths: Mapping[str, float] | Sequence[float] | np.ndarray | None = None
    ) -> np.ndarray:
        """Return (C, C), the length of the path between two classes.

        Args:
            lengths: of the edge above each node: a mapping from names, or one a node
                (the root's does not count). All 1 if missing.

        >>> Hierarchy.from_nested([["cat", "dog"], "car"]).distances()
        array([[0., 2., 3.],
               [2., 0., 3.],
               [3., 3., 0.]])
        """
        edge = self.edge_lengths(lengths)
        away = np.zeros(len(self.names))
        for node in self._down:
            if node != self.root:
                away[node] = away[self.parents[node]] + edge[node]
        leaf = away[self.leaves]
        apart = leaf[:, None] + leaf - 2 * self._at_lca(away)
        np.fill_diagonal(apart, 0)
        return apart.clip(0)

    def edge_lengths(
        self, lengths: Mapping[str, float] | Sequence[float] | np.ndarray | None = None
    ) -> np.ndarray:
        """Return (n,), the length of the edge above each node, 0 above the root.

        >>> Hierarchy.from_nested(["cat", "dog"]).edge_lengths({"cat": 2, "dog": 1})
        array([0., 2., 1.])
        """
        n = len(self.names)
        if isinstance(lengths, Mapping):
            named = set(self.names) - {self.names[self.root]}
            if missing := sorted(named - set(lengths)):
                raise ValueError(
                    f"lengths must hold every node below the root, got none for "
                    f"{missing[0]!r}"
                )
            if unknown := sorted(set(lengths) - set(self.names)):
                raise ValueError(
                    f"lengths must be of nodes, got one for {unknown[0]!r}"
                )
            edge = np.array([float(lengths.get(name, 0.0)) for name in self.names])
        else:
            edge = np.ones(n) if lengths is None else np.array(lengths, dtype=float)
        if edge.shape != (n,):
            raise ValueError(
                f"lengths must be one a node, shape ({n},), got shape {edge.shape}"
            )
        edge[self.root] = 0
        if not (np.isfinite(edge) & (edge >= 0)).all():
            raise ValueError(
                f"lengths must be finite and not negative, got {edge.tolist()}"
            )
        return edge

    @cached_property
    def _down(self) -> tuple[int, ...]:
        """Return the nodes in depth-first order, parents before children."""
        found, waiting = [], [self.root]
        while waiting:
            found.append(waiting.pop())
            waiting.extend(reversed(self.children[found[-1]]))
        return tuple(found)

    @cached_property
    def _intervals(self) -> tuple[np.ndarray, np.ndarray]:
        start = np.zeros(len(self.names), dtype=int)
        size = np.zeros(len(self.names), dtype=int)
        seen = 0
        for node in self._down:
            start[node] = seen
            seen += not self.children[node]
        for node in reversed(self._down):
            size[node] += not self.children[node]
            if node != self.root:
                size[self.parents[node]] += size[node]
        return start, start + size

    def _climb(self, node: int) -> Iterator[int]:
        while node >= 0:
            yield int(node)
            node = self.parents[node]

    def _at_lca(self, of_node: np.ndarray) -> np.ndarray:
        """Return (C, C), a node's value at the lowest common ancestor."""
        there = np.empty((len(self.classes),) * 2, dtype=of_node.dtype)
        for node in self._down:  # the lowest comes last
            span = slice(self.start[node], self.stop[node])
            there[span, span] = of_node[node]
        back = np.argsort(self.order)
        return there[np.ix_(back, back)]


def _fixed(values: Any) -> np.ndarray:
    """Return an array that nobody can change by mistake."""
    array = np.array(values)
    array.setflags(write=False)
    return array


def _numbered(
    parents: Mapping[str, str | None],
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return parents as numbers, and the nodes' names."""
    names = list(parents)
    missing = dict.fromkeys(
        p for p in parents.values() if p is not None and p not in parents
    )
    if None in parents.values():
        for name, parent in parents.items():
            if parent in missing:
                raise ValueError(
                    f"a parent must be a node, got {parent!r} as that of {name!r}; "
                    f"add {parent!r} with its own parent"
                )
    names.extend(str(name) for name in missing)
    where = {name: i for i, name in enumerate(names)}
    above = [
        -1 if (parent := parents.get(name)) is None else where[parent] for name in names
    ]
    return tuple(above), tuple(names)


def _refuse_names(names: Sequence[str], parents: Sequence[int]) -> None:
    if len(names) != len(parents):
        raise ValueError(
            f"names must be one a node, {len(parents)} of them, got {len(names)}"
        )
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(
                f"names must differ, got {name!r} twice; make such names longer"
            )
        seen.add(name)


def _refuse_parents(names: Sequence[str], parents: Sequence[int]) -> None:
    n = len(parents)
    for name, parent in zip(names, parents, strict=True):
        if not -1 <= parent < n:
            raise ValueError(
                f"a parent must be a node, 0..{n - 1}, or -1 for the root, got "
                f"{parent} as that of {name!r}"
            )
    _refuse_cycles(names, parents)
    roots = [name for name, parent in zip(names, parents, strict=True) if parent < 0]
    if len(roots) > 1:
        raise ValueError(
            f"a hierarchy must have one root, got {roots[0]!r} and {roots[1]!r}; put "
            "them under a common parent"
        )
    if n < 2:
        raise ValueError(
            "a hierarchy must have a root and at least one class below it, got "
            f"{'no node' if n == 0 else f'only {names[0]!r}'}"
        )


def _refuse_cycles(names: Sequence[str], parents: Sequence[int]) -> None:
    ends = set()  # nodes from which the root is reached
    for first in range(len(parents)):
        walk = [first]
        while walk[-1] not in ends and parents[walk[-1]] >= 0:
            above = parents[walk[-1]]
            if above in walk:
                round_trip = [names[i] for i in [*walk[walk.index(above) :], above]]
                raise ValueError(
                    "a hierarchy must have no cycle, got "
                    f"{' -> '.join(round_trip)}; no node may lie below itself"
                )
            walk.append(above)
        ends.update(walk)


def _refuse_classes(
    names: Sequence[str], parents: Sequence[int], classes: Sequence[str]
) -> None:
    inner = {names[parent] for parent in parents if parent >= 0}
    seen: set[str] = set()
    for name in classes:
        if name in inner:
            raise ValueError(
                f"a class must be a leaf, got {name!r}, which has nodes below it; give "
                "it a leaf of its own"
            )
        if name not in names:
            raise ValueError(f"a class must be a node of the tree, got {name!r}")
        if name in seen:
            raise ValueError(f"classes must differ, got {name!r} twice")
        seen.add(name)
    if forgotten := [n for n in names if n not in inner and n not in seen]:
        raise ValueError(
            f"every leaf must be a class, got no class for {forgotten[0]!r}"
        )
