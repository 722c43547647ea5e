"""The page of a summary: the layer tree, its totals, memory by phase."""

from __future__ import annotations

from dataclasses import replace

from resnet_cli import formatting
from resnet_cli.render.document import Cell, Column, Document, Fields, Row, Table, ViewOptions
from resnet_cli.render.pages.cells import assertions, closing, cross_checks, exact, facts, scaled, subtitle, text_cell
from resnet_cli.render.pages.layer_tree import LayerRow, layer_tree
from resnet_cli.render.pages.summary_columns import COLUMNS, Layers, Whole, intensity, share_of
from resnet_cli.results.summary import Layer, Memory, SummaryResult

DEFAULT = ("kind", "output", "parameters", "macs", "activation", "receptive_field", "share")
_NAME = Column("layer", "layer", numeric=False, minimum=8, comfort=24)


def summary_page(result: SummaryResult, view: ViewOptions) -> Document:
    """The layer tree, the totals, what other tools say."""
    return Document(
        title=formatting.printable(result.network.name),
        subtitle=subtitle(result.network, result.input, result.parameters, result.macs),
        elements=(
            _tree(result, view),
            *_totals(result),
            *cross_checks(result.cross_checks),
            *assertions(result.assertions),
            *closing(result.notes, result.environment),
        ),
    )


def _tree(result: SummaryResult, view: ViewOptions) -> Table:
    drawn = layer_tree(result.root, fold=view.collapse, levels=view.levels)
    rows = [branch for top in drawn for branch in top]
    shares = [share for branch in rows if (share := share_of(branch.members, result.root)) is not None]
    whole = Whole(result.root, max(shares, default=0.0))
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
                Row({"layer": text_cell(b.name, "strong" if b.children else "", b.path), **cells(b.members)}, b.depth)
                for b in rows
            ),
            Row(total, style="total"),
        ),
        tree=True,
        reveal="a wider terminal, --columns or --format json",
    )


def _marks(rows: list[LayerRow[Layer]]) -> str:
    """The meaning of the marks that stand beside names, where there are any."""
    marks = []
    if any(len(branch.members) > 1 for branch in rows):
        marks.append("×n is n identical layers, their figures summed")
    if any(branch.members[0].call > 1 for branch in rows):
        marks.append("#n is the n-th call of a module")
    return "; ".join(marks)


def _totals(result: SummaryResult) -> list[Fields]:
    memory, root = result.memory, result.root
    weights = memory.parameter_bytes + memory.buffer_bytes
    return [
        facts(
            "parameters",
            ("trainable", exact(result.trainable_parameters)),
            ("frozen", exact(result.frozen_parameters)),
            ("total", exact(result.parameters, "strong")),
            ("buffers", exact(result.buffers)),
        ),
        facts(
            "compute",
            ("MACs", exact(result.macs, "strong")),
            ("FLOPs, 2 × MACs", exact(result.flops)),
            ("every operation", exact(result.ops)),
            None if root.backward_macs is None else ("MACs, backward", exact(root.backward_macs)),
            ("operations per byte", intensity((root,), Whole(root, 1.0))),
        ),
        facts(
            "memory, inference",
            ("weights", scaled(weights, "B")),
            ("input", scaled(memory.input_bytes, "B")),
            ("activations, peak", scaled(memory.inference_peak_bytes, "B")),
            ("total", scaled(memory.inference_bytes, "B", "strong")),
            ("peak in", text_cell(memory.inference_peak_at)),
        ),
        *_training(memory, weights),
        *_batches(result),
    ]


def _training(memory: Memory, weights: int) -> list[Fields]:
    """A training step. Its peak holds the gradients of the parameters already, so they are not added again."""
    if memory.training_peak_bytes is None:
        return []
    return [
        facts(
            "memory, training",
            ("weights, input", scaled(weights + memory.input_bytes, "B")),
            ("activations, gradients", scaled(memory.training_peak_bytes, "B")),
            ("SGD momentum", scaled(memory.optimizer_bytes, "B")),
            ("total", scaled(memory.training_bytes, "B", "strong")),
            None if not memory.training_peak_at else ("peak in", text_cell(memory.training_peak_at)),
            ("gradients alone", scaled(memory.gradient_bytes, "B")),
            ("saved for backward", scaled(memory.saved_for_backward_bytes, "B")),
        )
    ]


def _batches(result: SummaryResult) -> list[Fields]:
    memory = result.memory
    if memory.largest_batch_inference is None and memory.largest_batch_training is None:
        return []
    room = result.environment.device_memory_bytes
    return [
        facts(
            "largest batch" if room is None else f"largest batch in {formatting.scaled(room, 'B')}",
            ("inference", exact(memory.largest_batch_inference, "strong")),
            ("training", exact(memory.largest_batch_training, "strong")),
        )
    ]
