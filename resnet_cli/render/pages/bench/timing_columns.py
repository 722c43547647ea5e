"""The columns of the times of a benchmark: what each is called, what it counts, how its cell is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from resnet_cli import formatting
from resnet_cli.render.document import Cell, Column
from resnet_cli.render.pages.bench.sparkline import blocks, course, histogram
from resnet_cli.render.pages.cells import counted, exact, percent, rate, relative_ci, scaled, seconds, text_cell
from resnet_cli.results.bench import Distribution, Timing

BATCH = Column("batch_size", "batch")
STATUS = Column("status", "status", numeric=False)
REASON = Column("reason", "reason", numeric=False)
MEDIAN = Column("median_s", "median")
LOW = Column("low_s", "from")
HIGH = Column("high_s", "to")
MIN = Column("min_s", "min")
MAX = Column("max_s", "max")
MEAN = Column("mean_s", "mean", priority=2)
STD = Column("std_s", "std", priority=3)
P90 = Column("p90_s", "p90")
P95 = Column("p95_s", "p95", priority=1)
P99 = Column("p99_s", "p99", legend="– where there are too few samples for the percentile")
RATE = Column("images_per_s", "images/s")
FLOPS = Column("flops", "FLOPs")
FLOPS_RATE = Column("flops_per_s", "FLOP/s", legend="by our own count of the network's FLOPs")
CEILING = Column("ceiling_share", "ceiling", legend="share of the FLOP/s that this device reached at best")
DEVICE = Column(
    "device_median_s",
    "device",
    legend="median by the device's own clock; the one before it is of a whole request, waited for",
)
ENQUEUE = Column("enqueue_share", "enqueue", priority=3, legend="the host's time to enqueue a call over the device's")
MEMORY = Column("peak_memory_bytes", "memory", priority=2)
MEMORY_KIND = Column("memory_kind", "memory is", numeric=False)
KNEE = Column(
    "knee", "knee", numeric=False, priority=1, legend="the smallest batch with at least 0.9 of the best images/s"
)
SAMPLES = Column("samples", "samples")
EFFECTIVE = Column(
    "effective_samples", "effective", legend="so many independent samples would tell the median as surely as these"
)
CORRELATION = Column("autocorrelation", "lag-1", legend="correlation of successive samples")
OUTLIERS = Column(
    "outliers", "outliers", legend="samples beyond the quartiles by 3 interquartile ranges; they count like all others"
)
DRIFT = Column("drift", "drift")
WARM_UP = Column("warm_up_calls", "warm-up", legend="calls before the first sample, until their times stood still")
WARM_UP_TIME = Column("warm_up_s", "warm-up time")
STEADY = Column("steady", "steady", numeric=False)
FIRST = Column("first_call_s", "first", legend="the first call, which does what is done only once")
FIRST_RATIO = Column("first_call_ratio", "× median", priority=1, legend="the first call over the median")
STOPPED = Column("stopped", "stopped", numeric=False)

# All that there is of one batch size, in the order of a CSV file.
EVERY = (
    *(BATCH, STATUS, REASON, MEDIAN, LOW, HIGH, MIN, MAX, MEAN, STD, P90, P95, P99),
    *(RATE, FLOPS, FLOPS_RATE, CEILING, DEVICE, ENQUEUE, MEMORY, MEMORY_KIND, KNEE),
    *(SAMPLES, EFFECTIVE, CORRELATION, OUTLIERS, DRIFT, WARM_UP, WARM_UP_TIME, STEADY, FIRST, FIRST_RATIO, STOPPED),
)

_STOPPED = {"sharp": ("sharp", "good"), "time": ("time up", "warning"), "interrupted": ("interrupted", "warning")}
_MEMORY = {"allocated": "allocated by torch on the device", "resident": "resident memory of the whole process"}


def interval(confidence: float, ci_width: float) -> Column:
    """How sure the median is."""
    said = f"half the {100 * confidence:g} % interval of the median"
    return Column("interval", "±", legend=f"{said}; sampling stops once the whole is below {100 * ci_width:g} %")


def distribution(outliers: int) -> Column:
    """A histogram in each row."""
    beyond = f"; {counted(outliers, 'outlier')} beyond" if outliers else ""
    said = "of the samples, in equal steps from the fastest to the slowest that is no outlier"
    return Column("distribution", "distribution", numeric=False, legend=f"{said}{beyond}")


COURSE = Column(
    "course",
    "in order",
    numeric=False,
    priority=4,
    legend="medians of the samples in the order of measuring, from the fastest to the slowest: drift shows here",
)


def memory(rows: Sequence[Timing]) -> Column:
    """Peak memory, with what kind it is."""
    kinds = dict.fromkeys(
        _MEMORY.get(kind, text_cell(kind).text) for row in rows if (kind := row.memory_kind) is not None
    )
    return replace(MEMORY, legend=f"at its peak: {', '.join(kinds)}" if kinds else "")


# Cells, by the key of their column


def every_cell(row: Timing) -> dict[str, Cell]:
    """All that there is of one batch size."""
    cells = {
        "batch_size": exact(row.batch_size),
        "status": text_cell(row.status),
        "reason": Cell("", None) if row.reason is None else text_cell(row.reason),
        "flops": scaled(row.flops),
        "memory_kind": text_cell(row.memory_kind),
    }
    if row.wall is not None:
        cells |= {**figures(row, row.wall), **percentiles(row.wall), **sampling(row, row.wall)}
    return cells


def figures(row: Timing, wall: Distribution) -> dict[str, Cell]:
    """The figures that it is all about."""
    return {
        "median_s": seconds(wall.median_s, "strong"),
        "interval": relative_ci(wall.ci_low_s, wall.median_s, wall.ci_high_s),
        "low_s": seconds(wall.ci_low_s),
        "high_s": seconds(wall.ci_high_s),
        "device_median_s": seconds(None if row.device is None else row.device.median_s),
        "enqueue_share": percent(row.launch_overhead),
        "images_per_s": rate(row.images_per_s),
        "flops_per_s": scaled(row.flops_per_s),
        "ceiling_share": of_ceiling(row),
        "peak_memory_bytes": scaled(row.peak_memory_bytes, "B"),
        "knee": Cell("◀" if row.knee else "", row.knee, "good"),
    }


def percentiles(wall: Distribution) -> dict[str, Cell]:
    """How the samples are spread, in figures."""
    return {
        "min_s": seconds(wall.min_s),
        "p90_s": seconds(wall.p90_s),
        "p95_s": seconds(wall.p95_s),
        "p99_s": seconds(wall.p99_s),
        "max_s": seconds(wall.max_s),
        "mean_s": seconds(wall.mean_s),
        "std_s": seconds(wall.std_s),
    }


def drawn(wall: Distribution, bins: int) -> Cell:
    """How the samples are spread, as a picture."""
    return Cell(blocks(histogram(wall.samples_s, bins)), None, "histogram")


def in_order(wall: Distribution, groups: int) -> Cell:
    """How the samples follow each other, as a picture."""
    return Cell(course(wall.samples_s, groups), None, "histogram")


def sampling(row: Timing, wall: Distribution) -> dict[str, Cell]:
    """How the samples came about."""
    cells = {
        "samples": exact(len(wall.samples_s)),
        "effective_samples": Cell(f"{wall.effective_samples:,.0f}", wall.effective_samples),
        "autocorrelation": correlation(wall),
        "outliers": exact(wall.outliers),
        "drift": percent(wall.drift),
        "stopped": stopped(row),
    }
    if row.warm_up is not None:
        cells |= {
            "warm_up_calls": exact(row.warm_up.calls),
            "warm_up_s": seconds(row.warm_up.duration_s),
            "steady": Cell("yes" if row.warm_up.converged else "no", row.warm_up.converged),
            "first_call_s": seconds(row.warm_up.first_call_s),
            "first_call_ratio": times(row.warm_up.first_call_s, wall.median_s),
        }
    return cells


def stopped(row: Timing) -> Cell:
    """Why sampling ended."""
    said, role = _STOPPED.get(row.stopped or "", (row.stopped, ""))
    return text_cell(said, role, row.stopped)


def correlation(wall: Distribution) -> Cell:
    """Of successive samples."""
    value = wall.autocorrelation
    return Cell(formatting.UNKNOWN if value is None else f"{value:.2f}", value, "dim" if value is None else "")


def times(value: float, of: float) -> Cell:
    """How many times as much one is as the other."""
    factor = value / of if of else None
    return Cell(formatting.UNKNOWN if factor is None else f"{factor:,.1f}×", factor, "dim" if factor is None else "")


def of_ceiling(row: Timing) -> Cell:
    """The share of what the device can do; more than all of it is wrong."""
    return percent(row.ceiling_share, "bad" if (row.ceiling_share or 0) > 1 else "")
