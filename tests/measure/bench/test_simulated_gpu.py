"""Whole benchmarks of real networks on a simulated GPU."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.bench.benchmark import bench
from resnet_cli.measure.bench.config import BenchmarkConfig
from resnet_cli.measure.bench.timing.sampling import Limits
from resnet_cli.measure.models.inputs.model_inputs import images
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.roofline.ceiling import fastest
from resnet_cli.measure.roofline.kernels import Candidate
from resnet_cli.results.bench import BenchResult
from resnet_cli.results.common import INCOMPLETE
from tests.helpers.fake_clock import without_garbage
from tests.helpers.simulated_gpu import GpuSpec, SimulatedGpu, SimulatedGpuBackend, rounded_to_tf32, simulated_gpu

no_garbage = pytest.fixture(autouse=True)(without_garbage)
CPU = torch.device("cpu")
CONFIG = BenchmarkConfig(
    inputs=images((3, 8, 8)),
    batch_sizes=(2,),
    device=CPU,
    limits=Limits(max_time_s=0.2, min_time_s=0.0),
    ceiling=False,
)
SLOW_HOST = GpuSpec(enqueue_s=10e-3)
FAST_HOST = GpuSpec(enqueue_s=0.1e-3)


class Net(nn.Sequential):
    """Two convolutions and a head."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(
            nn.Conv2d(3, 8, 3, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, bias=False),
            nn.Flatten(),
            nn.Linear(128, 5),
        )


def run(config: BenchmarkConfig = CONFIG, network: nn.Module | None = None) -> BenchResult:
    return bench(ModelUnderTest(network or Net(), "net"), config, progress=lambda text: None)


def call_s(gpu: SimulatedGpu, batch_size: int = 2) -> float:
    """Device time of the kernels of a forward."""
    network, batch = Net().eval(), torch.ones(batch_size, 3, 8, 8)
    with torch.inference_mode():
        return gpu.busy_s(lambda: network(batch))


