"""The columns of a layer tree: what each is called, what it counts, how its cell is drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from resnet_cli import formatting
from resnet_cli.formatting import UNKNOWN
from resnet_cli.render.document import Cell, Column
from resnet_cli.render.pages.cells import scaled, text_cell
from resnet_cli.results.summary import Layer

Layers = tuple[Layer, ...]


@dataclass(frozen=True, slots=True)
class Whole:
    """What a row's figure may be held against."""

    root: Layer
    widest: float  # the largest share of any drawn row: a full bar


Draw = Callable[[Layers, Whole], Cell]


def _total(layers: Layers, name: str) -> int | None:
    values = [getattr(layer, name) for layer in layers]
    return None if None in values else sum(values)


def _sum(name: str, unit: str = "") -> Draw:
    return lambda layers, _: scaled(_total(layers, name), unit)


def _kind(layers: Layers, _: Whole) -> Cell:
    layer = layers[0]
    if layer.is_operator:
        return text_cell("operator" if layer.layer_type == layer.name else layer.layer_type, "dim")
    parts = [layer.layer_type]
    if layer.kernel_size:
        parts.append(formatting.dimensions(layer.kernel_size))
    if layer.stride and set(layer.stride) != {1}:
        parts.append(f"/{formatting.size(layer.stride)}")
    if layer.dilation and set(layer.dilation) != {1}:
        parts.append(f"d{formatting.size(layer.dilation)}")
    if layer.groups not in (None, 1):
        parts.append(f"g{layer.groups}")
    return text_cell(" ".join(parts), "dim")


def _shape(name: str) -> Draw:
    def draw(layers: Layers, _: Whole) -> Cell:
        text = formatting.dimensions(getattr(layers[0], name))
        return Cell(text, None if text == UNKNOWN else text.replace("×", "x"), "dim" if text == UNKNOWN else "")

    return draw


def _span(name: str) -> Draw:
    """A figure of the place: from the first of the layers to the last."""

    def draw(layers: Layers, _: Whole) -> Cell:
        ends = [getattr(layers[index], name) for index in (0, -1)]
        if None in ends:
            return Cell(UNKNOWN, None, "dim")
        texts = [formatting.size(end) for end in ends]
        text = texts[0] if texts[0] == texts[1] else "–".join(texts)
        return Cell(text, ends[1][0] if text.isdecimal() else text.replace("×", "x").replace("–", "-"))

    return draw


def _peak(layers: Layers, _: Whole) -> Cell:
    return scaled(max(layer.peak_bytes for layer in layers), "B")


def intensity(layers: Layers, _: Whole) -> Cell:
    """Operations per byte that is read or written."""
    moved, operations = _total(layers, "bytes_moved"), _total(layers, "ops")
    value = operations / moved if moved and operations is not None else None
    return Cell(formatting.ratio(value), value, "" if value else "dim")


def _share(layers: Layers, whole: Whole) -> Cell:
    value = share_of(layers, whole.root)
    bar = None if value is None or not whole.widest else min(value / whole.widest, 1.0)
    return Cell(formatting.percent(value) if value != 0 else "0", value, "" if value else "dim", bar)


def share_of(layers: Layers, root: Layer) -> float | None:
    """The layers' part of the network's MACs; None where it has none."""
    return sum(layer.macs for layer in layers) / root.macs if root.macs else None


def _call(layers: Layers, _: Whole) -> Cell:
    return Cell(str(layers[0].call), layers[0].call)


# The column's key, what it looks like, and how its cell is drawn. The order is the order of drawing.
COLUMNS: dict[str, tuple[Column, Draw]] = {
    column.key: (column, draw)
    for column, draw in (
        (
            Column(
                "kind",
                "kind",
                numeric=False,
                minimum=6,
                comfort=14,
                priority=6,
                legend="class, kernel, /stride, d dilation, g groups where they are not 1",
            ),
            _kind,
        ),
        (Column("call", "call", legend="1 for the first call of the module"), _call),
        (Column("input", "input", legend="shape of the first input"), _shape("input_shape")),
        (Column("output", "output", priority=3, legend="shape of the first output"), _shape("output_shape")),
        (
            Column("parameters", "params", legend="trainable and frozen; a module called again adds none"),
            _sum("parameters"),
        ),
        (Column("trainable", "trainable", legend="parameters that take a gradient"), _sum("trainable_parameters")),
        (Column("frozen", "frozen", legend="parameters that take no gradient"), _sum("frozen_parameters")),
        (Column("buffers", "buffers", legend="elements that are saved but not trained"), _sum("buffers")),
        (
            Column(
                "macs",
                "MACs",
                priority=1,
                legend="multiply-accumulates of convolutions and matrix products; 1 MAC = 2 FLOPs",
            ),
            _sum("macs"),
        ),
        (Column("flops", "FLOPs", legend="2 × MACs, as torch's own counter counts"), _sum("flops")),
        (
            Column(
                "operations",
                "operations",
                legend="every arithmetic operation: batch norm, ReLU, adds and pooling included",
            ),
            _sum("ops"),
        ),
        (Column("backward", "backward", legend="MACs of the backward pass"), _sum("backward_macs")),
        (
            Column(
                "activation",
                "memory",
                priority=2,
                legend="activation bytes that the forward pass allocates; an in-place operator allocates none",
            ),
            _sum("activation_bytes", "B"),
        ),
        (
            Column("saved", "saved", legend="bytes kept by autograd for backward"),
            _sum("saved_for_backward_bytes", "B"),
        ),
        (
            Column("peak", "peak", legend="most activation bytes alive at once in inference, the input not counted"),
            _peak,
        ),
        (Column("moved", "moved", legend="bytes read and written by the operators"), _sum("bytes_moved", "B")),
        (Column("intensity", "op/B", legend="operations per byte moved"), intensity),
        (
            Column("receptive_field", "field", priority=5, legend="receptive field in input pixels"),
            _span("receptive_field"),
        ),
        (Column("stride", "stride", legend="input pixels per output pixel"), _span("total_stride")),
        (
            Column("share", "share", priority=4, bar=True, legend="of all MACs; a full bar is the largest row"),
            _share,
        ),
    )
}
