"""The page of `summary`: the layer tree, its totals, memory by phase."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from resnet_cli import formatting
from resnet_cli.render.document import Cell, Column, Document, Element, Fields, Row, Table, ViewOptions
from resnet_cli.render.pages.cells import EMPTY, exact, ratio, scaled, text_cell
from resnet_cli.render.pages.elements import (
    assertions,
    closing,
    compute_fields,
    cross_checks,
    fields,
    qualified_label,
    subtitle,
)
from resnet_cli.render.pages.layer_tree import LayerRow, layer_tree
from resnet_cli.render.pages.summary_columns import COLUMNS, DEFAULT_COLUMNS, Layers, Whole, intensity_of, share_of
from resnet_cli.results.summary import Layer, SummaryResult

_NAME = Column("layer", "layer", numeric=False, minimum=8, comfort=24)


def summary_page(result: SummaryResult, view: ViewOptions) -> Document:
    """The layer tree, the totals, what other tools report."""
    return Document(
        title=result.network.name,
        subtitle=subtitle(result),
        elements=(*summary_elements(result, view), *closing(result.notes, result.environment)),
    )


def summary_elements(result: SummaryResult, view: ViewOptions) -> list[Element]:
    """The page without its notes and its environment."""
    return [
        _layers(result, view),
        *_totals(result),
        *cross_checks(result.cross_checks),
        *assertions(result.assertions),
    ]


def _layers(result: SummaryResult, view: ViewOptions) -> Table:
    rows = layer_tree(result.root, collapse=view.collapse, levels=view.levels)
    shares = [share for row in rows if (share := share_of(row.members, result.root)) is not None]
    whole = Whole(result.root, max(shares, default=0.0))
    keys = DEFAULT_COLUMNS if view.columns is None else view.columns
    columns = [COLUMNS[key].column for key in keys]
    if view.columns is not None:  # columns that the reader names are hidden last, and from the right
        columns = [replace(column, priority=0) for column in columns]

    def cells(layers: Layers) -> dict[str, Cell]:
        return {key: COLUMNS[key].cell(layers, whole) for key in keys}

    def drawn(row: LayerRow[Layer]) -> Row:
        name = text_cell(row.name, "strong" if row.children else "", row.path)
        return Row({"layer": name, **cells(row.members)}, row.depth)

    total = {"layer": Cell("total", "total", "strong"), **cells((result.root,)), "layer_type": EMPTY}
    return Table(
        key="layers",
        title="",
        columns=(replace(_NAME, legend=_marks(rows)), *columns),
        rows=(*map(drawn, rows), Row(total, style="total")),
        tree=True,
        reveal="a wider terminal, --columns or --format json",
    )


def _marks(rows: tuple[LayerRow[Layer], ...]) -> str:
    """The meaning of the marks beside layer names, where there are any."""
    marks = []
    if any(len(row.members) > 1 for row in rows):
        marks.append("×n: n identical layers, summed")
    if any(row.members[0].call > 1 for row in rows):
        marks.append("#n: n-th call of a module")
    return "; ".join(marks)


def _totals(result: SummaryResult) -> list[Fields]:
    memory, root, label = result.memory, result.root, partial(_label, result)
    weights = memory.parameter_bytes + memory.buffer_bytes
    return [
        fields(
            "parameters",
            ("trainable", exact(result.trainable_parameters)),
            ("frozen", exact(result.frozen_parameters)),
            (label("total", "parameters"), exact(result.parameters, "strong")),
            ("buffers", exact(result.buffers)),
        ),
        compute_fields(
            result,
            "compute",
            None
            if root.backward_macs is None
            else (label("MACs, backward", "backward_macs"), exact(root.backward_macs)),
            ("FLOP/byte", ratio(intensity_of((root,)))),
        ),
        fields(
            "memory, inference",
            (label("weights", "parameter_bytes"), scaled(weights, "B")),
            ("input", scaled(memory.input_bytes, "B")),
            (label("activations, peak", "inference_peak_bytes"), scaled(memory.inference_peak_bytes, "B")),
            (label("total", "inference_bytes"), scaled(memory.inference_bytes, "B", "strong")),
            None if not memory.inference_peak_at else ("peak in", text_cell(memory.inference_peak_at)),
        ),
        *_training(result, weights),
        *_largest_batch(result),
    ]


def _label(result: SummaryResult, label: str, *figures: str) -> str:
    return qualified_label(label, result.notes, *figures)


def _training(result: SummaryResult, weights: int) -> list[Fields]:
    """A training step. Its peak already holds the gradients of the parameters, so they are not added again."""
    memory, label = result.memory, partial(_label, result)
    if memory.training_peak_bytes is None:
        return []
    return [
        fields(
            "memory, training",
            (label("weights, input", "parameter_bytes"), scaled(weights + memory.input_bytes, "B")),
            (label("activations, gradients", "training_peak_bytes"), scaled(memory.training_peak_bytes, "B")),
            ("SGD momentum", scaled(memory.optimizer_bytes, "B")),
            (label("total", "training_bytes"), scaled(memory.training_bytes, "B", "strong")),
            None if not memory.training_peak_at else ("peak in", text_cell(memory.training_peak_at)),
            ("of which gradients", scaled(memory.gradient_bytes, "B")),
            (label("saved for backward", "saved_for_backward_bytes"), scaled(memory.saved_for_backward_bytes, "B")),
        )
    ]


def _largest_batch(result: SummaryResult) -> list[Fields]:
    memory = result.memory
    if memory.largest_batch_inference is None and memory.largest_batch_training is None:
        return []
    capacity = result.environment.device_memory_bytes
    return [
        fields(
            "largest batch" if capacity is None else f"largest batch in {formatting.scaled(capacity, 'B')}",
            (
                _label(result, "inference", "largest_batch_inference"),
                exact(memory.largest_batch_inference, "strong"),
            ),
            (_label(result, "training", "largest_batch_training"), exact(memory.largest_batch_training, "strong")),
        )
    ]
