"""The ladder: what each lever gains, what it costs, and which one to take."""

from __future__ import annotations

from collections.abc import Sequence

from resnet_cli import formatting
from resnet_cli.render.document import Cell, Column, Element, Paragraph, Row, Table, ViewOptions
from resnet_cli.render.pages.cells import error, exact, percent, relative_ci, seconds, text_cell
from resnet_cli.results.bench import OptimizationResult, OptimizationsResult

_MEASURED = "measured"


def ladder(result: OptimizationsResult | None, confidence: float, view: ViewOptions) -> list[Element]:
    """The rungs that were measured, the others with their reason, and the advice; unfolded one table."""
    if result is None:
        return []
    if not view.collapse:
        columns = (
            Column("key", "key", numeric=False),
            *_columns(confidence, fold=False),
            *(Column(key, key, numeric=False) for key in ("dtype", "status", "reason")),
        )
        return [Table("ladder", "", columns, tuple(Row(_cells(one, result)) for one in result.rows))]
    measured = [one for one in result.rows if one.status == _MEASURED]
    return [
        *_table(measured, result, confidence),
        *_missing([one for one in result.rows if one.status != _MEASURED]),
        *_stopped(result),
        Paragraph("strong", f"→ {text_cell(result.recommendation).text}"),
    ]


def _stopped(result: OptimizationsResult) -> list[Element]:
    """Why the gains are no sharper, where they are not."""
    said = {
        "time": "time was up before every gain was sharp; a longer --max-time makes them sharper",
        "interrupted": "interrupted before every gain was sharp",
    }.get(result.stopped)
    return [] if said is None else [Paragraph("note", said)]


def _table(measured: Sequence[OptimizationResult], result: OptimizationsResult, confidence: float) -> list[Element]:
    if not measured:
        return []
    title = f"ladder: every lever against plain eager float32, in turn at batch {result.batch_size:,}"
    rows = tuple(Row(_cells(one, result)) for one in measured)
    return [Table("ladder", title, _columns(confidence, fold=True), rows)]


def _interval(confidence: float, fold: bool) -> tuple[Column, ...]:
    if not fold:
        return Column("low", "from"), Column("high", "to")
    return (Column("interval", "±", priority=1, legend=f"half the {100 * confidence:g} % interval of the gain"),)


def _columns(confidence: float, fold: bool) -> tuple[Column, ...]:
    return (
        Column("title", "lever", numeric=False, minimum=10, comfort=18),
        Column("time_s", "time"),
        Column("gain", "gain", bar=True, legend="times as fast as plain eager"),
        *_interval(confidence, fold),
        Column("setup_s", "set-up", priority=3, legend="folding, compiling, capturing, until the first result"),
        Column("pays_after", "after", priority=2, legend="calls after which the set-up has paid for itself"),
        Column("difference", "error", legend="largest |logit - eager float32 logit| over the largest |logit|"),
        Column("same_top1", "top-1", priority=4, legend="images with the same likeliest class"),
        Column("best", "", numeric=False),
    )


def _cells(one: OptimizationResult, result: OptimizationsResult) -> dict[str, Cell]:
    best = one.key == result.best
    widest = max((rung.speedup for rung in result.rows if rung.speedup is not None), default=0.0)
    return {
        "key": text_cell(one.key),
        "title": text_cell(one.title, "strong" if best else ""),
        "time_s": seconds(None if one.time is None else one.time.median_s),
        "gain": _gain(one, widest),
        "interval": _half(one, result),
        "low": _factor(one.ci_low),
        "high": _factor(one.ci_high),
        "setup_s": seconds(one.setup_s),
        "pays_after": _pays_after(one),
        "difference": error(one.logit_difference),
        "same_top1": percent(one.top1_agreement),
        "best": Cell("◀" if best else "", best, "good"),
        "dtype": text_cell(one.dtype),
        "status": text_cell(one.status),
        "reason": Cell("", None) if one.reason is None else text_cell(one.reason),
    }


def _gain(one: OptimizationResult, widest: float) -> Cell:
    """Good or bad only where the whole interval says so."""
    if one.speedup is None:
        return Cell(formatting.UNKNOWN, None, "dim")
    faster, slower = one.ci_low is not None and one.ci_low > 1, one.ci_high is not None and one.ci_high < 1
    role = "good" if faster else "bad" if slower else ""
    return Cell(f"{one.speedup:.2f}×", one.speedup, role, min(one.speedup / widest, 1.0) if widest else None)


def _half(one: OptimizationResult, result: OptimizationsResult) -> Cell:
    """Half the interval; plain eager is what the others are held against, so its own gain is 1 and has none."""
    if one is result.rows[0] or one.speedup is None or one.ci_low is None or one.ci_high is None:
        return Cell(formatting.UNKNOWN, None, "dim")
    return relative_ci(one.ci_low, one.speedup, one.ci_high)


def _factor(value: float | None) -> Cell:
    return Cell(formatting.UNKNOWN if value is None else f"{value:.2f}", value, "dim" if value is None else "")


def _pays_after(one: OptimizationResult) -> Cell:
    if one.setup_s is not None and one.break_even_calls is None:
        return Cell("never", None, "dim")
    return exact(one.break_even_calls)


def _missing(them: Sequence[OptimizationResult]) -> list[Element]:
    if not them:
        return []
    columns = (
        Column("title", "lever", numeric=False, minimum=10, comfort=18),
        Column("status", "", numeric=False),
        Column("reason", "why", numeric=False, minimum=16, comfort=30, wrap=True),
    )
    rows = tuple(
        Row(
            {"title": text_cell(one.title), "status": text_cell(one.status, "warning"), "reason": text_cell(one.reason)}
        )
        for one in them
    )
    return [Table("missing", "not measured", columns, rows)]
