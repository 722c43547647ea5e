"""What stands in the plot of the deviations: a mark for each operator, or one for a run of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from resnet_cli.render.charts.drawing.axes import Area, dots, path, positive, power
from resnet_cli.render.charts.drawing.primitives import Box, Curve, Dot, Mark, fitted
from resnet_cli.render.charts.drawing.scales import Scale
from resnet_cli.results.compare import AlignedOp as Pair

FLOOR = 30.0  # height of the band of 0 below the plot
_RINGS = 40  # that have a hint of their own
_DENSE = 3.0  # pixels from operator to operator, below which dots would be one
_HIDDEN = 2.5  # pixels from a dot to one that hides behind it
_THREADED = 300  # so many dots in a row need no thread between them
UNKNOWN = "not finite, or of another shape"
STATUSES = {
    "setting": ("series1", "another setting"),
    "replaced": ("series3", "another operator"),
    "missing": ("series5", "missing in ours"),
    "extra": ("series4", "in ours alone"),
    "moved": ("series2", "moved"),
}


@dataclass(frozen=True, slots=True)
class Plot:
    """The operators and the scales that they stand on."""

    lines: Sequence[Pair]
    x: Scale
    y: Scale
    area: Area
    floor: float  # y of what is equal

    def at(self, index: int) -> float:
        """The x of an operator."""
        return self.x(index + 0.5)

    @property
    def pitch(self) -> float:
        """From an operator to the next."""
        return (self.area.right - self.area.left) / len(self.lines)


def points(plot: Plot) -> list[Mark]:
    """All operators: equal ones on the floor, errors on the scale, what cannot be told behind them."""
    return [*_unknown(plot), *_equal(plot), *_cumulative(plot), *_isolated(plot), *_statuses(plot)]


def is_unknown(line: Pair) -> bool:
    """Both sides have it, and yet nothing can be said of what it gives."""
    return line.model_path is not None and line.reference_path is not None and not _finite(line.cumulative)


def _finite(value: float | None) -> bool:
    return value is not None and (value == 0 or positive(abs(value)))


def path_of(line: Pair) -> str:
    """Where an operator runs: in ours, or in the other where ours has none."""
    found = line.model_path if line.model_path is not None else line.reference_path
    return found or "the network itself"


# Runs of operators


def _runs(having: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """From where to where something holds."""
    start = 0
    for holds, group in groupby(having):
        end = start + len(list(group))
        if holds:
            yield start, end
        start = end


def _row(plot: Plot, spots: Sequence[tuple[int, float]]) -> tuple[tuple[str, tuple[float, ...]], ...]:
    """Dots at one height, or where they would touch, a line from the first to the last of each run."""
    if plot.pitch >= _DENSE:
        return dots((plot.at(index), height) for index, height in spots)
    there = {index for index, _ in spots}
    height = spots[0][1]
    runs = _runs([index in there for index in range(len(plot.lines))])
    return tuple(
        segment for start, end in runs for segment in path(((plot.at(start), height), (plot.at(end - 1) + 0.1, height)))
    )


def _equal(plot: Plot) -> list[Mark]:
    """Everything that gives the same bits."""
    spots = [(index, plot.floor) for index, line in enumerate(plot.lines) if line.cumulative == 0]
    if not spots:
        return []
    return [Curve(_row(plot, spots), "points equal", hint=f"{len(spots):,} operators give the same bits")]


def _unknown(plot: Plot) -> list[Mark]:
    """Where no error can be told, in words where there is room for them."""
    unknown = [is_unknown(line) for line in plot.lines]
    marks: list[Mark] = []
    for start, end in list(_runs(unknown))[:60]:
        left, right = plot.x(start), plot.x(end)
        hint = f"{end - start:,} operators from {fitted(path_of(plot.lines[start]), 300)} on: {UNKNOWN}"
        marks.append(Box(left, plot.area.top, right - left, plot.area.bottom - plot.area.top, "unknown", hint=hint))
    return marks


def _cumulative(plot: Plot) -> list[Mark]:
    """What the networks give at each operator: a thread from one to the next, a dot for each."""
    spots = [
        (index, plot.y(abs(line.cumulative)), line.rounding)
        for index, line in enumerate(plot.lines)
        if line.cumulative is not None and positive(abs(line.cumulative))
    ]
    marks: list[Mark] = []
    if len(spots) > 1 and (len(spots) < _THREADED or plot.pitch >= _DENSE):
        marks.append(Curve(_thread(plot, spots), "thread"))
    for role, rounding in (("rounding", True), ("different", False)):
        there = _apart((plot.at(index), y) for index, y, near in spots if near is rounding)
        if there:
            marks.append(Curve(dots(there), f"points {role}"))
    return marks


def _apart(spots: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those that do not hide behind the one before."""
    kept: list[tuple[float, float]] = []
    for x, y in spots:
        if not kept or x - kept[-1][0] >= _HIDDEN or abs(y - kept[-1][1]) >= _HIDDEN:
            kept.append((x, y))
    return kept


def _thread(plot: Plot, spots: Sequence[tuple[int, float, bool]]) -> tuple[tuple[str, tuple[float, ...]], ...]:
    """Broken where no error is known."""
    segments: list[tuple[str, tuple[float, ...]]] = []
    before = None
    for index, y, _ in spots:
        joined = before is not None and not any(is_unknown(line) for line in plot.lines[before:index][:40])
        segments.append(("L" if joined else "M", (plot.at(index), y)))
        before = index
    return tuple(segments)


def _isolated(plot: Plot) -> list[Mark]:
    """What our operator alone adds, on the reference's own inputs."""
    spots = [
        (plot.at(index), plot.y(abs(line.isolated)), line)
        for index, line in enumerate(plot.lines)
        if line.isolated is not None and positive(abs(line.isolated))
    ]
    if len(spots) > _RINGS:
        return [
            Curve(dots(_apart((x, y) for x, y, line in spots if line.rounding is near)), role)
            for role, near in (("points isolated near", True), ("points isolated", False))
            if any(line.rounding is near for _, _, line in spots)
        ]
    return [Dot(x, y, 5, "isolated near" if line.rounding else "isolated", _hint(line)) for x, y, line in spots]


def _hint(line: Pair) -> str:
    parts = [fitted(path_of(line), 400), line.model_op or line.reference_op or ""]
    for name, value in (("on the same input", line.isolated), ("so far", line.cumulative)):
        if value is not None and _finite(value):
            parts.append(f"{name} {power(value)}")
    return " · ".join(part for part in parts if part)


def _statuses(plot: Plot) -> list[Mark]:
    """Below the axis a tick for each operator that is not the same as it stands."""
    top = plot.area.bottom + FLOOR + 3
    marks: list[Mark] = []
    for status, (role, name) in STATUSES.items():
        there = [index for index, line in enumerate(plot.lines) if line.status == status]
        places = _apart((plot.at(index), top) for index in there)
        ticks = [segment for x, _ in places for segment in (("M", (x, top)), ("l", (0.0, 9.0)))]
        if ticks:
            hint = f"{name}: {', '.join(fitted(path_of(plot.lines[index]), 200) for index in there[:8])}"
            hint += f" and {len(there) - 8:,} more" if len(there) > 8 else ""
            marks.append(Curve(tuple(ticks), role, hint=hint))
    return marks
