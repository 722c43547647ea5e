"""Chart of a benchmark's samples: in the order of measurement, and beside that their histogram."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from resnet_cli import formatting
from resnet_cli.render.charts.drawing.axes import Area, Axis, LabelLayout, frame, path, scale, seconds
from resnet_cli.render.charts.drawing.primitives import Box, Curve, Dot, Drawing, Label, LineMark, Mark, fitted
from resnet_cli.render.charts.drawing.scales import Scale
from resnet_cli.render.charts.grouping import NetworkResults
from resnet_cli.render.charts.panel import Panel, per_network
from resnet_cli.render.pages.bench.sparkline import histogram, within_fences
from resnet_cli.results.bench import BenchResult, Distribution, Timing

_WIDTH, _HEIGHT = 530.0, 256.0  # of a plot with its texts
_GAP = 30.0
_LEFT, _TOP, _BOTTOM = 74.0, 46.0, 206.0  # of the axes in a plot
_TIMELINE_END, _HISTOGRAM_END = 330.0, 420.0
_MAX_GROUPS = 120  # parts of the timeline
_BINS = 32
_MAX_BATCH_SIZES = 12
_MAX_OUTLIERS = 24  # that have a mark


@dataclass(frozen=True, slots=True)
class _Plot:
    title: str
    times: Distribution
    confidence: float  # of its interval, such as 0.95

    @property
    def samples(self) -> tuple[float, ...]:
        return self.times.samples_s


def panels(networks: Sequence[NetworkResults]) -> list[Panel]:
    """A panel for each network with a benchmark."""
    return per_network(networks, lambda network: None if network.bench is None else samples_chart(network.bench))


def samples_chart(result: BenchResult) -> Drawing | None:
    """A plot for each batch size, and below it one for the accelerator's own timer.

    The histogram shares the vertical axis of the timeline, so that the median and its interval run through both.

    Returns:
        None for a benchmark without samples.
    """
    measured = [timing for timing in result.timings if timing.wall is not None and timing.wall.samples_s]
    if not measured:
        return None
    shown = measured[:_MAX_BATCH_SIZES]
    per_row = min(len(shown), 2)
    groups = max(30, _MAX_GROUPS * 2 // max(len(shown), 2))
    marks: list[Mark] = []
    y = 0.0
    for start in range(0, len(shown), per_row):
        for plots in zip(
            *(_plots(timing, result.confidence) for timing in shown[start : start + per_row]), strict=True
        ):
            for column, plot in enumerate(plots):
                if plot is not None:
                    marks += _draw(plot, column * (_WIDTH + _GAP), y, groups)
            y += _HEIGHT if any(plots) else 0.0
    if len(measured) > len(shown):
        marks.append(Label(0, y + 12, f"and {len(measured) - len(shown):,} more batch sizes", "small faint"))
        y += 20
    medians = [f"batch {timing.batch_size:,}: median {_median(timing)}" for timing in shown]
    width = per_row * _WIDTH + (per_row - 1) * _GAP
    return Drawing(width, y, tuple(marks), f"{result.network.name}, latency samples; {'; '.join(medians)}")


def _median(timing: Timing) -> str:
    return formatting.seconds(None if timing.wall is None else timing.wall.median_s)


def _plots(timing: Timing, confidence: float) -> tuple[_Plot | None, _Plot | None]:
    """Of the wall-clock time and of the device's own."""
    title = f"batch {timing.batch_size:,}"
    wall_title = title if timing.device is None else f"{title}, wall-clock time"
    return (
        None if timing.wall is None else _Plot(wall_title, timing.wall, confidence),
        None if timing.device is None else _Plot(f"{title}, device time", timing.device, confidence),
    )


def _draw(plot: _Plot, left: float, top: float, groups: int) -> list[Mark]:
    """One plot with its upper left corner at a point."""
    times, samples = plot.times, plot.samples
    area = Area(left + _LEFT, top + _TOP, left + _TIMELINE_END, top + _BOTTOM)
    low, high = within_fences(samples)
    # An interval that reaches further than this would squash the samples; it is clipped.
    reach = (high - low) / 2
    ends = [min(max(value, low - reach), high + reach) for value in (times.ci_low_s, times.median_s, times.ci_high_s)]
    y = scale([low, high, *ends], area.bottom, area.top, log=False)
    count = "1 call" if len(samples) == 1 else f"{len(samples):,} calls"
    histogram_left = left + _TIMELINE_END + 12
    return [
        Label(left, top + 12, fitted(plot.title, 300, "strong"), "strong"),
        _interval_text(plot, left, top),
        *frame(area, None, Axis(y, seconds, most=5, room=_LEFT - 8)),
        Label(area.left, area.bottom + 16, f"{count} in the order of measurement", "small faint"),
        LineMark(histogram_left, area.top, histogram_left, area.bottom, "axis"),
        Label(histogram_left, area.bottom + 16, "histogram", "small faint"),
        _interval_band(times, y, area, left + _HISTOGRAM_END),
        *_timeline([value if low <= value <= high else None for value in samples], y, area, groups),
        *_outliers(samples, low, high, area),
        *_histogram_bars(samples, low, high, y, histogram_left),
        *_levels(times, y, left),
        *_outlier_text(samples, low, high, left + _LEFT, area.bottom + 32),
    ]


