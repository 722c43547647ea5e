"""Why two counters disagree: a waterfall from one figure to the other, part by part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from resnet_cli import formatting
from resnet_cli.render.charts.drawing.axes import amount, is_finite, path, scale
from resnet_cli.render.charts.drawing.primitives import Box, Curve, Drawing, Label, LineMark, Mark, fitted, text_width
from resnet_cli.render.charts.drawing.scales import Scale
from resnet_cli.results.flops import Convention, FlopsResult, Reconciliation, ReconciliationStep

_WIDTH, _GAP = 530.0, 30.0  # of a panel, between two of them
_BARS, _END = 270.0, 392.0  # where the bars begin and end
_FIGURE = _WIDTH - _END - 8  # room for a figure
_TOP, _ROW, _BAR = 44.0, 36.0, 14.0
_SPACE = 22.0  # below a panel
_STEPS = 12
_PANELS = 24
_SMALL = 0.25  # steps that are less than this share of the figures would vanish on an axis from 0


@dataclass(frozen=True, slots=True)
class _Bar:
    name: str
    below: str
    start: float
    end: float
    figure: str
    role: str


def walks(result: FlopsResult) -> Drawing | None:
    """A panel for each walk, two in a row; the axis begins where the steps can be seen, and says so.

    Returns:
        None where there are no walks.
    """
    kept = result.reconciliations[:_PANELS]
    if not kept:
        return None
    named = {one.key: one for one in result.conventions}
    marks: list[Mark] = []
    y = 0.0
    for first in range(0, len(kept), 2):
        heights = []
        for place, walk in enumerate(kept[first : first + 2]):
            bars = _bars(walk, named)
            heights.append(_TOP + _ROW * len(bars))
            marks += _panel(walk, bars, named, place * (_WIDTH + _GAP), y)
        y += max(heights) + _SPACE
    if len(result.reconciliations) > len(kept):
        marks.append(Label(0, y + 8, f"and {len(result.reconciliations) - len(kept):,} more", "small faint"))
        y += 16
    width = _WIDTH if len(kept) == 1 else 2 * _WIDTH + _GAP
    said = []
    for one in kept:
        difference = _signed(one.end_value - one.start_value)
        said.append(f"{_name(one.start, named)} to {_name(one.end, named)} {difference}")
    return Drawing(width, y, tuple(marks), f"{result.network.name}, from count to count: {', '.join(said)}")


def _name(key: str, named: dict[str, Convention]) -> str:
    return fitted(named[key].name if key in named else key, 400)


def _unit(key: str, named: dict[str, Convention]) -> str:
    return f" {fitted(named[key].unit, 60)}" if key in named else ""


def _signed(value: float) -> str:
    """Every digit, unless there are too many of them."""
    digits = f"{value:+,.0f}" if abs(value) < 1e15 else f"{value:+.3e}"
    return digits.replace("-", "−") if value else "0"


def _bars(walk: Reconciliation, named: dict[str, Convention]) -> list[_Bar]:
    """The figure that it starts from, each step from where the one before ended, the figure that it ends at."""
    at = float(walk.start_value)
    bars = [_figure(walk.start, at, named)]
    steps, rest = walk.steps[:_STEPS], walk.steps[_STEPS:]
    for step in steps:
        bars.append(_step(_meaning(step), _how(step), at, step.difference))
        at += step.difference
    if rest:
        bars.append(_step(f"and {len(rest):,} more", "", at, sum(step.difference for step in rest)))
    return [*bars, _figure(walk.end, float(walk.end_value), named)]


def _figure(key: str, value: float, named: dict[str, Convention]) -> _Bar:
    formula = named[key].formula if key in named else ""
    text = f"{value:,.0f}" if abs(value) < 1e15 else f"{value:.3e}"
    whole = f"{text}{_unit(key, named)}"
    fits = text_width(whole, "small") <= _FIGURE
    return _Bar(_name(key, named), formula, 0.0, value, whole if fits else text, "figure")


def _step(name: str, below: str, start: float, difference: float) -> _Bar:
    return _Bar(name, below, start, start + difference, _signed(difference), "rise" if difference > 0 else "fall")


def _meaning(step: ReconciliationStep) -> str:
    return step.meaning or step.symbol


def _how(step: ReconciliationStep) -> str:
    """How often each of the two counts it, and what runs it."""
    name = step.symbol.replace("\n", " ")
    times = f"{name}: {_coefficient(step.from_coefficient)} → {_coefficient(step.to_coefficient)}"
    return f"{times} · {', '.join(step.operators)}" if step.operators else times


def _coefficient(value: float) -> str:
    return f"{value:g}×".replace("-", "−") if is_finite(value) else formatting.UNKNOWN


def _panel(
    walk: Reconciliation, bars: Sequence[_Bar], named: dict[str, Convention], left: float, top: float
) -> list[Mark]:
    title = f"{_name(walk.start, named)} → {_name(walk.end, named)}"
    x = _scale(bars, left)
    bottom = top + _TOP + _ROW * len(bars)
    begins = max(x.low, 0.0) > 0
    said = f"the axis begins at {amount()(x.low)}" if begins else ""
    marks: list[Mark] = [
        Label(left, top + 14, fitted(title, _WIDTH, "strong"), "strong"),
        Label(left + _BARS, top + 31, fitted(said, _WIDTH - _BARS, "small faint"), "small faint"),
        LineMark(
            left + _BARS if begins else x(0.0), top + _TOP - 4, left + _BARS if begins else x(0.0), bottom, "axis"
        ),
    ]
    for index, bar in enumerate(bars):
        y = top + _TOP + _ROW * index
        marks += _drawn(bar, x, left, y, begins)
        if index + 1 < len(bars):
            at = x(bar.end)
            marks.append(Curve(path(((at, y + _BAR + 3), (at, y + _ROW + 3))), "thread"))
    return marks


def _scale(bars: Sequence[_Bar], left: float) -> Scale:
    """From 0, unless the steps would be too short to be seen."""
    ends = [bar.end for bar in bars] + [bar.start for bar in bars if bar.role != "figure"]
    low, high = min(ends), max(ends)
    start, end = left + _BARS, left + _END
    if low > 0 and high - low < _SMALL * high and high > low:
        return Scale(max(low - 0.35 * (high - low), 0.0), high, start, end)
    made = scale([0.0, *ends], start, end, log=False, margin=0.0)
    return Scale(min(low, 0.0), max(high, 0.0), start, end) if max(high, 0.0) > min(low, 0.0) else made


def _drawn(bar: _Bar, x: Scale, left: float, y: float, begins: bool) -> list[Mark]:
    role = "strong" if bar.role == "figure" else "small"
    start, end = sorted((x(bar.start), x(bar.end)))
    width = max(end - start, 1.0)
    hint = fitted(f"{bar.name} {bar.figure}", 900)
    marks: list[Mark] = [
        Label(left, y + 11, fitted(bar.name, _BARS - 14, role), role),
        Label(left, y + 25, fitted(bar.below, _BARS - 14, "small faint"), "small faint"),
        Box(start, y + 3, width, _BAR, bar.role, 1.5, hint),
    ]
    if bar.role == "figure" and begins:
        # A gap, as where a map is torn: what is left of it is not drawn to scale.
        gap = left + _BARS + 6
        marks.append(Curve((("M", (gap, y + 1)), ("L", (gap + 4, y + 8)), ("L", (gap - 1, y + 12)),
                            ("L", (gap + 3, y + 19))), "tear"))  # fmt: skip
    figure = fitted(bar.figure, _FIGURE, "small strong")
    return [*marks, Label(left + _WIDTH, y + 14, figure, "small strong", "end")]
