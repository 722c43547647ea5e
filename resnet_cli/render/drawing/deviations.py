"""Where two networks part: the relative error at each operator, in the order in which they run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from resnet_cli.parity_results import Line as Pair
from resnet_cli.parity_results import ParityResult
from resnet_cli.render.drawing.axes import Area, Axis, Places, dots, frame, legend, path, positive, power, scale
from resnet_cli.render.drawing.marks import Box, Curve, Dot, Drawing, Label, Line, Mark, fitted, text_width
from resnet_cli.render.drawing.scales import Scale

_WIDTH = 1060.0
_LEFT, _RIGHT = 78.0, 940.0
_TOP = 70.0
_TALL, _LOW = 190.0, 104.0  # the plot; where nothing differs it is lower
_FLOOR = 30.0  # the band of 0 below it
_LANE = 14.0  # of what differs by its settings
_RINGS = 40  # that have a hint of their own
_DENSE = 3.0  # pixels from operator to operator, below which dots would be one
_HIDDEN = 2.5  # pixels from a dot to one that hides behind it
_THREADED = 300  # so many dots in a row need no thread between them
_EMPTY = (1e-8, 1.0)  # the scale where nothing differs
_UNKNOWN = "not finite, or of another shape"
_STATUS = {
    "setting": ("series1", "another setting"),
    "replaced": ("series3", "another operator"),
    "missing": ("series5", "missing in ours"),
    "extra": ("series4", "in ours alone"),
    "moved": ("series2", "moved"),
}


@dataclass(frozen=True, slots=True)
class _Plot:
    lines: Sequence[Pair]
    x: Scale
    y: Scale
    area: Area
    floor: float  # y of what is equal

    def at(self, index: int) -> float:
        return self.x(index + 0.5)

    @property
    def pitch(self) -> float:
        return (self.area.right - self.area.left) / len(self.lines)


def deviations(result: ParityResult) -> Drawing | None:
    """Errors by operator: what is equal bit for bit lies on a floor of its own below the logarithmic scale.

    Returns:
        None where no operators were laid side by side.
    """
    if not result.lines:
        return None
    lines = result.lines
    errors = [abs(one) for line in lines for one in (line.cumulative, line.isolated) if one is not None]
    errors = [one for one in errors if positive(one)]
    limits = _limits(result) if errors else []
    bottom = _TOP + (_TALL if errors else _LOW)
    area = Area(_LEFT, _TOP, _RIGHT, bottom)
    y = scale([*errors, *(value for value, _ in limits)] or _EMPTY, bottom - 6, _TOP + 6, log=True, margin=2.0)
    plot = _Plot(lines, Scale(0, len(lines), _LEFT, _RIGHT), y, area, bottom + _FLOOR / 2)
    places = Places()
    marks = [
        *_paper(plot),
        *_stages(plot),
        *_unknown(plot),
        *_limit_lines(plot, limits, places),
        *_equal(plot),
        *_cumulative(plot),
        *_isolated(plot),
        *_statuses(plot),
        *_here(plot, places),
    ]
    head = [Label(0, 14, *_verdict(result)), *_legend(plot)]
    return Drawing(_WIDTH, bottom + _FLOOR + _LANE + 34, (*head, *marks), _label(result))


def _label(result: ParityResult) -> str:
    equal = sum(_is_equal(line) for line in result.lines)
    first = next((line for line in result.lines if line.here), None)
    where = "" if first is None else f"; the first difference is at {fitted(_path(first), 600)}"
    names = f"{result.network.name} against {result.reference}"
    return f"{names}: {equal:,} of {len(result.lines):,} operators give the same, bit for bit{where}"


def _verdict(result: ParityResult) -> tuple[str, str]:
    lines = result.lines
    equal, alone = sum(map(_is_equal, lines)), sum(line.isolated == 0 for line in lines)
    if equal == len(lines):
        return f"all {equal:,} operators give the same, bit for bit", "strong good"
    more = f"; each on the same input, {alone:,} do" if alone > equal else ""
    return f"{equal:,} of {len(lines):,} operators give the same, bit for bit{more}", "strong"


def _is_equal(line: Pair) -> bool:
    return line.status == "equal" and line.cumulative == 0 and line.isolated in (0, None)


def _is_unknown(line: Pair) -> bool:
    """Both sides have it, and yet nothing can be said of what it gives."""
    return line.ours is not None and line.theirs is not None and not _finite(line.cumulative)


def _finite(value: float | None) -> bool:
    return value is not None and (value == 0 or positive(abs(value)))


def _path(line: Pair) -> str:
    path_of = line.ours if line.ours is not None else line.theirs
    return path_of or "the network itself"


def _limits(result: ParityResult) -> list[tuple[float, str]]:
    """Up to where a difference is rounding, of the check that ran what is drawn; and the noise that it comes from."""
    check = next((one for one in result.checks if one.key == "eval"), None)
    found = [(result.probe.noise_floor, "noise floor"), (None if check is None else check.limit, "limit of rounding")]
    return [(value, name) for value, name in found if positive(value)]


# What it stands on


def _paper(plot: _Plot) -> list[Mark]:
    """Axes, and the floor of zeros."""
    area = plot.area
    axis = Axis(plot.y, power, "relative error", most=5, room=_LEFT - 10)
    return [
        Box(area.left, area.bottom, area.right - area.left, _FLOOR, "floor"),
        *frame(area, None, axis),
        Label(area.left - 8, plot.floor + 4, "0", "small good", "end"),
        Label(area.right + 8, plot.floor + 4, "bit for bit", "small good"),
    ]


def _stages(plot: _Plot) -> list[Mark]:
    """The first part of each path along the axis."""
    marks: list[Mark] = []
    bottom = plot.area.bottom + _FLOOR
    cuts: list[tuple[str, tuple[float, ...]]] = []
    start = 0
    for name, group in groupby(plot.lines, key=lambda line: (line.ours or line.theirs or "").split(".")[0]):
        end = start + len(list(group))
        left, right = plot.x(start), plot.x(end)
        wide = right - left
        if start and wide > 12:
            cuts += path(((left, plot.area.top), (left, bottom + _LANE + 16)))
        if name and wide > 24 and (text_width(name, "small") <= wide - 2 or wide > 60):
            text = fitted(name, wide - 2, "small")
            marks.append(Label((left + right) / 2, bottom + _LANE + 14, text, "small faint", "middle"))
        start = end
    said = f"{len(plot.lines):,} operators in the order in which they run"
    marks.append(Label(0, bottom + _LANE + 30, said, "small faint"))
    return [*([Curve(tuple(cuts[:400]), "grid")] if cuts else []), *marks]


def _limit_lines(plot: _Plot, limits: Sequence[tuple[float, str]], places: Places) -> list[Mark]:
    marks: list[Mark] = []
    for value, name in limits:
        at = plot.y(value)
        marks.append(Line(plot.area.left, at, plot.area.right, at, "limit"))
        for text, down in ((f"{power(value)}", 4), (name, 16)):
            label = Label(plot.area.right + 8, at + down, fitted(text, _WIDTH - _RIGHT - 8, "small"), "small warning")
            marks += [label] if places.take(label) else []
    return marks


# Runs of operators


def _runs(having: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """From where to where something holds."""
    start = 0
    for holds, group in groupby(having):
        end = start + len(list(group))
        if holds:
            yield start, end
        start = end


def _row(plot: _Plot, spots: Sequence[tuple[int, float]]) -> tuple[tuple[str, tuple[float, ...]], ...]:
    """Dots at one height, or where they would touch, a line from the first to the last of each run."""
    if plot.pitch >= _DENSE:
        return dots((plot.at(index), height) for index, height in spots)
    there = {index for index, _ in spots}
    height = spots[0][1]
    runs = _runs([index in there for index in range(len(plot.lines))])
    return tuple(
        segment for start, end in runs for segment in path(((plot.at(start), height), (plot.at(end - 1) + 0.1, height)))
    )


def _equal(plot: _Plot) -> list[Mark]:
    """Everything that gives the same bits."""
    spots = [(index, plot.floor) for index, line in enumerate(plot.lines) if line.cumulative == 0]
    if not spots:
        return []
    return [Curve(_row(plot, spots), "points equal", hint=f"{len(spots):,} operators give the same bits")]


def _unknown(plot: _Plot) -> list[Mark]:
    """Where no error can be told, in words where there is room for them."""
    unknown = [_is_unknown(line) for line in plot.lines]
    marks: list[Mark] = []
    for start, end in list(_runs(unknown))[:60]:
        left, right = plot.x(start), plot.x(end)
        hint = f"{end - start:,} operators from {fitted(_path(plot.lines[start]), 300)} on: {_UNKNOWN}"
        marks.append(Box(left, plot.area.top, right - left, plot.area.bottom - plot.area.top, "unknown", hint=hint))
    return marks


def _cumulative(plot: _Plot) -> list[Mark]:
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


def _thread(plot: _Plot, spots: Sequence[tuple[int, float, bool]]) -> tuple[tuple[str, tuple[float, ...]], ...]:
    """Broken where no error is known."""
    segments: list[tuple[str, tuple[float, ...]]] = []
    before = None
    for index, y, _ in spots:
        joined = before is not None and not any(_is_unknown(line) for line in plot.lines[before:index][:40])
        segments.append(("L" if joined else "M", (plot.at(index), y)))
        before = index
    return tuple(segments)


def _isolated(plot: _Plot) -> list[Mark]:
    """What our operator alone adds, on the reference's own inputs."""
    spots = [
        (plot.at(index), plot.y(abs(line.isolated)), line)
        for index, line in enumerate(plot.lines)
        if line.isolated is not None and positive(abs(line.isolated))
    ]
    if len(spots) > _RINGS:
        return [Curve(dots(_apart((x, y) for x, y, _ in spots)), "points isolated")]
    return [Dot(x, y, 5, "isolated", _hint(line)) for x, y, line in spots]