@pytest.mark.parametrize("spec", [SLOW_HOST, FAST_HOST])
def test_device_time_is_that_of_the_kernels_whoever_is_slower(spec: GpuSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_gpu(monkeypatch, spec) as gpu:
        (row,) = run().timings
        kernels_s = call_s(gpu)
    assert row.device is not None
    assert row.wall is not None
    assert row.device.median_s == pytest.approx(kernels_s, rel=1e-6)
    # Six kernels are launched, one after the other; the host alone decides how long that takes.
    assert row.launch_overhead == pytest.approx(6 * spec.enqueue_s / kernels_s, rel=0.01)
    assert row.wall.median_s > max(kernels_s, 6 * spec.enqueue_s)


def test_a_full_queue_does_not_make_a_call_launch_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_gpu(monkeypatch, replace(FAST_HOST, depth=3)) as gpu:
        (row,) = run().timings
        kernels_s = call_s(gpu)
    assert row.device is not None
    assert row.device.median_s == pytest.approx(kernels_s, rel=1e-6)
    assert row.launch_overhead is None  # the host waits for places in the queue, whatever a launch takes


def test_no_device_time_of_a_call_that_waits_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    class Waiting(Net):
        def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  # nn.Sequential's name
            features: torch.Tensor = self[0](input)
            if not input.is_meta:
                features.sum().item()
            logits: torch.Tensor = super().forward(input)  # type: ignore[no-untyped-call]
            return logits

    with simulated_gpu(monkeypatch):
        result = bench(ModelUnderTest(Waiting(), "waiting"), CONFIG, progress=lambda text: None)
    (row,) = result.timings
    assert row.wall is not None
    assert (row.device, row.launch_overhead) == (None, None)
    assert "device-time-unknown" in {note.key for note in row.notes}


def test_the_peak_has_activations_and_no_workspace_of_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_gpu(monkeypatch, GpuSpec(workspace=1 << 30)):
        (row,) = run().timings
    # The output of the first convolution and of the norm; what else is alive is smaller.
    assert row.peak_memory_bytes is not None
    assert 2 * 4 * 2 * 8 * 6 * 6 <= row.peak_memory_bytes < 40_000


def test_products_round_as_tf32_does() -> None:
    assert rounded_to_tf32(torch.tensor([1 + 2**-10, 1 + 2**-11, 1 + 2**-12, -3.0])).tolist() == [
        1 + 2**-10,
        1 + 2**-10,
        1.0,
        -3.0,
    ]


def test_cold_kernels_and_trials_of_algorithms_are_no_part_of_the_ceiling(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = GpuSpec(flops_per_s=1e8, bytes_per_s=1e12, least_s=1e-6, cold_s=2.0, enqueue_s=1e-4, latency_s=5e-4)
    matrix = torch.ones(64, 64)
    image, weight = torch.ones(1, 8, 16, 16), torch.ones(8, 8, 3, 3)
    kernels = [
        Candidate("matmul", 2 * 64**3, lambda: lambda: torch.mm(matrix, matrix)),
        Candidate("conv", 2 * 8 * 8 * 9 * 14**2, lambda: lambda: functional.conv2d(image, weight)),
    ]
    with simulated_gpu(monkeypatch, spec) as gpu, torch.inference_mode():
        conv, matmul = fastest(kernels, SimulatedGpuBackend(gpu), 0.2, lambda text: None)
    assert (conv.name, matmul.name) == ("conv", "matmul")
    assert conv.rate == pytest.approx(8e8, rel=0.1)  # convolutions are in TF32, as torch has it
    assert matmul.rate == pytest.approx(1e8, rel=0.1)


def test_tf32_is_judged_by_eager_s_own_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(CONFIG, optimizations=("folded", "tf32"), limits=Limits(max_time_s=0.4, min_time_s=0.0))
    with simulated_gpu(monkeypatch):
        result = run(config)
    assert result.optimizations is not None
    eager, *others = result.optimizations.rows
    assert eager.logit_difference is not None
    assert 1e-6 < eager.logit_difference < 0.01  # of TF32, against all bits of float32
    assert [row.status for row in others] == ["measured"] * 2
    everywhere = others[1].logit_difference
    assert everywhere is not None
    assert eager.logit_difference < everywhere < 0.01  # the last layer in TF32 too


def test_memory_that_ends_at_a_larger_batch_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_gpu(monkeypatch, GpuSpec(memory=1 << 22, workspace=1 << 12)) as gpu:
        monkeypatch.setattr(type(gpu.allocator), "live", property(lambda self: 0))  # other processes take it meanwhile
        monkeypatch.setattr(
            "resnet_cli.measure.bench.timing.batch_timing.BatchContext.require_memory", lambda *_, **__: None
        )
        result = run(replace(CONFIG, batch_sizes=(2, 4096)))
    assert [row.status for row in result.timings] == ["measured", "out of memory"]
    assert not [note for note in result.notes if note.level == "error"]


def lost(config: BenchmarkConfig, batches: int, monkeypatch: pytest.MonkeyPatch) -> BenchResult:
    """A run in which an assertion fails on the device once so many batch sizes were measured."""
    with simulated_gpu(monkeypatch) as gpu:
        begun = []

        def progress(text: str) -> None:
            if (
                text.startswith(f"batch {config.batch_sizes[batches]}")
                if batches < len(config.batch_sizes)
                else (text.startswith("optimizations"))
            ):
                begun.append(text)
                gpu.fails_at = 0

        return bench(ModelUnderTest(Net(), "net"), config, progress=progress)


def test_a_gpu_that_fails_in_a_later_batch_ends_the_run_with_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = replace(
        CONFIG,
        batch_sizes=(2, 4, 8),
        layers=True,
        optimizations=("folded",),
        limits=Limits(max_time_s=5.0, min_time_s=0.6, ci_width=0.0),
    )
    result = lost(slow, 1, monkeypatch)
    assert [row.status for row in result.timings] == ["measured", "failed"]
    assert result.timings[1].reason == "CUDA error: device-side assert triggered"
    (error,) = (note for note in result.notes if note.level == "error")
    assert error.key == INCOMPLETE
    assert error.text.startswith("the GPU stopped working: CUDA error: device-side assert triggered")
    assert (result.layers, result.optimizations) == (None, None)
    assert result.environment.device_name == "simulated"


def test_a_gpu_that_fails_among_the_optimizations_keeps_the_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    result = lost(replace(CONFIG, optimizations=("folded",)), 1, monkeypatch)
    assert [row.status for row in result.timings] == ["measured"]
    (error,) = (note for note in result.notes if note.level == "error")
    assert error.text.startswith("the GPU stopped working")


@pytest.mark.parametrize("ceiling", [True, False])
def test_a_gpu_that_fails_at_once_is_one_clear_error(ceiling: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Net()
    with simulated_gpu(monkeypatch) as gpu:
        gpu.fails_at = 3
        with pytest.raises(ResnetCliError, match="the GPU stopped working: CUDA error: device-side assert triggered"):
            run(replace(CONFIG, ceiling=ceiling), network)


def test_weights_that_do_not_fit_are_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    with simulated_gpu(monkeypatch):
        monkeypatch.setattr(nn.Module, "to", no_memory)
        with pytest.raises(ResnetCliError, match="out of memory: CUDA out of memory"):
            run()
