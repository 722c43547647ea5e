"""The backend of CUDA, on a fake of torch.cuda and on a GPU where there is one."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace

import pytest
import torch

from resnet_cli.measure.bench.timing.device_timer import Sample, between_events, busy_time, time_back_to_back, timed
from resnet_cli.measure.system.devices import backend
from resnet_cli.measure.system.devices.cuda import CudaBackend
from tests.helpers.fake_clock import SimulatedClock, steps

CUDA = torch.device("cuda", 1)
MEGABYTE = 1 << 20
CYCLES_PER_S = 2_000_000_000


class FakeCuda:
    """As much of torch.cuda as timing uses, over a simulated device."""

    def __init__(self) -> None:
        self.simulated = SimulatedClock()
        self.asked: list[tuple[str, object]] = []

    def synchronize(self, device: object) -> None:
        self.asked.append(("synchronize", device))
        self.simulated.synchronize()

    def device(self, device: object) -> AbstractContextManager[None]:
        self.asked.append(("device", device))
        return nullcontext()

    def _sleep(self, cycles: int) -> None:
        self.asked.append(("sleep", cycles))
        self.simulated.run(cycles / CYCLES_PER_S)

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

    def query(self) -> bool:
        assert self.mark is not None
        return self.mark.query()

    def elapsed_time(self, end: FakeEvent) -> float:
        assert self.mark is not None
        assert end.mark is not None
        return self.mark.elapsed_time(end.mark)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    fake = FakeCuda()
    monkeypatch.setattr(torch, "cuda", fake)
    monkeypatch.setattr(backend, "time", SimpleNamespace(perf_counter=fake.simulated.now))
    return fake


def test_a_gpu_is_timed_by_its_events(cuda: FakeCuda) -> None:
    call = steps(cuda.simulated, 0.25, enqueue_s=0.125)
    assert between_events(CudaBackend(CUDA), call) == 0.375
    assert cuda.asked == [
        ("synchronize", CUDA),
        ("record", "stream of cuda:1"),
        ("record", "stream of cuda:1"),
        ("synchronize", CUDA),
    ]
    assert timed(CudaBackend(CUDA), call) == Sample(wall_s=0.375, enqueue_s=0.125)


def test_a_gpu_is_held_by_a_kernel_of_as_many_cycles_as_its_clock_makes(cuda: FakeCuda) -> None:
    gpu = CudaBackend(CUDA)
    call = steps(cuda.simulated, 0.25, enqueue_s=0.5, kernels=5)
    assert busy_time(gpu, call, 1.0) == pytest.approx(0.25)
    held = [value for what, value in cuda.asked if what == "sleep"]
    assert held == [1_000_000, 1_000_000, CYCLES_PER_S]  # cold, measured, for a second
    assert [value for what, value in cuda.asked if what == "device"] == [CUDA] * 3
    assert busy_time(gpu, call, 1.0) == pytest.approx(0.25)
    assert held == [value for what, value in cuda.asked if what == "sleep"][:3]  # measured once


@pytest.mark.parametrize(
    ("error", "waits"), [(None, False), (RuntimeError("called a synchronizing CUDA operation"), True)]
)
def test_a_call_that_waits_is_told_by_torch(
    error: Exception | None, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[object] = [0]
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: modes[-1])
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)

    def call() -> None:
        assert modes[-1] == "error"
        if error is not None:
            raise error

    assert CudaBackend(CUDA).waits_within(call) == waits
    assert modes == [0, "error", 0]
    with pytest.raises(RuntimeError, match="no kernel"):
        CudaBackend(CUDA).waits_within(steps(SimulatedClock(), 0.1, raises={1: RuntimeError("no kernel")}))
    assert modes[-1] == 0


def test_the_peak_of_a_gpu_is_its_allocators(cuda: FakeCuda) -> None:
    gpu = CudaBackend(CUDA)
    gpu.reset_peak_memory()
    assert gpu.peak_memory() == (123, "allocated")
    gpu.empty_cache()
    assert cuda.asked == [("reset_peak_memory_stats", CUDA), ("max_memory_allocated", CUDA), ("empty_cache", None)]


def test_free_memory_includes_what_the_allocator_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda _: (1000, 5000))
    monkeypatch.setattr("torch.cuda.memory_reserved", lambda _: 700)
    monkeypatch.setattr("torch.cuda.memory_allocated", lambda _: 300)
    assert CudaBackend(CUDA).free_memory() == 1400


@pytest.mark.parametrize(("capability", "emulates"), [((7, 5), True), ((8, 0), False), ((9, 0), False)])
def test_gpus_have_bfloat16_since_ampere(
    capability: tuple[int, int], emulates: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert CudaBackend(CUDA).emulates_bfloat16() == emulates


@pytest.mark.parametrize(
    ("convolutions", "products", "capability", "precision"),
    [
        ("tf32", "none", (9, 0), "float32, convolutions in TF32"),
        ("tf32", "tf32", (8, 0), "float32, all in TF32"),
        ("ieee", "tf32", (8, 6), "float32, matrix products in TF32"),
        ("ieee", "ieee", (9, 0), "float32"),
        ("tf32", "tf32", (7, 5), "float32"),  # before Ampere there is none
    ],
)
def test_float32_on_a_gpu_precision_what_it_is(
    convolutions: str, products: str, capability: tuple[int, int], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "conv", SimpleNamespace(fp32_precision=convolutions))
    monkeypatch.setattr(torch.backends.cuda, "matmul", SimpleNamespace(fp32_precision=products))
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda _: capability)
    assert CudaBackend(CUDA).precision(torch.float32) == precision
    assert CudaBackend(CUDA).precision(torch.bfloat16) == "bfloat16"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_wall_time_holds_device_time() -> None:
    gpu = CudaBackend(torch.device("cuda", 0))
    matrix = torch.randn(4096, 4096, device="cuda:0")
    timed(gpu, lambda: matrix @ matrix)
    for _ in range(5):
        busy_s, sample = busy_time(gpu, lambda: matrix @ matrix, 1e-3), timed(gpu, lambda: matrix @ matrix)
        assert busy_s is not None
        assert 0.5 * sample.wall_s < busy_s <= 1.1 * sample.wall_s
        assert sample.enqueue_s <= sample.wall_s


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_a_call_returns_before_its_work_is_done() -> None:
    gpu = CudaBackend(torch.device("cuda", 0))
    matrix = torch.randn(8192, 8192, device="cuda:0")

    def work() -> None:
        for _ in range(10):
            torch.mm(matrix, matrix)

    work()
    sample, busy_s = timed(gpu, work), busy_time(gpu, work, 1e-2)
    assert busy_s is not None
    assert sample.enqueue_s < busy_s / 2
    row = time_back_to_back(gpu, work, 3)
    assert row.enqueue_s < row.wall_s / 2
    assert row.wall_s > 2 * busy_s


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_the_peak_counts_an_allocation() -> None:
    gpu = CudaBackend(torch.device("cuda", 0))
    gpu.reset_peak_memory()
    before = gpu.peak_memory()
    block = torch.empty(100 * MEGABYTE, dtype=torch.uint8, device="cuda:0")
    del block
    after = gpu.peak_memory()
    assert before is not None
    assert after is not None
    assert after[0] - before[0] >= 100 * MEGABYTE
    gpu.reset_peak_memory()
    forgotten = gpu.peak_memory()
    assert forgotten is not None
    assert forgotten[0] < after[0]
    gpu.empty_cache()
