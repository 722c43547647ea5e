"""The samples of a benchmark: in the order of measuring, and beside that how often each time occurs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from resnet_cli import formatting
from resnet_cli.render.charts.drawing.axes import Area, Axis, LabelLayout, frame, is_finite, path, scale, seconds
from resnet_cli.render.charts.drawing.primitives import Box, Curve, Dot, Drawing, Label, LineMark, Mark, fitted
from resnet_cli.render.charts.drawing.scales import Scale
from resnet_cli.render.pages.bench.sparkline import histogram, within_fences
from resnet_cli.results.bench import BenchResult, Distribution

_WIDTH, _HEIGHT = 530.0, 256.0  # of a panel
_GAP = 30.0
_LEFT, _TOP, _BOTTOM = 74.0, 46.0, 206.0  # of the plot in its panel
_ORDER, _SPREAD = 330.0, 420.0  # where the samples in order end, and the histogram
_GROUPS = 120  # parts of the run that are told apart
_BINS = 32
_PANELS = 12
_FAR = 24  # outliers that have a mark
_LINE = 12.0  # between labels


@dataclass(frozen=True, slots=True)
class _Panel:
    title: str
    series: Distribution
    samples: tuple[float, ...]


def distribution(result: BenchResult) -> Drawing | None:
    """A panel for each batch size, and below it one for the accelerator's own clock.

    Samples in the order of measuring stand at the left, so that a drift is seen; the histogram at the right has the
    same axis, so that the median and its interval run through both.

    Returns:
        None where nothing was measured.
    """
    pairs = [_panels(batch.batch_size, batch.wall, batch.device) for batch in result.timings]
    pairs = [pair for pair in pairs if any(pair)]
    if not pairs:
        return None
    kept = pairs[:_PANELS]
    across = min(len(kept), 2)
    groups = max(30, _GROUPS * 2 // max(len(kept), 2))
    marks: list[Mark] = []
    y = 0.0
    for start in range(0, len(kept), across):
        row = kept[start : start + across]
        for which in (0, 1):
            there = [(place, pair[which]) for place, pair in enumerate(row) if pair[which] is not None]
            for place, panel in there:
                if panel is not None:
                    marks += _drawn(panel, place * (_WIDTH + _GAP), y, groups, result.confidence)
            y += _HEIGHT if there else 0.0
    if len(pairs) > len(kept):
        marks.append(Label(0, y + 12, f"and {len(pairs) - len(kept):,} more batch sizes", "small faint"))
        y += 20
    width = across * _WIDTH + (across - 1) * _GAP
    return Drawing(width, y, tuple(marks), _label(result, kept))


def _label(result: BenchResult, pairs: Sequence[tuple[_Panel | None, _Panel | None]]) -> str:
    said = [
        f"{panel.title}: median {formatting.seconds(panel.series.median_s)}"
        for pair in pairs
        for panel in pair
        if panel
    ]
    return f"{result.network.name}, times of calls; {'; '.join(said)}"


def _panels(batch: int, wall: Distribution | None, device: Distribution | None) -> tuple[_Panel | None, _Panel | None]:
    title = f"batch {batch:,}"
    return _panel(title if device is None else f"{title}, a request", wall), _panel(f"{title}, on the device", device)


def _panel(title: str, series: Distribution | None) -> _Panel | None:
    if series is None:
        return None
    samples = tuple(one for one in series.samples_s if is_finite(one))
    return _Panel(title, series, samples) if samples and is_finite(series.median_s) else None


def _drawn(panel: _Panel, left: float, top: float, groups: int, confidence: float) -> list[Mark]:
    """One panel, moved to its place."""
    series, samples = panel.series, panel.samples
    area = Area(left + _LEFT, top + _TOP, left + _ORDER, top + _BOTTOM)
    low, high = within_fences(samples)
    # An interval that reaches further than this would squash the samples; it is held at the edge.
    reach = (high - low) / 2
    ends = [min(max(one, low - reach), high + reach) for one in (series.ci_low_s, series.ci_high_s) if is_finite(one)]
    middle = min(max(series.median_s, low - reach), high + reach)
    y = scale([low, high, middle, *ends], area.bottom, area.top, log=False)
    calls = "1 call" if len(samples) == 1 else f"{len(samples):,} calls"
    return [
        Label(left, top + 12, fitted(panel.title, 300, "strong"), "strong"),
        _summary(panel, left, top, confidence),
        *frame(area, None, Axis(y, seconds, most=5, room=_LEFT - 8)),
        Label(area.left, area.bottom + 16, f"{calls} in the order of measuring", "small faint"),
        LineMark(left + _ORDER + 12, area.top, left + _ORDER + 12, area.bottom, "axis"),
        Label(left + _ORDER + 12, area.bottom + 16, "how often", "small faint"),
        *_interval(series, y, area, left + _SPREAD),
        *_order([one if low <= one <= high else None for one in samples], y, area, groups),
        *_far(samples, low, high, area),
        *_bars(samples, low, high, y, left + _ORDER + 12),
        *_levels(series, y, left),
        *_beyond(samples, low, high, left + _LEFT, area.bottom + 32),
    ]


def _interval(series: Distribution, y: Scale, area: Area, right: float) -> list[Mark]:
    """The interval of the median, as a band through both."""
    if not is_finite(series.ci_low_s) or not is_finite(series.ci_high_s):
        return []
    top, bottom = sorted((y(series.ci_high_s), y(series.ci_low_s)))
    return [Box(area.left, top, right - area.left, max(bottom - top, 1.0), "band")]


def _order(samples: Sequence[float | None], y: Scale, area: Area, groups: int) -> list[Mark]:
    """From call to call: single ones as dots, many as the range and the median of each part of the run."""
    pitch = (area.right - area.left) / len(samples)
    places = [area.left + pitch * (index + 0.5) for index in range(len(samples))]
    if len(samples) <= groups:
        there = [(x, y(one)) for x, one in zip(places, samples, strict=True) if one is not None]
        dots = [Dot(*at, 1.8, "one") for at in there]
        return [*([Curve(path(there), "thread")] if len(there) > 1 else []), *dots]
    cuts = [len(samples) * index // groups for index in range(groups + 1)]
    tops, bottoms, middles = [], [], []
    for start, end in pairwise(cuts):
        inside = [one for one in samples[start:end] if one is not None]
        if inside:
            x = (places[start] + places[end - 1]) / 2
            tops.append((x, y(max(inside))))
            bottoms.append((x, y(min(inside))))
            middles.append((x, y(median(inside))))
    area_of = (*path([*tops, *reversed(bottoms)]), ("Z", ()))
    return [Curve(area_of, "area"), Curve(path(middles), "trend")]


def _far(samples: Sequence[float], low: float, high: float, area: Area) -> list[Mark]:
    """When the outliers came, at the edge that they lie beyond."""
    pitch = (area.right - area.left) / len(samples)
    there = [(index, one) for index, one in enumerate(samples) if not low <= one <= high]
    return [
        Dot(
            area.left + pitch * (index + 0.5),
            area.top if one > high else area.bottom,
            2.2,
            "warning",
            f"call {index + 1:,}: {formatting.seconds(one)}",
        )
        for index, one in there[:_FAR]
    ]


def _bars(samples: Sequence[float], low: float, high: float, y: Scale, left: float) -> list[Mark]:
    """The histogram, lying."""
    if not high > low:
        return [Box(left, y(low) - 3, 70, 6, "bar", hint=f"{len(samples):,} × {formatting.seconds(low)}")]
    counts = histogram(samples, _BINS)
    most, step = max(counts), (high - low) / _BINS
    marks: list[Mark] = []
    for index, count in enumerate(counts):
        bottom, top = y(low + index * step), y(low + (index + 1) * step)
        if count:
            high_bar = max(bottom - top - 0.5, 0.5)
            marks.append(Box(left, top, (_SPREAD - _ORDER - 20) * count / most, high_bar, "bar"))
    return marks


def _summary(panel: _Panel, left: float, top: float, confidence: float) -> Label:
    """How sharp the median is, and what its interval rests on."""
    series, calls = panel.series, len(panel.samples)
    half = (series.ci_high_s - series.ci_low_s) / 2 / series.median_s if series.median_s else None
    text = "a single call has no spread" if calls == 1 else ""
    if calls > 1 and is_finite(half) and is_finite(series.effective_samples):
        ends = f"{formatting.seconds(series.ci_low_s)} to {formatting.seconds(series.ci_high_s)}"
        near = f" (±{formatting.percent(half)})" if half < 1 else ""
        text = f"{100 * confidence:g} % interval {ends}{near}, "
        text += f"as of {series.effective_samples:,.0f} independent calls"
    return Label(left, top + 28, fitted(text, _WIDTH, "small faint"), "small faint")


def _levels(series: Distribution, y: Scale, left: float) -> list[Mark]:
    """The median as a line through both, the percentiles as short marks, each with its figure."""
    at = y(series.median_s)
    room = _WIDTH - _SPREAD - 6
    text = fitted(f"{formatting.seconds(series.median_s)} median", room + 20, "small")
    label = Label(left + _SPREAD + 6, at + 4, text, "small strong")
    marks: list[Mark] = [LineMark(left + _LEFT, at, left + _SPREAD, at, "mark"), label]
    places = LabelLayout()
    places.take(label)
    for name, value in (("p99", series.p99_s), ("p95", series.p95_s), ("p90", series.p90_s)):
        if not is_finite(value) or not y.low <= value <= y.high:
            continue
        text = fitted(f"{formatting.seconds(value)} {name}", room, "small")
        label = Label(left + _SPREAD + 6, y(value) + 4, text, "small faint")
        marks.append(LineMark(left + _ORDER + 12, y(value), left + _SPREAD, y(value), "axis"))
        if places.take(label):
            marks.append(label)
    return marks


def _beyond(samples: Sequence[float], low: float, high: float, left: float, y: float) -> list[Mark]:
    """The outliers in words: they count, and one of them would squash all others."""
    slow, fast = [one for one in samples if one > high], [one for one in samples if one < low]
    said = []
    if slow:
        kind = "slower one" if len(slow) == 1 else "slower ones"
        said.append(f"{len(slow):,} {kind}, up to {formatting.seconds(max(slow))}")
    if fast:
        kind = "faster one" if len(fast) == 1 else "faster ones"
        said.append(f"{len(fast):,} {kind}, down to {formatting.seconds(min(fast))}")
    if not said:
        return []
    text = f"{' and '.join(said)}, {'is' if len(slow) + len(fast) == 1 else 'are'} marked at the edge"
    return [Label(left, y, fitted(text, _WIDTH - _LEFT, "small warning"), "small warning")]
