"""Where two networks part: the relative error at each operator, in the order in which they run."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from resnet_cli.render.charts.drawing.axes import Area, Axis, LabelLayout, frame, legend, path, positive, power, scale
from resnet_cli.render.charts.drawing.primitives import Box, Curve, Drawing, Label, LineMark, Mark, fitted, text_width
from resnet_cli.render.charts.drawing.scales import Scale
from resnet_cli.render.charts.error_trace_marks import FLOOR, STATUSES, UNKNOWN, Plot, is_unknown, path_of, points
from resnet_cli.results.compare import AlignedOp as Pair
from resnet_cli.results.compare import CompareResult

_WIDTH = 1060.0
_LEFT, _RIGHT = 78.0, 940.0
_TOP = 70.0
_TALL, _LOW = 190.0, 104.0  # the plot; where nothing differs it is lower
_LANE = 14.0  # of what differs by its settings
_EMPTY = (1e-8, 1.0)  # the scale where nothing differs


def deviations(result: CompareResult) -> Drawing | None:
    """Errors by operator: what is equal bit for bit lies on a floor of its own below the logarithmic scale.

    Returns:
        None where no operators were laid side by side.
    """
    if not result.aligned_ops:
        return None
    lines = result.aligned_ops
    errors = [abs(one) for line in lines for one in (line.cumulative, line.isolated) if one is not None]
    errors = [one for one in errors if positive(one)]
    limits = _limits(result) if errors else []
    bottom = _TOP + (_TALL if errors else _LOW)
    area = Area(_LEFT, _TOP, _RIGHT, bottom)
    y = scale([*errors, *(value for value, _ in limits)] or _EMPTY, bottom - 6, _TOP + 6, log=True, margin=2.0)
    plot = Plot(lines, Scale(0, len(lines), _LEFT, _RIGHT), y, area, bottom + FLOOR / 2)
    places = LabelLayout()
    marks = [
        *_paper(plot),
        *_stages(plot),
        *_limit_lines(plot, limits, places),
        *points(plot),
        *_here(plot, places),
    ]
    head = [Label(0, 14, *_verdict(result)), *_legend(plot)]
    return Drawing(_WIDTH, bottom + FLOOR + _LANE + 34, (*head, *marks), _label(result))


def _label(result: CompareResult) -> str:
    equal = sum(_is_equal(line) for line in result.aligned_ops)
    first = next((line for line in result.aligned_ops if line.is_first_difference), None)
    where = "" if first is None else f"; the first difference is at {fitted(path_of(first), 600)}"
    names = f"{result.network.name} against {result.reference}"
    return f"{names}: {equal:,} of {len(result.aligned_ops):,} operators give the same, bit for bit{where}"


def _verdict(result: CompareResult) -> tuple[str, str]:
    lines = result.aligned_ops
    equal, alone = sum(map(_is_equal, lines)), sum(line.isolated == 0 for line in lines)
    if equal == len(lines):
        return f"all {equal:,} operators give the same, bit for bit", "strong good"
    more = f"; each on the same input, {alone:,} do" if alone > equal else ""
    return f"{equal:,} of {len(lines):,} operators give the same, bit for bit{more}", "strong"


def _is_equal(line: Pair) -> bool:
    return line.status == "equal" and line.cumulative == 0 and line.isolated in (0, None)


def _limits(result: CompareResult) -> list[tuple[float, str]]:
    """Up to where a difference is rounding, of the check that ran what is drawn; and the noise that it comes from."""
    check = next((one for one in result.checks if one.key == "eval"), None)
    found = [
        (result.test_inputs.noise_floor, "noise floor"),
        (None if check is None else check.limit, "limit of rounding"),
    ]
    return [(value, name) for value, name in found if positive(value)]


# What it stands on


def _paper(plot: Plot) -> list[Mark]:
    """Axes, and the floor of zeros."""
    area = plot.area
    axis = Axis(plot.y, power, "relative error", most=5, room=_LEFT - 10)
    return [
        Box(area.left, area.bottom, area.right - area.left, FLOOR, "floor"),
        *frame(area, None, axis),
        Label(area.left - 8, plot.floor + 4, "0", "small good", "end"),
        Label(area.right + 8, plot.floor + 4, "bit for bit", "small good"),
    ]


def _stages(plot: Plot) -> list[Mark]:
    """The first part of each path along the axis."""
    marks: list[Mark] = []
    bottom = plot.area.bottom + FLOOR
    cuts: list[tuple[str, tuple[float, ...]]] = []
    start = 0
    for name, group in groupby(
        plot.lines, key=lambda line: (line.model_path or line.reference_path or "").split(".")[0]
    ):
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


def _limit_lines(plot: Plot, limits: Sequence[tuple[float, str]], places: LabelLayout) -> list[Mark]:
    marks: list[Mark] = []
    for value, name in limits:
        at = plot.y(value)
        marks.append(LineMark(plot.area.left, at, plot.area.right, at, "limit"))
        for text, down in ((f"{power(value)}", 4), (name, 16)):
            label = Label(plot.area.right + 8, at + down, fitted(text, _WIDTH - _RIGHT - 8, "small"), "small warning")
            marks += [label] if places.take(label) else []
    return marks


def _here(plot: Plot, places: LabelLayout) -> list[Mark]:
    """The first difference."""
    first = next((index for index, line in enumerate(plot.lines) if line.is_first_difference), None)
    if first is None:
        return []
    line, x = plot.lines[first], plot.at(first)
    name = " ".join(part for part in (path_of(line), line.model_op or line.reference_op) if part)
    before = x > (plot.area.left + plot.area.right) / 2
    room = (x - 130 if before else _WIDTH - x - 60) - 10
    text = fitted(f"here: {name}", room, "small strong")
    top = plot.area.top - 14
    at = x - 5 if before else max(x + 5, plot.area.left + 60)  # behind the title of the axis
    label = Label(at, top + 6, text, "small strong bad", "end" if before else "start")
    places.take(label)
    return [LineMark(x, top, x, plot.area.bottom + FLOOR, "here"), label]


def _legend(plot: Plot) -> list[Mark]:
    """Only of what occurs."""
    lines = plot.lines
    entries: list[tuple[str, str, str]] = []
    known = [line for line in lines if line.cumulative is not None and positive(abs(line.cumulative))]
    entries += [("●", "equal", "equal")] if any(line.cumulative == 0 for line in lines) else []
    entries += [("●", "rounding", "rounding, so far")] if any(line.rounding for line in known) else []
    entries += [("●", "different", "different, so far")] if any(not line.rounding for line in known) else []
    alone = [line for line in lines if line.isolated is not None and positive(abs(line.isolated))]
    if alone:
        near = all(line.rounding for line in alone)
        entries.append(("●", "isolated near" if near else "isolated", "alone, on the same input"))
    entries += [("■", "unknown", UNKNOWN)] if any(map(is_unknown, lines)) else []
    for status, (role, name) in STATUSES.items():
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
