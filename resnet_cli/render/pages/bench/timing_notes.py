"""Notes on times that are out of the ordinary."""

from __future__ import annotations

from collections.abc import Iterator

from resnet_cli.formatting import percent, percent_setting, seconds
from resnet_cli.render.document import Paragraph
from resnet_cli.render.pages.elements import notes
from resnet_cli.results.bench import BenchResult, Distribution, Timing

_LAUNCH_BOUND = 0.8  # launch overhead from which on the device waits for the host


def timing_notes(result: BenchResult) -> Iterator[Paragraph]:
    """Notes on each batch size in turn."""
    for row in result.timings:
        for level, text in _notes(row, result):
            yield Paragraph(level, f"batch {row.batch_size:,}: {text}")
        yield from notes(row.notes)  # these name their batch size themselves


def _notes(row: Timing, result: BenchResult) -> Iterator[tuple[str, str]]:
    wall = row.wall
    if wall is None:
        yield "warning", row.status if row.reason is None else f"{row.status}: {row.reason}"
        return
    yield from _interval_note(row, wall, result)
    if wall.drift is not None and not result.plan:
        verb = "rose" if wall.drift > 0 else "fell"
        yield "warning", f"times {verb} by {percent(abs(wall.drift))} from the first third of the run to the last"
    if row.ceiling_share is not None and row.ceiling_share > 1:
        yield "warning", f"{percent(row.ceiling_share)} of the measured peak: one of the two measurements is wrong"
    if row.device is not None and row.launch_overhead is not None and row.launch_overhead > _LAUNCH_BOUND:
        host, device = seconds(row.launch_overhead * row.device.median_s), seconds(row.device.median_s)
        text = (
            f"launch-bound: the host takes {host} to enqueue a call, the device {device} to compute it; try "
            "--optimizations cuda-graph or a larger --batch-size"
        )
        yield "note", text


def _interval_note(row: Timing, wall: Distribution, result: BenchResult) -> Iterator[tuple[str, str]]:
    """Sampling ended before the interval was narrow enough."""
    width = (wall.ci_high_s - wall.ci_low_s) / wall.median_s if wall.median_s else 0.0
    if result.runs:
        if width > result.ci_width and not result.plan:
            target = percent_setting(result.ci_width)
            yield "note", f"the CI over processes is {percent(width)} wide, target {target}; more --runs narrow it"
        return
    if row.stopped == "time" and width > result.ci_width:
        yield (
            "note",
            f"stopped at --max-time ({result.max_time_s:g} s): the CI is {percent(width)} wide, target "
            f"{percent_setting(result.ci_width)}; raise --max-time to narrow it",
        )
    if row.stopped == "interrupted":
        yield "note", f"interrupted: the CI is {percent(width)} wide, target {percent_setting(result.ci_width)}"
