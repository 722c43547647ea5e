"""The columns of `summary`: a new one is one entry here, and the field of `Layer` that it shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from resnet_cli import formatting
from resnet_cli.render.document import Cell, Column
from resnet_cli.render.pages import cells
from resnet_cli.render.pages.cells import scaled, text_cell
from resnet_cli.results.summary import Layer

Layers = tuple[Layer, ...]


@dataclass(frozen=True, slots=True)
class Whole:
    """What shares are of."""

    root: Layer
    largest: float  # share of any drawn row: a full bar


Draw = Callable[[Layers, str, Whole], Cell]  # a cell of the layers that one row stands for, from a field of theirs


@dataclass(frozen=True, slots=True)
class LayerColumn:
    """A column of the layer tree."""

    column: Column
    field: str  # of `Layer`, as JSON and CSV call it
    draw: Draw

    def cell(self, layers: Layers, whole: Whole) -> Cell:
        """The cell of the layers that one row stands for."""
        return self.draw(layers, self.field, whole)


def _total(layers: Layers, field: str) -> int | None:
    values = [getattr(layer, field) for layer in layers]
    return None if None in values else sum(values)


def _sum(layers: Layers, field: str, _: Whole) -> Cell:
    return scaled(_total(layers, field))


def _sum_bytes(layers: Layers, field: str, _: Whole) -> Cell:
    return scaled(_total(layers, field), "B")


def _largest_bytes(layers: Layers, field: str, _: Whole) -> Cell:
    return scaled(max(getattr(layer, field) for layer in layers), "B")


def _number(layers: Layers, field: str, _: Whole) -> Cell:
    return cells.exact(getattr(layers[0], field))


def _type(layers: Layers, field: str, _: Whole) -> Cell:
    layer = layers[0]
    layer_type = getattr(layer, field)
    if layer.is_operator:
        return text_cell("operator" if layer_type == layer.name else layer_type, "dim")
    parts = [layer_type]
    if layer.kernel_size:
        parts.append(formatting.dimensions(layer.kernel_size))
    if layer.stride and set(layer.stride) != {1}:
        parts.append(f"/{formatting.size(layer.stride)}")
    if layer.dilation and set(layer.dilation) != {1}:
        parts.append(f"d{formatting.size(layer.dilation)}")
    if layer.groups not in (None, 1):
        parts.append(f"g{layer.groups}")
    return text_cell(" ".join(parts), "dim")


def _shape(layers: Layers, field: str, _: Whole) -> Cell:
    shape = getattr(layers[0], field)
    return text_cell(None if shape is None else formatting.dimensions(shape))


def _range(layers: Layers, field: str, _: Whole) -> Cell:
    """A size that depends on the place: from the first of the layers to the last."""
    ends = [getattr(layers[index], field) for index in (0, -1)]
    if None in ends:
        return text_cell(None)
    first, last = (formatting.size(end) for end in ends)
    return Cell(first if first == last else f"{first}–{last}", ends[1][0])


def _intensity(layers: Layers, _: str, __: Whole) -> Cell:
    return cells.ratio(intensity_of(layers))


def intensity_of(layers: Layers) -> float | None:
    """Arithmetic ops of the layers per byte that they read or write."""
    moved = sum(layer.bytes_moved for layer in layers)
    return sum(layer.ops for layer in layers) / moved if moved else None


def _share(layers: Layers, _: str, whole: Whole) -> Cell:
    return cells.share(share_of(layers, whole.root), whole.largest)


def share_of(layers: Layers, root: Layer) -> float | None:
    """The layers' share of the network's MACs; None where it has none."""
    return sum(layer.macs for layer in layers) / root.macs if root.macs else None


_ENTRIES = (
    LayerColumn(
        Column(
            "layer_type",
            "type",
            numeric=False,
            minimum=6,
            comfort=14,
            priority=6,
            legend="class, kernel size; /s stride, d dilation, g groups if ≠ 1",
        ),
        "layer_type",
        _type,
    ),
    LayerColumn(Column("call", "call", legend="1 for the first call of the module"), "call", _number),
    LayerColumn(Column("input_shape", "input", legend="shape of the first input"), "input_shape", _shape),
    LayerColumn(
        Column("output_shape", "output", priority=3, legend="shape of the first output"), "output_shape", _shape
    ),
    LayerColumn(
        Column("parameters", "params", legend="trainable + frozen; shared modules counted once"), "parameters", _sum
    ),
    LayerColumn(
        Column("trainable_parameters", "trainable", legend="parameters with requires_grad"),
        "trainable_parameters",
        _sum,
    ),
    LayerColumn(
        Column("frozen_parameters", "frozen", legend="parameters without requires_grad"), "frozen_parameters", _sum
    ),
    LayerColumn(
        Column("buffers", "buffers", legend="elements of buffers, such as running statistics"), "buffers", _sum
    ),
    LayerColumn(
        Column("macs", "MACs", priority=1, legend="of convolutions and matrix products; 1 MAC = 2 FLOPs"),
        "macs",
        _sum,
    ),
    LayerColumn(Column("flops", "FLOPs", legend="2 × MACs, as torch's FlopCounterMode counts"), "flops", _sum),
    LayerColumn(
        Column("ops", "ops", legend="all arithmetic ops: batch norm, ReLU, adds and pooling included"), "ops", _sum
    ),
    LayerColumn(Column("backward_macs", "backward", legend="MACs of the backward pass"), "backward_macs", _sum),
    LayerColumn(
        Column(
            "activation_bytes",
            "activation",
            priority=2,
            legend="bytes allocated in the forward pass; in-place operators allocate none",
        ),
        "activation_bytes",
        _sum_bytes,
    ),
    LayerColumn(
        Column("saved_for_backward_bytes", "saved", legend="bytes that autograd keeps for the backward pass"),
        "saved_for_backward_bytes",
        _sum_bytes,
    ),
    LayerColumn(
        Column(
            "peak_bytes", "peak", legend="peak activation memory while the layer runs (inference, without the input)"
        ),
        "peak_bytes",
        _largest_bytes,
    ),
    LayerColumn(
        Column("bytes_moved", "bytes r/w", legend="bytes read and written by the operators"), "bytes_moved", _sum_bytes
    ),
    LayerColumn(
        Column("arithmetic_intensity", "FLOP/byte", legend="arithmetic ops per byte read or written"),
        "arithmetic_intensity",
        _intensity,
    ),
    LayerColumn(
        Column("receptive_field", "field", priority=5, legend="receptive field in input pixels"),
        "receptive_field",
        _range,
    ),
    LayerColumn(Column("total_stride", "stride", legend="input pixels per output pixel"), "total_stride", _range),
    LayerColumn(
        Column("macs_share", "share", priority=4, bar=True, legend="of all MACs; a full bar is the largest row"),
        "macs_share",
        _share,
    ),
)
# In the order of drawing.
COLUMNS = {entry.column.key: entry for entry in _ENTRIES}
DEFAULT_COLUMNS = (
    "layer_type",
    "output_shape",
    "parameters",
    "macs",
    "activation_bytes",
    "receptive_field",
    "macs_share",
)
