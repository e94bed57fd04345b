"""Draw a graph in layers, as SVG: which losses contain which others.

Layers run from left to right, general losses to special ones. An edge that passes a
layer gets a place in it, so that no line runs through a box. Nothing is random.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean

from lossbook.explore.figure import escape

ROW = 34.0  # height of a box, and of the room for an edge's label
LETTER, SMALL_LETTER = 7.3, 5.8  # widths of letters in boxes and on edges
BEND = 46.0  # room in which the lines change their height
PAD, GAP = 12.0, 22.0
SWEEPS = 12
SMALLEST = 0.85  # how far the page may shrink the drawing before it scrolls


@dataclass(frozen=True)
class Edge:
    """A line from a general thing to a special one."""

    tail: str
    head: str
    label: str
    dashed: bool = False


@dataclass(eq=False)
class Box:
    """A thing in its layer, or (without a name) the place where an edge passes.

    Attributes:
        layer: 0 is the rightmost.
        name: what stands in the box.
        exits: the edges that leave it to the right, one row each.
        y: its middle.
    """

    layer: int
    name: str = ""
    exits: list["Path"] = field(default_factory=list)
    entries: list["Path"] = field(default_factory=list)
    y: float = 0.0

    @property
    def height(self) -> float:
        """A row for each edge that leaves."""
        return ROW * max(1, len(self.exits))

    def exit_y(self, path: "Path") -> float:
        """The height at which an edge leaves."""
        return self.y - self.height / 2 + ROW * (self.exits.index(path) + 0.5)


@dataclass(eq=False)
class Path:
    """An edge and the boxes on its way, left to right."""

    edge: Edge
    boxes: list[Box]
    backward: bool = False  # its head is on the left


def layers_of(edges: Sequence[Edge]) -> tuple[dict[str, int], set[Edge]]:
    """The layer of each name, and the edges that had to be turned around.

    A name stands one layer left of all that its edges lead to. An edge that would
    close a circle counts the other way.
    """
    heads: dict[str, list[str]] = {}
    turned = set()
    for edge in edges:
        if edge.tail == edge.head or edge.tail in reached(heads, edge.head):
            turned.add(edge)
            heads.setdefault(edge.head, [])
            heads.setdefault(edge.tail, [])
            if edge.tail != edge.head:
                heads[edge.head].append(edge.tail)
        else:
            heads.setdefault(edge.tail, []).append(edge.head)
            heads.setdefault(edge.head, [])
    found: dict[str, int] = {}

    def layer(name: str) -> int:
        if name not in found:
            found[name] = 1 + max(map(layer, heads[name]), default=-1)
        return found[name]

    for name in sorted(heads):
        layer(name)
    return found, turned


def reached(heads: Mapping[str, Sequence[str]], start: str) -> set[str]:
    """All names that lines lead to from a start, itself included."""
    seen, waiting = set(), [start]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += heads.get(name, [])
    return seen


def components(edges: Sequence[Edge]) -> list[list[Edge]]:
    """The parts of the graph that no line joins, the largest first."""
    both: dict[str, list[str]] = {}
    for edge in edges:
        both.setdefault(edge.tail, []).append(edge.head)
        both.setdefault(edge.head, []).append(edge.tail)
    parts: list[list[Edge]] = []
    left = set(both)
    while left:
        names = reached(both, min(left))
        left -= names
        parts.append([edge for edge in edges if edge.tail in names])
    return sorted(parts, key=lambda part: (-len(part), part[0].tail))


class Layout:
    """The places of one connected part."""

    def __init__(self, edges: Sequence[Edge]) -> None:
        layer, turned = layers_of(edges)
        self.named = {name: Box(layer[name], name) for name in sorted(layer)}
        self.columns: list[list[Box]] = [[] for _ in range(1 + max(layer.values()))]
        for box in self.named.values():
            self.columns[box.layer].append(box)
        self.paths = [self.path(edge, edge in turned) for edge in edges]
        self.order()
        self.place()

    def path(self, edge: Edge, backward: bool) -> Path:
        """Lay an edge through the layers; note it at each box that it leaves."""
        ends = [self.named[edge.tail], self.named[edge.head]]
        left, right = reversed(ends) if backward else ends
        passed = [Box(layer) for layer in range(left.layer - 1, right.layer, -1)]
        for box in passed:
            self.columns[box.layer].append(box)
        path = Path(edge, [left, *passed, right], backward)
        for box, following in pairwise(path.boxes):
            box.exits.append(path)
            following.entries.append(path)
        return path

    def order(self) -> None:
        """Sort each layer by the places of what its boxes are joined to."""
        for sweep in range(SWEEPS):
            leftward = sweep % 2 == 0
            for column in self.columns if leftward else reversed(self.columns):
                ranks = {
                    id(box): (i + 0.5) / len(each)
                    for each in self.columns
                    for i, box in enumerate(each)
                }
                column.sort(key=lambda box: self.pull(box, ranks, leftward))
            for box in (box for column in self.columns for box in column):
                after = {
                    id(b): i for column in self.columns for i, b in enumerate(column)
                }
                box.exits.sort(key=lambda path: after[id(self.after(path, box))])

    @staticmethod
    def after(path: Path, box: Box) -> Box:
        """The next box on an edge's way."""
        return path.boxes[path.boxes.index(box) + 1]

    def pull(
        self, box: Box, ranks: Mapping[int, float], leftward: bool
    ) -> tuple[float, str]:
        """Where a box would like to stand among its layer."""
        if leftward:
            joined = [self.after(path, box) for path in box.exits]
        else:
            joined = [path.boxes[path.boxes.index(box) - 1] for path in box.entries]
        if not joined:
            return ranks[id(box)], box.name
        return fmean(ranks[id(each)] for each in joined), box.name

    def place(self) -> None:
        """Give each box its height: near what it is joined to, above nothing."""
        for column in self.columns:
            stack(column, [0.0] * len(column))
        for sweep in range(SWEEPS):
            leftward = sweep % 2 == 0
            for column in self.columns if leftward else reversed(self.columns):
                stack(column, [self.wish(box, leftward) for box in column])
        boxes = [box for column in self.columns for box in column]
        top = min(box.y - box.height / 2 for box in boxes)
        for box in boxes:
            box.y -= top

    def wish(self, box: Box, leftward: bool) -> float:
        """The height at which a box's lines would be straight."""
        if leftward and box.exits:
            return fmean(self.after(path, box).y for path in box.exits)
        if not leftward and box.entries:
            return fmean(
                path.boxes[path.boxes.index(box) - 1].exit_y(path)
                for path in box.entries
            )
        return box.y

    @property
    def height(self) -> float:
        """How high the part is."""
        boxes = [box for column in self.columns for box in column]
        return max(box.y + box.height / 2 for box in boxes)


