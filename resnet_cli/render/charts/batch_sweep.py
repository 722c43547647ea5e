"""The sweep over batch sizes: how long a call takes, and how many images a second that gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from resnet_cli import formatting
from resnet_cli.render.charts.drawing import axes
from resnet_cli.render.charts.drawing.axes import Area, Axis, LabelLayout, frame, legend, path, positive, scale
from resnet_cli.render.charts.drawing.primitives import Curve, Dot, Drawing, Label, LineMark, Mark, fitted, text_width
from resnet_cli.render.charts.drawing.scales import Scale
from resnet_cli.render.charts.drawing.theme import SERIES
from resnet_cli.results.bench import BenchResult, Timing

_WIDTH, _GAP = 530.0, 30.0  # of a panel, between them
_LEFT, _RIGHT, _TOP, _BOTTOM = 74.0, 514.0, 66.0, 306.0
_UNFIT = 3  # sentences on what did not fit
_DRAWN = 12  # networks; more of them nobody tells apart


@dataclass(frozen=True, slots=True)
class _Series:
    label: str
    role: str
    timings: tuple[Timing, ...]  # with a median, by batch size
    unfit: tuple[Timing, ...]


def sweep(benches: Sequence[tuple[str, BenchResult]]) -> Drawing | None:
    """Latency and images per second by batch size, a line for each network.

    Args:
        benches: what each is called, and its result.

    Returns:
        None where no network was measured at two batch sizes.
    """
    found = [_series(index, label, result) for index, (label, result) in enumerate(benches[:_DRAWN])]
    if not any(len(one.timings) > 1 for one in found):
        return None
    found = [one for one in found if one.timings]
    right = _WIDTH + _GAP
    marks = legend([(one.role, one.label) for one in found], 0, 12, right + _WIDTH)
    marks += _panel(found, 0, "latency: median of a call", axes.seconds, _latency, log=True)
    marks += _panel(found, right, "throughput: images per second", axes.amount(), _rate, log=False)
    marks += _knees(found, right)
    said = _unfit(found, right + _WIDTH)
    names = ", ".join(fitted(one.label, 200) for one in found)
    label = f"latency and images per second by batch size: {names}"
    return Drawing(right + _WIDTH, _BOTTOM + 44 + 16 * len(said), (*marks, *said), label)


def _series(index: int, label: str, result: BenchResult) -> _Series:
    there = sorted((one for one in result.timings if one.batch_size > 0), key=lambda one: one.batch_size)
    measured = tuple(one for one in there if one.wall is not None and positive(one.wall.median_s))
    unfit = tuple(one for one in there if one.wall is None)
    return _Series(label, f"series{index % SERIES}", measured, unfit)


def _latency(timing: Timing) -> tuple[float, float, float] | None:
    """Median and its interval."""
    wall = timing.wall
    if wall is None or not positive(wall.median_s):
        return None
    low, high = (end if positive(end) else wall.median_s for end in (wall.ci_low_s, wall.ci_high_s))
    return wall.median_s, low, high


def _rate(timing: Timing) -> tuple[float, float, float] | None:
    rate = timing.images_per_s
    return (rate, rate, rate) if positive(rate) else None


def _batches(found: Sequence[_Series], left: float) -> Axis:
    """All batch sizes that were asked for, in powers of two."""
    sizes = sorted({one.batch_size for series in found for one in (*series.timings, *series.unfit)})
    return Axis(
        scale(sizes, left + _LEFT, left + _RIGHT, log=True, margin=1.2),
        lambda value: f"{value:,.0f}",
        "batch size",
        tuple(map(float, sizes)),
        grid=False,
    )


def _rates(found: Sequence[_Series]) -> Scale:
    values = [spot[0] for series in found for spot in map(_rate, series.timings) if spot is not None]
    return scale([0.0, *values], _BOTTOM, _TOP, log=False, margin=0.08) if values else Scale(0, 1, _BOTTOM, _TOP)


def _panel(
    found: Sequence[_Series],
    left: float,
    title: str,
    text: Callable[[float], str],
    figure: Callable[[Timing], tuple[float, float, float] | None],
    *,
    log: bool,
) -> list[Mark]:
    x = _batches(found, left)
    spots = [[(one.batch_size, spot) for one in each.timings if (spot := figure(one)) is not None] for each in found]
    values = [value for each in spots for _, spot in each for value in spot]
    y = scale(values or [1.0], _BOTTOM, _TOP, log=True) if log else _rates(found)
    if not log:
        y = Scale(0.0, y.high, _BOTTOM, _TOP)
    area = Area(left + _LEFT, _TOP, left + _RIGHT, _BOTTOM)
    marks: list[Mark] = [Label(left, 42, title, "strong"), *frame(area, x, Axis(y, text, room=_LEFT - 8))]
    for series, each in zip(found, spots, strict=True):
        points = [(x.scale(batch), y(spot[0])) for batch, spot in each]
        if len(points) > 1:
            marks.append(Curve(path(points), series.role))
        for (at, height), (batch, (middle, low, high)) in zip(points, each, strict=True):
            if y(low) - y(high) > 3:
                marks.append(Curve((("M", (at, y(low))), ("L", (at, y(high)))), "whisker"))
            hint = f"{fitted(series.label, 300)} · batch {batch:,} · {text(middle)}"
            marks.append(Dot(at, height, 3.4, series.role, hint))
    sizes = sorted({one.batch_size for series in found for one in series.unfit})
    places = LabelLayout()
    signs = [Label(x.scale(size), _BOTTOM - 4, "×", "bad strong", "middle") for size in sizes[:60]]
    return [*marks, *(sign for sign in signs if places.take(sign))]


def _knees(found: Sequence[_Series], left: float) -> list[Mark]:
    """From where on a larger batch gives next to nothing."""
    x, y = _batches(found, left).scale, Scale(0.0, _rates(found).high, _BOTTOM, _TOP)
    marks: list[Mark] = []
    places = LabelLayout()
    for series in found:
        rates = [one.images_per_s or 0.0 for one in series.timings]
        for index, one in enumerate(series.timings):
            if not one.knee or not positive(one.images_per_s):
                continue
            at, height = x(one.batch_size), y(one.images_per_s)
            text = f"knee: {formatting.scaled(one.images_per_s)}/s at batch {one.batch_size:,}"
            # The line comes from below at the left; where there is no room there, what comes next decides.
            left_of = at - 10 - text_width(text, "small strong") > left + _LEFT
            falls = index + 1 < len(rates) and rates[index + 1] < one.images_per_s
            places_of = ((-8, -9), (-8, 16)) if left_of else ((8, -9), (8, 18)) if falls else ((8, 18), (8, -9))
            tries = [
                Label(at + across, height + down, text, "small strong", "end" if left_of else "start")
                for across, down in places_of
            ]
            marks.append(LineMark(at, height, at, _BOTTOM, "limit"))
            marks.append(Dot(at, height, 5.5, f"{series.role} dot", f"the knee of {fitted(series.label, 300)}"))
            marks += [label for label in tries if places.take(label)][:1]
    return marks


def _unfit(found: Sequence[_Series], wide: float) -> list[Mark]:
    """What did not fit, in words."""
    said = []
    for series in found:
        for one in series.unfit:
            name = f"{fitted(series.label, 180, 'small')}, " if len(found) > 1 else ""
            reason = "" if one.reason is None else f": {one.reason}"
            said.append(f"× {name}batch {one.batch_size:,}, {one.status}{reason}")
    if len(said) > _UNFIT:
        said[_UNFIT - 1 :] = [f"and {len(said) - _UNFIT + 1:,} more that could not be measured"]
    y = _BOTTOM + 54
    return [Label(0, y + 16 * i, fitted(text, wide, "small bad"), "small bad") for i, text in enumerate(said)]
