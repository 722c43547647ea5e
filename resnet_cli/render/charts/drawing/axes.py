"""The frame of a plot: its area, axes with ticks that read as figures do everywhere, grid lines, titles."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeGuard

from resnet_cli import formatting
from resnet_cli.render.charts.drawing import scales
from resnet_cli.render.charts.drawing.primitives import Box, Curve, Dot, Label, LineMark, Mark, fitted, text_width
from resnet_cli.render.charts.drawing.scales import Scale

_BEYOND = 14.0  # that a text may reach beyond the right end of its axis
_BIGGEST = 1e30  # beyond it a figure is no measurement
_SMALLEST = 1e-30


@dataclass(frozen=True, slots=True)
class Area:
    """Where a plot is: inside of its axes."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Axis:
    """A scale, how its figures read, and what they are."""

    scale: Scale
    text: Callable[[float], str]
    title: str = ""
    ticks: tuple[float, ...] | None = None  # None: round ones
    most: int = 6
    grid: bool = True
    room: float = 84.0  # that no text of a tick is wider than


@dataclass(slots=True)
class LabelLayout:
    """The rectangles that labels have taken, so that the next one keeps off them."""

    taken: list[tuple[float, float, float, float]] = field(default_factory=list)

    def occupy(self, dot: Dot) -> None:
        """Keep labels off a dot."""
        reach = dot.radius * 0.8
        self.taken.append((dot.x - reach, dot.y - reach, dot.x + reach, dot.y + reach))

    def take(self, label: Label) -> bool:
        """Whether a label has its place to itself; if so, it is taken."""
        left, top, right, bottom = extent(label)
        if any(left < one[2] and one[0] < right and top < one[3] and one[1] < bottom for one in self.taken):
            return False
        self.taken.append((left, top, right, bottom))
        return True


def extent(label: Label) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a label."""
    width = text_width(label.text, label.role)
    left = label.x - {"start": 0.0, "middle": 0.5, "end": 1.0}[label.anchor] * width
    return left, label.y - 9.0, left + width, label.y + 3.0


def is_finite(value: float | None) -> TypeGuard[float]:
    """Whether a figure is one that a plot can show: finite, and of this world."""
    return value is not None and math.isfinite(value) and abs(value) <= _BIGGEST


def positive(value: float | None) -> TypeGuard[float]:
    """The same, and above 0, as a logarithmic scale wants it."""
    return is_finite(value) and value >= _SMALLEST


def scale(values: Sequence[float], start: float, end: float, *, log: bool, margin: float | None = None) -> Scale:
    """A scale that holds all values, of which there is one at least; a logarithmic one holds those above 0."""
    if log:
        return scales.logarithmic(values, start, end, 1.3 if margin is None else margin)
    made = scales.linear(values, start, end, margin=0.04 if margin is None else margin)
    # So near to each other that no figure between them could be told from them.
    tiny = max(abs(made.low), abs(made.high)) * 1e-9
    if made.high - made.low > max(tiny, _SMALLEST):
        return made
    return replace(made, low=made.low - max(tiny, _SMALLEST), high=made.high + max(tiny, _SMALLEST))


def plain(text: str) -> str:
    """A figure without the zeros that say nothing on an axis: "20.00 ms" -> "20 ms"."""
    return re.sub(r"(\.[0-9]*?)0+(?![0-9])", lambda found: "" if found[1] == "." else found[1], text)


def seconds(value: float) -> str:
    """A time on an axis."""
    return plain(formatting.seconds(value))


def percent(value: float) -> str:
    """A share on an axis."""
    return plain(formatting.percent(value))


def amount(unit: str = "") -> Callable[[float], str]:
    """A figure on an axis, with a prefix."""

    def text(value: float) -> str:
        return f"{value:g} {unit}".rstrip() if 0 < abs(value) < 0.1 else plain(formatting.scaled(value, unit))

    return text


def power(value: float) -> str:
    """A relative error on an axis: 1e-07; around 1 as a plain figure."""
    return f"{value:g}" if value == 0 or 0.1 <= abs(value) < 1000 else f"{value:.1e}".replace(".0e", "e")


def texts(axis: Axis) -> tuple[tuple[float, str], ...]:
    """The ticks of an axis with their texts; of two that read alike, the first."""
    ticks = axis.scale.ticks(axis.most) if axis.ticks is None else axis.ticks
    if axis.ticks is None and len(ticks) < 2:
        ticks = replace(axis.scale, logarithmic=False).ticks(axis.most)
    found: dict[str, float] = {}
    for tick in ticks:
        if axis.scale.low <= tick <= axis.scale.high:
            found.setdefault(fitted(axis.text(tick), axis.room, "small"), tick)
    return tuple((tick, text) for text, tick in found.items())


def room(axis: Axis) -> float:
    """How wide the texts of a vertical axis are."""
    return max((text_width(text, "small") for _, text in texts(axis)), default=0.0)


def horizontal(axis: Axis, area: Area) -> list[Mark]:
    """The axis below a plot; its title stands below it, at the right."""
    marks: list[Mark] = []
    free, taken = -math.inf, []
    for tick, text in texts(axis):
        x, half = axis.scale(tick), text_width(text, "small") / 2
        if axis.grid:
            taken.append((x, area.top, area.bottom))
        x = min(x, area.right + _BEYOND - half)
        if x - half >= free:
            marks.append(Label(x, area.bottom + 16, text, "small faint", "middle"))
            free = x + half + 6
    title = fitted(axis.title, area.right - area.left, "small faint")
    if title:
        marks.append(Label(area.right, area.bottom + 32, title, "small faint", "end"))
    return [*_grid((("M", (x, top)), ("L", (x, bottom))) for x, top, bottom in taken), *marks]


def vertical(axis: Axis, area: Area) -> list[Mark]:
    """The axis at the left of a plot; its title stands above it."""
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
        wide = area.right - area.left + room(axis)
        title = fitted(axis.title, wide, "small faint")
        marks.append(Label(area.left - 8 - room(axis), area.top - 12, title, "small faint"))
    return [*lines, *marks]


def frame(area: Area, x: Axis | None, y: Axis | None) -> list[Mark]:
    """Both axes, the grid behind, and the line that a plot stands on."""
    return [
        *(vertical(y, area) if y is not None else []),
        *(horizontal(x, area) if x is not None else []),
        LineMark(area.left, area.bottom, area.right, area.bottom, "axis"),
    ]


def legend(entries: Iterable[tuple[str, str]], x: float, y: float, right: float, sign: str = "■") -> list[Mark]:
    """Names with the colours of their roles in one row; what has no place is counted.

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
        left = len(entries) - index - 1
        more = f"and {left:,} more"
        said = fitted(name, 220, "small")
        end = x + 16 + text_width(said, "small")
        if end > right - (text_width(more, "small") + 16 if left else 0):
            marks.append(Label(x, y, fitted(f"and {left + 1:,} more", right - x, "small"), "small faint"))
            break
        marks += [swatch(x, y, role, sign), Label(x + 16, y, said, "small")]
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
    """Segments of next to no length, which round ends make dots of: a thousand for the price of one mark."""
    return tuple(segment for x, y in points for segment in (("M", (x, y)), ("l", (0.1, 0.0))))


def _grid(lines: Iterable[tuple[tuple[str, tuple[float, ...]], ...]]) -> list[Mark]:
    """All lines of a grid as one mark."""
    segments = tuple(segment for line in lines for segment in line)
    return [Curve(segments, "grid")] if segments else []
