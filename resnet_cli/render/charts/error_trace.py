"""Chart of the relative error at each operator of two networks, in the order in which the operators run."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from resnet_cli.render.charts.drawing.axes import Area, Axis, LabelLayout, frame, legend, path, power, scale
from resnet_cli.render.charts.drawing.primitives import Box, Curve, Drawing, Label, LineMark, Mark, fitted, text_width
from resnet_cli.render.charts.drawing.scales import Scale
from resnet_cli.render.charts.error_trace_marks import (
    ERROR_UNKNOWN,
    FLOOR,
    STATUSES,
    Plot,
    has_no_error,
    op_marks,
    path_of,
)
from resnet_cli.render.charts.grouping import NetworkResults
from resnet_cli.render.charts.panel import Panel, per_network
from resnet_cli.results.compare import AlignedOp, CompareResult

_WIDTH = 1060.0
_LEFT, _RIGHT = 78.0, 940.0
_TOP = 70.0
_TALL, _LOW = 190.0, 104.0  # height of the plot, with errors and without
_STATUS_HEIGHT = 14.0
_EMPTY_SCALE = (1e-8, 1.0)  # where there are no errors


def panels(networks: Sequence[NetworkResults]) -> list[Panel]:
    """A panel for each network with a comparison."""
    return per_network(networks, lambda network: None if network.compare is None else error_trace(network.compare))


def error_trace(result: CompareResult) -> Drawing | None:
    """Errors on a logarithmic scale; operators that are bitwise equal lie in a band of 0 below it.

    Returns:
        None for a comparison without aligned operators.
    """
    ops = result.aligned_ops
    if not ops:
        return None
    errors = [error for op in ops for error in (op.cumulative, op.isolated) if error]
    limits = _limits(result) if errors else []
    bottom = _TOP + (_TALL if errors else _LOW)
    area = Area(_LEFT, _TOP, _RIGHT, bottom)
    y = scale([*errors, *(value for value, _ in limits)] or _EMPTY_SCALE, bottom - 6, _TOP + 6, log=True, margin=2.0)
    plot = Plot(ops, Scale(0, len(ops), _LEFT, _RIGHT), y, area, bottom + FLOOR / 2)
    layout = LabelLayout()
    marks = [
        Label(0, 14, *_verdict(ops)),
        *_legend(plot),
        *_background(plot),
        *_stages(plot),
        *_limit_lines(plot, limits, layout),
        *op_marks(plot),
        *_first_difference(plot, layout),
    ]
    return Drawing(_WIDTH, bottom + FLOOR + _STATUS_HEIGHT + 34, tuple(marks), _label(result))


def _label(result: CompareResult) -> str:
    ops = result.aligned_ops
    first = next((op for op in ops if op.is_first_difference), None)
    where = "" if first is None else f"; first difference at {fitted(path_of(first), 600)}"
    names = f"{result.network.name} vs {result.reference}"
    return f"{names}: {sum(map(_is_equal, ops)):,} of {len(ops):,} operators are bitwise equal{where}"


def _verdict(ops: Sequence[AlignedOp]) -> tuple[str, str]:
    equal, equal_isolated = sum(map(_is_equal, ops)), sum(op.isolated == 0 for op in ops)
    if equal == len(ops):
        return f"all {equal:,} operators are bitwise equal", "strong good"
    more = f"; {equal_isolated:,} when fed the reference's input" if equal_isolated > equal else ""
    return f"{equal:,} of {len(ops):,} operators are bitwise equal{more}", "strong"


def _is_equal(op: AlignedOp) -> bool:
    return op.status == "equal" and op.cumulative == 0 and op.isolated in (0, None)


def _limits(result: CompareResult) -> list[tuple[float, str]]:
    """Noise floor and tolerance of the forward check, as far as they are known."""
    check = next((check for check in result.checks if check.key == "eval"), None)
    limits = [(result.test_inputs.noise_floor, "noise floor"), (None if check is None else check.limit, "tolerance")]
    return [(value, name) for value, name in limits if value]


# Axes and annotations


def _background(plot: Plot) -> list[Mark]:
    """Axes, and the band of zeros."""
    area = plot.area
    axis = Axis(plot.y, power, "relative error", most=5, room=_LEFT - 10)
    return [
        Box(area.left, area.bottom, area.right - area.left, FLOOR, "floor"),
        *frame(area, None, axis),
        Label(area.left - 8, plot.floor + 4, "0", "small good", "end"),
        Label(area.right + 8, plot.floor + 4, "bitwise equal", "small good"),
    ]


def _stages(plot: Plot) -> list[Mark]:
    """The first name of each path along the axis."""
    marks: list[Mark] = []
    bottom = plot.area.bottom + FLOOR
    cuts: list[tuple[str, tuple[float, ...]]] = []
    start = 0
    for name, group in groupby(plot.ops, key=lambda op: (op.model_path or op.reference_path or "").split(".")[0]):
        end = start + len(list(group))
        left, right = plot.x(start), plot.x(end)
        width = right - left
        if start and width > 12:
            cuts += path(((left, plot.area.top), (left, bottom + _STATUS_HEIGHT + 16)))
        if name and width > 24 and (text_width(name, "small") <= width - 2 or width > 60):
            text = fitted(name, width - 2, "small")
            marks.append(Label((left + right) / 2, bottom + _STATUS_HEIGHT + 14, text, "small faint", "middle"))
        start = end
    title = f"{len(plot.ops):,} operators in execution order"
    marks.append(Label(0, bottom + _STATUS_HEIGHT + 30, title, "small faint"))
    return [*([Curve(tuple(cuts), "grid")] if cuts else []), *marks]


def _limit_lines(plot: Plot, limits: Sequence[tuple[float, str]], layout: LabelLayout) -> list[Mark]:
    marks: list[Mark] = []
    for value, name in limits:
        at = plot.y(value)
        marks.append(LineMark(plot.area.left, at, plot.area.right, at, "limit"))
        for text, down in ((power(value), 4), (name, 16)):
            label = Label(plot.area.right + 8, at + down, fitted(text, _WIDTH - _RIGHT - 8, "small"), "small warning")
            marks += [label] if layout.take(label) else []
    return marks


def _first_difference(plot: Plot, layout: LabelLayout) -> list[Mark]:
    index = next((index for index, op in enumerate(plot.ops) if op.is_first_difference), None)
    if index is None:
        return []
    op, x = plot.ops[index], plot.at(index)
    name = " ".join(part for part in (path_of(op), op.model_op or op.reference_op) if part)
    is_right = x > (plot.area.left + plot.area.right) / 2
    room = (x - 130 if is_right else _WIDTH - x - 60) - 10
    text = fitted(f"first difference: {name}", room, "small strong")
    top = plot.area.top - 14
    at = x - 5 if is_right else max(x + 5, plot.area.left + 60)  # right of the title of the axis
    label = Label(at, top + 6, text, "small strong bad", "end" if is_right else "start")
    layout.take(label)
    return [LineMark(x, top, x, plot.area.bottom + FLOOR, "first-difference"), label]


def _legend(plot: Plot) -> list[Mark]:
    """Sign, role and meaning of what occurs."""
    ops = plot.ops
    if all(map(_is_equal, ops)):
        return []
    cumulative = [op for op in ops if op.cumulative]
    isolated = [op for op in ops if op.isolated]
    entries = [
        ("●", "equal", "cumulative: equal", any(op.cumulative == 0 for op in ops)),
        ("●", "rounding", "cumulative: rounding", any(op.rounding for op in cumulative)),
        ("●", "different", "cumulative: different", any(not op.rounding for op in cumulative)),
        ("●", "isolated near", "isolated: rounding", any(op.rounding for op in isolated)),
        ("●", "isolated", "isolated: different", any(not op.rounding for op in isolated)),
        ("■", "unknown", ERROR_UNKNOWN, any(map(has_no_error, ops))),
    ]
    for status, meaning in STATUSES.items():
        count = sum(op.status == status for op in ops)
        entries.append(("■", status, f"{count:,} {meaning}", count > 0))
    marks: list[Mark] = []
    x = 0.0
    for sign, role, meaning, occurs in entries:
        if occurs:
            marks += legend([(role, meaning)], x, 34.0, _WIDTH, sign)
            x += 32 + text_width(meaning, "small")
    return marks
