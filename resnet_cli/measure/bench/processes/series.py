"""The same benchmark in fresh processes, one after the other, as one result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from resnet_cli import signals
from resnet_cli.errors import attempt
from resnet_cli.measure.bench.processes.launcher import run_in_process
from resnet_cli.measure.bench.processes.merge import merged
from resnet_cli.measure.bench.task import BenchTask
from resnet_cli.measure.bench.timing.sampling import Progress
from resnet_cli.results.bench import BenchResult
from resnet_cli.results.common import Note, error_note

_FEWEST = 2  # processes that say something of what differs between them


def bench_in_processes(task: BenchTask, runs: int, progress: Progress) -> BenchResult:
    """Measure several times; what was measured before an error or Ctrl-C is kept.

    In a comparison with a reference the order is ABBA: the reference is built and called first in the second and third
    process of each four, so that neither an order nor a steady drift favours one of the two.

    Args:
        task: what to measure in each process.
        runs: number of processes, 2 or more.
        progress: called with a line of text.

    Raises:
        ResnetCliError: the first process failed.
        KeyboardInterrupt: before one of them had measured.
    """
    return _measure(task, lambda done: done < runs, lambda number: f"run {number} of {runs}", progress)


def bench_until(task: BenchTask, is_over: Callable[[], bool], fewest: int, progress: Progress) -> BenchResult:
    """The same in as many processes as a time allows.

    Args:
        task: what to measure in each process.
        is_over: whether no further one is to be started.
        fewest: so many are started in any case.
        progress: called with a line of text.
    """
    return _measure(task, lambda done: done < fewest or not is_over(), lambda number: f"run {number}", progress)


def _measure(
    task: BenchTask, goes_on: Callable[[int], bool], name: Callable[[int], str], progress: Progress
) -> BenchResult:
    results: list[BenchResult] = []
    errors: list[Note] = []
    interrupted = False
    try:
        while goes_on(len(results)) and not errors and not interrupted:
            with attempt("a run in a process of its own") as running:
                results.append(run_in_process(_in_order(task, len(results)), name(len(results) + 1), progress))
                interrupted = results[-1].interrupted
            if running.error is not None:
                if not results:
                    raise running.error
                errors.append(error_note(running.error))
    except KeyboardInterrupt:
        if not results:
            raise
        signals.acknowledge()
        interrupted = True
    if len(results) < _FEWEST and (errors or interrupted):
        text = "a single process was measured: the intervals leave out what differs between processes"
        errors.append(Note("warning", text, "single-process"))
    result = merged(results)
    return replace(result, interrupted=interrupted, notes=(*result.notes, *errors))


def _in_order(task: BenchTask, number: int) -> BenchTask:
    """The task of one of the processes, counted from 0."""
    # The first one alone measures the peak, which is the machine's and no network's.
    config = replace(task.config, reference_first=number % 4 in (1, 2), ceiling=task.config.ceiling and not number)
    return replace(task, config=config)
