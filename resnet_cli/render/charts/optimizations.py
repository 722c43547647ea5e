"""The ladder: how much each lever gains, how sure that is, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence

from resnet_cli import formatting
from resnet_cli.render.charts.drawing.axes import is_finite, path, positive
from resnet_cli.render.charts.drawing.primitives import Box, Curve, Drawing, Label, LineMark, Mark, fitted, text_width
from resnet_cli.render.charts.drawing.scales import Scale, linear
from resnet_cli.results.bench import BenchResult, OptimizationResult, OptimizationsResult

_WIDTH = 940.0
_BARS, _END = 316.0, 606.0  # where the bars begin and end
_TIME, _SETUP, _AFTER, _ERROR = 732.0, 806.0, 868.0, 938.0  # right ends of the columns
_ROW, _BAR, _TOP = 27.0, 13.0, 50.0
_RUNGS = 40


def ladder(result: BenchResult) -> Drawing | None:
    """A bar for each lever with its gain over plain eager, and beside it what it takes.

    Returns:
        None where no ladder was climbed.
    """
    if result.optimizations is None or not result.optimizations.rows:
        return None
    climbed = result.optimizations
    rungs = climbed.rows[:_RUNGS]
    gains = [one.speedup for one in rungs if is_finite(one.speedup) and one.speedup >= 0]
    # A whisker may leave the scale, or the interval of a noisy run would squash all gains.
    x = linear([1.0, *gains], _BARS, _END - 46, zero=True, margin=0.02)
    bottom = _TOP + _ROW * len(rungs)
    last = max((index for index, one in enumerate(rungs) if is_finite(one.speedup)), default=-1)
    marks = _head(climbed, x, _TOP + _ROW * (last + 1))
    for index, one in enumerate(rungs):
        marks += _row(one, climbed, x, _TOP + _ROW * (index + 0.5))
    said = _closing(result, len(climbed.rows) - len(rungs), bottom)
    label = f"{result.network.name}, ladder of {len(climbed.rows)} levers at batch {climbed.batch_size:,}; "
    return Drawing(
        _WIDTH, bottom + 8 + 17 * len(said), (*marks, *said), f"{label}{fitted(climbed.recommendation, 2000)}"
    )


def _head(climbed: OptimizationsResult, x: Scale, bottom: float) -> list[Mark]:
    title = f"times as fast as plain eager, batch {climbed.batch_size:,}"
    columns = (("time", _TIME), ("set-up", _SETUP), ("calls", _AFTER), ("error", _ERROR))
    marks: list[Mark] = [Label(_BARS, 12, fitted(title, _END - _BARS + 40, "strong"), "strong")]
    marks += [Label(right, 36, text, "small faint", "end") for text, right in columns]
    free = 0.0
    for tick in x.ticks(5):
        at, text = x(tick), f"{tick:,.6g}×"
        if at - text_width(text, "small") / 2 >= free:
            marks += [Curve(path(((at, _TOP - 6), (at, bottom))), "grid"), Label(at, 36, text, "small faint", "middle")]
            free = at + text_width(text, "small") / 2 + 8
    return [*marks, LineMark(x(1.0), _TOP - 6, x(1.0), bottom, "limit")]


def _row(one: OptimizationResult, climbed: OptimizationsResult, x: Scale, y: float) -> list[Mark]:
    best = one.key == climbed.best
    measured = is_finite(one.speedup) and one.speedup >= 0
    role = "strong" if best else "" if measured else "faint"
    marks: list[Mark] = [Label(0, y + 4, fitted(one.title, _BARS - 30, role) + (" ◀" if best else ""), role)]
    if one.speedup is None or not measured:
        why = one.status if not one.reason else f"{one.status}: {one.reason}"
        role = "small warning" if one.status == "failed" else "small faint"
        return [*marks, Label(_BARS, y + 4, fitted(why, _WIDTH - _BARS, role), role)]
    first = one is climbed.rows[0]
    sure = _sure(one, first)
    marks.append(Box(_BARS, y - _BAR / 2, max(x(one.speedup) - _BARS, 0.5), _BAR, sure, 2, _hint(one)))
    right = x(one.speedup)
    if not first and is_finite(one.ci_low) and is_finite(one.ci_high):
        marks += _whisker(x(one.ci_low), min(x(one.ci_high), x.end), y, one.ci_high > x.high)
        right = max(right, x(one.ci_high))
    text = "1×" if first else f"{formatting.scaled(one.speedup)}×"
    marks.append(Label(right + 7, y + 4, fitted(text, 70, "strong"), "strong" if best else ""))
    return [*marks, *_columns(one, y)]


def _whisker(low: float, high: float, y: float, beyond: bool) -> list[Mark]:
    """The interval with caps; one that leaves the scale ends in an arrow."""
    cap = ((high - 4, y - 3), (high, y), (high - 4, y + 3)) if beyond else ((high, y - 3), (high, y + 3))
    return [Curve((*path(((low, y), (high, y))), *path(((low, y - 3), (low, y + 3))), *path(cap)), "whisker")]


def _sure(one: OptimizationResult, first: bool) -> str:
    """Coloured only where the whole interval says so."""
    if first or not is_finite(one.ci_low) or not is_finite(one.ci_high):
        return "other"
    return "fall" if one.ci_low > 1 else "rise" if one.ci_high < 1 else "other node"


def _columns(one: OptimizationResult, y: float) -> list[Mark]:
    never = "never" if one.setup_s is not None else formatting.UNKNOWN
    time = None if one.time is None else one.time.median_s
    cells = (
        (formatting.seconds(time), _TIME, 76),
        (formatting.seconds(one.setup_s), _SETUP, 70),
        (f"{one.break_even_calls:,}" if one.break_even_calls is not None else never, _AFTER, 58),
        (_error(one.logit_difference), _ERROR, 68),
    )
    return [Label(right, y + 4, fitted(text, room, "small"), "small", "end") for text, right, room in cells]


def _error(value: float | None) -> str:
    return formatting.UNKNOWN if not is_finite(value) else f"{value:.1e}" if value else "0"


def _hint(one: OptimizationResult) -> str:
    parts = [fitted(one.title, 400), one.dtype]
    if is_finite(one.ci_low) and is_finite(one.ci_high):
        parts.append(f"{formatting.scaled(one.ci_low)}× to {formatting.scaled(one.ci_high)}×")
    if positive(one.setup_s):
        parts.append(f"set-up {formatting.seconds(one.setup_s)}")
    if is_finite(one.top1_agreement):
        parts.append(f"top-1 the same for {formatting.percent(one.top1_agreement)}")
    return " · ".join(parts)


def _closing(result: BenchResult, left: int, bottom: float) -> Sequence[Mark]:
    said = [(f"and {left:,} more levers", "small faint")] if left > 0 else []
    said.append((f"whiskers: {100 * result.confidence:g} % interval of the gain; green where all of it is above 1×, "
                 "brown where all of it is below, grey where it cannot be told", "small faint"))  # fmt: skip
    said.append(("calls: after so many the set-up has paid for itself; error: largest difference of a logit over the "
                 "largest logit", "small faint"))  # fmt: skip
    y = bottom + 20
    return [Label(0, y + 17 * i, fitted(text, _WIDTH, role), role) for i, (text, role) in enumerate(said)]
