"""What there is to say about times that a figure alone does not, in sentences; only what is out of the ordinary."""

from __future__ import annotations

from collections.abc import Iterator

from resnet_cli.formatting import percent, seconds
from resnet_cli.render.document import Paragraph
from resnet_cli.render.pages.cells import text_cell
from resnet_cli.results.bench import BenchResult, Timing

_LAUNCH_BOUND = 0.8  # enqueuing takes so much of the device's time, or more: the device waits for the host


def remarks(result: BenchResult) -> Iterator[Paragraph]:
    """About each batch size in turn."""
    for row in result.timings:
        name = f"batch {row.batch_size:,}"
        for level, text in _about(row, result):
            yield Paragraph(level, f"{name}: {text}")
        # These name their batch themselves.
        yield from (Paragraph(note.level, note.text) for note in row.notes)


def _about(row: Timing, result: BenchResult) -> Iterator[tuple[str, str]]:
    wall = row.wall
    if wall is None:
        reason = "" if row.reason is None else f": {text_cell(row.reason).text}"
        yield "warning", f"{text_cell(row.status).text}{reason}"
        return
    wide = (wall.ci_high_s - wall.ci_low_s) / wall.median_s if wall.median_s else 0.0
    if row.stopped == "time" and wide > result.ci_width:
        yield (
            "note",
            f"time was up after {result.max_time_s:g} s with the interval {percent(wide)} wide instead of "
            f"{100 * result.ci_width:g} %; a longer --max-time makes it sharper",
        )
    if row.stopped == "interrupted":
        yield "note", f"interrupted with the interval {percent(wide)} wide"
    if wall.drift is not None:
        verb = "rose" if wall.drift > 0 else "fell"
        yield "warning", f"the times {verb} by {percent(abs(wall.drift))} from the first third of the run to the last"
    if row.ceiling_share is not None and row.ceiling_share > 1:
        yield (
            "warning",
            f"{percent(row.ceiling_share)} of the ceiling is an error of measurement, of the time or of the ceiling",
        )
    if row.device is not None and row.launch_overhead is not None and row.launch_overhead > _LAUNCH_BOUND:
        yield (
            "note",
            f"launch-bound: to enqueue a call takes the host {percent(row.launch_overhead)} of the "
            f"{seconds(row.device.median_s)} that the device needs for it; --ladder tries a CUDA graph, and a larger "
            "--batch-size helps too",
        )
