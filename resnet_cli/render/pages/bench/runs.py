"""Several processes: what each measured, how much they differ, and what a gate takes."""

from __future__ import annotations

from collections.abc import Sequence

from resnet_cli.formatting import percent, percent_setting, seconds
from resnet_cli.render.document import Column, Element, Paragraph, Row, Table
from resnet_cli.render.pages.cells import counted, exact, factor, relative_ci, text_cell
from resnet_cli.render.pages.cells import percent as percent_cell
from resnet_cli.render.pages.cells import seconds as seconds_cell
from resnet_cli.results.bench import BenchResult, GatePlan, Run, RunSpread

_BATCH = Column("batch_size", "batch")
_PROCESS = Column("process", "process")
_MEDIAN = Column("median_s", "median")
_INTERVAL = Column("interval", "±", legend="half-width of the 95% CI from the samples of this process alone")
_REFERENCE = Column("reference_median_s", "reference")
_RATIO = Column("ratio", "ratio", legend="time of the model / time of the reference, interleaved in this process")
_SAMPLES = Column("samples", "samples", priority=2)


def runs(result: BenchResult) -> list[Element]:
    """A row for each process and batch size, and why they differ."""
    if not result.runs:
        return []
    columns = (
        *([_BATCH] if len({run.batch_size for run in result.runs}) > 1 else []),
        *(_PROCESS, _MEDIAN, _INTERVAL),
        *([_REFERENCE, _RATIO] if any(run.ratio is not None for run in result.runs) else []),
        _SAMPLES,
    )
    table = Table("runs", "fresh processes, one after another", columns, tuple(map(_row, result.runs)))
    return [table, *(_spread(spread, result.runs) for spread in result.spreads)]


def _row(run: Run) -> Row:
    return Row(
        {
            "batch_size": exact(run.batch_size),
            "process": exact(run.process),
            "median_s": seconds_cell(run.median_s),
            "interval": relative_ci(run.ci_low_s, run.median_s, run.ci_high_s),
            "reference_median_s": seconds_cell(run.reference_median_s),
            "ratio": factor(run.ratio, 3, ""),
            "samples": exact(run.samples),
        }
    )


def _spread(spread: RunSpread, all_runs: Sequence[Run]) -> Paragraph:
    count = sum(run.batch_size == spread.batch_size for run in all_runs)
    text = (
        f"batch {spread.batch_size:,}, {spread.quantity}: standard deviation {percent(spread.between)} between "
        f"{counted(count, 'run')}, standard error {percent(spread.within)} within one; the CI has both"
    )
    return Paragraph("plain", text)


def gate_plan(result: BenchResult) -> list[Element]:
    """What a gate takes at each batch size, or that it is out of reach."""
    if not result.plan:
        return []
    first = result.plan[0]
    columns = (
        _BATCH,
        Column("quantity", "of", numeric=False, legend="time against a --baseline, ratio to the network of --against"),
        Column("between", "between", legend=f"standard deviation between {counted(first.processes, 'run')}"),
        Column("within", "within", legend=f"standard error of the median of a run of {first.sampled_s:g} s"),
        Column("runs", "--runs", legend="of this measurement, and as many of its baseline"),
        Column("max_time_s", "--max-time"),
        Column("duration_s", "takes", legend=f"with {seconds(first.overhead_s)} to start and warm up each run"),
        Column("narrowest", "at best", priority=1, legend="half-width with the most and longest runs considered"),
    )
    title = f"a gate of {percent_setting(first.target)}"
    table = Table("plan", title, columns, tuple(map(_plan_row, result.plan)))
    return [table, *map(_gate, result.plan)]


def _plan_row(plan: GatePlan) -> Row:
    return Row(
        {
            "batch_size": exact(plan.batch_size),
            "quantity": text_cell(plan.quantity),
            "between": percent_cell(plan.between),
            "within": percent_cell(plan.within),
            "runs": exact(plan.runs),
            "max_time_s": text_cell(None if plan.max_time_s is None else f"{plan.max_time_s:g}", value=plan.max_time_s),
            "duration_s": seconds_cell(plan.duration_s),
            "narrowest": percent_cell(plan.narrowest),
        }
    )


def _gate(plan: GatePlan) -> Paragraph:
    gate = f"batch {plan.batch_size:,}: a gate of {percent_setting(plan.target)}"
    if plan.runs is None or plan.max_time_s is None:
        return Paragraph("bad", f"✗ {gate} is out of reach here: ±{percent(plan.narrowest)} at best")
    options = f"--runs {plan.runs} --max-time {plan.max_time_s:g}"
    return Paragraph("strong", f"→ {gate} takes {options}, {seconds(plan.duration_s)} in all")
