"""Optimizations: the speed-up of each, its cost, and the one to use."""

from __future__ import annotations

from collections.abc import Sequence

from resnet_cli.formatting import percent_setting
from resnet_cli.render.document import Cell, Column, Element, Paragraph, Row, Table
from resnet_cli.render.pages.cells import error, exact, factor, percent, relative_ci, scaled, seconds, text_cell
from resnet_cli.results.bench import OptimizationResult, OptimizationsResult

_MEASURED = "measured"
_MEMORY = Column("peak_memory_bytes", "memory", legend="of a training step, counted from the storages alive at once")
_STOPPED = {
    "time": "stopped at --max-time before every speed-up reached its target; raise it to narrow the intervals",
    "interrupted": "interrupted before every speed-up reached its target",
}


def optimizations(result: OptimizationsResult | None, confidence: float) -> list[Element]:
    """What was measured, what was not and why, and the recommendation."""
    if result is None:
        return []
    measured = [row for row in result.rows if row.status == _MEASURED]
    elements: list[Element] = [_measured(measured, result, confidence)] if measured else []
    elements += _not_measured([row for row in result.rows if row.status != _MEASURED])
    if result.stopped in _STOPPED:
        elements.append(Paragraph("note", _STOPPED[result.stopped]))
    best = next((row for row in measured if row.key == result.best), None)
    code = () if best is None else best.code
    return [
        *elements,
        Paragraph("strong", f"→ {result.recommendation}"),
        *(Paragraph("plain", line) for line in code),
    ]


def _measured(rows: Sequence[OptimizationResult], result: OptimizationsResult, confidence: float) -> Table:
    interval = f"half-width of the {percent_setting(confidence)} CI of the speed-up"
    columns = (
        Column("title", "optimization", numeric=False, minimum=10, comfort=18),
        Column("time_s", "time"),
        Column("speedup", "speed-up", bar=True, legend="over eager float32"),
        Column("interval", "±", priority=1, legend=interval),
        Column("setup_s", "set-up", priority=3, legend="fusing, compiling or capturing, until the first result"),
        Column("break_even_calls", "break-even", priority=2, legend="calls after which the set-up time has paid off"),
        Column("logit_difference", "error", legend="largest |logit − eager float32 logit| / largest |logit|"),
        Column("top1_agreement", "top-1", priority=4, legend="images with the same top-1 class"),
        *([_MEMORY] if any(row.peak_memory_bytes is not None for row in rows) else []),
        Column("best", "", numeric=False),
    )
    title = f"optimizations vs eager float32, interleaved at batch {result.batch_size:,}"
    return Table("optimizations", title, columns, tuple(Row(_cells(row, result)) for row in rows))


def _cells(row: OptimizationResult, result: OptimizationsResult) -> dict[str, Cell]:
    is_best = row.key == result.best
    return {
        "title": text_cell(row.title, "strong" if is_best else "", row.key),
        "time_s": seconds(None if row.time is None else row.time.median_s),
        "speedup": _speedup(row, max((each.speedup or 0.0 for each in result.rows), default=0.0)),
        "interval": _interval(row, result),
        "setup_s": seconds(row.setup_s),
        "break_even_calls": _break_even(row),
        "logit_difference": error(row.logit_difference),
        "top1_agreement": percent(row.top1_agreement),
        "peak_memory_bytes": scaled(row.peak_memory_bytes, "B"),
        "best": Cell("◀" if is_best else "", is_best, "good"),
    }


def _speedup(row: OptimizationResult, largest: float) -> Cell:
    """Coloured only where the whole interval is on one side of 1."""
    faster, slower = (row.ci_low or 0.0) > 1, row.ci_high is not None and row.ci_high < 1
    cell = factor(row.speedup, style="good" if faster else "bad" if slower else "")
    fraction = min(row.speedup / largest, 1.0) if row.speedup and largest else None
    return Cell(cell.text, cell.value, cell.style, fraction)


def _interval(row: OptimizationResult, result: OptimizationsResult) -> Cell:
    """Eager float32 is what the others are compared with: its speed-up is 1 by definition."""
    if row is result.rows[0] or row.speedup is None or row.ci_low is None or row.ci_high is None:
        return text_cell(None)
    return relative_ci(row.ci_low, row.speedup, row.ci_high)


def _break_even(row: OptimizationResult) -> Cell:
    if row.setup_s is not None and row.break_even_calls is None:
        return Cell("never", None, "dim")
    return exact(row.break_even_calls)


def _not_measured(rows: Sequence[OptimizationResult]) -> list[Element]:
    if not rows:
        return []
    columns = (
        Column("title", "optimization", numeric=False, minimum=10, comfort=18),
        Column("status", "", numeric=False),
        Column("reason", "reason", numeric=False, minimum=16, comfort=30, wrap=True),
    )
    drawn = tuple(
        Row(
            {
                "title": text_cell(row.title, value=row.key),
                "status": text_cell(row.status, "warning"),
                "reason": text_cell(row.reason),
            }
        )
        for row in rows
    )
    return [Table("not_measured", "not measured", columns, drawn)]
