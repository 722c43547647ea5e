"""The page of a summary: the layer tree, its totals, memory by phase."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from resnet_cli import quantities
from resnet_cli.quantities import UNKNOWN
from resnet_cli.render.branches import Branch, branches
from resnet_cli.render.page import Cell, Column, Facts, Page, Row, Table, View
from resnet_cli.render.wording import assertions, closing, exact, facts, scaled, subtitle, witnesses, word
from resnet_cli.results import Layer, Memory, SummaryResult

Layers = tuple[Layer, ...]


@dataclass(frozen=True, slots=True)
class _Whole:
    """What a row's figure may be held against."""

    root: Layer
    widest: float  # the largest share of any drawn row: a full bar


Draw = Callable[[Layers, _Whole], Cell]


def _total(layers: Layers, name: str) -> int | None:
    values = [getattr(layer, name) for layer in layers]
    return None if None in values else sum(values)


def _sum(name: str, unit: str = "") -> Draw:
    return lambda layers, _: scaled(_total(layers, name), unit)


def _kind(layers: Layers, _: _Whole) -> Cell:
    layer = layers[0]
    if layer.is_operator:
        return word("operator" if layer.kind == layer.name else layer.kind, "dim")
    parts = [layer.kind]
    if layer.kernel_size:
        parts.append(quantities.dimensions(layer.kernel_size))
    if layer.stride and set(layer.stride) != {1}:
        parts.append(f"/{quantities.size(layer.stride)}")
    if layer.dilation and set(layer.dilation) != {1}:
        parts.append(f"d{quantities.size(layer.dilation)}")
    if layer.groups not in (None, 1):
        parts.append(f"g{layer.groups}")
    return word(" ".join(parts), "dim")


def _shape(name: str) -> Draw:
    def draw(layers: Layers, _: _Whole) -> Cell:
        text = quantities.dimensions(getattr(layers[0], name))
        return Cell(text, None if text == UNKNOWN else text.replace("×", "x"), "dim" if text == UNKNOWN else "")

    return draw


def _span(name: str) -> Draw:
    """A figure of the place: from the first of the layers to the last."""

    def draw(layers: Layers, _: _Whole) -> Cell:
        ends = [getattr(layers[index], name) for index in (0, -1)]
        if None in ends:
            return Cell(UNKNOWN, None, "dim")
        texts = [quantities.size(end) for end in ends]
        text = texts[0] if texts[0] == texts[1] else "–".join(texts)
        return Cell(text, ends[1][0] if text.isdecimal() else text.replace("×", "x").replace("–", "-"))

    return draw


def _peak(layers: Layers, _: _Whole) -> Cell:
    return scaled(max(layer.peak_bytes for layer in layers), "B")


def _intensity(layers: Layers, _: _Whole) -> Cell:
    moved, operations = _total(layers, "bytes_moved"), _total(layers, "operations")
    value = operations / moved if moved and operations is not None else None
    return Cell(quantities.ratio(value), value, "" if value else "dim")


def _share(layers: Layers, whole: _Whole) -> Cell:
    value = _share_of(layers, whole.root)
    bar = None if value is None or not whole.widest else min(value / whole.widest, 1.0)
    return Cell(quantities.percent(value), value, "" if value else "dim", bar)


def _share_of(layers: Layers, root: Layer) -> float | None:
    return sum(layer.macs for layer in layers) / root.macs if root.macs else None


def _call(layers: Layers, _: _Whole) -> Cell:
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
                priority=4,
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
            _sum("operations"),
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
        (Column("saved", "saved", legend="bytes that autograd keeps for the backward pass"), _sum("saved_bytes", "B")),
        (
            Column("peak", "peak", legend="most activation bytes alive at once in inference, the input not counted"),
            _peak,
        ),
        (Column("moved", "moved", legend="bytes read and written by the operators"), _sum("bytes_moved", "B")),
        (Column("intensity", "op/B", legend="operations per byte moved"), _intensity),
        (
            Column("receptive_field", "field", priority=6, legend="receptive field in input pixels"),
            _span("receptive_field"),
        ),
        (Column("stride", "stride", legend="input pixels per output pixel"), _span("total_stride")),
        (
            Column("share", "share", priority=5, bar=True, legend="of all MACs; a full bar is the largest row"),
            _share,
        ),
    )
}
DEFAULT = ("kind", "output", "parameters", "macs", "activation", "receptive_field", "share")
_NAME = Column("layer", "layer", numeric=False, minimum=8, comfort=24)


