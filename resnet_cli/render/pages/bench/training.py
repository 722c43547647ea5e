"""A training step by phase, and the largest batch that fits."""

from __future__ import annotations

from resnet_cli.render.document import Column, Element, Row, Table
from resnet_cli.render.pages.cells import exact, percent, relative_ci, scaled, seconds, share, text_cell
from resnet_cli.results.bench import BatchLimit, BenchResult, PhaseTime

_COLUMNS = (
    Column("batch_size", "batch"),
    Column("name", "phase", numeric=False),
    Column("median_s", "median", legend="timed with a wait for the device before and after each phase"),
    Column("interval", "±"),
    Column("share", "of the step", bar=True),
)
_KINDS = {"allocated": "allocated by torch on the device", "counted": "counted from the storages alive at once"}


def phases(result: BenchResult) -> list[Element]:
    """Forward, backward and optimizer of each batch size."""
    rows = tuple(_phase(row.batch_size, phase) for row in result.timings for phase in row.phases)
    title = f"phases of a training step, {result.conditions.optimizer or 'unknown optimizer'}"
    return [Table("phases", title, _COLUMNS, rows)] if rows else []


def _phase(batch_size: int, phase: PhaseTime) -> Row:
    return Row(
        {
            "batch_size": exact(batch_size),
            "name": text_cell(phase.name),
            "median_s": seconds(phase.median_s),
            "interval": relative_ci(phase.ci_low_s, phase.median_s, phase.ci_high_s),
            "share": share(phase.share),
        }
    )


def batch_limit(limit: BatchLimit | None) -> list[Element]:
    """The largest batch, found and predicted."""
    if limit is None:
        return []
    columns = (
        Column("batch_size", "found", legend="by trying, to a 32nd"),
        Column("predicted", "predicted", legend="from the storages of calls at two small batches"),
        Column("difference", "difference"),
        Column("peak_bytes", "memory", legend=f"of the largest batch, {_KINDS.get(limit.kind, limit.kind)}"),
        Column("capacity_bytes", "free", legend="what weights and calls may take"),
        Column("tries", "tries", priority=1),
    )
    cells = {
        "batch_size": exact(limit.batch_size),
        "predicted": exact(limit.predicted),
        "difference": percent(limit.predicted / limit.batch_size - 1 if limit.batch_size else None),
        "peak_bytes": scaled(limit.peak_bytes, "B"),
        "capacity_bytes": scaled(limit.capacity_bytes, "B"),
        "tries": exact(limit.tries),
    }
    return [Table("batch-limit", "largest batch that fits", columns, (Row(cells),))]
