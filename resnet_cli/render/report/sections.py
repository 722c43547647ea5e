"""The chapters of a report: the figures of each question beside each other, and the tables that they are drawn from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from resnet_cli import formatting
from resnet_cli.formatting import printable
from resnet_cli.render import charts
from resnet_cli.render.charts.architecture import architecture
from resnet_cli.render.charts.block_diagram import block_flow
from resnet_cli.render.charts.block_types import Block, blocks
from resnet_cli.render.charts.drawing import svg_writer
from resnet_cli.render.charts.drawing.primitives import Drawing
from resnet_cli.render.charts.icicle import Measure, Node, icicle, measures
from resnet_cli.render.charts.layer_roles import LEGEND, shape_text
from resnet_cli.render.document import Document, ViewOptions
from resnet_cli.render.pages import page
from resnet_cli.render.charts.grouping import NetworkResults

if TYPE_CHECKING:
    from resnet_cli.results.registry import Result


@dataclass(frozen=True, slots=True)
class Inside:
    """One kind of block: a line about it, and its drawing."""

    key: str
    title: str
    kind: str
    shapes: str
    parameters: str
    macs: str
    drawing: Markup


@dataclass(frozen=True, slots=True)
class Panel:
    """A figure with its caption."""

    label: str  # of the network
    title: str
    caption: str
    drawing: Markup
    blocks: tuple[Inside, ...] = ()
    zoom: Markup | None = None  # what a script needs to redraw an icicle by another measure or from another layer on
    legend: tuple[tuple[str, str], ...] = ()  # role and meaning of its colours


@dataclass(frozen=True, slots=True)
class Chapter:
    """One question."""

    key: str
    title: str
    panels: tuple[Panel, ...]
    tables: tuple[tuple[str, Document], ...]


def chapters(found: Sequence[NetworkResults], loose: Sequence[Result]) -> tuple[Chapter, ...]:
    """Those that there is anything for."""
    drawn = [
        Chapter("architecture", "Architecture", tuple(_architecture(found)), ()),
        Chapter("shares", "Where it goes", tuple(_icicles(found)), tuple(_tables(found, "summary"))),
        Chapter("roofline", "Roofline", tuple(_panels(found, "roofline")), ()),
        Chapter("latency", "Latency", tuple(_latency(found)), tuple(_tables(found, "bench"))),
        Chapter("parity", "Parity", tuple(_panels(found, "deviations")), tuple(_tables(found, "parity"))),
        Chapter("flops", "FLOPs", tuple(_panels(found, "walks")), tuple(_tables(found, "flops"))),
        Chapter("more", "More results", (), tuple(_others(found, loose))),
    ]
    return tuple(chapter for chapter in drawn if chapter.panels or chapter.tables)


def _inline(drawing: Drawing, identity: str = "") -> Markup:
    return Markup(svg_writer.inline(drawing, identity))  # every text in it is escaped


def _panels(found: Sequence[NetworkResults], key: str) -> Iterator[Panel]:
    figure = charts.by_key()[key]
    for entry in found:
        drawing = figure.draw(entry)
        if drawing is not None:
            yield Panel(entry.label, figure.title, figure.caption, _inline(drawing))


def _latency(found: Sequence[NetworkResults]) -> Iterator[Panel]:
    yield from _panels(found, "distribution")
    drawing = charts.draw_sweep(found)
    if drawing is not None:
        yield Panel("", charts.SWEEP_TITLE, charts.SWEEP_CAPTION, _inline(drawing))
    yield from _panels(found, "versus")
    yield from _panels(found, "ladder")


# Architecture


def _architecture(found: Sequence[NetworkResults]) -> Iterator[Panel]:
    figure = charts.by_key()["architecture"]
    for index, entry in enumerate(found):
        if entry.summary is None:
            continue
        inside = blocks(entry.summary, f"block-{index}-")
        keys = {id(layer): block.key for block in inside for layer in block.members}
        drawing = architecture(entry.summary, lambda layer, keys=keys: keys.get(id(layer), ""))  # type: ignore[misc]
        yield Panel(
            entry.label,
            figure.title,
            f"{figure.caption} A click opens a block.",
            _inline(drawing),
            blocks=tuple(map(_inside, inside)),
        )


def _inside(block: Block) -> Inside:
    layer = block.layer
    drawing = block_flow(layer)
    return Inside(
        key=block.key,
        title=printable(block.title),
        kind=printable(layer.layer_type),
        shapes=f"{shape_text(layer.input_shape)} → {shape_text(layer.output_shape)}",
        parameters=formatting.scaled(layer.parameters),
        macs=formatting.scaled(layer.macs),
        drawing=Markup("") if drawing is None else _inline(drawing),
    )


# Icicles


def _icicles(found: Sequence[NetworkResults]) -> Iterator[Panel]:
    figure = charts.by_key()["icicle"]
    for index, entry in enumerate(found):
        root = charts.nodes(entry)
        known = () if root is None else measures(root)
        if root is None or not known:
            continue
        roles = dict.fromkeys(node.role for node in root if not node.children)
        yield Panel(
            entry.label,
            figure.title,
            _caption(figure.caption, entry, known),
            _inline(icicle(root, known[0], entry.label), f"icicle-{index}"),
            zoom=_data(root, known),
            legend=tuple((role, LEGEND[role]) for role in LEGEND if role in roles),
        )


def _caption(text: str, entry: NetworkResults, known: tuple[Measure, ...]) -> str:
    times = None if entry.bench is None else entry.bench.layers
    if times is None or "time" not in {measure.key for measure in known} or entry.bench is None:
        return text
    return f"{text} Time is of a forward at batch {times.batch_size:,} on {printable(entry.bench.environment.device)}."


def _data(root: Node, known: tuple[Measure, ...]) -> Markup:
    """The tree as JSON, a list a node: depth, name, role, kind, and its figures by the measures."""
    kinds: dict[str, int] = {}
    rows: list[list[object]] = []

    def add(node: Node, depth: int) -> None:
        kind = kinds.setdefault(node.kind, len(kinds))
        # Seconds with four digits: more than a screen shows.
        values = [float(f"{node.values.get(one.key, 0):.4g}") if one.unit == "s" else node.values.get(one.key, 0)
                  for one in known]  # fmt: skip
        rows.append([depth, printable(node.name), node.role, kind, *values])
        for child in node.children:
            add(child, depth + 1)

    add(root, 0)
    document = {
        "measures": [[one.key, one.title, one.unit] for one in known],
        "kinds": [printable(kind) for kind in kinds],
        "nodes": rows,
    }
    # Within a script no text may end it; JSON may spell any character out.
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


# Tables


_VIEWS = {"bench": ViewOptions(levels=2)}  # a row for each layer is in the JSON, and a point for each in the figures


def _tables(found: Sequence[NetworkResults], slot: str) -> Iterator[tuple[str, Document]]:
    for entry in found:
        result = getattr(entry, slot)
        if result is not None:
            yield entry.label, page(result, _VIEWS.get(slot, ViewOptions()))


def _others(found: Sequence[NetworkResults], loose: Sequence[Result]) -> Iterator[tuple[str, Document]]:
    for result in (*(one for entry in found for one in entry.others), *loose):
        drawn = page(result, ViewOptions())
        yield drawn.title, drawn