def _hint(line: Pair) -> str:
    parts = [fitted(_path(line), 400), line.our_operator or line.their_operator or ""]
    for name, value in (("on the same input", line.isolated), ("so far", line.cumulative)):
        if value is not None and _finite(value):
            parts.append(f"{name} {power(value)}")
    return " · ".join(part for part in parts if part)


def _statuses(plot: _Plot) -> list[Mark]:
    """Below the axis a tick for each operator that is not the same as it stands."""
    top = plot.area.bottom + _FLOOR + 3
    marks: list[Mark] = []
    for status, (role, name) in _STATUS.items():
        there = [index for index, line in enumerate(plot.lines) if line.status == status]
        places = _apart((plot.at(index), top) for index in there)
        ticks = [segment for x, _ in places for segment in (("M", (x, top)), ("l", (0.0, 9.0)))]
        if ticks:
            hint = f"{name}: {', '.join(fitted(_path(plot.lines[index]), 200) for index in there[:8])}"
            hint += f" and {len(there) - 8:,} more" if len(there) > 8 else ""
            marks.append(Curve(tuple(ticks), role, hint=hint))
    return marks


def _here(plot: _Plot, places: Places) -> list[Mark]:
    """The first difference."""
    first = next((index for index, line in enumerate(plot.lines) if line.here), None)
    if first is None:
        return []
    line, x = plot.lines[first], plot.at(first)
    name = " ".join(part for part in (_path(line), line.our_operator or line.their_operator) if part)
    before = x > (plot.area.left + plot.area.right) / 2
    room = (x - 130 if before else _WIDTH - x - 60) - 10
    text = fitted(f"here: {name}", room, "small strong")
    top = plot.area.top - 14
    at = x - 5 if before else max(x + 5, plot.area.left + 60)  # behind the title of the axis
    label = Label(at, top + 6, text, "small strong bad", "end" if before else "start")
    places.take(label)
    return [Line(x, top, x, plot.area.bottom + _FLOOR, "here"), label]


def _legend(plot: _Plot) -> list[Mark]:
    """Only of what occurs."""
    lines = plot.lines
    entries: list[tuple[str, str, str]] = []
    known = [line for line in lines if line.cumulative is not None and positive(abs(line.cumulative))]
    entries += [("●", "equal", "equal")] if any(line.cumulative == 0 for line in lines) else []
    entries += [("●", "rounding", "rounding, so far")] if any(line.rounding for line in known) else []
    entries += [("●", "different", "different, so far")] if any(not line.rounding for line in known) else []
    if any(line.isolated is not None and positive(abs(line.isolated)) for line in lines):
        entries.append(("●", "isolated", "that operator alone, on the same input"))
    entries += [("■", "unknown", _UNKNOWN)] if any(map(_is_unknown, lines)) else []
    for status, (role, name) in _STATUS.items():
        count = sum(line.status == status for line in lines)
        entries += [("■", role, f"{count:,} {name}")] if count else []
    if len(entries) == 1 and all(map(_is_equal, lines)):
        return []
    marks: list[Mark] = []
    x, y = 0.0, 34.0
    for sign, role, name in entries:
        wide = 32 + text_width(name, "small")
        marks += legend([(role, name)], x, y, _WIDTH, sign)
        x += wide
    return marks
