"""The frame of a plot: area, axes with ticks, grid lines, titles, legend, and label placement."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from resnet_cli import formatting
from resnet_cli.render.charts.drawing import scales
from resnet_cli.render.charts.drawing.primitives import Box, Curve, Dot, Label, LineMark, Mark, fitted, text_width
from resnet_cli.render.charts.drawing.scales import Scale

_OVERHANG = 14.0  # of a text beyond the right end of its axis


@dataclass(frozen=True, slots=True)
class Area:
    """The rectangle inside the axes."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Axis:
    """A scale with the format of its values and a title."""

    scale: Scale
    text: Callable[[float], str]
    title: str = ""
    ticks: tuple[float, ...] | None = None  # None: round values
    most: int = 6  # ticks
    grid: bool = True
    room: float = 84.0  # largest width of a tick's text


@dataclass(slots=True)
class LabelLayout:
    """The rectangles that labels occupy, so that no label covers another."""

    taken: list[tuple[float, float, float, float]] = field(default_factory=list)

    def occupy(self, dot: Dot) -> None:
        """Occupy the place of a dot."""
        reach = dot.radius * 0.8
        self.taken.append((dot.x - reach, dot.y - reach, dot.x + reach, dot.y + reach))

    def take(self, label: Label) -> bool:
        """Occupy the place of a label; False if something occupies it already."""
        left, top, right, bottom = extent(label)
        if any(left < x2 and x1 < right and top < y2 and y1 < bottom for x1, y1, x2, y2 in self.taken):
            return False
        self.taken.append((left, top, right, bottom))
        return True


def extent(label: Label) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a label."""
    width = text_width(label.text, label.role)
    left = label.x - {"start": 0.0, "middle": 0.5, "end": 1.0}[label.anchor] * width
    return left, label.y - 9.0, left + width, label.y + 3.0


def scale(values: Sequence[float], start: float, end: float, *, log: bool, margin: float | None = None) -> Scale:
    """A scale that holds all values, of which there is one at least."""
    if log:
        return scales.logarithmic(values, start, end, 1.3 if margin is None else margin)
    return scales.linear(values, start, end, margin=0.04 if margin is None else margin)


def plain(text: str) -> str:
    """A formatted value without trailing zeros: "20.00 ms" -> "20 ms"."""
    return re.sub(r"(\.[0-9]*?)0+(?![0-9])", lambda match: "" if match[1] == "." else match[1], text)


def seconds(value: float) -> str:
    """A time on an axis."""
    return plain(formatting.seconds(value))


def percent(value: float) -> str:
    """A fraction on an axis."""
    return plain(formatting.percent(value))


def amount(unit: str = "") -> Callable[[float], str]:
    """A formatter of values with an SI prefix."""

    def text(value: float) -> str:
        return f"{value:g} {unit}".rstrip() if 0 < abs(value) < 0.1 else plain(formatting.scaled(value, unit))

    return text


def power(value: float) -> str:
    """A relative error: 1e-07; around 1 without an exponent."""
    return f"{value:g}" if value == 0 or 0.1 <= abs(value) < 1000 else f"{value:.1e}".replace(".0e", "e")


def texts(axis: Axis) -> tuple[tuple[float, str], ...]:
    """The ticks of an axis with their texts; of ticks with the same text, the first."""
    ticks = axis.scale.ticks(axis.most) if axis.ticks is None else axis.ticks
    if axis.ticks is None and len(ticks) < 2:
        ticks = replace(axis.scale, logarithmic=False).ticks(axis.most)
    ticks_by_text: dict[str, float] = {}
    for tick in ticks:
        if axis.scale.low <= tick <= axis.scale.high:
            ticks_by_text.setdefault(fitted(axis.text(tick), axis.room, "small"), tick)
    return tuple((tick, text) for text, tick in ticks_by_text.items())


def room(axis: Axis) -> float:
    """The width of a vertical axis's texts."""
    return max((text_width(text, "small") for _, text in texts(axis)), default=0.0)


