"""Marks of the error trace: one for each operator, or one for a run of operators."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from resnet_cli.render.charts.drawing.axes import Area, dots, path, power
from resnet_cli.render.charts.drawing.primitives import Box, Curve, Dot, Mark, fitted
from resnet_cli.render.charts.drawing.scales import Scale
from resnet_cli.results.compare import AlignedOp

FLOOR = 30.0  # height of the band of 0 below the plot
ERROR_UNKNOWN = "not finite, or different shapes"
# Statuses that have a tick below the axis; each is also the role of its colour.
STATUSES = {
    "setting": "different settings",
    "replaced": "different operator",
    "missing": "only in reference",
    "extra": "only in model",
    "moved": "moved",
    "rewritten": "written otherwise",
}
_MAX_RINGS = 40  # that have a hint of their own
_DENSE_PITCH = 3.0  # pixels between operators, below which dots would merge into a line
_HIDDEN_DISTANCE = 2.5  # pixels to a dot that hides the next one
_MAX_THREADED = 300  # more dots, if dense, read as a line without a thread between them

Segments = tuple[tuple[str, tuple[float, ...]], ...]


@dataclass(frozen=True, slots=True)
class Plot:
    """The operators with the scales that place them."""

    ops: Sequence[AlignedOp]
    x: Scale  # of indices
    y: Scale  # of errors
    area: Area
    floor: float  # y of an error of 0

    def at(self, index: int) -> float:
        """The x of an operator."""
        return self.x(index + 0.5)

    @property
    def pitch(self) -> float:
        """Pixels from one operator to the next."""
        return (self.area.right - self.area.left) / len(self.ops)


def op_marks(plot: Plot) -> list[Mark]:
    """The marks of all operators, unknown errors behind the others."""
    return [*_unknown(plot), *_equal(plot), *_cumulative(plot), *_isolated(plot), *_statuses(plot)]


def has_no_error(op: AlignedOp) -> bool:
    """Whether both networks have the operator and its error is not known."""
    return op.model_path is not None and op.reference_path is not None and op.cumulative is None


def path_of(op: AlignedOp) -> str:
    """The path of an operator in the model, or in the reference for one that the model does not have."""
    return (op.reference_path if op.model_path is None else op.model_path) or "the network itself"


def _runs(flags: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """Start and end of each run of true values."""
    start = 0
    for flag, group in groupby(flags):
        end = start + len(list(group))
        if flag:
            yield start, end
        start = end


def _equal(plot: Plot) -> list[Mark]:
    """Dots in the band of 0, or where they would merge, a line for each run."""
    equal = [op.cumulative == 0 for op in plot.ops]
    if not any(equal):
        return []
    if plot.pitch >= _DENSE_PITCH:
        segments = dots((plot.at(index), plot.floor) for index, is_equal in enumerate(equal) if is_equal)
    else:
        lines = [((plot.at(start), plot.floor), (plot.at(end - 1) + 0.1, plot.floor)) for start, end in _runs(equal)]
        segments = tuple(segment for line in lines for segment in path(line))
    return [Curve(segments, "points equal", hint=f"{sum(equal):,} operators are bitwise equal")]


def _unknown(plot: Plot) -> list[Mark]:
    """A shaded column for each run of operators without a known error."""
    marks: list[Mark] = []
    for start, end in _runs([has_no_error(op) for op in plot.ops]):
        left, right = plot.x(start), plot.x(end)
        hint = f"{end - start:,} operators from {fitted(path_of(plot.ops[start]), 300)} on: {ERROR_UNKNOWN}"
        marks.append(Box(left, plot.area.top, right - left, plot.area.bottom - plot.area.top, "unknown", hint=hint))
    return marks


def _cumulative(plot: Plot) -> list[Mark]:
    """A dot for the error of each output, joined by a thread."""
    errors = [(index, plot.y(op.cumulative), op.rounding) for index, op in enumerate(plot.ops) if op.cumulative]
    marks: list[Mark] = []
    if len(errors) > 1 and (len(errors) < _MAX_THREADED or plot.pitch >= _DENSE_PITCH):
        marks.append(Curve(_thread(plot, [(index, y) for index, y, _ in errors]), "thread"))
    for role, rounding in (("rounding", True), ("different", False)):
        points = _visible((plot.at(index), y) for index, y, is_rounding in errors if is_rounding is rounding)
        if points:
            marks.append(Curve(dots(points), f"points {role}"))
    return marks


def _visible(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that do not hide behind the one before."""
    kept: list[tuple[float, float]] = []
    for x, y in points:
        if not kept or x - kept[-1][0] >= _HIDDEN_DISTANCE or abs(y - kept[-1][1]) >= _HIDDEN_DISTANCE:
            kept.append((x, y))
    return kept


def _thread(plot: Plot, points: Sequence[tuple[int, float]]) -> Segments:
    """A line from point to point, interrupted where an error between them is not known."""
    segments: list[tuple[str, tuple[float, ...]]] = []
    before: int | None = None
    for index, y in points:
        is_joined = before is not None and not any(map(has_no_error, plot.ops[before:index]))
        segments.append(("L" if is_joined else "M", (plot.at(index), y)))
        before = index
    return tuple(segments)


def _isolated(plot: Plot) -> list[Mark]:
    """A ring for the error of each operator alone, when fed the reference's input."""
    rings = [(plot.at(index), plot.y(op.isolated), op) for index, op in enumerate(plot.ops) if op.isolated]
    if len(rings) <= _MAX_RINGS:
        return [Dot(x, y, 5, "isolated near" if op.rounding else "isolated", _hint(op)) for x, y, op in rings]
    marks: list[Mark] = []
    for role, rounding in (("points isolated near", True), ("points isolated", False)):
        points = _visible((x, y) for x, y, op in rings if op.rounding is rounding)
        if points:
            marks.append(Curve(dots(points), role))
    return marks


def _hint(op: AlignedOp) -> str:
    parts = [fitted(path_of(op), 400), op.model_op or op.reference_op or ""]
    for name, error in (("isolated", op.isolated), ("cumulative", op.cumulative)):
        if error is not None:
            parts.append(f"{name} error {power(error)}")
    return " · ".join(part for part in parts if part)


def _statuses(plot: Plot) -> list[Mark]:
    """Below the axis a tick for each operator that is not paired with an equal one."""
    top = plot.area.bottom + FLOOR + 3
    marks: list[Mark] = []
    for status, meaning in STATUSES.items():
        indices = [index for index, op in enumerate(plot.ops) if op.status == status]
        points = _visible((plot.at(index), top) for index in indices)
        ticks = tuple(segment for x, _ in points for segment in (("M", (x, top)), ("l", (0.0, 9.0))))
        if ticks:
            hint = f"{meaning}: {', '.join(fitted(path_of(plot.ops[index]), 200) for index in indices[:8])}"
            hint += f" and {len(indices) - 8:,} more" if len(indices) > 8 else ""
            marks.append(Curve(ticks, status, hint=hint))
    return marks
