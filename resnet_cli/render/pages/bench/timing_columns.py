"""The columns of the times of a benchmark, and their cells by the key of the column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from resnet_cli.formatting import percent_setting
from resnet_cli.render.document import Cell, Column
from resnet_cli.render.pages.bench.sparkline import blocks, histogram, timeline
from resnet_cli.render.pages.cells import counted, exact, factor, percent, rate, relative_ci, scaled, seconds, text_cell
from resnet_cli.results.bench import Distribution, Timing

BATCH = Column("batch_size", "batch")
MEDIAN = Column("median_s", "median")
MIN = Column("min_s", "min")
MAX = Column("max_s", "max")
MEAN = Column("mean_s", "mean", priority=2)
STD = Column("std_s", "std", priority=3)
P90 = Column("p90_s", "p90")
P95 = Column("p95_s", "p95", priority=1)
P99 = Column("p99_s", "p99", legend="– where there are too few samples for the percentile")
TIMELINE = Column(
    "timeline", "timeline", numeric=False, priority=4, legend="medians over the run, scaled from fastest to slowest"
)
FLOPS_RATE = Column("flops_per_s", "FLOP/s", legend="FLOPs as `resnet-cli flops` counts them, per second")
CEILING = Column("ceiling_share", "of peak", legend="share of the measured peak FLOP/s of this device")
DEVICE = Column("device_s", "device", legend="median time of the device's own work, without waits for the host")
LAUNCH = Column("launch_overhead", "launch", priority=3, legend="host time to enqueue a call / device time")
MEMORY = Column("peak_memory_bytes", "memory", priority=2)
SAMPLES = Column("samples", "samples")
EFFECTIVE = Column(
    "effective_samples",
    "effective",
    legend="effective sample size: as many independent samples would give the same interval",
)
AUTOCORRELATION = Column("autocorrelation", "lag-1", legend="autocorrelation of successive samples")
OUTLIERS = Column("outliers", "outliers", legend="samples more than 3 IQR beyond the quartiles; they are kept")
WARM_UP = Column("warm_up_calls", "warm-up", legend="warm-up calls until timings stabilised")
FIRST = Column("first_call_s", "first", legend="first call, including one-time set-up")
FIRST_RATIO = Column("first_call_ratio", "× median", priority=1, legend="first call / median")
STOPPED = Column("stopped", "stopped", numeric=False)

_STOPPED = {
    "converged": ("converged", "good"),
    "time": ("at --max-time", "warning"),
    "interrupted": ("interrupted", "warning"),
}
_MEMORY = {"allocated": "allocated by torch on the device", "resident": "resident memory of the process"}


def throughput(unit: str) -> Column:
    """The rate of images, or of other inputs."""
    return Column("images_per_s", f"{unit}/s")


def knee(unit: str) -> Column:
    """A mark on the knee of the throughput."""
    legend = f"the smallest batch with at least 0.9 of the best {unit}/s"
    return Column("knee", "knee", numeric=False, priority=1, legend=legend)


def interval(confidence: float, ci_width: float) -> Column:
    """The precision of the median."""
    legend = (
        f"half-width of the {percent_setting(confidence)} CI; sampling stops when the full width is below "
        f"{percent_setting(ci_width)}"
    )
    return Column("interval", "±", legend=legend)


def distribution(outliers: int) -> Column:
    """A histogram in each row."""
    beyond = f"; {counted(outliers, 'outlier')} not drawn" if outliers else ""
    return Column(
        "distribution",
        "distribution",
        numeric=False,
        legend=f"histogram from the fastest to the slowest sample{beyond}",
    )


def memory(rows: Sequence[Timing]) -> Column:
    """Peak memory, with its kind."""
    kinds = dict.fromkeys(_MEMORY.get(kind, kind) for row in rows if (kind := row.memory_kind) is not None)
    return replace(MEMORY, legend=f"peak, {', '.join(kinds)}" if kinds else "")


def times(row: Timing, wall: Distribution) -> dict[str, Cell]:
    """Time, rate and memory."""
    return {
        "median_s": seconds(wall.median_s, "strong"),
        "interval": relative_ci(wall.ci_low_s, wall.median_s, wall.ci_high_s),
        "device_s": seconds(None if row.device is None else row.device.median_s),
        "launch_overhead": percent(row.launch_overhead),
        "images_per_s": rate(row.images_per_s),
        "flops_per_s": scaled(row.flops_per_s),
        "ceiling_share": of_peak(row),
        "peak_memory_bytes": scaled(row.peak_memory_bytes, "B"),
        "knee": Cell("◀" if row.knee else "", row.knee, "good"),
    }


def of_peak(row: Timing) -> Cell:
    """The share of the measured peak; more than 100% is an error of measurement."""
    return percent(row.ceiling_share, "bad" if (row.ceiling_share or 0) > 1 else "")


def statistics(wall: Distribution, bins: int, groups: int) -> dict[str, Cell]:
    """The distribution of the samples in numbers, as a histogram and in the order of measuring."""
    return {
        "distribution": Cell(blocks(histogram(wall.samples_s, bins)), None, "histogram"),
        "timeline": Cell(timeline(wall.samples_s, groups), None, "histogram"),
        "min_s": seconds(wall.min_s),
        "p90_s": seconds(wall.p90_s),
        "p95_s": seconds(wall.p95_s),
        "p99_s": seconds(wall.p99_s),
        "max_s": seconds(wall.max_s),
        "mean_s": seconds(wall.mean_s),
        "std_s": seconds(wall.std_s),
    }


def sampling(row: Timing, wall: Distribution) -> dict[str, Cell]:
    """How many samples there are, and how they were taken."""
    text, style = _STOPPED.get(row.stopped or "", (row.stopped, ""))
    cells = {
        "samples": exact(len(wall.samples_s)),
        "effective_samples": exact(round(wall.effective_samples)),
        "autocorrelation": factor(wall.autocorrelation, unit=""),
        "outliers": exact(wall.outliers),
        "stopped": text_cell(text, style, row.stopped),
    }
    if row.warm_up is not None:
        first = row.warm_up.first_call_s
        cells |= {
            "warm_up_calls": exact(row.warm_up.calls),
            "first_call_s": seconds(first),
            "first_call_ratio": factor(first / wall.median_s if wall.median_s else None, 1),
        }
    return cells