def horizontal(axis: Axis, area: Area) -> list[Mark]:
    """The axis below a plot, with its title below it at the right."""
    marks: list[Mark] = []
    free, taken = -math.inf, []
    for tick, text in texts(axis):
        x, half = axis.scale(tick), text_width(text, "small") / 2
        if axis.grid:
            taken.append((x, area.top, area.bottom))
        x = min(x, area.right + _OVERHANG - half)
        if x - half >= free:
            marks.append(Label(x, area.bottom + 16, text, "small faint", "middle"))
            free = x + half + 6
    title = fitted(axis.title, area.right - area.left, "small faint")
    if title:
        marks.append(Label(area.right, area.bottom + 32, title, "small faint", "end"))
    return [*_grid((("M", (x, top)), ("L", (x, bottom))) for x, top, bottom in taken), *marks]


def vertical(axis: Axis, area: Area) -> list[Mark]:
    """The axis at the left of a plot, with its title above it."""
    marks: list[Mark] = []
    free, taken = math.inf, []
    for tick, text in texts(axis):
        y = axis.scale(tick)
        if axis.grid:
            taken.append(y)
        if y + 4 <= free:
            marks.append(Label(area.left - 8, y + 4, text, "small faint", "end"))
            free = y - 8
    lines = _grid((("M", (area.left, y)), ("L", (area.right, y))) for y in taken)
    if axis.title:
        title = fitted(axis.title, area.right - area.left + room(axis), "small faint")
        marks.append(Label(area.left - 8 - room(axis), area.top - 12, title, "small faint"))
    return [*lines, *marks]


def frame(area: Area, x: Axis | None, y: Axis | None) -> list[Mark]:
    """Both axes with their grids, and the base line."""
    return [
        *(vertical(y, area) if y is not None else []),
        *(horizontal(x, area) if x is not None else []),
        LineMark(area.left, area.bottom, area.right, area.bottom, "axis"),
    ]


def legend(entries: Iterable[tuple[str, str]], x: float, y: float, right: float, sign: str = "■") -> list[Mark]:
    """Names with the colours of their roles in one row; names without room are counted.

    Args:
        entries: role and name.
        x: where it begins.
        y: of the baseline.
        right: where it has to end.
        sign: the sample of a colour.
    """
    marks: list[Mark] = []
    entries = tuple(entries)
    for index, (role, name) in enumerate(entries):
        remaining = len(entries) - index - 1
        more = f"and {remaining:,} more"
        text = fitted(name, 220, "small")
        end = x + 16 + text_width(text, "small")
        if end > right - (text_width(more, "small") + 16 if remaining else 0):
            marks.append(Label(x, y, fitted(f"and {remaining + 1:,} more", right - x, "small"), "small faint"))
            break
        marks += [swatch(x, y, role, sign), Label(x + 16, y, text, "small")]
        x = end + 16
    return marks


def swatch(x: float, y: float, role: str, sign: str = "■") -> Mark:
    """A sample of a colour beside a baseline."""
    if sign == "●":
        return Dot(x + 5, y - 4, 4.5, role)
    return Box(x, y - 9, 10, 10, role, 2)


def path(points: Iterable[tuple[float, float]]) -> tuple[tuple[str, tuple[float, ...]], ...]:
    """Segments from point to point."""
    return tuple(("L" if index else "M", point) for index, point in enumerate(points))


def dots(points: Iterable[tuple[float, float]]) -> tuple[tuple[str, tuple[float, ...]], ...]:
    """Dots as one path: segments of almost no length, drawn with round ends."""
    return tuple(segment for x, y in points for segment in (("M", (x, y)), ("l", (0.1, 0.0))))


def _grid(lines: Iterable[tuple[tuple[str, tuple[float, ...]], ...]]) -> list[Mark]:
    """The lines of a grid as one mark."""
    segments = tuple(segment for line in lines for segment in line)
    return [Curve(segments, "grid")] if segments else []
