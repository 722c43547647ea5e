"""Where it goes: the tree of layers from the network down, each as wide as its share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from resnet_cli import formatting
from resnet_cli.render.charts.drawing.primitives import Box, Drawing, Label, Mark, fitted
from resnet_cli.render.charts.layer_roles import role_of
from resnet_cli.results.bench import LayerTime, LayerTimes
from resnet_cli.results.flops import ModuleFlops
from resnet_cli.results.summary import Layer, SummaryResult

WIDTH = 1080.0
ROW = 25.0
_THIN = 0.35  # pixels; what is narrower is not drawn, and its parent shows through
_OWN = ":own"  # what a benchmark calls the operators that a forward runs itself


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure that adds up along the tree."""

    key: str
    title: str
    unit: str  # "", "MAC", "B", "s"


MEASURES = {
    measure.key: measure
    for measure in (
        Measure("macs", "MACs", "MAC"),
        Measure("parameters", "parameters", ""),
        Measure("activation", "activation memory", "B"),
        Measure("time", "time", "s"),
    )
}


@dataclass(frozen=True, slots=True)
class Node:
    """A layer, or the operators that a module's forward runs itself."""

    name: str
    path: str
    kind: str
    role: str
    values: Mapping[str, float]  # by the keys of `MEASURES`; without those that nobody measured
    children: tuple[Node, ...]

    def __iter__(self) -> Iterator[Node]:
        """This node and all below it, parents first."""
        yield self
        for child in self.children:
            yield from child


def tree(summary: SummaryResult | None, times: LayerTimes | None) -> Node | None:
    """The layers with all that is known of them.

    Args:
        summary: of the network; None where only its times are known.
        times: of its layers.
    """
    spent = {} if times is None else {(one.path, one.call): one.time_s for one in times.layers}
    if summary is not None:
        return _of_layer(summary.root, spent)
    if times is None or not times.layers:
        return None
    return _of_times(list(times.layers))[0]


def of_modules(root: ModuleFlops) -> Node:
    """The modules of a FLOP count."""
    children = tuple(map(of_modules, root.children))
    role = "container" if children else role_of(root.layer_type)
    return Node(root.name, root.path, root.layer_type, role, {"macs": root.macs}, children)


def measures(root: Node) -> tuple[Measure, ...]:
    """Those that the tree has something of."""
    return tuple(measure for key, measure in MEASURES.items() if root.values.get(key, 0) > 0)


def icicle(root: Node, measure: Measure, name: str) -> Drawing:
    """The tree by one measure.

    Args:
        root: the network.
        measure: one of `measures(root)`.
        name: of the network.
    """
    marks: list[Mark] = []
    numbers = {id(node): index for index, node in enumerate(root)}
    whole = root.values.get(measure.key, 0)
    deepest = _draw(root, measure.key, 0.0, WIDTH / whole if whole else 0.0, 0, numbers, marks)
    text = formatting.seconds(whole) if measure.unit == "s" else formatting.scaled(whole, measure.unit)
    return Drawing(WIDTH, (deepest + 1) * ROW, tuple(marks), f"{name}: {measure.title} by layer, {text} in all")


def _draw(
    node: Node, key: str, x: float, scale: float, depth: int, numbers: Mapping[int, int], marks: list[Mark]
) -> int:
    """A node and what is below it, side by side; returns the depth of the lowest row."""
    width = node.values.get(key, 0) * scale
    if width < _THIN:
        return depth - 1 if depth else 0
    marks.append(Box(x, depth * ROW, width, ROW, f"cell {node.role}", data=numbers[id(node)]))
    text = fitted(node.name, width - 8, "small")
    if text:
        marks.append(Label(x + 4, depth * ROW + 16.5, text, "small"))
    deepest = depth
    for child in node.children:
        deepest = max(deepest, _draw(child, key, x, scale, depth + 1, numbers, marks))
        x += child.values.get(key, 0) * scale
    return deepest


def _of_layer(layer: Layer, spent: Mapping[tuple[str, int], float]) -> Node:
    """A layer with its children, a wrapper joined to what it wraps; operators of one forward are one node."""
    path, name = layer.path, layer.name
    inner = layer
    while len(inner.children) == 1 and inner.children[0].children:
        inner = inner.children[0]
        name = f"{name}.{inner.name}" if layer.path else name
    children: list[Node] = []
    operators = [child for child in inner.children if child.is_operator]
    for child in inner.children:
        if not child.is_operator:
            children.append(_of_layer(child, spent))
        elif child is operators[0]:
            children.append(_of_operators(operators, inner, spent))
    values = _values((layer,))
    if (time := spent.get((layer.path, layer.call))) is not None:
        values["time"] = time
    shown = name if layer.call <= 1 else f"{name} #{layer.call}"
    role = "container" if layer.children else role_of(layer.layer_type)
    return Node(shown, path, layer.layer_type, role, values, tuple(children))


def _of_operators(operators: list[Layer], parent: Layer, spent: Mapping[tuple[str, int], float]) -> Node:
    names = ", ".join(dict.fromkeys(child.name for child in operators))
    values = _values(tuple(operators))
    if (time := spent.get((f"{parent.path}{_OWN}", parent.call))) is not None:
        values["time"] = time
    return Node(names, operators[0].path, operators[0].layer_type, role_of(operators[0].layer_type), values, ())


def _values(layers: tuple[Layer, ...]) -> dict[str, float]:
    return {
        "macs": sum(layer.macs for layer in layers),
        "parameters": sum(layer.parameters for layer in layers),
        "activation": sum(layer.activation_bytes for layer in layers),
    }


def _of_times(rows: list[LayerTime]) -> tuple[Node, ...]:
    """Rows with depths as a tree."""
    found: list[Node] = []
    index = 0
    while index < len(rows):
        row = rows[index]
        end = index + 1
        while end < len(rows) and rows[end].depth > row.depth:
            end += 1
        children = _of_times(rows[index + 1 : end])
        role = "container" if children else role_of(row.layer_type)
        found.append(Node(row.name, row.path, row.layer_type, role, {"macs": row.macs, "time": row.time_s}, children))
        index = end
    return tuple(found)
