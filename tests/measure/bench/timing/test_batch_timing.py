"""A row of the benchmark, in virtual time."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import accumulate, chain, repeat
from operator import mul
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from resnet_cli import signals
from resnet_cli.measure.bench.timing.batch_timing import BatchContext, time_batch
from resnet_cli.measure.bench.timing.paired import interleaved
from resnet_cli.measure.bench.timing.sampling import Limits
from resnet_cli.measure.bench.workloads.workload import Workload
from resnet_cli.measure.bench.workloads.workload_cost import WorkloadCost
from resnet_cli.results.bench import Ceiling, Timing, Versus
from tests.helpers.fake_clock import Machine, SimulatedCall, SimulatedClock, out_of_memory, steps, without_garbage

no_garbage = pytest.fixture(autouse=True)(without_garbage)
LIMITS = Limits(max_time_s=5.0, min_time_s=0.5)
COST = WorkloadCost(macs_per_image=10**9, macs=0, moments=((10**6, 10**7),))
CEILING = Ceiling(flops_per_s=4e11, bytes_per_s=1e10, compute=(), bandwidth=())


def silent(text: str) -> None: ...


@dataclass
class Simulation:
    """What timing needs of a workload."""

    calls: Callable[[int], Callable[[], object]]
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    held: int = 0

    def held_bytes(self) -> int:
        return self.held

    def call(self, batch_size: int) -> Callable[[], object]:
        return self.calls(batch_size)

    def running(self) -> nullcontext[None]:
        return nullcontext()


def workload(calls: Callable[[int], Callable[[], object]], device: str = "cpu") -> Workload:
    return cast(Workload, Simulation(calls, torch.device(device)))


def row(clock: SimulatedClock, work: Workload, batch_size: int = 4, **options: Any) -> Timing:
    return time_batch(work, batch_size, BatchContext(clock, LIMITS, COST, silent, **options))


def test_a_call_on_a_processor() -> None:
    clock = SimulatedClock(queued=False, memory=(123_456, "resident"))
    timing = row(clock, workload(lambda _: steps(clock, 0.01, output=torch.ones(1))), ceiling=CEILING)
    assert timing.wall is not None
    assert timing.wall.median_s == pytest.approx(0.01)
    assert timing.stopped == "converged"
    assert timing.images_per_s == pytest.approx(400)
    assert timing.flops == 8 * 10**9
    assert timing.flops_per_s == pytest.approx(8e11)
    assert timing.ceiling_share == pytest.approx(2.0)  # an error of measurement, for the reader to be told
    assert (timing.peak_memory_bytes, timing.memory_kind) == (123_456, "resident")
    assert (timing.device, timing.launch_overhead) == (None, None)
    assert clock.forgotten == 1


def test_workspaces_of_tried_algorithms_are_not_in_the_peak() -> None:
    clock = SimulatedClock(held=1000)
    sizes = chain([9000], repeat(200))

    def call() -> torch.Tensor:
        clock.allocate(next(sizes))
        clock.run(0.01)
        return torch.ones(1)

    timing = row(clock, workload(lambda _: call))
    assert (timing.peak_memory_bytes, timing.memory_kind) == (1200, "allocated")


def test_a_queue_is_kept_full_for_the_rate() -> None:
    clock = SimulatedClock()
    work = workload(lambda _: steps(clock, 0.004, enqueue_s=0.003, output=torch.ones(1)), "cuda")
    timing = row(clock, work)
    assert timing.wall is not None
    assert timing.device is not None
    # A request is enqueued and then computed; in a queue the device computes while the host enqueues the next one.
    assert timing.wall.median_s == pytest.approx(0.007)
    assert timing.images_per_s == pytest.approx(4 / 0.004, rel=0.02)
    assert timing.flops_per_s == pytest.approx(8e9 / 0.004, rel=0.02)
    assert timing.device.median_s == pytest.approx(0.004)
    assert timing.launch_overhead == pytest.approx(0.75)


def test_times_that_do_not_converge_are_noted() -> None:
    clock = SimulatedClock(queued=False)
    slower = accumulate(repeat(1.1), mul, initial=0.001)
    timing = row(clock, workload(lambda _: SimulatedCall(clock, slower, output=torch.ones(1))))
    assert timing.warm_up is not None
    assert not timing.warm_up.converged
    assert [note.key for note in timing.notes] == ["warm-up-not-converged"]


@pytest.mark.parametrize(("seconds", "calls"), [(0.01, 100), (0.5, 10), (1e-4, 1000)])
def test_the_queue_lasts_about_a_second(seconds: float, calls: int) -> None:
    clock = SimulatedClock()
    call = steps(clock, seconds, output=torch.ones(1))
    limits = Limits(max_time_s=100 * seconds, min_time_s=0.0)
    timing = time_batch(workload(lambda _: call, "cuda"), 4, BatchContext(clock, limits, COST, silent))
    assert timing.warm_up is not None
    assert timing.wall is not None
    assert timing.device is not None
    # One more call looks at the output.
    others = timing.warm_up.calls + 1 + len(timing.wall.samples_s) + len(timing.device.samples_s)
    assert call.calls - others == pytest.approx(calls, abs=1)


@pytest.mark.parametrize(
    ("error", "stopped", "keys"),
    [
        (RuntimeError("no kernel image"), "converged", ["failed-after-samples"]),
        (out_of_memory(), "converged", ["failed-after-samples"]),
        (KeyboardInterrupt(), "interrupted", []),
    ],
)
@pytest.mark.parametrize("before_end", [1, 150])  # among the device's own times, and among calls in a row
def test_samples_are_kept_where_what_follows_them_ends_early(
    before_end: int, error: BaseException, stopped: str, keys: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "acknowledge", lambda: None)

    def measured(raises: dict[int, BaseException]) -> tuple[Timing, int]:
        clock = SimulatedClock()
        call = steps(clock, 0.01, raises=raises, output=torch.ones(1))
        return row(clock, workload(lambda _: call, "cuda")), call.calls

    whole, calls = measured({})
    kept, _ = measured({calls - before_end: error})
    assert (kept.status, kept.stopped) == ("measured", stopped)
    assert kept.wall == whole.wall
    assert kept.device is None
    assert [note.key for note in kept.notes] == keys


@pytest.mark.parametrize("moment", [1, 2, 60])
def test_out_of_memory_is_a_row_at_any_moment(moment: int) -> None:
    clock = SimulatedClock()
    work = workload(
        lambda _: steps(clock, 0.01, raises={moment: out_of_memory()}, output=torch.ones(1)),
        "cuda",
    )
    timing = row(clock, work)
    assert timing.status == "out of memory"
    assert timing.reason == "CUDA out of memory. Tried to allocate 2.00 GiB."
    assert timing.wall is None
    assert clock.freed == 1


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "out of memory"),
        (MemoryError(), "out of memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "out of memory"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied\n  at somewhere"), "failed"),
        (KeyError("x"), "failed"),
    ],
)
def test_why_a_batch_did_not_run(error: Exception, status: str) -> None:
    clock = SimulatedClock(queued=False)
    timing = row(clock, workload(lambda _: steps(clock, 0.01, raises={1: error})))
    assert timing.status == status
    assert timing.reason
    assert "\n" not in timing.reason


def test_what_cannot_fit_is_not_tried() -> None:
    clock = SimulatedClock(queued=False)
    work = workload(lambda _: pytest.fail("it was tried"))
    timing = row(clock, work, batch_size=1000, available=10**9)
    assert timing.status == "out of memory"
    assert timing.reason == "needs 1.01 GB, and 1.00 GB are free"
    assert not timing.knee


@pytest.mark.parametrize("output", [torch.tensor([1.0, float("nan")]), {"out": torch.tensor(float("inf"))}])
def test_an_output_that_is_not_finite_is_noted(output: Tensor | dict[str, Tensor]) -> None:
    clock = SimulatedClock(queued=False)
    timing = row(clock, workload(lambda _: steps(clock, 0.01, output=output)))
    assert [note.level for note in timing.notes] == ["warning"]
    assert "NaN or infinity" in timing.notes[0].text


def test_ctrl_c_keeps_the_samples() -> None:
    clock = SimulatedClock(queued=False)
    work = workload(lambda _: steps(clock, 0.01, raises={70: KeyboardInterrupt()}, output=torch.ones(1)))
    timing = row(clock, work)
    assert timing.stopped == "interrupted"
    assert timing.wall is not None
    assert 0 < len(timing.wall.samples_s) < 70


def compared(
    clock: SimulatedClock, model_call: Any, reference_call: Any, **options: Any
) -> tuple[Timing, Versus | None]:
    return interleaved(
        workload(lambda _: model_call),
        workload(lambda _: reference_call),
        ("model", "reference"),
        4,
        BatchContext(clock, Limits(max_time_s=60.0, min_time_s=2.0), COST, silent, **options),
    )


def test_the_other_network_is_not_in_the_peak() -> None:
    clock = SimulatedClock(held=1000)  # both networks

    def call() -> torch.Tensor:
        clock.allocate(200)
        clock.run(0.01)
        return torch.ones(1)

    reference = cast(Workload, Simulation(lambda _: call, held=300))
    limits = Limits(max_time_s=1.0, min_time_s=0.1)
    timing, _ = interleaved(
        workload(lambda _: call), reference, ("a", "b"), 4, BatchContext(clock, limits, COST, silent)
    )
    assert timing.peak_memory_bytes == 900


def test_two_networks_on_a_restless_machine() -> None:
    slower = 1.05
    clock = SimulatedClock(queued=False)
    machine = Machine(clock, random.Random(1))
    calls = [SimulatedCall(clock, machine.durations(0.01 * by), output=torch.ones(1)) for by in (slower, 1.0)]
    timing, comparison = compared(clock, *calls)
    assert comparison is not None
    assert comparison.verdict == "SLOWER"
    assert comparison.ci_low <= slower <= comparison.ci_high
    assert comparison.model_time == timing.wall
    assert comparison.model_time.median_s / comparison.reference_time.median_s == pytest.approx(slower, rel=0.01)
    assert (comparison.model, comparison.reference, comparison.method) == ("model", "reference", "interleaved")


def test_no_comparison_where_the_other_one_fails() -> None:
    clock = SimulatedClock(queued=False)
    good = steps(clock, 0.01, output=torch.ones(1))
    timing, comparison = compared(clock, good, steps(clock, 0.01, raises={1: out_of_memory()}))
    assert comparison is None
    assert timing.status == "out of memory"


def test_both_must_fit_together() -> None:
    clock = SimulatedClock(queued=False)
    timing, comparison = compared(clock, None, None, available=2 * 10**7)
    assert (timing.status, comparison) == ("out of memory", None)


def test_memory_that_ends_between_two_rounds_is_a_row() -> None:
    clock = SimulatedClock(queued=False)
    late = steps(clock, 0.01, raises={90: out_of_memory()}, output=torch.ones(1))
    timing, comparison = compared(clock, steps(clock, 0.01, output=torch.ones(1)), late)
    assert late.calls == 90
    assert (timing.status, comparison) == ("out of memory", None)
    assert timing.reason == "CUDA out of memory. Tried to allocate 2.00 GiB."


def test_an_output_of_the_reference_that_is_not_finite_is_noted_once() -> None:
    clock = SimulatedClock(queued=False)
    good, bad = torch.ones(1), torch.tensor([float("nan")])
    for model_call, reference_call, rows, comparisons in (
        (good, good, 0, 0),
        (good, bad, 0, 1),
        (bad, good, 1, 0),
        (bad, bad, 1, 0),
    ):
        timing, comparison = compared(
            clock, *(steps(clock, 0.01, output=output) for output in (model_call, reference_call))
        )
        assert comparison is not None
        assert (len(timing.notes), len(comparison.notes)) == (rows, comparisons)