def _interval_band(times: Distribution, y: Scale, area: Area, right: float) -> Mark:
    """The confidence interval of the median, as a band through timeline and histogram."""
    top, bottom = y(times.ci_high_s), y(times.ci_low_s)
    return Box(area.left, top, right - area.left, max(bottom - top, 1.0), "band")


def _timeline(samples: Sequence[float | None], y: Scale, area: Area, groups: int) -> list[Mark]:
    """Few samples as dots, many as the range and the median of each part of the run."""
    pitch = (area.right - area.left) / len(samples)
    xs = [area.left + pitch * (index + 0.5) for index in range(len(samples))]
    if len(samples) <= groups:
        points = [(x, y(value)) for x, value in zip(xs, samples, strict=True) if value is not None]
        dots = [Dot(*point, 1.8, "sample") for point in points]
        return [*([Curve(path(points), "thread")] if len(points) > 1 else []), *dots]
    cuts = [len(samples) * index // groups for index in range(groups + 1)]
    tops, bottoms, middles = [], [], []
    for start, end in pairwise(cuts):
        values = [value for value in samples[start:end] if value is not None]
        if values:
            x = (xs[start] + xs[end - 1]) / 2
            tops.append((x, y(max(values))))
            bottoms.append((x, y(min(values))))
            middles.append((x, y(median(values))))
    outline = (*path([*tops, *reversed(bottoms)]), ("Z", ()))
    return [Curve(outline, "area"), Curve(path(middles), "trend")]


def _outliers(samples: Sequence[float], low: float, high: float, area: Area) -> list[Mark]:
    """Marks at the edge that the outliers lie beyond, where they occurred."""
    pitch = (area.right - area.left) / len(samples)
    outliers = [(index, value) for index, value in enumerate(samples) if not low <= value <= high]
    return [
        Dot(
            area.left + pitch * (index + 0.5),
            area.top if value > high else area.bottom,
            2.2,
            "warning",
            f"call {index + 1:,}: {formatting.seconds(value)}",
        )
        for index, value in outliers[:_MAX_OUTLIERS]
    ]


def _histogram_bars(samples: Sequence[float], low: float, high: float, y: Scale, left: float) -> list[Mark]:
    """Horizontal bars."""
    if not high > low:
        return [Box(left, y(low) - 3, 70, 6, "bar", hint=f"{len(samples):,} × {formatting.seconds(low)}")]
    counts = histogram(samples, _BINS)
    highest, step = max(counts), (high - low) / _BINS
    marks: list[Mark] = []
    for index, count in enumerate(counts):
        bottom, top = y(low + index * step), y(low + (index + 1) * step)
        if count:
            width = (_HISTOGRAM_END - _TIMELINE_END - 20) * count / highest
            marks.append(Box(left, top, width, max(bottom - top - 0.5, 0.5), "bar"))
    return marks


def _interval_text(plot: _Plot, left: float, top: float) -> Label:
    """The confidence interval of the median, and the effective sample size that it rests on."""
    times = plot.times
    text = "a single call has no confidence interval"
    if len(plot.samples) > 1 and times.effective_samples is not None:
        half = (times.ci_high_s - times.ci_low_s) / 2 / times.median_s if times.median_s else 1.0
        low, high = formatting.seconds(times.ci_low_s), formatting.seconds(times.ci_high_s)
        text = f"{formatting.percent_setting(plot.confidence)} CI {low} to {high}"
        text += f" (±{formatting.percent(half)})" if half < 1 else ""
        text += f", effective sample size {times.effective_samples:,.0f}"
    return Label(left, top + 28, fitted(text, _WIDTH, "small faint"), "small faint")


def _levels(times: Distribution, y: Scale, left: float) -> list[Mark]:
    """The median as a line through both parts and percentiles as short lines, each with its value."""
    text_left, room = left + _HISTOGRAM_END + 6, _WIDTH - _HISTOGRAM_END - 6
    at = y(times.median_s)
    median_text = fitted(f"{formatting.seconds(times.median_s)} median", room + 20, "small")
    label = Label(text_left, at + 4, median_text, "small strong")
    marks: list[Mark] = [LineMark(left + _LEFT, at, left + _HISTOGRAM_END, at, "mark"), label]
    layout = LabelLayout()
    layout.take(label)
    for name, value in (("p99", times.p99_s), ("p95", times.p95_s), ("p90", times.p90_s)):
        if value is None or not y.low <= value <= y.high:
            continue
        label = Label(
            text_left, y(value) + 4, fitted(f"{formatting.seconds(value)} {name}", room, "small"), "small faint"
        )
        marks.append(LineMark(left + _TIMELINE_END + 12, y(value), left + _HISTOGRAM_END, y(value), "axis"))
        if layout.take(label):
            marks.append(label)
    return marks


def _outlier_text(samples: Sequence[float], low: float, high: float, left: float, y: float) -> list[Mark]:
    slow, fast = [value for value in samples if value > high], [value for value in samples if value < low]
    parts = []
    if slow:
        parts.append(f"{len(slow):,} slow (up to {formatting.seconds(max(slow))})")
    if fast:
        parts.append(f"{len(fast):,} fast (down to {formatting.seconds(min(fast))})")
    if not parts:
        return []
    text = f"outliers, marked at the edge: {', '.join(parts)}"
    return [Label(left, y, fitted(text, _WIDTH - _LEFT, "small warning"), "small warning")]
