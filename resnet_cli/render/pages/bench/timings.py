"""The times of a benchmark: in tables for several batch sizes, as facts for one."""

from __future__ import annotations

from collections.abc import Sequence

from resnet_cli.render.document import Element, Fields, Row, Table, ViewOptions
from resnet_cli.render.pages.bench import timing_columns as column
from resnet_cli.render.pages.bench.timing_notes import remarks
from resnet_cli.render.pages.cells import exact, facts, percent, rate, relative_ci, scaled, seconds, text_cell
from resnet_cli.results.bench import BenchResult, Distribution, Timing

_BINS = 22  # of a histogram
_GROUPS = 12  # of a course in a table of many


def timings(result: BenchResult, view: ViewOptions) -> list[Element]:
    """What was measured at each batch size, and what there is to say about it; unfolded one table with all of it."""
    rows = result.timings
    if not rows:
        return []
    if not view.collapse:
        return [Table("timings", "", column.EVERY, tuple(Row(column.every_cell(row)) for row in rows))]
    if len(rows) == 1 and rows[0].wall is not None:
        return [*_one(rows[0], rows[0].wall, result.confidence), *remarks(result)]
    return [*_several(rows, result), *remarks(result)]


# One batch size


def _one(row: Timing, wall: Distribution, confidence: float) -> list[Element]:
    cells = {
        **column.percentiles(wall),
        "distribution": column.drawn(wall, _BINS),
        "course": column.in_order(wall, _BINS),
    }
    columns = (column.MIN, column.distribution(wall.outliers), column.MAX, column.COURSE)
    return [
        _latency(row, wall, confidence),
        *_on_device(row, confidence),
        _throughput(row),
        _sampling(row, wall),
        Table("spread", "", columns, (Row(cells),)),
    ]


def _latency(row: Timing, wall: Distribution, confidence: float) -> Fields:
    return facts(
        f"batch {row.batch_size:,}" if row.device is None else f"batch {row.batch_size:,}, a request",
        ("median", seconds(wall.median_s, "strong")),
        (f"{100 * confidence:g} % interval", relative_ci(wall.ci_low_s, wall.median_s, wall.ci_high_s)),
        ("from", seconds(wall.ci_low_s)),
        ("to", seconds(wall.ci_high_s)),
        ("mean", seconds(wall.mean_s)),
        ("std", seconds(wall.std_s)),
        ("p90", seconds(wall.p90_s)),
        ("p95", seconds(wall.p95_s)),
        ("p99", seconds(wall.p99_s)),
    )


def _on_device(row: Timing, confidence: float) -> list[Fields]:
    device = row.device
    if device is None:
        return []
    return [
        facts(
            "on the device",
            ("median", seconds(device.median_s, "strong")),
            (f"{100 * confidence:g} % interval", relative_ci(device.ci_low_s, device.median_s, device.ci_high_s)),
            ("min", seconds(device.min_s)),
            ("max", seconds(device.max_s)),
            ("enqueue", percent(row.launch_overhead)),
        )
    ]


def _throughput(row: Timing) -> Fields:
    return facts(
        "throughput",
        ("images/s", rate(row.images_per_s, "strong")),
        ("FLOP/s", scaled(row.flops_per_s)),
        None if row.ceiling_share is None else ("of the ceiling", column.of_ceiling(row)),
        None
        if row.peak_memory_bytes is None
        else (f"peak {text_cell(row.memory_kind).text}", scaled(row.peak_memory_bytes, "B")),
    )


def _sampling(row: Timing, wall: Distribution) -> Fields:
    cells = column.sampling(row, wall)
    labels = {
        "samples": "samples",
        "effective_samples": "effective",
        "autocorrelation": "correlation",
        "outliers": "outliers",
        "warm_up_calls": "warm-up calls",
        "first_call_s": "first call",
        "first_call_ratio": "× median",
        "stopped": "stopped when",
    }
    return facts("sampling", *((label, cells[key]) for key, label in labels.items() if key in cells))


# Several


def _several(rows: Sequence[Timing], result: BenchResult) -> list[Element]:
    walls = [(row, row.wall) for row in rows if row.wall is not None]
    measured = [row for row, _ in walls]
    columns = (
        column.BATCH,
        column.MEDIAN,
        column.interval(result.confidence, result.ci_width),
        *([column.DEVICE, column.ENQUEUE] if any(row.device is not None for row in measured) else []),
        column.RATE,
        column.FLOPS_RATE,
        *([column.CEILING] if any(row.ceiling_share is not None for row in measured) else []),
        *([column.memory(measured)] if any(row.peak_memory_bytes is not None for row in measured) else []),
        *([column.KNEE] if any(row.knee for row in measured) else []),
    )
    main = Table("timings", "", columns, tuple(_row(row) for row in rows))
    return [main, _spreads(walls), _samplings(walls)] if walls else [main]


def _row(row: Timing) -> Row:
    batch = exact(row.batch_size)
    if row.wall is None:
        return Row({"batch_size": batch, "median_s": text_cell(row.status, "warning")}, spill=True)
    return Row({"batch_size": batch, **column.figures(row, row.wall)})


def _spreads(walls: Sequence[tuple[Timing, Distribution]]) -> Table:
    columns = (
        column.BATCH,
        column.MIN,
        column.distribution(sum(wall.outliers for _, wall in walls)),
        *(column.P90, column.P95, column.P99, column.MAX, column.MEAN, column.STD, column.COURSE),
    )
    rows = (
        Row(
            {
                "batch_size": exact(row.batch_size),
                "distribution": column.drawn(wall, _BINS),
                "course": column.in_order(wall, _GROUPS),
                **column.percentiles(wall),
            }
        )
        for row, wall in walls
    )
    return Table("spread", "spread", columns, tuple(rows))


def _samplings(walls: Sequence[tuple[Timing, Distribution]]) -> Table:
    columns = (
        *(column.BATCH, column.SAMPLES, column.EFFECTIVE, column.CORRELATION, column.OUTLIERS),
        *(column.WARM_UP, column.FIRST, column.FIRST_RATIO, column.STOPPED),
    )
    rows = (Row({"batch_size": exact(row.batch_size), **column.sampling(row, wall)}) for row, wall in walls)
    return Table("sampling", "sampling", columns, tuple(rows))
