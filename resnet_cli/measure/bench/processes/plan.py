"""How long a gate takes on this machine: a short look at its noise, and the cheapest runs that are precise enough."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from resnet_cli.measure.bench.processes.merge import TIME_SPREAD
from resnet_cli.measure.bench.processes.series import bench_until
from resnet_cli.measure.bench.stats.runs import half_width
from resnet_cli.measure.bench.stats.student_t import student_t
from resnet_cli.measure.bench.task import BenchTask
from resnet_cli.measure.bench.timing.sampling import Limits, Progress
from resnet_cli.results.bench import BenchResult, GatePlan, RunSpread

LOOK_S = 20.0  # at the noise
_SAMPLED_S = 1.0  # in each process of the look
_FEWEST = 4  # processes of the look
MOST_RUNS = 40
_SECONDS = (2.0, 5.0, 10.0, 20.0, 60.0)  # of sampling in a run


def plan_gate(task: BenchTask, target: float, progress: Progress) -> BenchResult:
    """Measure the noise for about 20 seconds, and plan a gate for each batch size.

    Args:
        task: what the gate is to measure; `limits.ci_width` is where each run may stop before its time.
        target: half-width that the interval of the ratio is to have, 0.02 for 2%.
        progress: called with a line of text.

    Raises:
        ResnetCliError: the network does not run.
        KeyboardInterrupt: before a process had measured.
    """
    short = Limits(ci_width=0.0, max_time_s=_SAMPLED_S, min_time_s=_SAMPLED_S)
    look = replace(task, config=replace(task.config, limits=short, ceiling=False))
    begin = time.perf_counter()
    result = bench_until(look, lambda: time.perf_counter() - begin >= LOOK_S, _FEWEST, progress)
    processes = max((run.process for run in result.runs), default=1)
    sizes = len(task.config.batch_sizes)
    overhead = max(0.0, (time.perf_counter() - begin) / processes - sizes * _SAMPLED_S)
    limits = task.config.limits
    plans = tuple(_plans(result, target, processes, overhead / sizes, limits.ci_width))
    return replace(result, plan=plans, ci_width=limits.ci_width)


def _plans(result: BenchResult, target: float, processes: int, overhead: float, ci_width: float) -> Iterator[GatePlan]:
    """A plan for each batch size: of the ratio to the reference where there is one, else of the time."""
    compared = {spread.batch_size for spread in result.spreads if spread.quantity != TIME_SPREAD}
    for spread in result.spreads:
        if spread.quantity != TIME_SPREAD or spread.batch_size not in compared:
            yield plan(spread, target, processes, overhead, ci_width)


def plan(spread: RunSpread, target: float, processes: int, overhead: float, ci_width: float) -> GatePlan:
    """The cheapest runs whose interval is expected to be narrow enough.

    What differs between processes stays, however long each of them samples; the error within one falls with the
    square root of the time, down to where a run stops because its own interval is narrow.

    Args:
        spread: of processes that sampled for a second each.
        target: half-width of the interval of the ratio.
        processes: that the spread is of.
        overhead: seconds that a process takes beside sampling.
        ci_width: relative width of the interval within a process at which a run stops.
    """
    stops_at = ci_width / 2 / student_t(19)
    paired = spread.quantity != TIME_SPREAD

    def width(runs: int, seconds: float) -> float:
        within = max(spread.within**2 * _SAMPLED_S / seconds, min(spread.within, stops_at) ** 2)
        return half_width(spread.between**2, within, runs, paired=paired)

    options = [
        (runs * (overhead + seconds), runs, seconds)
        for seconds in _SECONDS
        for runs in range(2, MOST_RUNS + 1)
        if width(runs, seconds) <= target
    ]
    duration, runs, seconds = min(options, default=(None, None, None))
    return GatePlan(
        batch_size=spread.batch_size,
        quantity=spread.quantity,
        target=target,
        processes=processes,
        between=spread.between,
        within=spread.within,
        sampled_s=_SAMPLED_S,
        overhead_s=overhead,
        runs=runs,
        max_time_s=seconds,
        duration_s=duration,
        narrowest=min(width(MOST_RUNS, seconds) for seconds in _SECONDS),
    )
