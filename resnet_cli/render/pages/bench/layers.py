"""Time by layer: a layer's share of the time beside its share of the MACs, so that what only moves bytes stands out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from resnet_cli import formatting
from resnet_cli.render.document import Cell, Column, Element, Paragraph, Row, Table, ViewOptions
from resnet_cli.render.pages.cells import counted, exact, ratio, scaled, seconds, share, text_cell
from resnet_cli.render.pages.layer_tree import LayerRow, layer_tree
from resnet_cli.results.bench import LayerTime, LayerTimes

_TIME = Column("time_s", "time")
_BACKWARD = Column("backward_s", "backward", priority=4, legend="the part of the time that is the backward pass")
_SHARE = Column("share", "of time", bar=True, legend="a full bar is the largest share of either column")
_MACS = Column("macs_share", "of MACs", bar=True)
_RATE = Column("flops_per_s", "FLOP/s", priority=3)
_BANDWIDTH = Column("bytes_per_s", "B/s", priority=2, legend="bytes read and written, from the operators' shapes")
_INTENSITY = Column("arithmetic_intensity", "FLOP/byte", priority=4, legend="arithmetic ops per byte read or written")
_BOUND = Column(
    "bound", "bound by", numeric=False, priority=1, legend="from FLOP/byte and the measured peaks of this machine"
)


@dataclass(frozen=True, slots=True)
class _TimedNode:
    """A layer's time in the tree that all tables draw."""

    path: str
    name: str
    layer_type: str
    call: int
    timing: LayerTime | None  # None: the network itself
    children: tuple[_TimedNode, ...]


def layer_times(result: LayerTimes | None, view: ViewOptions) -> list[Element]:
    """Time by layer type, then layer by layer."""
    if result is None:
        return []
    return [_by_type(result), _by_layer(result, view), Paragraph("dim", _instrumentation(result))]


# Layer by layer


def _by_layer(result: LayerTimes, view: ViewOptions) -> Table:
    largest = max((max(layer.share, layer.macs_share) for layer in result.layers if layer.path), default=1.0)
    columns = (
        Column("layer", "layer", numeric=False, minimum=8, comfort=20),
        *_timing_columns(result),
        *([] if _trains(result) else [_INTENSITY]),
        *([_BOUND] if any(layer.bound is not None for layer in result.layers) else []),
    )
    rows = layer_tree(_root(result), collapse=view.collapse, levels=view.levels)
    return Table(
        "layers",
        f"time by layer, batch {result.batch_size:,}",
        columns,
        (*_rows(rows, largest), _total(result, "layer")),
        tree=True,
    )


def _timing_columns(result: LayerTimes) -> tuple[Column, ...]:
    """Of both tables; the work of a backward pass is not known by layer, so that training has no rates."""
    if _trains(result):
        return (_TIME, _BACKWARD, _SHARE, _MACS)
    return (_TIME, _SHARE, _MACS, _RATE, _BANDWIDTH)


def _trains(result: LayerTimes) -> bool:
    return any(layer.backward_s is not None for layer in result.layers)


def _root(result: LayerTimes) -> _TimedNode:
    """The tree of the layers below the network itself."""
    below = [layer for layer in result.layers if layer.path]
    children = tuple(_nodes(below, min((layer.depth for layer in below), default=0)))
    return _TimedNode("", "", "", 1, None, children)


def _nodes(layers: Sequence[LayerTime], depth: int) -> Iterator[_TimedNode]:
    """Trees from rows in depth-first order."""
    starts = [index for index, layer in enumerate(layers) if layer.depth <= depth or not index]
    for start, end in pairwise([*starts, len(layers)]):
        layer = layers[start]
        children = tuple(_nodes(layers[start + 1 : end], depth + 1))
        yield _TimedNode(layer.path, layer.name, layer.layer_type, layer.call, layer, children)


