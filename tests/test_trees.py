"""Trees over the classes: made in several ways, refused, measured."""

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import shortest_path

from lossbook import Hierarchy

PETS = {"animal": ["cat", "dog"], "vehicle": {"road": ["car", "bus"], "plane": []}}
RNG = np.random.default_rng


def ragged():
    """Leaves at depths 1, 2 and 3, in an order that is not depth-first."""
    return Hierarchy.from_parents(
        {
            "bus": "road",
            "stone": "thing",
            "dog": "animal",
            "car": "road",
            "cat": "animal",
            "road": "vehicle",
            "plane": "vehicle",
            "animal": "thing",
            "vehicle": "thing",
        }
    )


TREES = [
    pytest.param(ragged(), id="ragged"),
    pytest.param(Hierarchy.balanced(3, 2), id="balanced"),
    pytest.param(Hierarchy.balanced(1, 3), id="one class"),
    pytest.param(Hierarchy.random(RNG(1), 17), id="random"),
    pytest.param(Hierarchy.from_nested([[["a"]], "b"]), id="only child"),
]


def test_one_tree_made_in_four_ways():
    table = Hierarchy.from_table(
        [("animal", "cat"), ("animal", "dog"), ("vehicle", "road", "car")]
    )
    nested = Hierarchy.from_nested(
        {"animal": ["cat", "dog"], "vehicle": {"road": ["car"]}}
    )
    named = Hierarchy.from_parents(
        {
            "root": None,
            "animal": "root",
            "cat": "animal",
            "dog": "animal",
            "vehicle": "root",
            "road": "vehicle",
            "car": "road",
        }
    )
    numbered = Hierarchy.from_parents([-1, 0, 1, 1, 0, 4, 5], named.names)
    assert table == nested == named == numbered
    assert len({hash(tree) for tree in (table, nested, named, numbered)}) == 1


def test_the_order_of_the_classes_can_be_given():
    tree = Hierarchy.from_nested([["cat", "dog"], "car"], classes=("dog", "car", "cat"))
    assert tree.path(0) == ("dog", "root.0", "root")
    assert tree.order.tolist() == [2, 0, 1]
    assert tree.level(1).tolist() == [0, 1, 0]
    assert tree.lca_heights[0].tolist() == [0, 2, 1]


@pytest.mark.parametrize("tree", TREES)
def test_classes_below_a_node_are_an_interval(tree):
    for v, name in enumerate(tree.names):
        inside = {k for k in range(len(tree.classes)) if name in tree.path(k)}
        assert set(tree.order[tree.start[v] : tree.stop[v]].tolist()) == inside
        assert set(tree.below(name)) == {tree.classes[k] for k in inside}


@pytest.mark.parametrize("tree", TREES)
def test_ancestors_depths_and_heights(tree):
    for k, leaf in enumerate(tree.leaves):
        path = tree.path(k)
        assert tree.depths[leaf] == len(path) - 1
        assert path[0] == tree.classes[k]
        assert path[-1] == tree.names[tree.root]
        padded = [tree.names[v] for v in tree.paths[k]]
        assert padded[: len(path)] == list(path)
        assert set(padded[len(path) :]) <= {path[-1]}
    for v, name in enumerate(tree.names):
        below = [p for k in range(len(tree.classes)) if name in (p := tree.path(k))]
        assert tree.heights[v] == max(p.index(name) for p in below)
    assert tree.height == tree.depths.max()


@pytest.mark.parametrize("tree", TREES)
def test_lca_heights_are_those_of_the_first_shared_ancestor(tree):
    n = len(tree.classes)
    for j in range(n):
        for k in range(n):
            above = tree.path(k)
            shared = next(name for name in tree.path(j) if name in above)
            assert tree.lca_heights[j, k] == tree.heights[tree.names.index(shared)]
    h = tree.lca_heights
    # An ultrametric: of three classes, the two largest heights are equal.
    assert (h[:, None] <= np.maximum(h[:, :, None], h[None].swapaxes(1, 2))).all()
    assert (h == h.T).all()


@pytest.mark.parametrize("tree", TREES)
def test_distances_are_shortest_paths(tree):
    n = len(tree.names)
    lengths = RNG(0).uniform(0.1, 2, size=n)
    child = np.array([v for v in range(n) if v != tree.root])
    edges = (lengths[child], (child, np.array(tree.parents)[child]))
    graph = shortest_path(coo_array(edges, shape=(n, n)).tocsr(), directed=False)
    expected = graph[np.ix_(tree.leaves, tree.leaves)]
    np.testing.assert_allclose(tree.distances(lengths), expected, atol=1e-12)
    named = dict(zip(tree.names, lengths, strict=True))
    np.testing.assert_array_equal(tree.distances(named), tree.distances(lengths))


@pytest.mark.parametrize("tree", TREES)
def test_levels_grow_finer(tree):
    groups = [len(set(tree.level(d).tolist())) for d in range(tree.height + 1)]
    assert groups[0] == 1
    assert groups[-1] == len(tree.classes)
    for coarse, fine in zip(tree.levels, tree.levels[1:], strict=False):
        assert len(set(zip(coarse, fine, strict=True))) == len(set(fine))


