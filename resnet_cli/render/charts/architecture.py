"""The network at one sight: stages from left to right, a slab per block, shapes on the arrows, skips above."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from resnet_cli import formatting
from resnet_cli.render.charts.block_graph import PROJECTION, skip_of
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
from resnet_cli.render.charts.layer_roles import blocks_of, role_of, shape_text, stages
from resnet_cli.results.common import Shape
from resnet_cli.results.summary import Layer, SummaryResult

_MIDDLE = 122.0  # y that everything stands on the middle of
_TALLEST, _LOWEST = 168.0, 30.0
_GAP = 7.0  # between blocks
_MANY = 18  # blocks that are drawn at their usual width; more are drawn thinner
_THINNEST = 4.0
_PAD = 12.0
_TEXTS = 238.0  # y of the first line below
_ARROW = 30.0


@dataclass(frozen=True, slots=True)
class _Look:
    """What all stages of a drawing have in common."""

    side: float  # of the image, in pixels of it
    thin: float  # widths and gaps are this share of their usual ones, so that many blocks find room
    link: Callable[[Layer], str]


@dataclass(frozen=True, slots=True)
class _Slab:
    layer: Layer
    width: float
    height: float
    skip: str | None


def architecture(result: SummaryResult, link: Callable[[Layer], str] = lambda _: "") -> Drawing:
    """The stages of a network with the blocks inside them.

    Args:
        result: its layers.
        link: where a click on a block leads.
    """
    found = stages(result.root)
    marks: list[Mark] = []
    blocks = sum(len(blocks_of(stage)) for stage in found)
    side = _side(result.input.shape)
    look = _Look(side, min(1.0, _MANY / max(blocks, 1)), link)
    x = _entry(marks, result.input.shape, side)
    shape: Shape | None = result.input.shape
    for stage in found:
        x = _arrow(marks, x, shape_text(shape))
        x = _stage(marks, stage, x, look)
        shape = stage.output_shape
    x = _arrow(marks, x, shape_text(shape))
    width, height = bounds(tuple(marks))
    label = f"{result.network.name}: {len(found)} parts with {blocks} blocks, from the input to the output"
    return Drawing(max(width, x) + 2, height + 2, tuple(marks), label)


def _entry(marks: list[Mark], shape: Shape, side: float) -> float:
    height = _height(shape, side)
    marks.append(Box(1, _MIDDLE - height / 2, 12, height, "container node", 3, f"input {formatting.dimensions(shape)}"))
    marks.append(Label(0, _TEXTS, "input", "strong"))
    marks.append(Label(0, _TEXTS + 16, f"batch {shape[0]:,}", "small faint"))
    return max(12.0, text_width(f"batch {shape[0]:,}", "small") - 14)


def _arrow(marks: list[Mark], x: float, text: str) -> float:
    """An arrow with the shape of what goes along it."""
    length = max(_ARROW, text_width(text, "small") + 8)
    marks.append(Label(x + 4 + length / 2, _MIDDLE - 7, text, "small faint", "middle"))
    marks.append(Curve((("M", (x + 4, _MIDDLE)), ("L", (x + 4 + length, _MIDDLE))), "edge", arrow=True))
    return x + length + 8


def _stage(marks: list[Mark], stage: Layer, x: float, look: _Look) -> float:
    """A stage with its slabs; returns where it ends."""
    slabs = [_slab(part, look) for part in blocks_of(stage)]
    gap = _GAP * look.thin
    inner = sum(slab.width for slab in slabs) + gap * (len(slabs) - 1)
    lines = _texts(stage, slabs)
    width = inner + 2 * _PAD
    marks.append(Box(x, _MIDDLE - _TALLEST / 2 - 36, width, _TALLEST + 48, "frame", 8))
    at = x + _PAD
    for slab in slabs:
        marks.append(Group(tuple(_block(slab, at)), "block", look.link(slab.layer), _hint(slab.layer)))
        at += slab.width + gap
    room = max(width, text_width(lines[0], "strong"), 74.0)
    for index, line in enumerate(lines):
        role = "small faint" if index else "strong"
        marks.append(Label(x, _TEXTS + 16 * index, fitted(line, room + 30, role), role))
    return x + max(width, max(text_width(line, "small") for line in lines) - 44)


def _block(slab: _Slab, x: float) -> list[Mark]:
    top = _MIDDLE - slab.height / 2
    role = "conv" if slab.layer.children else role_of(slab.layer.layer_type)
    if slab.skip == PROJECTION:
        role = "activation"
    marks: list[Mark] = [Box(x, top, slab.width, slab.height, f"{role} node", 3)]
    if slab.skip is None:
        return marks
    left, right, rise = x + 1, x + slab.width - 1, 16.0 + slab.width / 4
    kind = "project" if slab.skip == PROJECTION else "skip"
    marks.append(
        Curve((("M", (left, top)), ("C", (left, top - rise, right, top - rise, right, top - 1))), kind, arrow=False)
    )
    if slab.skip == PROJECTION:
        middle = (left + right) / 2
        marks.append(Box(middle - 3, top - rise * 0.75 - 3, 6, 6, "activation node"))
    else:
        marks.append(LineMark(right, top - 1, right, top, "skip"))
    return marks


def _texts(stage: Layer, slabs: list[_Slab]) -> list[str]:
    """Name, what it is made of, and what it costs."""
    blocks = [slab.layer for slab in slabs if slab.layer.children]
    kinds: dict[str, int] = {}
    for block in blocks:
        kinds[block.layer_type] = kinds.get(block.layer_type, 0) + 1
    made = [f"{count} × {kind}" if count > 1 else kind for kind, count in kinds.items()][:2]
    if not blocks or blocks == [stage]:
        made = [stage.layer_type]
    return [
        stage.name,
        *made,
        f"{formatting.scaled(stage.parameters)} params",
        f"{formatting.scaled(stage.macs, 'MAC')}",
    ]


def _hint(layer: Layer) -> str:
    return (
        f"{layer.path} · {layer.layer_type} · {shape_text(layer.input_shape)} → {shape_text(layer.output_shape)} · "
        f"{formatting.scaled(layer.parameters)} parameters · {formatting.scaled(layer.macs, 'MAC')}"
    )


def _slab(layer: Layer, look: _Look) -> _Slab:
    shape = layer.output_shape or ()
    channels = shape[1] if len(shape) >= 2 else 1
    width = 7.0 + 2.2 * max(0.0, math.log2(max(channels, 1)) - 4)
    return _Slab(layer, max(width * look.thin, _THINNEST), _height(shape, look.side), skip_of(layer))


def _side(shape: Shape) -> float:
    return float(max(shape[2:], default=1))


def _height(shape: Shape, side: float) -> float:
    """By the logarithm of its size: each stage of half the size is lower by the same step."""
    if len(shape) != 4 or side <= 1:
        return _LOWEST
    share = math.log2(max(shape[2], 1)) / math.log2(side)
    return _LOWEST + (_TALLEST - _LOWEST) * min(share, 1.0)
