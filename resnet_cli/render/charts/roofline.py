"""The roofline: what each layer reaches, held against what its operations per byte would let it reach."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from resnet_cli import formatting
from resnet_cli.render.charts.drawing.axes import Area, Axis, LabelLayout, amount, frame, legend, positive, room, scale
from resnet_cli.render.charts.drawing.primitives import Box, Curve, Dot, Drawing, Label, Mark, fitted, text_width
from resnet_cli.render.charts.drawing.scales import Scale
from resnet_cli.render.charts.layer_roles import LEGEND, role_of
from resnet_cli.results.bench import BenchResult, Ceiling, LayerTime

_WIDTH, _HEIGHT = 860.0, 500.0
_LARGEST, _SMALLEST = 15.0, 2.5  # radii
_DOTS = 200  # more of them nobody tells apart
_NAMED = 4  # the layers that take most of the time
_NAME = 190.0  # the widest name
_HINT = 480.0


@dataclass(frozen=True, slots=True)
class _Point:
    intensity: float
    rate: float
    time: float
    share: float
    role: str
    path: str
    layers: int = 1


def roofline(result: BenchResult) -> Drawing | None:
    """Every layer by its operations per byte and per second, below the roofs that were measured.

    Args:
        result: with layers; without ceilings the points stand alone.

    Returns:
        None where no layer has a place.
    """
    layers = () if result.layers is None else result.layers.layers
    points, left_out = _points(layers)
    if not points:
        return None
    ceiling = _known(result.ceiling)
    xs, ys = [point.intensity for point in points], [point.rate for point in points]
    if ceiling is not None:
        ridge = ceiling.flops_per_s / ceiling.bytes_per_s
        xs, ys = [*xs, ridge, ridge * 3] if positive(ridge * 3) else xs, [*ys, ceiling.flops_per_s * 1.5]
    y = Axis(scale(ys, 0, 0, log=True, margin=1.6), amount("FLOP/s"), "operations per second")
    area = Area(room(y) + 8, 62, _WIDTH - 26, _HEIGHT - 40)
    x = Axis(scale(xs, area.left, area.right, log=True, margin=1.6), amount(), "operations per byte moved")
    y = Axis(scale(ys, area.bottom, area.top, log=True, margin=1.6), y.text, y.title)
    marks: list[Mark] = [*_legend(points, left_out), *frame(area, x, y)]
    places = LabelLayout()
    if ceiling is not None:
        marks += _roofs(ceiling, x.scale, y.scale, area, places)
    marks += _dots(points, x.scale, y.scale, area, places)
    return Drawing(_WIDTH, _HEIGHT, tuple(marks), _label(result, points))


def _label(result: BenchResult, points: Sequence[_Point]) -> str:
    best = max(points, key=lambda point: point.rate)
    return (
        f"{result.network.name}, roofline: {sum(point.layers for point in points):,} layers by operations per byte and "
        f"per second; the fastest reaches {formatting.scaled(best.rate, 'FLOP/s')}"
    )


def _known(ceiling: Ceiling | None) -> Ceiling | None:
    if ceiling is None or not positive(ceiling.flops_per_s) or not positive(ceiling.bytes_per_s):
        return None
    return ceiling if positive(ceiling.flops_per_s / ceiling.bytes_per_s) else None


# Points


def _points(layers: Sequence[LayerTime]) -> tuple[list[_Point], list[_Point]]:
    """The points in order of their time, the longest first, and those that there is no place for."""
    found = [point for point in map(_point, layers) if point is not None]
    if len(found) > _DOTS:
        found = _alike(found)
    found.sort(key=lambda point: -point.time)
    return found[:_DOTS], found[_DOTS:]


def _point(layer: LayerTime) -> _Point | None:
    """Where a leaf stands; operations are reckoned back from their density, which elementwise work has as well."""
    if not layer.is_leaf or not positive(layer.arithmetic_intensity) or not positive(layer.time_s):
        return None
    rate = layer.arithmetic_intensity * layer.bytes_moved / layer.time_s
    share = layer.share if positive(layer.share) else 0.0
    if not positive(rate):
        return None
    return _Point(layer.arithmetic_intensity, rate, layer.time_s, share, role_of(layer.layer_type), layer.path)


def _alike(points: Sequence[_Point]) -> list[_Point]:
    """Layers of one kind and one density as one point with the time of all: the repeated blocks of a deep network."""
    groups: dict[tuple[str, str], list[_Point]] = {}
    for point in points:
        groups.setdefault((point.role, f"{point.intensity:.2e}"), []).append(point)
    return [
        _Point(
            members[0].intensity,
            sum(one.rate * one.time for one in members) / sum(one.time for one in members),
            sum(one.time for one in members),
            sum(one.share for one in members),
            members[0].role,
            members[0].path,
            len(members),
        )
        for members in groups.values()
    ]


def _dots(points: Sequence[_Point], x: Scale, y: Scale, area: Area, places: LabelLayout) -> list[Mark]:
    """The points, large ones first so that small ones lie on top, and the names of the largest."""
    longest = points[0].time
    dots: list[Dot] = []
    for point in points:
        radius = max(_SMALLEST, _LARGEST * math.sqrt(point.time / longest))
        across = min(max(x(point.intensity), area.left + radius), area.right - radius)
        dots.append(Dot(across, min(y(point.rate), area.bottom - radius), radius, f"{point.role} dot", _hint(point)))
        places.occupy(dots[-1])
    names = [_name(point, dot, area, places) for point, dot in zip(points[:_NAMED], dots, strict=False)]
    return [*dots, *(name for name in names if name is not None)]


def _name(point: _Point, dot: Dot, area: Area, places: LabelLayout) -> Label | None:
    """Beside the dot, or below or above it, wherever nothing else is."""
    text = f"{_short(point)} {formatting.percent(point.share)}"
    half, gap = text_width(text, "small") / 2, dot.radius + 4
    tries = (
        (Label(dot.x + gap, dot.y + 4, text, "small halo"), dot.x + gap + half),
        (Label(dot.x - gap, dot.y + 4, text, "small halo", "end"), dot.x - gap - half),
        (Label(dot.x, dot.y + gap + 9, text, "small halo", "middle"), dot.x),
        (Label(dot.x, dot.y - gap, text, "small halo", "middle"), dot.x),
    )
    for label, middle in tries:
        across = area.left + half <= middle <= area.right - half
        if across and area.top + 12 < label.y < area.bottom - 4 and places.take(label):
            return label
    return None


def _short(point: _Point) -> str:
    """The path, or its end, which is what tells layers apart; of many their number."""
    name = point.path or "the network"
    if text_width(name, "small") > _NAME:
        name = fitted(".".join(name.split(".")[-2:]), _NAME, "small")
    return f"{point.layers} like {name}" if point.layers > 1 else name


def _hint(point: _Point) -> str:
    path = fitted(point.path, _HINT)
    many = f"{point.layers} layers like {path}" if point.layers > 1 else path
    rate = formatting.scaled(point.rate, "FLOP/s")
    return f"{many} · {formatting.seconds(point.time)} · {rate} · {formatting.percent(point.share)}"


def _legend(points: Sequence[_Point], left_out: Sequence[_Point]) -> list[Mark]:
    roles = {point.role for point in points}
    said = "a dot per layer, its area the time that it takes"
    if any(point.layers > 1 for point in points):
        said = "a dot for all layers that do the same, its area the time that they take"
    if left_out:
        share = formatting.percent(sum(point.share for point in left_out))
        said += f"; {len(left_out):,} small ones, {share} of the time, are not drawn"
    entries = [(f"{role} node", name) for role, name in LEGEND.items() if role in roles]
    return [
        *legend(entries, 0, 12, _WIDTH, "●"),
        Label(0, 30, fitted(said, _WIDTH, "small faint"), "small faint"),
    ]


# Roofs


def _roofs(ceiling: Ceiling, x: Scale, y: Scale, area: Area, places: LabelLayout) -> list[Mark]:
    """The slope of the memory, the flat of the arithmetic, and where one meets the other."""
    peak, slope = ceiling.flops_per_s, ceiling.bytes_per_s
    ridge = peak / slope
    low = max(x.low, y.low / slope)
    if low > ridge:
        return []
    corner = x(ridge), y(peak)
    points = ((x(low), y(slope * low)), corner, (area.right, corner[1]))
    curve = Curve((("M", points[0]), ("L", points[1]), ("L", points[2])), "roof", hint=_ridge(ridge))
    flat = formatting.scaled(peak, "FLOP/s")
    marks: list[Mark] = [
        curve,
        *_sides(corner[0], area, places),
        *_roof(f"{flat} · {_kernel(ceiling, 'compute')}", area.right, corner[1] - 8, area.right - area.left, places),
    ]
    text = f"{formatting.scaled(slope, 'B/s')} · {_kernel(ceiling, 'bandwidth')}"
    # Left of the slope, near its end, as far as there is room for it.
    share = 0.8
    at = points[0][0] + share * (corner[0] - points[0][0]), points[0][1] + share * (corner[1] - points[0][1])
    return [*marks, *_roof(text, at[0] - 10, at[1], at[0] - 10 - area.left, places)]


def _roof(text: str, right: float, y: float, wide: float, places: LabelLayout) -> list[Mark]:
    label = Label(right, y, fitted(text.removesuffix(" · "), wide, "small"), "small strong halo", "end")
    return [label] if label.text and places.take(label) else []


def _kernel(ceiling: Ceiling, of: str) -> str:
    kernels = ceiling.compute if of == "compute" else ceiling.bandwidth
    return max(kernels, key=lambda one: one.rate).name if kernels else ""


def _ridge(ridge: float) -> str:
    return f"from {formatting.scaled(ridge)} operations per byte on, arithmetic is the limit and no longer memory"


def _sides(corner: float, area: Area, places: LabelLayout) -> list[Mark]:
    """What limits a layer at each side of the ridge."""
    marks: list[Mark] = [Box(area.left, area.top, corner - area.left, area.bottom - area.top, "memory")]
    sides = ((corner - 8, "limited by memory", "end", corner - area.left),
             (corner + 8, "limited by arithmetic", "start", area.right - corner))  # fmt: skip
    for x, text, anchor, wide in sides:
        label = Label(x, area.bottom - 8, text, "small faint", anchor)
        if text_width(text, "small") + 16 < wide and places.take(label):
            marks.append(label)
    return marks
