"""How a call is timed: on a simulated GPU, a fake of torch.cuda, this machine's memory, and a GPU if there is one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from resnet_cli.measure.bench import device_timer
from resnet_cli.measure.bench.device_timer import CudaClock, HostClock, MpsClock, Sample, time_back_to_back, timed
from tests.helpers.fake_clock import SimulatedCall, SimulatedClock, steps

MEGABYTE = 1 << 20
CUDA = torch.device("cuda", 0)


# One call on a simulated device


def test_a_call_that_the_device_works_long_on() -> None:
    clock = SimulatedClock()
    sample = timed(clock, steps(clock, 0.010, enqueue_s=0.002, kernels=10))
    # The device begins when the first of ten kernels has been enqueued, and is busy from then on.
    assert sample.enqueue_s == pytest.approx(0.002)
    assert sample.wall_s == pytest.approx(0.0002 + 0.010)
    assert sample.device_s == pytest.approx(0.0002 + 0.010)


def test_a_call_that_the_host_is_too_slow_for() -> None:
    clock = SimulatedClock()
    sample = timed(clock, steps(clock, 0.002, enqueue_s=0.010, kernels=10))
    # The device waits for each kernel; only the last one is still running when the call returns.
    assert sample.enqueue_s == pytest.approx(0.010)
    assert sample.wall_s == pytest.approx(0.010 + 0.0002)
    assert sample.device_s == pytest.approx(0.010 + 0.0002)


def test_a_call_on_a_processor() -> None:
    clock = SimulatedClock(queued=False)
    assert timed(clock, steps(clock, 0.25, enqueue_s=0.25)) == Sample(0.5, 0.5, None)


def test_what_the_device_has_to_do_from_before_does_not_count() -> None:
    clock = SimulatedClock()
    clock.run(5.0)
    sample = timed(clock, steps(clock, 0.25))
    assert sample == Sample(wall_s=0.25, enqueue_s=0.0, device_s=0.25)


@pytest.mark.parametrize("device_s", [0.0, 0.1, 3.0])
@pytest.mark.parametrize("enqueue_s", [0.0, 0.2, 1.0])
def test_times_of_a_call_are_in_order(device_s: float, enqueue_s: float) -> None:
    clock = SimulatedClock(read_s=0.001)
    sample = timed(clock, steps(clock, device_s, enqueue_s=enqueue_s, kernels=3))
    assert sample.device_s is not None
    assert enqueue_s <= sample.enqueue_s <= sample.wall_s
    assert device_s <= sample.device_s <= sample.wall_s + 0.001  # the clock is read once between mark and work


def test_the_host_clock_is_read_after_a_wait_at_both_ends() -> None:
    clock = SimulatedClock()
    timed(clock, steps(clock, 1.0, name="call"))
    assert clock.log == ["synchronize", "record_event", "now", "call", "now", "record_event", "synchronize", "now"]
    # The one look at the clock while the device works is the one for the enqueue time.
    assert clock.read_while_busy == 1


def test_calls_in_a_row_are_waited_for_once() -> None:
    clock = SimulatedClock()
    clock.run(5.0)
    row = time_back_to_back(clock, steps(clock, 0.010, enqueue_s=0.002, name="call"), 4)
    assert clock.log == ["synchronize", "now", *["call"] * 4, "now", "synchronize", "now"]
    assert row.calls == 4
    assert row.wall_s == pytest.approx(0.002 + 4 * 0.010)  # the host enqueues while the device works
    assert row.enqueue_s == pytest.approx(4 * 0.002)
    alone = timed(clock, steps(clock, 0.010, enqueue_s=0.002))
    assert row.wall_s < 4 * alone.wall_s


def test_calls_in_a_row_on_a_processor() -> None:
    clock = SimulatedClock(queued=False)
    row = time_back_to_back(clock, SimulatedCall(clock, iter([0.25, 0.5, 0.25])), 3)
    assert (row.wall_s, row.enqueue_s) == (1.0, 1.0)


def test_the_simulation_refuses_what_a_gpu_refuses() -> None:
    """A mark that has not been reached has no time: to read it before a wait is found."""
    clock = SimulatedClock()
    before = clock.record_event()
    clock.run(1.0)
    after = clock.record_event()
    assert before is not None
    assert after is not None
    with pytest.raises(RuntimeError, match="not ready"):
        before.elapsed_time(after)
    clock.synchronize()
    assert before.elapsed_time(after) == 1000


# The processor


def test_time_on_the_host_goes_on() -> None:
    clock = HostClock()
    before = clock.now()
    clock.synchronize()
    assert clock.record_event() is None
    assert clock.now() >= before


def can_reset_the_peak() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return "VmHWM" in Path("/proc/self/status").read_text()
    except OSError:
        return False


needs_a_peak = pytest.mark.skipif(not can_reset_the_peak(), reason="this system does not reset the peak of a process")


@needs_a_peak
def test_a_peak_of_100_megabytes_is_seen() -> None:
    clock = HostClock()
    clock.reset_peak_memory()
    before = clock.peak_memory()
    block = bytearray(b"\1") * (100 * MEGABYTE)
    during = clock.peak_memory()
    del block
    after = clock.peak_memory()
    assert before is not None
    assert during is not None
    assert after is not None
    assert before[1] == "resident"
    assert 95 * MEGABYTE < during[0] - before[0] < 130 * MEGABYTE
    # A peak stays, though the memory is gone; Linux counts it to some tens of pages for each processor.
    assert after[0] > during[0] - 5 * MEGABYTE


@needs_a_peak
def test_a_peak_from_before_is_forgotten() -> None:
    clock = HostClock()
    clock.reset_peak_memory()
    block = bytearray(b"\1") * (100 * MEGABYTE)
    with_it = clock.peak_memory()
    del block
    clock.reset_peak_memory()
    without = clock.peak_memory()
    assert with_it is not None
    assert without is not None
    assert with_it[0] - without[0] > 90 * MEGABYTE


def test_a_peak_that_was_never_reset_is_not_told() -> None:
    assert HostClock().peak_memory() is None


def test_a_peak_that_cannot_be_reset_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> int:
        raise PermissionError

    monkeypatch.setattr(Path, "write_text", refuse)
    clock = HostClock()
    clock.reset_peak_memory()
    assert clock.peak_memory() is None


@pytest.mark.parametrize("status", [None, "Name:\tpython\nVmRSS:\t  100 kB\n"])
def test_a_peak_that_cannot_be_read_is_not_told(monkeypatch: pytest.MonkeyPatch, status: str | None) -> None:
    def read(*args: object, **kwargs: object) -> str:
        if status is None:
            raise FileNotFoundError
        return status

    monkeypatch.setattr(Path, "write_text", lambda *args, **kwargs: 1)
    monkeypatch.setattr(Path, "read_text", read)
    clock = HostClock()
    clock.reset_peak_memory()
    assert clock.peak_memory() is None
    clock.empty_cache()


def test_the_name_of_the_program_does_not_matter_for_its_peak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "status").write_bytes(b"Name:\tr\xe9seau\xff\nVmHWM:\t  2048 kB\n")
    monkeypatch.setattr(device_timer, "Path", lambda name: tmp_path / Path(name).name)
    clock = HostClock()
    clock.reset_peak_memory()
    assert (tmp_path / "clear_refs").read_text(encoding="ascii") == "5"
    assert clock.peak_memory() == (2 * MEGABYTE, "resident")
    (tmp_path / "clear_refs").unlink()
    (tmp_path / "clear_refs").mkdir()  # it cannot be reset a second time
    clock.reset_peak_memory()
    assert clock.peak_memory() is None


def test_a_peak_is_read_in_kilobytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "write_text", lambda *args, **kwargs: 1)
    monkeypatch.setattr(Path, "read_text", lambda *args, **kwargs: "VmPeak:\t 9 kB\nVmHWM:\t  2048 kB\nVmRSS:\t 7 kB\n")
    clock = HostClock()
    clock.reset_peak_memory()
    assert clock.peak_memory() == (2 * MEGABYTE, "resident")


# CUDA and Metal, with fakes of torch's modules


class FakeCuda:
    """As much of torch.cuda as the clock uses, over a simulated device."""

    def __init__(self) -> None:
        self.simulated = SimulatedClock()
        self.asked: list[tuple[str, object]] = []

    def synchronize(self, device: object) -> None:
        self.asked.append(("synchronize", device))
        self.simulated.synchronize()

    def current_stream(self, device: object) -> str:
        return f"stream of {device}"

    def Event(self, *, enable_timing: bool) -> FakeEvent:  # noqa: N802
        assert enable_timing
        return FakeEvent(self)

    def reset_peak_memory_stats(self, device: object) -> None:
        self.asked.append(("reset_peak_memory_stats", device))

    def max_memory_allocated(self, device: object) -> int:
        self.asked.append(("max_memory_allocated", device))
        return 123

    def empty_cache(self) -> None:
        self.asked.append(("empty_cache", None))


class FakeEvent:
    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda = cuda

    def record(self, stream: object) -> None:
        self.cuda.asked.append(("record", stream))
        self.mark = self.cuda.simulated.record_event()

    def elapsed_time(self, end: FakeEvent) -> float:
        assert self.mark is not None
        assert end.mark is not None
        return self.mark.elapsed_time(end.mark)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    fake = FakeCuda()
    monkeypatch.setattr(torch, "cuda", fake)
    monkeypatch.setattr(device_timer, "time", SimpleNamespace(perf_counter=fake.simulated.now))
    return fake


def test_a_gpu_is_timed_by_its_events(cuda: FakeCuda) -> None:
    device = torch.device("cuda", 1)
    clock = CudaClock(device)
    sample = timed(clock, steps(cuda.simulated, 0.25, enqueue_s=0.125))
    assert sample == Sample(wall_s=0.375, enqueue_s=0.125, device_s=0.375)
    # Of the device that it was made for, in the stream that torch uses there.
    assert cuda.asked == [
        ("synchronize", device),
        ("record", "stream of cuda:1"),
        ("record", "stream of cuda:1"),
        ("synchronize", device),
    ]


def test_the_peak_of_a_gpu_is_its_allocators(cuda: FakeCuda) -> None:
    clock = CudaClock(CUDA)
    clock.reset_peak_memory()
    assert clock.peak_memory() == (123, "allocated")
    clock.empty_cache()
    assert cuda.asked == [("reset_peak_memory_stats", CUDA), ("max_memory_allocated", CUDA), ("empty_cache", None)]


def test_metal_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    simulated = SimulatedClock()
    freed: list[bool] = []
    fake = SimpleNamespace(
        synchronize=simulated.synchronize, driver_allocated_memory=lambda: 77, empty_cache=lambda: freed.append(True)
    )
    monkeypatch.setattr(torch, "mps", fake)
    monkeypatch.setattr(device_timer, "time", SimpleNamespace(perf_counter=simulated.now))
    clock = MpsClock()
    simulated.run(5.0)
    assert timed(clock, steps(simulated, 0.25, enqueue_s=0.125)) == Sample(0.375, 0.125, None)
    clock.reset_peak_memory()
    assert clock.peak_memory() == (77, "allocated")
    clock.empty_cache()
    assert freed == [True]


def test_every_device_has_its_clock() -> None:
    assert type(device_timer.clock(torch.device("cpu"))) is HostClock
    assert type(device_timer.clock(torch.device("mps"))) is MpsClock
    made = device_timer.clock(CUDA)
    assert isinstance(made, CudaClock)
    assert made.device == CUDA


# A GPU


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_wall_time_holds_device_time() -> None:
    clock = CudaClock(CUDA)
    matrix = torch.randn(4096, 4096, device=CUDA)
    timed(clock, lambda: matrix @ matrix)
    for _ in range(5):
        sample = timed(clock, lambda: matrix @ matrix)
        assert sample.device_s is not None
        assert sample.device_s > 0
        # The first mark is recorded just before the host looks at its clock.
        assert sample.wall_s >= sample.device_s - 100e-6
        assert sample.enqueue_s <= sample.wall_s


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_a_call_returns_before_its_work_is_done() -> None:
    clock = CudaClock(CUDA)
    matrix = torch.randn(8192, 8192, device=CUDA)

    def work() -> None:
        for _ in range(10):
            torch.mm(matrix, matrix)

    work()
    sample = timed(clock, work)
    assert sample.device_s is not None
    assert sample.enqueue_s < sample.device_s / 2
    row = time_back_to_back(clock, work, 3)
    assert row.enqueue_s < row.wall_s / 2
    assert row.wall_s > 2 * sample.device_s


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_the_peak_counts_an_allocation() -> None:
    clock = CudaClock(CUDA)
    clock.reset_peak_memory()
    before = clock.peak_memory()
    block = torch.empty(100 * MEGABYTE, dtype=torch.uint8, device=CUDA)
    del block
    after = clock.peak_memory()
    assert before is not None
    assert after is not None
    assert after[0] - before[0] >= 100 * MEGABYTE
    clock.reset_peak_memory()
    forgotten = clock.peak_memory()
    assert forgotten is not None
    assert forgotten[0] < after[0]
    clock.empty_cache()
