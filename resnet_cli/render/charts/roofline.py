"""Roofline chart: the FLOP/s of each layer by its arithmetic intensity, below the measured roofs.

After Williams, Waterman and Patterson, "Roofline: an insightful visual performance model", CACM 52 (2009).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from resnet_cli import formatting
from resnet_cli.render.charts.drawing.axes import Area, Axis, LabelLayout, amount, frame, legend, room, scale
from resnet_cli.render.charts.drawing.primitives import Box, Curve, Dot, Drawing, Label, Mark, fitted, text_width
from resnet_cli.render.charts.drawing.scales import Scale
from resnet_cli.render.charts.grouping import NetworkResults
from resnet_cli.render.charts.layer_roles import LEGEND, role_of
from resnet_cli.render.charts.panel import Panel, per_network
from resnet_cli.results.bench import BenchResult, Ceiling, Kernel, LayerTime

_WIDTH, _HEIGHT = 860.0, 500.0
_LARGEST, _SMALLEST = 15.0, 2.5  # radii
_MAX_DOTS = 200  # more cannot be told apart
_NAMED = 4  # layers with a label: those that take most of the time
_NAME_WIDTH = 190.0
_HINT_WIDTH = 480.0


@dataclass(frozen=True, slots=True)
class _Point:
    """A layer, or several that do the same."""

    intensity: float  # FLOP/byte
    rate: float  # FLOP/s
    time_s: float
    share: float  # of the time of all layers
    role: str
    path: str  # of the first layer
    layers: int = 1


def panels(networks: Sequence[NetworkResults]) -> list[Panel]:
    """A panel for each network with layer times."""
    return per_network(networks, lambda network: None if network.bench is None else roofline(network.bench))


def roofline(result: BenchResult) -> Drawing | None:
    """Every layer by FLOP/byte and FLOP/s, below the roofs that were measured.

    Args:
        result: with layer times; without a ceiling the points stand alone.

    Returns:
        None where no layer has both a time and an arithmetic intensity.
    """
    points, left_out = _points(() if result.layers is None else result.layers.layers)
    if not points:
        return None
    ceiling = result.ceiling
    xs, ys = [point.intensity for point in points], [point.rate for point in points]
    if ceiling is not None:
        ridge = ceiling.flops_per_s / ceiling.bytes_per_s
        xs, ys = [*xs, ridge, ridge * 3], [*ys, ceiling.flops_per_s * 1.5]
    y = Axis(scale(ys, 0, 0, log=True, margin=1.6), amount("FLOP/s"), "FLOP/s")
    area = Area(room(y) + 8, 62, _WIDTH - 26, _HEIGHT - 40)
    x = Axis(scale(xs, area.left, area.right, log=True, margin=1.6), amount(), "arithmetic intensity (FLOP/byte)")
    y = Axis(scale(ys, area.bottom, area.top, log=True, margin=1.6), y.text, y.title)
    marks: list[Mark] = [*_legend(points, left_out), *frame(area, x, y)]
    layout = LabelLayout()
    dots = _dots(points, x.scale, y.scale, area)
    for dot in dots:
        layout.occupy(dot)
    if ceiling is not None:
        marks += _roofs(ceiling, x.scale, y.scale, area, layout)
    marks += [*dots, *_names(points, dots, area, layout)]
    fastest = formatting.scaled(max(point.rate for point in points), "FLOP/s")
    count = sum(point.layers for point in points)
    label = f"{result.network.name}, roofline: {count:,} layers by FLOP/byte and FLOP/s; the fastest reaches {fastest}"
    return Drawing(_WIDTH, _HEIGHT, tuple(marks), label)


# Points


def _points(layers: Sequence[LayerTime]) -> tuple[list[_Point], list[_Point]]:
    """The points that are drawn, longest time first, and those that are not."""
    points = [point for point in map(_point, layers) if point is not None]
    if len(points) > _MAX_DOTS:
        points = _merged(points)
    points.sort(key=lambda point: -point.time_s)
    return points[:_MAX_DOTS], points[_MAX_DOTS:]


def _point(layer: LayerTime) -> _Point | None:
    """A leaf as a point; its FLOPs follow from its intensity, which elementwise layers have as well."""
    if not layer.is_leaf or not layer.arithmetic_intensity or not layer.time_s:
        return None
    rate = layer.arithmetic_intensity * layer.bytes_moved / layer.time_s
    return _Point(
        layer.arithmetic_intensity, rate, layer.time_s, layer.share or 0.0, role_of(layer.layer_type), layer.path
    )


def _merged(points: Sequence[_Point]) -> list[_Point]:
    """Layers of the same role and intensity as one point: the repeated blocks of a deep network."""
    groups: dict[tuple[str, str], list[_Point]] = {}
    for point in points:
        groups.setdefault((point.role, f"{point.intensity:.2e}"), []).append(point)
    merged = []
    for members in groups.values():
        time_s = sum(point.time_s for point in members)
        rate = sum(point.rate * point.time_s for point in members) / time_s
        share, first = sum(point.share for point in members), members[0]
        merged.append(_Point(first.intensity, rate, time_s, share, first.role, first.path, len(members)))
    return merged


def _dots(points: Sequence[_Point], x: Scale, y: Scale, area: Area) -> list[Dot]:
    """Large points first, so that small ones lie on top."""
    longest = points[0].time_s
    dots: list[Dot] = []
    for point in points:
        radius = max(_SMALLEST, _LARGEST * math.sqrt(point.time_s / longest))
        across = min(max(x(point.intensity), area.left + radius), area.right - radius)
        dots.append(Dot(across, min(y(point.rate), area.bottom - radius), radius, f"{point.role} dot", _hint(point)))
    return dots


def _names(points: Sequence[_Point], dots: Sequence[Dot], area: Area, layout: LabelLayout) -> list[Mark]:
    """The names of the largest dots."""
    names = [_name(point, dot, area, layout) for point, dot in zip(points[:_NAMED], dots, strict=False)]
    return [name for name in names if name is not None]


def _name(point: _Point, dot: Dot, area: Area, layout: LabelLayout) -> Label | None:
    """A label beside, below or above the dot, wherever there is room."""
    text = f"{_short_path(point)} {formatting.percent(point.share)}"
    half, gap = text_width(text, "small") / 2, dot.radius + 4
    candidates = (
        (Label(dot.x + gap, dot.y + 4, text, "small halo"), dot.x + gap + half),
        (Label(dot.x - gap, dot.y + 4, text, "small halo", "end"), dot.x - gap - half),
        (Label(dot.x, dot.y + gap + 9, text, "small halo", "middle"), dot.x),
        (Label(dot.x, dot.y - gap, text, "small halo", "middle"), dot.x),
    )
    for label, middle in candidates:
        is_inside = area.left + half <= middle <= area.right - half and area.top + 12 < label.y < area.bottom - 4
        if is_inside and layout.take(label):
            return label
    return None


def _short_path(point: _Point) -> str:
    """The path, or its last two names where it is too long."""
    name = point.path or "the network"
    if text_width(name, "small") > _NAME_WIDTH:
        name = fitted(".".join(name.split(".")[-2:]), _NAME_WIDTH, "small")
    return f"{point.layers} like {name}" if point.layers > 1 else name


def _hint(point: _Point) -> str:
    path = fitted(point.path, _HINT_WIDTH)
    name = f"{point.layers} layers like {path}" if point.layers > 1 else path
    rate = formatting.scaled(point.rate, "FLOP/s")
    return f"{name} · {formatting.seconds(point.time_s)} · {rate} · {formatting.percent(point.share)}"


def _legend(points: Sequence[_Point], left_out: Sequence[_Point]) -> list[Mark]:
    roles = {point.role for point in points}
    text = "one dot per layer; area = time"
    if any(point.layers > 1 for point in points):
        text = "one dot for all layers with the same role and intensity; area = their time"
    if left_out:
        share = formatting.percent(sum(point.share for point in left_out))
        text += f"; {len(left_out):,} small ones ({share} of the time) are not drawn"
    entries = [(f"{role} node", meaning) for role, meaning in LEGEND.items() if role in roles]
    return [
        *legend(entries, 0, 12, _WIDTH, "●"),
        Label(0, 30, fitted(text, _WIDTH, "small faint"), "small faint"),
    ]


# Roofs


def _roofs(ceiling: Ceiling, x: Scale, y: Scale, area: Area, layout: LabelLayout) -> list[Mark]:
    """The slope of the memory bandwidth up to the ridge point, and from there the flat roof of the peak FLOP/s."""
    peak, bandwidth = ceiling.flops_per_s, ceiling.bytes_per_s
    ridge = peak / bandwidth
    low = max(x.low, y.low / bandwidth)
    if low > ridge:
        return []
    start, corner = (x(low), y(bandwidth * low)), (x(ridge), y(peak))
    hint = f"ridge point: layers above {formatting.scaled(ridge)} FLOP/byte are compute-bound"
    curve = Curve((("M", start), ("L", corner), ("L", (area.right, corner[1]))), "roof", hint=hint)
    flat = f"{formatting.scaled(peak, 'FLOP/s')} · {_fastest(ceiling.compute)}"
    slope = f"{formatting.scaled(bandwidth, 'B/s')} · {_fastest(ceiling.bandwidth)}"
    # The label of the slope stands to its left, near its upper end.
    at = start[0] + 0.8 * (corner[0] - start[0]) - 10, start[1] + 0.8 * (corner[1] - start[1])
    return [
        curve,
        *_bounds(corner[0], area, layout),
        *_roof_label(flat, area.right, (corner[1] - 8, corner[1] - 24), area.right - area.left, layout),
        *_roof_label(slope, at[0], (at[1],), at[0] - area.left, layout),
    ]


def _roof_label(text: str, right: float, ys: Sequence[float], width: float, layout: LabelLayout) -> list[Mark]:
    """A label at the first height where there is room."""
    text = fitted(text.removesuffix(" · "), width, "small")
    labels = (Label(right, y, text, "small strong halo", "end") for y in ys)
    label = next((label for label in labels if text and layout.take(label)), None)
    return [] if label is None else [label]


def _fastest(kernels: Sequence[Kernel]) -> str:
    return max(kernels, key=lambda kernel: kernel.rate).name if kernels else ""


def _bounds(corner: float, area: Area, layout: LabelLayout) -> list[Mark]:
    """What limits a layer on each side of the ridge point."""
    marks: list[Mark] = [Box(area.left, area.top, corner - area.left, area.bottom - area.top, "memory")]
    for x, text, anchor, width in (
        (corner - 8, "memory-bound", "end", corner - area.left),
        (corner + 8, "compute-bound", "start", area.right - corner),
    ):
        label = Label(x, area.bottom - 8, text, "small faint", anchor)
        if text_width(text, "small") + 16 < width and layout.take(label):
            marks.append(label)
    return marks
