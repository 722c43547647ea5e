"""Icicle chart of cost by layer: the module tree from the network down, each layer as wide as its share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resnet_cli import formatting
from resnet_cli.render.charts.drawing.primitives import Box, Drawing, Label, Mark, fitted
from resnet_cli.render.charts.grouping import NetworkResults
from resnet_cli.render.charts.layer_roles import LEGEND, role_of
from resnet_cli.render.charts.panel import Panel
from resnet_cli.render.pages.layer_tree import complete, only_wraps
from resnet_cli.results.bench import LayerTime, LayerTimes
from resnet_cli.results.flops import ModuleFlops
from resnet_cli.results.summary import Layer, SummaryResult

WIDTH = 1080.0
ROW = 25.0
_THINNEST = 0.35  # pixels; a narrower node is left out, and its parent shows through
_OWN = ":own"  # suffix of the path under which a benchmark times several operators that a forward runs itself


@dataclass(frozen=True, slots=True)
class Measure:
    """A quantity that adds up along the tree."""

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
    layer_type: str
    role: str
    values: Mapping[str, float]  # by the keys of `MEASURES`, as far as they are known
    children: tuple[Node, ...]

    def __iter__(self) -> Iterator[Node]:
        """This node and all below it, parents first."""
        yield self
        for child in self.children:
            yield from child


def panels(networks: Sequence[NetworkResults]) -> list[Panel]:
    """A panel for each network, by its first measure; `report.js` switches to the others."""
    return [panel for network in networks if (panel := _panel(network)) is not None]


def _panel(network: NetworkResults) -> Panel | None:
    root = network_tree(network)
    known = () if root is None else measures(root)
    if root is None or not known:
        return None
    remark = ""
    if network.bench is not None and network.bench.layers is not None and MEASURES["time"] in known:
        device, batch_size = network.bench.environment.device, network.bench.layers.batch_size
        trains = any(layer.backward_s is not None for layer in network.bench.layers.layers)
        what = "the forward and backward pass of one step" if trains else "one forward"
        remark = f"Time: {what} at batch {batch_size:,} on {device}."
    roles = {node.role for node in root if not node.children}
    legend = tuple((role, meaning) for role, meaning in LEGEND.items() if role in roles)
    return Panel(
        icicle(root, known[0], network.label), network.label, remark, legend, zoom_data=_zoom_data(root, known)
    )


def network_tree(network: NetworkResults) -> Node | None:
    """The layers of a network with their values, from its summary and layer times, or else from its FLOP count."""
    root = layer_nodes(network.summary, None if network.bench is None else network.bench.layers)
    return module_nodes(network.flops.root) if root is None and network.flops is not None else root


def layer_nodes(summary: SummaryResult | None, times: LayerTimes | None) -> Node | None:
    """The layers of a summary with their times.

    Args:
        summary: of the network; None where only its layer times are known.
        times: of its layers.
    """
    if summary is not None:
        return _layer_node(summary.root, {} if times is None else {(t.path, t.call): t.time_s for t in times.layers})
    if times is None or not times.layers:
        return None
    return _time_nodes(times.layers)[0]


def module_nodes(root: ModuleFlops) -> Node:
    """The modules of a FLOP count."""
    children = tuple(map(module_nodes, root.children))
    role = "container" if children else role_of(root.layer_type)
    return Node(root.name, root.path, root.layer_type, role, {"macs": root.macs}, children)


def measures(root: Node) -> tuple[Measure, ...]:
    """Those whose total is not 0."""
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
    total = root.values.get(measure.key, 0)
    deepest = _draw(root, measure.key, 0.0, WIDTH / total if total else 0.0, 0, numbers, marks)
    text = formatting.seconds(total) if measure.unit == "s" else formatting.scaled(total, measure.unit)
    return Drawing(WIDTH, (deepest + 1) * ROW, tuple(marks), f"{name}: {measure.title} by layer, total {text}")


def _draw(
    node: Node, key: str, x: float, scale: float, depth: int, numbers: Mapping[int, int], marks: list[Mark]
) -> int:
    """Draw a node and below it its children side by side; returns the depth of the lowest row."""
    width = node.values.get(key, 0) * scale
    if width < _THINNEST:
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


def _layer_node(layer: Layer, times: Mapping[tuple[str, int], float]) -> Node:
    """A layer with its children, as tables draw them; only the operators of one forward are one node."""
    inner, name = layer, layer.name
    while only_wraps(inner):
        inner = inner.children[0]
        name = f"{name}.{inner.name}" if layer.path else name
    children: list[Node] = []
    operators = [child for child in inner.children if child.is_operator]
    for child in complete(inner):
        if not child.is_operator:
            children.append(_layer_node(child, times))
        elif child is operators[0]:
            children.append(_operators_node(operators, inner, times))
    if layer.call > 1:
        name = f"{name} #{layer.call}"
    role = "container" if layer.children else role_of(layer.layer_type)
    values = _values((layer,), times.get((layer.path, layer.call)))
    return Node(name, layer.path, layer.layer_type, role, values, tuple(children))


def _operators_node(operators: list[Layer], parent: Layer, times: Mapping[tuple[str, int], float]) -> Node:
    names = ", ".join(dict.fromkeys(operator.name for operator in operators))
    first = operators[0]
    path = first.path if len(operators) == 1 else f"{parent.path}{_OWN}"
    values = _values(operators, times.get((path, parent.call)))
    return Node(names, first.path, first.layer_type, role_of(first.layer_type), values, ())


def _values(layers: Sequence[Layer], time_s: float | None) -> dict[str, float]:
    return {
        "macs": sum(layer.macs for layer in layers),
        "parameters": sum(layer.parameters for layer in layers),
        "activation": sum(layer.activation_bytes for layer in layers),
        **({} if time_s is None else {"time": time_s}),
    }


def _time_nodes(rows: Sequence[LayerTime]) -> tuple[Node, ...]:
    """Rows with depths as a tree."""
    nodes: list[Node] = []
    start = 0
    while start < len(rows):
        row = rows[start]
        end = next((i for i in range(start + 1, len(rows)) if rows[i].depth <= row.depth), len(rows))
        children = _time_nodes(rows[start + 1 : end])
        role = "container" if children else role_of(row.layer_type)
        nodes.append(Node(row.name, row.path, row.layer_type, role, {"macs": row.macs, "time": row.time_s}, children))
        start = end
    return tuple(nodes)


def _zoom_data(root: Node, known: Sequence[Measure]) -> dict[str, Any]:
    """The tree for `report.js`: for each node its depth, name, role, index of its type, and values by measure."""
    types: dict[str, int] = {}
    rows: list[list[object]] = []

    def add(node: Node, depth: int) -> None:
        values = [node.values.get(measure.key, 0) for measure in known]
        # A time needs no more digits than a page shows.
        short = [float(f"{value:.4g}") if isinstance(value, float) else value for value in values]
        rows.append([depth, node.name, node.role, types.setdefault(node.layer_type, len(types)), *short])
        for child in node.children:
            add(child, depth + 1)

    add(root, 0)
    return {
        "measures": [[measure.key, measure.title, measure.unit] for measure in known],
        "types": list(types),
        "nodes": rows,
    }