def _rows(rows: Iterable[LayerRow[_TimedNode]], largest: float) -> Iterator[Row]:
    for row in rows:
        timing = row.members[0].timing
        if timing is None:
            continue
        bound = timing.bound
        yield Row(
            {
                "layer": text_cell(row.name, "strong" if row.children else "", row.path),
                "time_s": seconds(timing.time_s),
                "backward_s": seconds(timing.backward_s),
                "share": share(timing.share, largest),
                "macs_share": share(timing.macs_share, largest),
                "flops_per_s": scaled(timing.flops_per_s),
                "bytes_per_s": scaled(timing.bytes_per_s),
                "arithmetic_intensity": ratio(timing.arithmetic_intensity),
                "bound": Cell("") if bound is None else text_cell(bound, "warning" if bound == "memory" else ""),
            },
            row.depth,
        )


def _total(result: LayerTimes, first_column: str) -> Row:
    """The whole forward, with what is not in any layer."""
    cells = {
        first_column: Cell("forward and backward" if _trains(result) else "forward", "", "strong"),
        "time_s": seconds(result.instrumented_s),
        "backward_s": seconds(result.layers[0].backward_s if result.layers else None),
        "share": share(1.0),
        "macs_share": share(sum(layer.macs_share for layer in result.layers if layer.is_leaf)),
    }
    return Row(cells, style="total")


# By type


def _by_type(result: LayerTimes) -> Table:
    """Leaf layers summed by their type."""
    types: dict[str, list[LayerTime]] = {}
    for layer in result.layers:
        if layer.is_leaf:
            types.setdefault(layer.layer_type, []).append(layer)
    whole = result.instrumented_s
    sums = {name: _sum(members, whole) for name, members in types.items()}
    outside = result.other_s / whole if whole else 0.0
    largest = max([outside, *(max(time, macs) for time, macs in sums.values())], default=1.0)
    rows = [_type_row(types[name], *sums[name], largest) for name in sorted(types, key=lambda name: -sums[name][0])]
    not_in_layers = {
        "layer_type": Cell("not in any layer", None, "dim"),
        "time_s": seconds(result.other_s),
        "share": share(outside, largest),
    }
    columns = (
        Column("layer_type", "layer type", numeric=False, minimum=8, comfort=20),
        Column("calls", "calls", priority=2),
        *_timing_columns(result),
    )
    title = f"time by layer type, batch {result.batch_size:,}"
    return Table("layer_types", title, columns, (*rows, Row(not_in_layers), _total(result, "layer_type")))


def _sum(layers: Sequence[LayerTime], whole: float) -> tuple[float, float]:
    """The layers' share of the time and of the MACs."""
    time = sum(layer.time_s for layer in layers)
    return time / whole if whole else 0.0, sum(layer.macs_share for layer in layers)


def _type_row(layers: Sequence[LayerTime], time_share: float, macs_share: float, largest: float) -> Row:
    time = sum(layer.time_s for layer in layers)
    macs = sum(layer.macs for layer in layers)
    has_rate = macs and time and all(layer.flops_per_s is not None for layer in layers if layer.macs)
    return Row(
        {
            "layer_type": text_cell(layers[0].layer_type),
            "calls": exact(len(layers)),
            "time_s": seconds(time),
            "backward_s": seconds(sum(layer.backward_s or 0.0 for layer in layers)),
            "share": share(time_share, largest),
            "macs_share": share(macs_share, largest),
            "flops_per_s": scaled(2 * macs / time if has_rate else None),
            "bytes_per_s": scaled(sum(layer.bytes_moved for layer in layers) / time if time else None),
        }
    )


def _instrumentation(result: LayerTimes) -> str:
    whole, without = formatting.seconds(result.instrumented_s), formatting.seconds(result.forward_s)
    what = "training step" if _trains(result) else "forward"
    median = f"median of {counted(result.forwards, what)}"
    if result.method == "kernels":
        return f"{median}; times are those of kernels, {whole} in all; the device works {without} on a {what}"
    if result.method == "operators":
        return f"{median}; times are those of operators, {whole} in all; a {what} takes {without} with all else"
    return f"{median}; the forward takes {whole} with a timer at each layer, {without} without"
