"""Chart of latency and throughput by batch size, a line for each network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from resnet_cli import formatting
from resnet_cli.render.charts.drawing import axes
from resnet_cli.render.charts.drawing.axes import Area, Axis, LabelLayout, frame, legend, path, scale
from resnet_cli.render.charts.drawing.primitives import Curve, Dot, Drawing, Label, LineMark, Mark, fitted, text_width
from resnet_cli.render.charts.drawing.scales import Scale
from resnet_cli.render.charts.drawing.theme import SERIES
from resnet_cli.render.charts.grouping import NetworkResults
from resnet_cli.render.charts.panel import Panel
from resnet_cli.results.bench import BenchResult, Timing, common_unit

_WIDTH, _GAP = 530.0, 30.0  # of a plot, between them
_LEFT, _RIGHT, _TOP, _BOTTOM = 74.0, 514.0, 66.0, 306.0
_MAX_FAILURES = 3  # lines on what could not be measured
_MAX_NETWORKS = 12  # more lines cannot be told apart


@dataclass(frozen=True, slots=True)
class _Series:
    label: str
    role: str
    measured: tuple[Timing, ...]  # by batch size
    failed: tuple[Timing, ...]
    unit: str  # of the throughput


Value = tuple[float, float, float]  # with the ends of its interval


def panels(networks: Sequence[NetworkResults]) -> list[Panel]:
    """One panel for all networks."""
    drawing = batch_sweep([(network.label, network.bench) for network in networks if network.bench is not None])
    return [] if drawing is None else [Panel(drawing)]


def batch_sweep(benches: Sequence[tuple[str, BenchResult]]) -> Drawing | None:
    """Latency and images per second by batch size.

    Args:
        benches: label and result of each network.

    Returns:
        None where no network was measured at two batch sizes.
    """
    series = [_series(index, label, result) for index, (label, result) in enumerate(benches[:_MAX_NETWORKS])]
    if not any(len(each.measured) > 1 for each in series):
        return None
    series = [each for each in series if each.measured]
    unit, right = common_unit(result for _, result in benches), _WIDTH + _GAP
    marks = legend([(each.role, each.label) for each in series], 0, 12, right + _WIDTH)
    latencies = [_latency(timing) for each in series for timing in each.measured]
    y = scale([end for value in latencies for end in value], _BOTTOM, _TOP, log=True)
    marks += _plot(series, 0, "latency (median)", Axis(y, axes.seconds, room=_LEFT - 8), _latency)
    rates = Axis(_rate_scale(series), axes.amount(), room=_LEFT - 8)
    marks += _plot(series, right, f"throughput ({unit}/s)", rates, _rate)
    marks += _knees(series, right)
    failures = _failures(series, right + _WIDTH)
    names = ", ".join(fitted(each.label, 200) for each in series)
    label = f"latency and {unit} per second by batch size: {names}"
    return Drawing(right + _WIDTH, _BOTTOM + 44 + 16 * len(failures), (*marks, *failures), label)


def _series(index: int, label: str, result: BenchResult) -> _Series:
    timings = sorted(result.timings, key=lambda timing: timing.batch_size)
    return _Series(
        label,
        f"series{index % SERIES}",
        tuple(timing for timing in timings if timing.wall is not None),
        tuple(timing for timing in timings if timing.wall is None),
        result.unit,
    )


def _latency(timing: Timing) -> Value:
    assert timing.wall is not None
    return timing.wall.median_s, timing.wall.ci_low_s, timing.wall.ci_high_s


def _rate(timing: Timing) -> Value:
    rate = timing.images_per_s or 0.0
    return rate, rate, rate


def _batch_axis(series: Sequence[_Series], left: float) -> Axis:
    """All batch sizes that were requested, on a logarithmic scale."""
    sizes = sorted({timing.batch_size for each in series for timing in (*each.measured, *each.failed)})
    return Axis(
        scale(sizes, left + _LEFT, left + _RIGHT, log=True, margin=1.2),
        lambda value: f"{value:,.0f}",
        "batch size",
        tuple(map(float, sizes)),
        grid=False,
    )


def _rate_scale(series: Sequence[_Series]) -> Scale:
    rates = [_rate(timing)[0] for each in series for timing in each.measured]
    return Scale(0.0, scale([0.0, *rates], _BOTTOM, _TOP, log=False, margin=0.08).high, _BOTTOM, _TOP)


def _plot(
    series: Sequence[_Series], left: float, title: str, y: Axis, value_of: Callable[[Timing], Value]
) -> list[Mark]:
    x = _batch_axis(series, left)
    area = Area(left + _LEFT, _TOP, left + _RIGHT, _BOTTOM)
    marks: list[Mark] = [Label(left, 42, title, "strong"), *frame(area, x, y)]
    for each in series:
        values = [value_of(timing) for timing in each.measured]
        points = [
            (x.scale(timing.batch_size), y.scale(value[0])) for timing, value in zip(each.measured, values, strict=True)
        ]
        if len(points) > 1:
            marks.append(Curve(path(points), each.role))
        for point, timing, (middle, low, high) in zip(points, each.measured, values, strict=True):
            if y.scale(low) - y.scale(high) > 3:
                marks.append(Curve(path(((point[0], y.scale(low)), (point[0], y.scale(high)))), "whisker"))
            hint = f"{fitted(each.label, 300)} · batch {timing.batch_size:,} · {y.text(middle)}"
            marks.append(Dot(*point, 3.4, each.role, hint))
    failed_sizes = sorted({timing.batch_size for each in series for timing in each.failed})
    layout = LabelLayout()
    crosses = [Label(x.scale(size), _BOTTOM - 4, "×", "bad strong", "middle") for size in failed_sizes]
    return [*marks, *(cross for cross in crosses if layout.take(cross))]


def _knees(series: Sequence[_Series], left: float) -> list[Mark]:
    """A mark at each network's knee in the throughput plot."""
    x, y = _batch_axis(series, left).scale, _rate_scale(series)
    marks: list[Mark] = []
    layout = LabelLayout()
    for each in series:
        for index, timing in enumerate(each.measured):
            if not timing.knee:
                continue
            rate = _rate(timing)[0]
            at, height = x(timing.batch_size), y(rate)
            text = f"knee: {formatting.scaled(rate)} {each.unit}/s at batch {timing.batch_size:,}"
            # The line comes from below at the left; where there is no room there, its course to the right decides.
            is_left = at - 10 - text_width(text, "small strong") > left + _LEFT
            falls = index + 1 < len(each.measured) and _rate(each.measured[index + 1])[0] < rate
            offsets = ((-8, -9), (-8, 16)) if is_left else ((8, -9), (8, 18)) if falls else ((8, 18), (8, -9))
            candidates = [
                Label(at + across, height + down, text, "small strong", "end" if is_left else "start")
                for across, down in offsets
            ]
            marks.append(LineMark(at, height, at, _BOTTOM, "limit"))
            marks.append(Dot(at, height, 5.5, f"{each.role} dot", f"knee of {fitted(each.label, 300)}"))
            marks += [label for label in candidates if layout.take(label)][:1]
    return marks


def _failures(series: Sequence[_Series], width: float) -> list[Mark]:
    """The batch sizes that could not be measured, as text."""
    lines = []
    for each in series:
        for timing in each.failed:
            name = f"{fitted(each.label, 180, 'small')}, " if len(series) > 1 else ""
            reason = "" if timing.reason is None else f": {timing.reason}"
            lines.append(f"× {name}batch {timing.batch_size:,}, {timing.status}{reason}")
    if len(lines) > _MAX_FAILURES:
        lines[_MAX_FAILURES - 1 :] = [f"and {len(lines) - _MAX_FAILURES + 1:,} more that could not be measured"]
    y = _BOTTOM + 54
    return [Label(0, y + 16 * i, fitted(text, width, "small bad"), "small bad") for i, text in enumerate(lines)]