def summary_page(result: SummaryResult, view: View) -> Page:
    """The layer tree, the totals, what other tools say."""
    return Page(
        title=quantities.printable(result.network.name),
        subtitle=subtitle(result.network, result.input, result.parameters, result.macs),
        parts=(
            _tree(result, view),
            *_totals(result),
            *witnesses(result.witnesses),
            *assertions(result.assertions),
            *closing(result.notes, result.environment),
        ),
    )


def _tree(result: SummaryResult, view: View) -> Table:
    drawn = branches(result.root, fold=view.fold, levels=view.levels)
    rows = [branch for top in drawn for branch in top]
    shares = [share for branch in rows if (share := _share_of(branch.members, result.root)) is not None]
    whole = _Whole(result.root, max(shares, default=0.0))
    keys = DEFAULT if view.columns is None else view.columns
    # What the reader names is left out last, and from the right.
    columns = [COLUMNS[key][0] if view.columns is None else replace(COLUMNS[key][0], priority=0) for key in keys]

    def cells(layers: Layers) -> dict[str, Cell]:
        return {key: COLUMNS[key][1](layers, whole) for key in keys}

    total = {"layer": Cell("total", "total", "strong"), **cells((result.root,)), "kind": Cell("", None)}
    return Table(
        key="layers",
        title="",
        columns=(replace(_NAME, legend=_marks(rows)), *columns),
        rows=(
            *(
                Row({"layer": word(b.name, "strong" if b.children else "", b.path), **cells(b.members)}, b.depth)
                for b in rows
            ),
            Row(total, role="total"),
        ),
        tree=True,
        reveal="a wider terminal, --columns or --format json",
    )


def _marks(rows: list[Branch[Layer]]) -> str:
    """The meaning of the marks that stand beside names, where there are any."""
    marks = []
    if any(len(branch.members) > 1 for branch in rows):
        marks.append("×n is n identical layers, their figures summed")
    if any(branch.members[0].call > 1 for branch in rows):
        marks.append("#n is the n-th call of a module")
    return "; ".join(marks)


def _totals(result: SummaryResult) -> list[Facts]:
    memory, root = result.memory, result.root
    weights = memory.parameter_bytes + memory.buffer_bytes
    return [
        facts(
            "parameters",
            ("trainable", exact(result.trainable_parameters)),
            ("frozen", exact(result.frozen_parameters)),
            ("total", exact(result.parameters, "strong")),
            ("buffers", exact(result.buffers)),
            ("size", scaled(weights, "B")),
        ),
        facts(
            "compute",
            ("MACs", exact(result.macs, "strong")),
            ("FLOPs, 2 × MACs", exact(result.flops)),
            ("every operation", exact(result.operations)),
            None if root.backward_macs is None else ("MACs, backward", exact(root.backward_macs)),
            ("operations per byte", _intensity((root,), _Whole(root, 1.0))),
        ),
        facts(
            "memory, inference",
            ("weights", scaled(weights, "B")),
            ("input", scaled(memory.input_bytes, "B")),
            ("activations, peak", scaled(memory.inference_peak_bytes, "B")),
            ("total", scaled(weights + memory.input_bytes + memory.inference_peak_bytes, "B", "strong")),
            ("peak in", word(memory.inference_peak_at)),
        ),
        *_training(memory, weights),
        *_batches(result),
    ]


def _training(memory: Memory, weights: int) -> list[Facts]:
    if memory.training_peak_bytes is None:
        return []
    parts = (
        weights, memory.input_bytes, memory.training_peak_bytes, memory.gradient_bytes, memory.optimizer_bytes
    )  # fmt: skip
    return [
        facts(
            "memory, training",
            ("weights, input", scaled(weights + memory.input_bytes, "B")),
            ("activations, peak", scaled(memory.training_peak_bytes, "B")),
            ("gradients", scaled(memory.gradient_bytes, "B")),
            ("SGD momentum", scaled(memory.optimizer_bytes, "B")),
            ("total", scaled(sum(parts), "B", "strong")),
            ("saved for backward", scaled(memory.saved_bytes, "B")),
        )
    ]


def _batches(result: SummaryResult) -> list[Facts]:
    memory = result.memory
    if memory.largest_batch_inference is None and memory.largest_batch_training is None:
        return []
    room = result.environment.device_memory_bytes
    return [
        facts(
            "largest batch",
            None if room is None else ("that fits", scaled(room, "B")),
            ("inference", exact(memory.largest_batch_inference, "strong")),
            ("training", exact(memory.largest_batch_training, "strong")),
        )
    ]
