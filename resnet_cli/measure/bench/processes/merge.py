"""The results of several processes as one: medians of processes with both components of their variance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import fmean, median

from resnet_cli.measure.bench import conditions
from resnet_cli.measure.bench.stats.ratios import verdict, with_knee
from resnet_cli.measure.bench.stats.runs import components, describe_runs, interval, run_estimate
from resnet_cli.measure.bench.timing.sampling import CONVERGED, INTERRUPTED, TIME
from resnet_cli.results.bench import (
    BenchResult,
    Conditions,
    Distribution,
    PhaseTime,
    Run,
    RunSpread,
    Timing,
    Versus,
    WarmUp,
)
from resnet_cli.results.common import Note

TIME_SPREAD, RATIO_SPREAD = "time", "ratio"


def merged(results: Sequence[BenchResult]) -> BenchResult:
    """One result of processes that measured the same, in the order of measurement; that of a single one is its own.

    Raises:
        ValueError: there is none.
    """
    if not results:
        raise ValueError("there are no results to merge")
    first = results[0]
    if len(results) == 1:
        return first
    sizes = [row.batch_size for row in first.timings]
    runs = tuple(run for size in sizes for run in _runs(results, size))
    ceiling = first.ceiling
    peak = None if ceiling is None else ceiling.flops_per_s
    shared = _conditions([result.conditions for result in results])
    return replace(
        first,
        timings=with_knee([_timing(_rows(results, size), peak) for size in sizes]),
        versus=tuple(_versus(each) for size in sizes if (each := _comparisons(results, size))),
        runs=runs,
        spreads=tuple(spread for size in sizes for spread in _spreads(runs, size)),
        interrupted=any(result.interrupted for result in results),
        conditions=shared,
        notes=tuple(_notes(results, shared)),
    )


def _rows(results: Sequence[BenchResult], batch_size: int) -> list[Timing]:
    return [row for result in results for row in result.timings if row.batch_size == batch_size]


def _comparisons(results: Sequence[BenchResult], batch_size: int) -> list[Versus]:
    return [each for result in results for each in result.versus if each.batch_size == batch_size]


def _runs(results: Sequence[BenchResult], batch_size: int) -> Iterator[Run]:
    """A row for each process that measured this batch size."""
    for number, result in enumerate(results, start=1):
        (row,) = _rows([result], batch_size) or (None,)
        compared = next(iter(_comparisons([result], batch_size)), None)
        if row is None or row.wall is None:
            continue
        yield Run(
            process=number,
            batch_size=batch_size,
            samples=len(row.wall.samples_s),
            median_s=row.wall.median_s,
            ci_low_s=row.wall.ci_low_s,
            ci_high_s=row.wall.ci_high_s,
            reference_median_s=None if compared is None else compared.reference_time.median_s,
            ratio=None if compared is None else compared.ratio,
            ratio_ci_low=None if compared is None else compared.ci_low,
            ratio_ci_high=None if compared is None else compared.ci_high,
        )


def _spreads(runs: Sequence[Run], batch_size: int) -> Iterator[RunSpread]:
    of_size = [run for run in runs if run.batch_size == batch_size]
    times = [run_estimate(run.median_s, run.ci_low_s, run.ci_high_s) for run in of_size]
    ratios = [
        run_estimate(run.ratio, run.ratio_ci_low, run.ratio_ci_high)
        for run in of_size
        if run.ratio is not None and run.ratio_ci_low is not None and run.ratio_ci_high is not None
    ]
    for quantity, estimates in ((TIME_SPREAD, times), (RATIO_SPREAD, ratios)):
        if len(estimates) > 1:
            parts = components(estimates)
            yield RunSpread(batch_size, quantity, math.sqrt(parts.between), math.sqrt(parts.within))


def _timing(rows: Sequence[Timing], peak: float | None) -> Timing:
    """The row of a batch size; where it did not run in one of the processes, that of the others."""
    measured = [row for row in rows if row.wall is not None]
    if len(measured) < 2:
        return (measured or rows)[0]
    first = measured[0]
    rates = [row.images_per_s for row in measured if row.images_per_s is not None]
    images_per_s = fmean(rates) if rates else None
    flops_per_s = None if first.flops is None or images_per_s is None else first.flops * images_per_s / first.batch_size
    on_device = [row.device for row in measured if row.device is not None]
    overheads = [row.launch_overhead for row in measured if row.launch_overhead is not None]
    peaks = [row.peak_memory_bytes for row in measured if row.peak_memory_bytes is not None]
    return replace(
        first,
        warm_up=_warm_up([row.warm_up for row in measured if row.warm_up is not None]),
        wall=_distribution([row.wall for row in measured if row.wall is not None]),
        stopped=_stopped([row.stopped for row in measured]),
        device=_distribution(on_device) if len(on_device) == len(measured) else None,
        launch_overhead=median(overheads) if overheads else None,
        images_per_s=images_per_s,
        flops_per_s=flops_per_s,
        ceiling_share=None if flops_per_s is None or peak is None else flops_per_s / peak,
        peak_memory_bytes=max(peaks, default=None),
        notes=_of_each_key(note for row in measured for note in row.notes),
        phases=_phases([row.phases for row in measured]),
    )


def _phases(all_phases: Sequence[Sequence[PhaseTime]]) -> tuple[PhaseTime, ...]:
    """Each phase over the processes."""
    if not all(all_phases):
        return ()
    times = [
        interval([run_estimate(each.median_s, each.ci_low_s, each.ci_high_s) for each in phase])
        for phase in zip(*all_phases, strict=True)
    ]
    whole = sum(median_s for median_s, _, _ in times)
    return tuple(
        PhaseTime(phase.name, *time, time[0] / whole) for phase, time in zip(all_phases[0], times, strict=True)
    )


def _distribution(distributions: Sequence[Distribution]) -> Distribution:
    return describe_runs([each.samples_s for each in distributions])


def _warm_up(warm_ups: Sequence[WarmUp]) -> WarmUp | None:
    """The usual one; converged if each was."""
    if not warm_ups:
        return None
    return WarmUp(
        first_call_s=median(each.first_call_s for each in warm_ups),
        calls=round(median(each.calls for each in warm_ups)),
        duration_s=median(each.duration_s for each in warm_ups),
        converged=all(each.converged for each in warm_ups),
    )


def _stopped(reasons: Sequence[str | None]) -> str | None:
    """Why sampling ended: what kept an interval wide counts."""
    return next((reason for reason in (INTERRUPTED, TIME, CONVERGED) if reason in reasons), None)


def _versus(comparisons: Sequence[Versus]) -> Versus:
    """One comparison from that of each process."""
    first = comparisons[0]
    if len(comparisons) == 1:
        return first
    ratio, low, high = interval([run_estimate(each.ratio, each.ci_low, each.ci_high) for each in comparisons])
    return replace(
        first,
        model_time=_distribution([each.model_time for each in comparisons]),
        reference_time=_distribution([each.reference_time for each in comparisons]),
        ratio=ratio,
        ci_low=low,
        ci_high=high,
        verdict=verdict(low, high, first.margin),
        stopped=_stopped([each.stopped for each in comparisons]),
        notes=_of_each_key(note for each in comparisons for note in each.notes),
    )


def _conditions(all_conditions: Sequence[Conditions]) -> Conditions:
    """Means of what was disturbed, and everything that throttled."""
    loads = [each.background_cpu_load for each in all_conditions if each.background_cpu_load is not None]
    steals = [each.steal_time_share for each in all_conditions if each.steal_time_share is not None]
    clocks = [each.clock_hz for each in all_conditions if each.clock_hz is not None]
    return replace(
        all_conditions[0],
        background_cpu_load=fmean(loads) if loads else None,
        steal_time_share=fmean(steals) if steals else None,
        clock_hz=median(clocks) if clocks else None,
        throttled=tuple(sorted({reason for each in all_conditions for reason in each.throttled})),
        duration_s=sum(each.duration_s for each in all_conditions),
    )


def _notes(results: Sequence[BenchResult], shared: Conditions) -> Iterator[Note]:
    """Each note once; those on disturbances from the conditions of all processes."""
    seen = conditions.Interference(shared.background_cpu_load, shared.steal_time_share, throttled=shared.throttled)
    yield from conditions.notes(seen, shared.threads)
    yield from _of_each_key(
        note for result in results for note in result.notes if note.key not in conditions.DISTURBANCES
    )


def _of_each_key(notes: Iterator[Note]) -> tuple[Note, ...]:
    """The first note of each key: the processes say the same with other numbers."""
    return tuple({note.key: note for note in reversed([*notes])}.values())[::-1]
