"""Diagram of one block, from top to bottom: its layers and its skip connection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from resnet_cli.render.charts.block_graph import IDENTITY, INPUT, PROJECTION, BlockGraph, block_graph, skip_of
from resnet_cli.render.charts.drawing.primitives import Box, Curve, Drawing, Group, Label, Mark, bounds, fitted
from resnet_cli.render.charts.layer_roles import role_of, settings, shape_text, unwrap
from resnet_cli.results.summary import Layer

_WIDE, _HIGH, _STEP = 168.0, 36.0, 62.0
_LANE = 196.0  # from the middle of one lane to the next
_TOP = 34.0
_BEND = 9.0
_MAX_CALLS = 160  # a larger diagram cannot be read

# Lane 0 is the longest path through the block. Each parallel path and each edge that bypasses calls has its own lane.


@dataclass(slots=True)
class _Layout:
    """Positions of the calls: ranks downwards, lanes to the right."""

    graph: BlockGraph
    branch: str  # role of edges to and from parallel paths
    lanes: list[int]  # of each call
    occupied: dict[int, list[tuple[int, int]]] = field(default_factory=dict)  # first and last ranks, by lane

    def take_lane(self, start: int, end: int) -> int:
        """Occupy the first lane beside the main one that is free between two ranks."""
        lane = 1
        while any(start <= last and end >= first for first, last in self.occupied.get(lane, [])):
            lane += 1
        self.occupied.setdefault(lane, []).append((start, end))
        return lane

    def rank(self, index: int) -> int:
        return 0 if index == INPUT else self.graph.ranks[index]

    def lane(self, index: int) -> int:
        return 0 if index == INPUT else self.lanes[index]


def block_diagram(module: Layer) -> Drawing | None:
    """The calls of a module with the edges between them; None for a module without calls or with too many."""
    graph = block_graph(unwrap(module))
    if not graph.layers or len(graph.layers) > _MAX_CALLS:
        return None
    layout = _layout(graph, PROJECTION if skip_of(module) == PROJECTION else "edge")
    marks: list[Mark] = [*_edges(layout, module), *(_node(layout, index) for index in range(len(graph.layers)))]
    marks += [
        Label(_x(0), _TOP - 14, f"in {shape_text(module.input_shape)}", "small faint", "middle"),
        Label(_x(0), _y(max(graph.ranks) + 1) - 2, f"out {shape_text(module.output_shape)}", "small faint", "middle"),
    ]
    width, height = bounds(tuple(marks))
    names = ", ".join(layer.name for layer in graph.layers[:12])
    return Drawing(width + 4, height + 4, tuple(marks), f"{module.path}: {names}", narrow=max(layout.lanes) < 2)


def _layout(graph: BlockGraph, branch: str) -> _Layout:
    layout = _Layout(graph, branch, [0] * len(graph.layers))
    for chain in _parallel_chains(graph):
        readers = [index for index, reads in enumerate(graph.sources) if chain[-1] in reads]
        last = max((graph.ranks[reader] for reader in readers), default=graph.ranks[chain[-1]])
        lane = layout.take_lane(graph.ranks[chain[0]], last)
        for index in chain:
            layout.lanes[index] = lane
    return layout


def _parallel_chains(graph: BlockGraph) -> list[list[int]]:
    """The calls beside the main path, as chains in which each call reads only the one before it."""
    main = set(graph.main)
    chains: list[list[int]] = []
    for index, reads in enumerate(graph.sources):
        if index in main:
            continue
        chain = next((chain for chain in chains if reads == (chain[-1],)), None)
        if chain is None:
            chains.append([index])
        else:
            chain.append(index)
    return chains


def _x(lane: int) -> float:
    return _WIDE / 2 + 2 + lane * _LANE


def _y(rank: int) -> float:
    """The upper edge of a rank."""
    return _TOP + (rank - 1) * _STEP + (_STEP - _HIGH) if rank else _TOP - 8


def _node(layout: _Layout, index: int) -> Mark:
    layer = layout.graph.layers[index]
    x, y = _x(layout.lanes[index]), _y(layout.graph.ranks[index])
    role = "container" if layer.children else role_of(layer.layer_type)
    name = layer.name if layer.call == 1 else f"{layer.name} #{layer.call}"
    second_line = settings(layer) or ("" if layer.layer_type == layer.name else layer.layer_type)
    marks: list[Mark] = [Box(x - _WIDE / 2, y, _WIDE, _HIGH, f"{role} node", 5)]
    middle = y + _HIGH / 2 + 4
    if second_line:
        marks.append(Label(x, middle - 7, fitted(name, _WIDE - 12, "strong"), "strong", "middle"))
        marks.append(Label(x, middle + 8, fitted(second_line, _WIDE - 12, "small"), "small", "middle"))
    else:
        marks.append(Label(x, middle, fitted(name, _WIDE - 12, "strong"), "strong", "middle"))
    return Group(tuple(marks), hint=f"{layer.path} · {layer.layer_type} · {shape_text(layer.output_shape)}")


def _edges(layout: _Layout, module: Layer) -> list[Mark]:
    graph = layout.graph
    last = len(graph.layers) - 1
    marks: list[Mark] = []
    for index, reads in enumerate(graph.sources):
        for source in reads:
            marks += _edge(layout, source, index, is_joined=len(reads) > 1)
        shape = graph.layers[index].output_shape
        input_shapes = [module.input_shape if each == INPUT else graph.layers[each].output_shape for each in reads]
        if shape not in input_shapes and index != last:  # only changes of shape are written out
            x, y = _x(layout.lanes[index]), _y(graph.ranks[index]) + _HIGH
            marks.append(Label(x + 8, y + 17, shape_text(shape), "small faint"))
    x, y = _x(layout.lanes[last]), _y(graph.ranks[last])
    end = _y(max(graph.ranks) + 1) - 16
    marks.append(Curve((("M", (x, y + _HIGH)), ("L", (x, end))), "edge", arrow=True))
    return marks


def _edge(layout: _Layout, source: int, target: int, *, is_joined: bool) -> list[Mark]:
    """An edge: straight down to the next rank of its lane, else through a lane beside."""
    start, end = layout.lane(source), layout.lane(target)
    x1, y1 = _x(start), (_TOP - 8 if source == INPUT else _y(layout.rank(source)) + _HIGH)
    x2, y2 = _x(end), _y(layout.rank(target))
    if start == end and layout.rank(target) == layout.rank(source) + 1:
        return [Curve((("M", (x1, y1)), ("L", (x2, y2))), "edge", arrow=True)]
    if start == end or (end < start and end):
        lane = layout.take_lane(layout.rank(source) + 1, layout.rank(target))
        is_identity = is_joined and source == INPUT
        detour = _around(x1, y1 + 7, _x(lane), x2 + _WIDE / 2, y2 + _HIGH / 2, IDENTITY if is_identity else "edge")
        return [detour, Label(_x(lane) + 6, y1 + 27, IDENTITY, f"small {IDENTITY}")] if is_identity else [detour]
    if end > start:
        turn = y1 + 7
        path = (("M", (x1, turn)), *_corner((x1, turn), (x2, turn), (x2, y2)))
        return [Curve((*path, ("L", (x2, y2))), layout.branch, arrow=True)]
    # Back to the main lane, into the side of the call.
    side, into = x2 + _WIDE / 2, y2 + _HIGH / 2
    path = (("M", (x1, y1)), *_corner((x1, y1), (x1, into), (side, into)))
    return [Curve((*path, ("L", (side, into))), layout.branch, arrow=True)]


def _around(x1: float, y1: float, x: float, x2: float, y2: float, role: str) -> Curve:
    """Out to a lane, down, and back into the side of a call."""
    path: Sequence[tuple[str, tuple[float, ...]]] = (
        ("M", (x1, y1)),
        *_corner((x1, y1), (x, y1), (x, y2)),
        *_corner((x, y1), (x, y2), (x2, y2)),
        ("L", (x2, y2)),
    )
    return Curve(tuple(path), role, arrow=True)


Point = tuple[float, float]


def _corner(before: Point, at: Point, after: Point) -> tuple[tuple[str, tuple[float, ...]], ...]:
    """A rounded corner: a line to shortly before it, and a curve around it."""

    def toward(point: Point) -> Point:
        dx, dy = point[0] - at[0], point[1] - at[1]
        length = (dx * dx + dy * dy) ** 0.5 or 1.0
        reach = min(_BEND, length / 2)
        return at[0] + dx / length * reach, at[1] + dy / length * reach

    start, end = toward(before), toward(after)
    return (("L", start), ("C", (*at, *at, *end)))