def stack(column: Sequence[Box], wishes: Sequence[float]) -> None:
    """Place boxes in their order as near to their wishes as their heights allow.

    Boxes that would overlap form a block, which stands where it pleases them on
    average.
    """
    blocks: list[tuple[list[Box], list[float]]] = []  # boxes, wishes of the first's top
    for box, wish in zip(column, wishes, strict=True):
        boxes, tops = [box], [wish - box.height / 2]
        while blocks and bottom(blocks[-1]) > fmean(tops) - 1e-9:
            earlier, earlier_tops = blocks.pop()
            offset = sum(each.height for each in earlier)
            tops = earlier_tops + [top - offset for top in tops]
            boxes = earlier + boxes
        blocks.append((boxes, tops))
    for boxes, tops in blocks:
        y = fmean(tops)
        for box in boxes:
            box.y = y + box.height / 2
            y += box.height


def bottom(block: tuple[Sequence[Box], Sequence[float]]) -> float:
    """Where a block of boxes ends."""
    boxes, tops = block
    return fmean(tops) + sum(box.height for box in boxes)


# --- drawing -------------------------------------------------------------------


def svg(
    edges: Sequence[Edge], classes: Mapping[str, str], *, title: str, identity: str
) -> str:
    """The graph as an SVG element.

    Args:
        edges: the lines; each name at their ends is drawn once.
        classes: the class of each name, for its color.
        title: what the picture shows, for those who do not see it.
        identity: the beginning of all ids.
    """
    drawn: list[str] = []
    top, width = PAD, 0.0
    for part in components(edges):
        layout = Layout(part)
        x = places(layout)
        drawn += draw(layout, x, top, classes, identity)
        top += layout.height + GAP
        width = max(width, x[0][1] + PAD)
    height = top - GAP + PAD
    arrow = (
        f'<defs><marker id="{identity}-arrow" viewBox="0 0 10 10" refX="9" refY="5" '
        'markerWidth="8" markerHeight="8" orient="auto-start-reverse">'
        '<path class="arrow" d="M0 1L10 5L0 9z"/></marker></defs>'
    )
    return (
        f'<svg role="img" aria-labelledby="{identity}-title" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" style="min-width:{SMALLEST * width:.0f}px">'
        f'<title id="{identity}-title">{escape(title)}</title>'
        f"{arrow}{''.join(drawn)}</svg>"
    )


