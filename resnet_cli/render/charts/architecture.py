"""The network at a glance: stages from left to right, a bar per block, shapes on the arrows, skips above."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from resnet_cli import formatting
from resnet_cli.render.charts.block_diagram import block_diagram
from resnet_cli.render.charts.block_graph import PROJECTION, skip_of
from resnet_cli.render.charts.block_types import BlockType, block_types
from resnet_cli.render.charts.drawing.primitives import (
    Box,
    Curve,
    Drawing,
    Group,
    Label,
    LineMark,
    Mark,
    bounds,
    fitted,
    text_width,
)
from resnet_cli.render.charts.grouping import NetworkResults
from resnet_cli.render.charts.layer_roles import blocks_of, role_of, shape_text, stages
from resnet_cli.render.charts.panel import Detail, Panel
from resnet_cli.results.common import Shape
from resnet_cli.results.summary import Layer, SummaryResult

_MIDDLE = 122.0  # y of the centre line
_TALLEST, _LOWEST = 168.0, 30.0  # heights of bars
_GAP = 7.0  # between blocks
_FULL_WIDTH_BLOCKS = 18  # more blocks than these are drawn thinner
_THINNEST = 4.0
_PAD = 12.0
_TEXT_TOP = 238.0  # y of the first line below
_ARROW = 30.0  # shortest arrow


@dataclass(frozen=True, slots=True)
class _Layout:
    """Settings that all stages of a drawing share."""

    image_size: float  # the input's longer side, in its own pixels
    thinning: float  # factor of widths and gaps; below 1 where there are many blocks
    link: Callable[[Layer], str]


@dataclass(frozen=True, slots=True)
class _Bar:
    layer: Layer
    width: float
    height: float
    skip: str | None


def panels(networks: Sequence[NetworkResults]) -> list[Panel]:
    """A panel for each network, with a diagram for each type of block."""
    return [_panel(network, f"block-{index}-") for index, network in enumerate(networks) if network.summary is not None]


def _panel(network: NetworkResults, key_prefix: str) -> Panel:
    assert network.summary is not None
    types = block_types(network.summary, key_prefix)
    keys = {id(layer): block_type.key for block_type in types for layer in block_type.members}
    drawing = architecture(network.summary, lambda layer: keys.get(id(layer), ""))
    return Panel(drawing, network.label, "Click a block to open its diagram.", details=tuple(map(_detail, types)))


def _detail(block_type: BlockType) -> Detail:
    layer = block_type.layer
    facts = (
        block_type.title,
        layer.layer_type,
        f"{shape_text(layer.input_shape)} → {shape_text(layer.output_shape)}",
        f"{formatting.scaled(layer.parameters)} params",
        formatting.scaled(layer.macs, "MAC"),
    )
    return Detail(block_type.key, facts, block_diagram(layer))


def architecture(result: SummaryResult, link: Callable[[Layer], str] = lambda _: "") -> Drawing:
    """The stages of a network with the blocks inside them.

    Args:
        result: its layers.
        link: the key of the detail that a click on a block opens.
    """
    all_stages = stages(result.root)
    marks: list[Mark] = []
    block_count = sum(len(blocks_of(stage)) for stage in all_stages)
    image_size = float(max(result.input.shape[2:], default=1))
    layout = _Layout(image_size, min(1.0, _FULL_WIDTH_BLOCKS / max(block_count, 1)), link)
    x = _input(marks, result.input.shape, image_size)
    shape: Shape | None = result.input.shape
    for stage in all_stages:
        x = _arrow(marks, x, shape_text(shape))
        x = _stage(marks, stage, x, layout)
        shape = stage.output_shape
    x = _arrow(marks, x, shape_text(shape))
    width, height = bounds(tuple(marks))
    label = f"{result.network.name}: {len(all_stages)} stages with {block_count} blocks, from the input to the output"
    return Drawing(max(width, x) + 2, height + 2, tuple(marks), label)


def _input(marks: list[Mark], shape: Shape, image_size: float) -> float:
    height = _height(shape, image_size)
    marks.append(Box(1, _MIDDLE - height / 2, 12, height, "container node", 3, f"input {formatting.dimensions(shape)}"))
    marks.append(Label(0, _TEXT_TOP, "input", "strong"))
    marks.append(Label(0, _TEXT_TOP + 16, f"batch {shape[0]:,}", "small faint"))
    return max(12.0, text_width(f"batch {shape[0]:,}", "small") - 14)


def _arrow(marks: list[Mark], x: float, text: str) -> float:
    """An arrow with the shape of the tensor; returns where it ends."""
    length = max(_ARROW, text_width(text, "small") + 8)
    marks.append(Label(x + 4 + length / 2, _MIDDLE - 7, text, "small faint", "middle"))
    marks.append(Curve((("M", (x + 4, _MIDDLE)), ("L", (x + 4 + length, _MIDDLE))), "edge", arrow=True))
    return x + length + 8


def _stage(marks: list[Mark], stage: Layer, x: float, layout: _Layout) -> float:
    """A stage with its bars; returns where it ends."""
    bars = [_bar(block, layout) for block in blocks_of(stage)]
    gap = _GAP * layout.thinning
    inner = sum(bar.width for bar in bars) + gap * (len(bars) - 1)
    lines = _texts(stage, bars)
    width = inner + 2 * _PAD
    marks.append(Box(x, _MIDDLE - _TALLEST / 2 - 36, width, _TALLEST + 48, "frame", 8))
    left = x + _PAD
    for bar in bars:
        marks.append(Group(tuple(_block(bar, left)), "block", layout.link(bar.layer), _hint(bar.layer)))
        left += bar.width + gap
    room = max(width, text_width(lines[0], "strong"), 74.0)
    for index, line in enumerate(lines):
        role = "small faint" if index else "strong"
        marks.append(Label(x, _TEXT_TOP + 16 * index, fitted(line, room + 30, role), role))
    return x + max(width, max(text_width(line, "small") for line in lines) - 44)


def _block(bar: _Bar, x: float) -> list[Mark]:
    top = _MIDDLE - bar.height / 2
    role = "block" if bar.layer.children else role_of(bar.layer.layer_type)
    marks: list[Mark] = [Box(x, top, bar.width, bar.height, f"{role} node", 3)]
    if bar.skip is None:
        return marks
    left, right, rise = x + 1, x + bar.width - 1, 16.0 + bar.width / 4
    arc = (("M", (left, top)), ("C", (left, top - rise, right, top - rise, right, top - 1)))
    if bar.skip == PROJECTION:
        middle = (left + right) / 2
        return [*marks, Curve(arc, "projection"), Box(middle - 3, top - rise * 0.75 - 3, 6, 6, "projection node")]
    return [*marks, Curve(arc, "identity"), LineMark(right, top - 1, right, top, "identity")]


def _texts(stage: Layer, bars: list[_Bar]) -> list[str]:
    """Name, types of blocks, and cost."""
    blocks = [bar.layer for bar in bars if bar.layer.children]
    types = Counter(block.layer_type for block in blocks)
    composition = [f"{count} × {name}" if count > 1 else name for name, count in types.items()][:2]
    if not blocks or blocks == [stage]:
        composition = [stage.layer_type]
    return [
        stage.name,
        *composition,
        f"{formatting.scaled(stage.parameters)} params",
        formatting.scaled(stage.macs, "MAC"),
    ]


def _hint(layer: Layer) -> str:
    return (
        f"{layer.path} · {layer.layer_type} · {shape_text(layer.input_shape)} → {shape_text(layer.output_shape)} · "
        f"{formatting.scaled(layer.parameters)} parameters · {formatting.scaled(layer.macs, 'MAC')}"
    )


def _bar(layer: Layer, layout: _Layout) -> _Bar:
    shape = layer.output_shape or ()
    channels = shape[1] if len(shape) >= 2 else 1
    width = 7.0 + 2.2 * max(0.0, math.log2(max(channels, 1)) - 4)
    return _Bar(layer, max(width * layout.thinning, _THINNEST), _height(shape, layout.image_size), skip_of(layer))


def _height(shape: Shape, image_size: float) -> float:
    """By the logarithm of the feature map's size: halving it lowers the bar by the same step each time."""
    if len(shape) != 4 or image_size <= 1:
        return _LOWEST
    share = math.log2(max(shape[2], 1)) / math.log2(image_size)
    return _LOWEST + (_TALLEST - _LOWEST) * min(share, 1.0)
