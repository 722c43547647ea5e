"""The same benchmark in several processes: order, errors, Ctrl-C; and the plan of a gate."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.bench.config import BenchmarkConfig
from resnet_cli.measure.bench.processes import series
from resnet_cli.measure.bench.processes.plan import plan, plan_gate
from resnet_cli.measure.bench.stats.runs import half_width
from resnet_cli.measure.bench.task import BenchTask
from resnet_cli.measure.bench.timing.sampling import Progress
from resnet_cli.measure.models.inputs.model_inputs import images
from resnet_cli.network.architectures import resolve
from resnet_cli.results.bench import BenchResult, RunSpread
from tests.measure.bench.processes.test_merge import THREE

TASK = BenchTask(BenchmarkConfig(images((3, 32, 32)), (1,), torch.device("cpu")), resolve(18))
Result = Callable[[BenchTask, int], BenchResult]


def silent(text: str) -> None: ...


def simulated(monkeypatch: pytest.MonkeyPatch, result: Result) -> list[BenchTask]:
    """Processes that give the result of a function of the task and their number, from 0."""
    tasks: list[BenchTask] = []

    def run(task: BenchTask, name: str, progress: Progress) -> BenchResult:
        tasks.append(task)
        return result(task, len(tasks) - 1)

    monkeypatch.setattr(series, "run_in_process", run)
    return tasks


def test_the_order_is_abba_and_one_process_measures_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = simulated(monkeypatch, lambda task, number: THREE[number % 3])
    result = series.bench_in_processes(TASK, 5, silent)
    assert [task.config.reference_first for task in tasks] == [False, True, True, False, False]
    assert [task.config.ceiling for task in tasks] == [True, False, False, False, False]
    assert {run.process for run in result.runs} == {1, 2, 3, 4, 5}


def test_an_error_of_the_first_process_is_that_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(task: BenchTask, number: int) -> BenchResult:
        raise ResnetCliError("no network")

    simulated(monkeypatch, fail)
    with pytest.raises(ResnetCliError, match="no network"):
        series.bench_in_processes(TASK, 3, silent)


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("error", [ResnetCliError("run 3 of 5 was ended by SIGKILL"), KeyboardInterrupt()])
def test_what_was_measured_before_is_kept(error: BaseException, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(task: BenchTask, done: int) -> BenchResult:
        if done == number:
            raise error
        return THREE[done]

    simulated(monkeypatch, fail)
    result = series.bench_in_processes(TASK, 5, silent)
    assert result.interrupted is isinstance(error, KeyboardInterrupt)
    assert len({run.process for run in result.runs}) == (number if number > 1 else 0)
    keys = [note.key for note in result.notes]
    assert ("single-process" in keys) is (number == 1)
    assert any("SIGKILL" in note.text for note in result.notes) is isinstance(error, ResnetCliError)


def test_a_process_that_was_interrupted_is_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = simulated(monkeypatch, lambda task, number: replace(THREE[number], interrupted=number == 1))
    assert series.bench_in_processes(TASK, 5, silent).interrupted
    assert len(tasks) == 2


# Plans


def test_a_look_at_the_noise_ends_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def take(task: BenchTask, number: int) -> BenchResult:
        assert (task.config.limits.max_time_s, task.config.ceiling) == (1.0, False)
        now[0] += 3.0
        return THREE[number % 3]

    simulated(monkeypatch, take)
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    result = plan_gate(TASK, 0.5, silent)
    assert now[0] == 21.0
    first, *_ = result.plan
    assert (first.processes, first.overhead_s, first.target) == (7, 2.0, 0.5)
    assert first.runs is not None
    assert first.duration_s == first.runs * (2.0 + (first.max_time_s or 0.0))


@given(
    between=st.floats(0, 0.05), within=st.floats(1e-5, 0.05), target=st.floats(0.001, 0.2), overhead=st.floats(0, 20)
)
def test_a_plan_is_the_cheapest_that_is_narrow_enough(
    between: float, within: float, target: float, overhead: float
) -> None:
    planned = plan(RunSpread(1, "time", between, within), target, 5, overhead, 0.01)
    if planned.runs is None:
        assert planned.narrowest > target
        return
    assert planned.narrowest <= target
    assert planned.max_time_s is not None
    assert planned.duration_s is not None
    assert planned.duration_s == pytest.approx(planned.runs * (overhead + planned.max_time_s))
    assert half_width(between**2, 0.0, planned.runs, paired=False) <= target
    if planned.runs > 2:  # with one run fewer, even of a minute, the interval would be too wide or it would take longer
        fewer = half_width(between**2, within**2 / 60, planned.runs - 1, paired=False)
        assert fewer > target or (planned.runs - 1) * (overhead + 60) >= planned.duration_s


def test_noise_between_processes_is_out_of_reach_however_long_they_sample() -> None:
    assert plan(RunSpread(1, "time", 0.3, 0.001), 0.02, 5, 2.0, 0.01).runs is None
    # The ratio of an interleaved comparison does not have it.
    reached = plan(RunSpread(1, "ratio", 0.001, 0.001), 0.02, 5, 2.0, 0.01)
    assert (reached.runs, reached.max_time_s) == (2, 2.0)