def test_a_random_tree_is_binary_and_drawn():
    trees = [Hierarchy.random(RNG(seed), 9) for seed in range(20)]
    for tree in trees:
        assert {len(c) for c in tree.children if c} == {2}
    assert len(set(trees)) > 15


def test_nobody_changes_a_tree_by_mistake():
    tree = ragged()
    with pytest.raises(ValueError, match="read-only"):
        tree.lca_heights[0, 1] = 7


PARENTS, NESTED, TABLE = (
    Hierarchy.from_parents,
    Hierarchy.from_nested,
    Hierarchy.from_table,
)
REFUSED = [
    (
        lambda: PARENTS({"a": "b", "b": "c", "c": "a", "d": "r"}),
        "a hierarchy must have no cycle, got a -> b -> c -> a; no node may lie below "
        "itself",
    ),
    (
        lambda: PARENTS([0, 0]),
        "a hierarchy must have no cycle, got 0 -> 0; no node may lie below itself",
    ),
    (
        lambda: PARENTS({"r": None, "a": "r", "b": "x"}),
        "a parent must be a node, got 'x' as that of 'b'; add 'x' with its own parent",
    ),
    (
        lambda: PARENTS([-1, 0, 7]),
        "a parent must be a node, 0..2, or -1 for the root, got 7 as that of '2'",
    ),
    (
        lambda: PARENTS({"a": "r", "b": "s"}),
        "a hierarchy must have one root, got 'r' and 's'; put them under a common "
        "parent",
    ),
    (
        lambda: PARENTS([-1, -1, 0]),
        "a hierarchy must have one root, got '0' and '1'; put them under a common "
        "parent",
    ),
    (
        lambda: PARENTS([-1, 0], names=["a", "a"]),
        "names must differ, got 'a' twice; make such names longer",
    ),
    (
        lambda: PARENTS([-1, 0, 0], names=["a", "b"]),
        "names must be one a node, 3 of them, got 2",
    ),
    (
        lambda: PARENTS([]),
        "a hierarchy must have a root and at least one class below it, got no node",
    ),
    (
        lambda: NESTED({}),
        "a hierarchy must have a root and at least one class below it, got only 'root'",
    ),
    (
        lambda: NESTED(["a", ["a"]]),
        "names must differ, got 'a' twice; make such names longer",
    ),
    (
        lambda: NESTED([["a", "b"], "c"], classes=("a", "b", "root.0")),
        "a class must be a leaf, got 'root.0', which has nodes below it; give it a "
        "leaf of its own",
    ),
    (
        lambda: NESTED(["a", "b"], classes=("a", "x")),
        "a class must be a node of the tree, got 'x'",
    ),
    (
        lambda: NESTED(["a", "b"], classes=("a", "a")),
        "classes must differ, got 'a' twice",
    ),
    (
        lambda: NESTED(["a", "b"], classes=("a",)),
        "every leaf must be a class, got no class for 'b'",
    ),
    (
        lambda: TABLE([("a", "b"), ()]),
        "rows must name at least their class, got an empty row",
    ),
    (
        lambda: TABLE([("a", "other"), ("b", "other")]),
        "a name must stand under one parent, got 'other' under 'a' and 'b'; make such "
        "names longer",
    ),
    (
        lambda: TABLE([("root", "a"), ("root", "b")]),
        "rows must not hold the root's name, got 'root' in ('root', 'a'); name the "
        "root otherwise with root=",
    ),
    (
        lambda: TABLE([("a",), ("a", "b")]),
        "a class must be a leaf, got 'a', which has nodes below it; give it a leaf of "
        "its own",
    ),
    (
        lambda: Hierarchy.balanced(2, 0),
        "branching and depth must be at least 1, got 2 and 0",
    ),
    (lambda: Hierarchy.random(RNG(0), 0), "classes must be at least 1, got 0"),
    (
        lambda: ragged().level(4),
        "depth must lie in 0..3, the tree's height, got 4",
    ),
    (lambda: ragged().node("x"), "name must be that of a node, got 'x'"),
    (
        lambda: NESTED(["a", "b"]).distances([0, 1]),
        "lengths must be one a node, shape (3,), got shape (2,)",
    ),
    (
        lambda: NESTED(["a", "b"]).distances([0, 1, -1]),
        "lengths must be finite and not negative, got [0.0, 1.0, -1.0]",
    ),
    (
        lambda: NESTED(["a", "b"]).distances({"a": 1}),
        "lengths must hold every node below the root, got none for 'b'",
    ),
    (
        lambda: NESTED(["a", "b"]).distances({"a": 1, "b": 1, "x": 1}),
        "lengths must be of nodes, got one for 'x'",
    ),
]


@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_what_is_no_tree_is_refused(make, message):
    with pytest.raises(ValueError, match=r".") as refusal:
        make()
    assert str(refusal.value) == message


def test_an_empty_group_is_a_class():
    """A node without nodes below it is a leaf, and every leaf is a class."""
    assert "plane" in Hierarchy.from_nested(PETS).classes