def places(layout: Layout) -> list[tuple[float, float]]:
    """Left and right end of each layer, by its number."""
    columns = len(layout.columns)
    widths, labels = [0.0] * columns, [0.0] * columns
    for box in layout.named.values():
        width = LETTER * len(box.name) + 2 * PAD
        widths[box.layer] = max(widths[box.layer], width)
    for path in layout.paths:
        layer = path.boxes[0].layer
        room = SMALL_LETTER * len(path.edge.label) + PAD
        labels[layer] = max(labels[layer], room)
    ends, x = [], PAD
    for layer in range(columns - 1, -1, -1):
        ends.append((x, x + widths[layer]))
        x += widths[layer] + labels[layer] + BEND
    return ends[::-1]


def draw(
    layout: Layout,
    x: Sequence[tuple[float, float]],
    top: float,
    classes: Mapping[str, str],
    identity: str,
) -> Iterator[str]:
    """The lines, then the boxes, then the labels of one part."""
    for path in layout.paths:
        yield line(path, x, top, identity)
    for box in layout.named.values():
        left, right = x[box.layer]
        y, height = top + box.y, box.height - 8
        yield (
            f'<g class="{classes[box.name]}"><rect x="{left:.1f}" '
            f'y="{y - height / 2:.1f}" width="{right - left:.1f}" '
            f'height="{height:.1f}" rx="5"/><text x="{(left + right) / 2:.1f}" '
            f'y="{y:.1f}">{escape(box.name)}</text></g>'
        )
    for path in layout.paths:
        start = path.boxes[0]
        y = top + start.exit_y(path)
        yield (
            f'<text class="label" x="{x[start.layer][1] + 7:.1f}" y="{y - 7:.1f}">'
            f"{escape(path.edge.label)}</text>"
        )


def line(
    path: Path, x: Sequence[tuple[float, float]], top: float, identity: str
) -> str:
    """One edge: straight along its label and past other boxes, bent between."""
    start = path.boxes[0]
    y = top + start.exit_y(path)
    d = f"M{x[start.layer][1]:.1f} {y:.1f}"
    for box, following in pairwise(path.boxes):
        bend = x[following.layer][0] - BEND
        d += f"H{max(bend, x[box.layer][1]):.1f}"
        y_next = top + following.y
        end = x[following.layer][0]
        middle = (bend + end) / 2
        d += f"C{middle:.1f} {y:.1f} {middle:.1f} {y_next:.1f} {end:.1f} {y_next:.1f}"
        y = y_next
    side = "start" if path.backward else "end"
    dashed = " dashed" if path.edge.dashed else ""
    return (
        f'<path class="line{dashed}" d="{d}" marker-{side}="url(#{identity}-arrow)"/>'
    )
