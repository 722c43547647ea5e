"""The times of a benchmark: tables for several batch sizes, lists for one."""

from __future__ import annotations

from collections.abc import Sequence

from resnet_cli.formatting import percent_setting
from resnet_cli.render.document import Element, Fields, Row, Table
from resnet_cli.render.pages.bench import timing_columns as column
from resnet_cli.render.pages.bench.timing_notes import timing_notes
from resnet_cli.render.pages.cells import exact, percent, rate, relative_ci, scaled, seconds, text_cell
from resnet_cli.render.pages.elements import fields
from resnet_cli.results.bench import BenchResult, Distribution, Timing

_BINS = 22  # of a histogram
_GROUPS = 12  # of a timeline in a table of many columns


def timings(result: BenchResult) -> list[Element]:
    """The times of each batch size, and notes on them."""
    rows = result.timings
    if not rows:
        return []
    first = rows[0]
    if len(rows) == 1 and first.wall is not None:
        return [*_one_batch_size(first, first.wall, result), *timing_notes(result)]
    return [*_several_batch_sizes(rows, result), *timing_notes(result)]


# One batch size


def _one_batch_size(row: Timing, wall: Distribution, result: BenchResult) -> list[Element]:
    columns = (column.MIN, column.distribution(wall.outliers), column.MAX, column.TIMELINE)
    cells = column.statistics(wall, _BINS, _BINS)
    return [
        _latency(row, wall, result.confidence),
        *_device_time(row, result.confidence),
        _throughput(row, result.unit),
        _sampling(row, wall),
        Table("distribution", "", columns, (Row(cells),)),
    ]


def _latency(row: Timing, wall: Distribution, confidence: float) -> Fields:
    return fields(
        f"batch {row.batch_size:,}" if row.device is None else f"batch {row.batch_size:,}, wall time",
        ("median", seconds(wall.median_s, "strong")),
        (f"{percent_setting(confidence)} CI", relative_ci(wall.ci_low_s, wall.median_s, wall.ci_high_s)),
        ("CI low", seconds(wall.ci_low_s)),
        ("CI high", seconds(wall.ci_high_s)),
        ("mean", seconds(wall.mean_s)),
        ("std", seconds(wall.std_s)),
        ("p90", seconds(wall.p90_s)),
        ("p95", seconds(wall.p95_s)),
        ("p99", seconds(wall.p99_s)),
    )


def _device_time(row: Timing, confidence: float) -> list[Fields]:
    device = row.device
    if device is None:
        return []
    return [
        fields(
            "device time",
            ("median", seconds(device.median_s, "strong")),
            (f"{percent_setting(confidence)} CI", relative_ci(device.ci_low_s, device.median_s, device.ci_high_s)),
            ("min", seconds(device.min_s)),
            ("max", seconds(device.max_s)),
            ("launch overhead", percent(row.launch_overhead)),
        )
    ]


def _throughput(row: Timing, unit: str) -> Fields:
    memory = None
    if row.peak_memory_bytes is not None:
        memory = (f"peak memory ({row.memory_kind})", scaled(row.peak_memory_bytes, "B"))
    return fields(
        "throughput",
        (f"{unit}/s", rate(row.images_per_s, "strong")),
        ("FLOP/s", scaled(row.flops_per_s)),
        None if row.ceiling_share is None else ("of measured peak", column.of_peak(row)),
        memory,
    )


def _sampling(row: Timing, wall: Distribution) -> Fields:
    cells = column.sampling(row, wall)
    labels = {
        "samples": "samples",
        "effective_samples": "effective samples",
        "autocorrelation": "lag-1 autocorrelation",
        "outliers": "outliers",
        "warm_up_calls": "warm-up calls",
        "first_call_s": "first call",
        "first_call_ratio": "first call / median",
        "stopped": "stopped",
    }
    return fields("sampling", *((label, cells[key]) for key, label in labels.items() if key in cells))


# Several batch sizes


def _several_batch_sizes(rows: Sequence[Timing], result: BenchResult) -> list[Element]:
    measured = [(row, row.wall) for row in rows if row.wall is not None]
    columns = (
        column.BATCH,
        column.MEDIAN,
        column.interval(result.confidence, result.ci_width),
        *([column.DEVICE, column.LAUNCH] if any(row.device is not None for row in rows) else []),
        column.throughput(result.unit),
        column.FLOPS_RATE,
        *([column.CEILING] if any(row.ceiling_share is not None for row in rows) else []),
        *([column.memory(rows)] if any(row.peak_memory_bytes is not None for row in rows) else []),
        *([column.knee(result.unit)] if any(row.knee for row in rows) else []),
    )
    table = Table("timings", "", columns, tuple(map(_row, rows)))
    return [table, _distributions(measured), _samplings(measured)] if measured else [table]


def _row(row: Timing) -> Row:
    batch_size = {"batch_size": exact(row.batch_size)}
    if row.wall is None:
        return Row({**batch_size, "median_s": text_cell(row.status, "warning")}, spill=True)
    return Row({**batch_size, **column.times(row, row.wall)})


def _distributions(measured: Sequence[tuple[Timing, Distribution]]) -> Table:
    columns = (
        *(column.BATCH, column.MIN, column.distribution(sum(wall.outliers for _, wall in measured))),
        *(column.P90, column.P95, column.P99, column.MAX, column.MEAN, column.STD, column.TIMELINE),
    )
    rows = (
        Row({"batch_size": exact(row.batch_size), **column.statistics(wall, _BINS, _GROUPS)}) for row, wall in measured
    )
    return Table("distribution", "distribution of the samples", columns, tuple(rows))


def _samplings(measured: Sequence[tuple[Timing, Distribution]]) -> Table:
    columns = (
        *(column.BATCH, column.SAMPLES, column.EFFECTIVE, column.AUTOCORRELATION, column.OUTLIERS),
        *(column.WARM_UP, column.FIRST, column.FIRST_RATIO, column.STOPPED),
    )
    rows = (Row({"batch_size": exact(row.batch_size), **column.sampling(row, wall)}) for row, wall in measured)
    return Table("sampling", "sampling", columns, tuple(rows))
