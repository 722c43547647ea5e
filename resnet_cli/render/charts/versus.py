"""One network against another, or against a saved run: ratios with their intervals, and where they are the same."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from resnet_cli import formatting
from resnet_cli.render.charts.drawing.axes import Axis, is_finite, path, plain, positive, scale, texts
from resnet_cli.render.charts.drawing.primitives import (
    Box,
    Curve,
    Dot,
    Drawing,
    Label,
    LineMark,
    Mark,
    fitted,
    text_width,
)
from resnet_cli.render.charts.drawing.scales import Scale
from resnet_cli.results.bench import BenchResult, Versus

_WIDTH = 860.0
_LEFT, _RIGHT = 250.0, 630.0  # of the plot
_VERDICT = 650.0
_ROW, _HEAD, _TOP = 27.0, 30.0, 44.0
_ROWS = 60
_WIDEST = 3.0  # an interval that reaches further leaves the scale, or the sharp ones could not be told apart
_ROLES = {"FASTER": "good", "SLOWER": "bad", "SAME": "plain", "UNCLEAR": "warning"}


def versus(result: BenchResult) -> Drawing | None:
    """A row for each batch size: our time over theirs, its interval, the band of what counts as the same.

    Returns:
        None where nothing was compared.
    """
    rows = [one for one in result.versus if positive(one.ratio)]
    if not rows:
        return None
    kept = rows[:_ROWS]
    axis = _axis(kept)
    marks: list[Mark] = []
    spans: list[tuple[float, float]] = [(_TOP - 8, _TOP)]  # of the grid, which leaves out the titles
    y = _TOP
    for (kind, ours, theirs), group in groupby(kept, key=lambda one: (one.method, one.model, one.reference)):
        them = list(group)
        how = "" if kind == "baseline" else ", in turn call by call"
        title = f"{fitted(ours, 280, 'strong')} against {fitted(theirs, 280, 'strong')}{how}"
        marks.append(Label(0, y + 18, fitted(title, _WIDTH, "strong"), "strong"))
        y += _HEAD
        marks += _band(them, axis.scale, y)
        for one in them:
            marks += _row(one, axis.scale, y + _ROW / 2)
            y += _ROW
        spans.append((y - _ROW * len(them), y))
    said = [Label(0, y + 16, f"and {len(rows) - len(kept):,} more", "small faint")] if len(rows) > len(kept) else []
    drawn = (*_grid(axis, spans), *_head(axis), *marks, *said)
    return Drawing(_WIDTH, y + (24 if said else 4), drawn, _label(result, kept))


def _label(result: BenchResult, rows: Sequence[Versus]) -> str:
    said = [f"batch {one.batch_size:,} {one.verdict} ({one.ratio:.3g})" for one in rows[:12]]
    return f"{result.network.name}, time over the time of {fitted(rows[0].reference, 300)}: {', '.join(said)}"


def _axis(rows: Sequence[Versus]) -> Axis:
    """Powers, so that twice as fast is as far from 1 as twice as slow."""
    values = [1.0]
    for one in rows:
        values.append(one.ratio)
        values += [max(one.ci_low, one.ratio / _WIDEST)] if positive(one.ci_low) else []
        values += [min(one.ci_high, one.ratio * _WIDEST)] if positive(one.ci_high) else []
        values += [1 + one.margin, 1 / (1 + one.margin)] if is_finite(one.margin) and 0 <= one.margin < 1 else []
    reach = max(*values, 1 / min(values)) ** 0.08
    return Axis(scale(values, _LEFT, _RIGHT, log=True, margin=max(reach, 1.001)), _ratio, most=5)


def _ratio(value: float) -> str:
    return plain(f"{value:,.4f}") if 1e-3 <= value < 1e6 else f"{value:.0e}"


def _grid(axis: Axis, spans: Sequence[tuple[float, float]]) -> list[Mark]:
    """A line at each tick, and a darker one where both are as fast."""
    places = [axis.scale(at) for at, _ in texts(axis)]
    segments = [segment for x in places for top, end in spans for segment in path(((x, top), (x, end)))]
    one = axis.scale(1.0)
    return [
        *([Curve(tuple(segments), "grid")] if segments else []),
        *(LineMark(one, top, one, end, "axis") for top, end in spans),
    ]


def _head(axis: Axis) -> list[Mark]:
    marks: list[Mark] = []
    one, free = axis.scale(1.0), 0.0
    for title, x, anchor, room in (
        ("◀ faster", one - 10, "end", one),
        ("slower ▶", one + 10, "start", _WIDTH - one - 10),
    ):
        marks.append(Label(x, 12, fitted(title, room, "small"), "small faint", anchor))
    for at, text in texts(axis):
        x, half = axis.scale(at), text_width(text, "small") / 2
        if x - half >= free:
            marks.append(Label(x, 30, text, "small faint", "middle"))
            free = x + half + 6
    marks.append(Label(0, 30, "our time over theirs", "small faint"))
    return marks


def _band(them: Sequence[Versus], x: Scale, top: float) -> list[Mark]:
    """Where two times are the same; one box where all of a group say so alike."""
    marks: list[Mark] = []
    for band, group in groupby(them, key=lambda one: one.margin):
        height = _ROW * len(list(group))
        if is_finite(band) and band >= 0:
            left, right = x(max(1 - band, x.low)), x(1 + band)
            hint = f"up to {formatting.percent(band)} of difference is the same"
            marks.append(Box(left, top, right - left, height, "band", hint=hint))
        top += height
    return marks


def _row(one: Versus, x: Scale, y: float) -> list[Mark]:
    role = _ROLES.get(one.verdict, "plain")
    times = f"{formatting.seconds(one.model_time.median_s)} : {formatting.seconds(one.reference_time.median_s)}"
    batch = f"batch {one.batch_size:,}"
    marks: list[Mark] = [
        Label(0, y + 4, fitted(batch, 96), ""),
        Label(100, y + 4, fitted(times, _LEFT - 110, "small faint"), "small faint"),
    ]
    if is_finite(one.ci_low) and is_finite(one.ci_high):
        marks.append(_whisker(one.ci_low, one.ci_high, x, y))
    marks.append(Dot(x(one.ratio), y, 4.6, role, _hint(one)))
    said = _said(one)
    return [
        *marks,
        Label(_VERDICT, y + 4, fitted(one.verdict, 74, "small strong"), f"small strong {_text(role)}".rstrip()),
        Label(_VERDICT + 78, y + 4, fitted(said, _WIDTH - _VERDICT - 78, "small"), "small"),
    ]


def _text(role: str) -> str:
    return "faint" if role == "plain" else role


def _whisker(low: float, high: float, x: Scale, y: float) -> Mark:
    """An interval with a cap at each end, or an arrow where it leaves the scale."""
    left, right = x(low), x(high)
    before, behind = (4.0 if low < x.low else 0.0), (4.0 if high > x.high else 0.0)
    segments = (
        *path(((left, y), (right, y))),
        *path(((left + before, y - 3), *([(left, y)] if before else []), (left + before, y + 3))),
        *path(((right - behind, y - 3), *([(right, y)] if behind else []), (right - behind, y + 3))),
    )
    return Curve(segments, "whisker")


def _said(one: Versus) -> str:
    """The ratio with its interval in figures."""
    low, high = (
        f"{end:.3f}" if positive(end) and end < 1e4 else formatting.UNKNOWN for end in (one.ci_low, one.ci_high)
    )
    return f"{_short(one.ratio)} ({low}…{high})"


def _short(value: float) -> str:
    return f"{value:.3f}" if 1e-3 <= value < 1e4 else f"{value:.0e}"


def _hint(one: Versus) -> str:
    parts = [f"batch {one.batch_size:,}", f"ratio {_said(one)}", fitted(one.verdict, 200)]
    return " · ".join([*parts, *(fitted(note.text, 600) for note in one.notes[:3])])
