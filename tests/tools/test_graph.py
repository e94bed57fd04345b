"""Layers, places and lines of the drawn graph."""

import random
import re
from itertools import pairwise, product
from xml.etree import ElementTree

import pytest

from tools import graph
from tools.graph import Edge, Layout


def random_edges(seed, names=18, lines=30):
    """Lines between names, circles included."""
    draw = random.Random(seed)
    return [
        Edge(*(f"loss{draw.randrange(names)}" for _ in "ab"), label=f"a = {i}")
        for i in range(lines)
    ]


def layouts(seed):
    return [Layout(part) for part in graph.components(random_edges(seed))]


@pytest.mark.parametrize("seed", range(5))
def test_every_edge_leads_to_the_right_by_one_layer_a_step(seed):
    for layout in layouts(seed):
        for path in layout.paths:
            if path.edge.tail == path.edge.head:
                continue
            ends = [path.boxes[0].name, path.boxes[-1].name]
            wanted = [path.edge.tail, path.edge.head]
            assert ends == (wanted[::-1] if path.backward else wanted)
            steps = [a.layer - b.layer for a, b in pairwise(path.boxes)]
            assert set(steps) == {1}


@pytest.mark.parametrize("seed", range(5))
def test_no_box_overlaps_another(seed):
    for layout in layouts(seed):
        for column in layout.columns:
            for above, below in pairwise(sorted(column, key=lambda box: box.y)):
                gap = below.y - below.height / 2 - above.y - above.height / 2
                assert gap > -1e-6


@pytest.mark.parametrize("seed", range(5))
def test_every_edge_leaves_its_box_in_a_row_of_its_own(seed):
    for layout in layouts(seed):
        for box in (box for column in layout.columns for box in column):
            heights = [box.exit_y(path) for path in box.exits]
            assert len(set(heights)) == len(heights)
            assert all(abs(y - box.y) < box.height / 2 for y in heights)


def test_only_what_closes_a_circle_is_turned():
    line = [Edge("a", "b", ""), Edge("b", "c", ""), Edge("a", "c", "")]
    assert graph.layers_of(line) == ({"a": 2, "b": 1, "c": 0}, set())
    back = Edge("c", "a", "")
    assert graph.layers_of([*line, back]) == ({"a": 2, "b": 1, "c": 0}, {back})


def test_parts_that_nothing_joins_come_apart_the_largest_first():
    parts = graph.components(
        [Edge("a", "b", ""), Edge("x", "y", "1"), Edge("z", "y", "2")]
    )
    assert [len(part) for part in parts] == [2, 1]


def test_a_straight_chain_is_drawn_straight():
    layout = Layout([Edge("a", "b", ""), Edge("b", "c", "")])
    assert len({box.y for box in layout.named.values()}) == 1


def drawn(edges):
    names = {name for edge in edges for name in (edge.tail, edge.head)}
    return graph.svg(
        edges, dict.fromkeys(names, "plain"), title="a < b", identity="one"
    )


def test_the_drawing_holds_every_name_and_label_inside_its_frame():
    edges = random_edges(0)
    root = ElementTree.fromstring(drawn(edges))
    texts = [element.text for element in root.iter("text")]
    assert {edge.label for edge in edges} <= set(texts)
    assert {name for edge in edges for name in (edge.tail, edge.head)} <= set(texts)
    width, height = (float(root.get(side)) for side in ("width", "height"))
    for box in root.iter("rect"):
        x, y, w, h = (float(box.get(k)) for k in ("x", "y", "width", "height"))
        assert 0 <= x <= x + w <= width
        assert 0 <= y <= y + h <= height
    assert root.find("title").text == "a < b"


def test_lines_stay_off_other_boxes():
    """Between its bends a line is level, and no box of another layer is there."""
    for seed in range(5):
        root = ElementTree.fromstring(drawn(random_edges(seed)))
        boxes = [
            [float(box.get(k)) for k in ("x", "y", "width", "height")]
            for box in root.iter("rect")
        ]
        for line in root.iter("path"):
            if not line.get("class").startswith("line"):
                continue
            numbers = re.findall(r"([MHC])([^MHC]*)", line.get("d"))
            x, y = map(float, numbers[0][1].split())
            for letter, rest in numbers[1:]:
                values = [float(v) for v in rest.split()]
                if letter == "H":
                    for (left, top, w, h), share in product(boxes, (0.2, 0.5, 0.8)):
                        at = x + share * (values[0] - x)
                        inside = left + 1 < at < left + w - 1 and top < y < top + h
                        assert not inside
                    x = values[0]
                else:
                    x, y = values[-2:]


def test_nothing_is_random():
    edges = random_edges(1)
    assert drawn(edges) == drawn(edges)
