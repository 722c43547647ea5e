"""The inside of one block, from top to bottom: what it computes, and what goes around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from resnet_cli.render.charts.block_graph import INPUT, Connections, connections
from resnet_cli.render.charts.drawing.primitives import Box, Curve, Drawing, Group, Label, Mark, bounds, fitted
from resnet_cli.render.charts.layer_roles import role_of, settings, shape_text, unwrap
from resnet_cli.results.summary import Layer

_WIDE, _HIGH, _STEP = 168.0, 36.0, 62.0
_LANE = 196.0  # from the middle of one lane to the next
_TOP = 34.0
_BEND = 9.0
_MOST = 160  # calls; a drawing of more is no help

# One lane is the longest way through the block; what runs beside it, and every edge that passes calls by, has its own.


@dataclass(slots=True)
class _Plan:
    """Where everything stands: ranks downwards, lanes to the right."""

    found: Connections
    lanes: list[int]
    taken: dict[int, list[tuple[int, int]]] = field(default_factory=dict)  # lane -> ranks that are not free in it

    def free(self, start: int, end: int) -> int:
        """The first lane beside the main one that is free from one rank to another; it is taken then."""
        lane = 1
        while any(start <= last and end >= first for first, last in self.taken.get(lane, [])):
            lane += 1
        self.taken.setdefault(lane, []).append((start, end))
        return lane

    def rank(self, place: int) -> int:
        return 0 if place == INPUT else self.found.ranks[place]

    def lane(self, place: int) -> int:
        return 0 if place == INPUT else self.lanes[place]


def block_flow(module: Layer) -> Drawing | None:
    """The calls of a module with the edges between them; None where it has none, or too many to draw."""
    block = unwrap(module)
    found = connections(block)
    if not found.layers or len(found.layers) > _MOST:
        return None
    plan = _planned(found)
    marks: list[Mark] = [*_edges(plan, module), *(_node(plan, place) for place in range(len(found.layers)))]
    marks += [
        Label(_x(0), _TOP - 14, f"in {shape_text(module.input_shape)}", "small faint", "middle"),
        Label(_x(0), _y(max(found.ranks) + 1) - 2, f"out {shape_text(module.output_shape)}", "small faint", "middle"),
    ]
    width, height = bounds(tuple(marks))
    names = ", ".join(layer.name for layer in found.layers[:12])
    return Drawing(width + 4, height + 4, tuple(marks), f"{module.path}: {names}", narrow=max(plan.lanes) < 2)


def _planned(found: Connections) -> _Plan:
    main = set(found.main)
    plan = _Plan(found, [0] * len(found.layers))
    for chain in _chains(found, main):
        readers = [one for one, read in enumerate(found.sources) if chain[-1] in read]
        start, last = found.ranks[chain[0]], max((found.ranks[one] for one in readers), default=found.ranks[chain[-1]])
        lane = plan.free(start, last)
        for place in chain:
            plan.lanes[place] = lane
    return plan


def _chains(found: Connections, main: set[int]) -> list[list[int]]:
    """What runs beside the main way, as far as each call reads the one before it alone."""
    chains: list[list[int]] = []
    for place, read in enumerate(found.sources):
        if place in main:
            continue
        before = next((chain for chain in chains if read == (chain[-1],)), None)
        if before is None:
            chains.append([place])
        else:
            before.append(place)
    return chains


def _x(lane: int) -> float:
    return _WIDE / 2 + 2 + lane * _LANE


def _y(rank: int) -> float:
    """The upper edge of a rank."""
    return _TOP + (rank - 1) * _STEP + (_STEP - _HIGH) if rank else _TOP - 8


def _node(plan: _Plan, place: int) -> Mark:
    layer = plan.found.layers[place]
    x, y = _x(plan.lanes[place]), _y(plan.found.ranks[place])
    role = "container" if layer.children else role_of(layer.layer_type)
    name = layer.name if layer.call == 1 else f"{layer.name} #{layer.call}"
    below = settings(layer) or ("" if layer.layer_type == layer.name else layer.layer_type)
    marks: list[Mark] = [Box(x - _WIDE / 2, y, _WIDE, _HIGH, f"{role} node", 5)]
    middle = y + _HIGH / 2 + 4
    if below:
        marks.append(Label(x, middle - 7, fitted(name, _WIDE - 12, "strong"), "strong", "middle"))
        marks.append(Label(x, middle + 8, fitted(below, _WIDE - 12, "small"), "small", "middle"))
    else:
        marks.append(Label(x, middle, fitted(name, _WIDE - 12, "strong"), "strong", "middle"))
    return Group(tuple(marks), hint=f"{layer.path} · {layer.layer_type} · {shape_text(layer.output_shape)}")


def _edges(plan: _Plan, module: Layer) -> list[Mark]:
    found = plan.found
    marks: list[Mark] = []
    for place, read in enumerate(found.sources):
        for source in read:
            marks += _edge(plan, source, place, len(read) > 1)
        shape = found.layers[place].output_shape
        given = [module.input_shape if one == INPUT else found.layers[one].output_shape for one in read]
        is_changed = shape not in given and place != len(found.layers) - 1
        if is_changed:  # the shape that leaves it is told where it changes
            x, y = _x(plan.lanes[place]), _y(found.ranks[place]) + _HIGH
            marks.append(Label(x + 8, y + 17, shape_text(shape), "small faint"))
    last = len(found.layers) - 1
    x, y = _x(plan.lanes[last]), _y(found.ranks[last])
    end = _y(max(found.ranks) + 1) - 16
    marks.append(Curve((("M", (x, y + _HIGH)), ("L", (x, end))), "edge", arrow=True))
    return marks


def _edge(plan: _Plan, source: int, place: int, is_joined: bool) -> list[Mark]:
    """An edge: straight down to the next rank of its lane, else in a lane beside."""
    start, end = plan.lane(source), plan.lane(place)
    x1, y1 = _x(start), (_TOP - 8 if source == INPUT else _y(plan.rank(source)) + _HIGH)
    x2, y2 = _x(end), _y(plan.rank(place))
    if start == end and plan.rank(place) == plan.rank(source) + 1:
        return [Curve((("M", (x1, y1)), ("L", (x2, y2))), "edge", arrow=True)]
    if start == end or (end < start and end):
        lane = plan.free(plan.rank(source) + 1, plan.rank(place))
        role = "skip" if is_joined else "edge"
        return [_around(x1, y1 + 7, _x(lane), x2 + _WIDE / 2, y2 + _HIGH / 2, role), *_name(lane, y1 + 7, source)]
    if end > start:
        turn = y1 + 7
        way = (("M", (x1, turn)), *_corner((x1, turn), (x2, turn), (x2, y2)))
        return [Curve((*way, ("L", (x2, y2))), "project", arrow=True)]
    # Back to the main way, into its side.
    side, into = x2 + _WIDE / 2, y2 + _HIGH / 2
    way = (("M", (x1, y1)), *_corner((x1, y1), (x1, into), (side, into)))
    return [Curve((*way, ("L", (side, into))), "project", arrow=True)]


def _name(lane: int, y: float, source: int) -> list[Mark]:
    return [Label(_x(lane) + 6, y + 20, "identity", "small accent")] if source == INPUT else []


def _around(x1: float, y1: float, x: float, x2: float, y2: float, role: str) -> Curve:
    """Out to a lane, down, and back into a side."""
    way: Sequence[tuple[str, tuple[float, ...]]] = (
        ("M", (x1, y1)),
        *_corner((x1, y1), (x, y1), (x, y2)),
        *_corner((x, y1), (x, y2), (x2, y2)),
        ("L", (x2, y2)),
    )
    return Curve(tuple(way), role, arrow=True)


Point = tuple[float, float]


def _corner(before: Point, at: Point, after: Point) -> tuple[tuple[str, tuple[float, ...]], ...]:
    """To shortly before a corner, and around it."""

    def toward(point: Point) -> Point:
        dx, dy = point[0] - at[0], point[1] - at[1]
        length = (dx * dx + dy * dy) ** 0.5 or 1.0
        reach = min(_BEND, length / 2)
        return at[0] + dx / length * reach, at[1] + dy / length * reach

    start, end = toward(before), toward(after)
    return (("L", start), ("C", (*at, *at, *end)))
