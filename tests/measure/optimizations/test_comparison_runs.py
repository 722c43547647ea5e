"""Networks and devices that are less simple, in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.measure.bench.timing.sampling import Limits
from resnet_cli.measure.bench.workloads.workload import Workload
from resnet_cli.measure.models.inputs.model_inputs import Arguments, images
from resnet_cli.measure.optimizations import attempt, comparison
from resnet_cli.measure.optimizations.comparison import compare_optimizations
from resnet_cli.measure.optimizations.variant import Variant
from resnet_cli.measure.system.devices.backend import DeviceBackend
from resnet_cli.results.bench import OptimizationResult, OptimizationsResult
from tests.helpers.fake_clock import SimulatedBackend, SimulatedClock, fake_optimization, without_garbage

no_garbage = pytest.fixture(autouse=True)(without_garbage)
LIMITS = Limits(max_time_s=4.0, min_time_s=0.5)
Build = Callable[[nn.Module, Arguments, DeviceBackend], Variant]


class Net(nn.Module):
    """Two outputs, of five numbers and of three."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"out": x.flatten(1)[:, :5], "more": x.flatten(1)[:, 5:8]}


def compared(
    clock: SimulatedClock,
    monkeypatch: pytest.MonkeyPatch,
    eager: Build,
    folded: Build,
    limits: Limits = LIMITS,
    model: nn.Module | None = None,
    fp32_settings: tuple[Any, ...] = (),
) -> OptimizationsResult:
    monkeypatch.setattr(comparison, "EAGER", fake_optimization("eager", eager))
    monkeypatch.setattr(comparison, "OPTIMIZATIONS", {"folded": fake_optimization("folded", folded)})
    backend = SimulatedBackend(clock, queued=False, fp32_settings=fp32_settings)
    return compare_optimizations(
        Workload(model or Net(), inputs=images((3, 4, 4)), device=backend.device, dtype=torch.float32, seed=5),
        2,
        backend=backend,
        limits=limits,
        chosen=("folded",),
    )


def taking(clock: SimulatedClock, seconds: float, change: Callable[[Any], Any] = lambda output: output) -> Build:
    def build(model: nn.Module, inputs: Arguments, backend: DeviceBackend) -> Variant:
        def run(images: Tensor) -> object:
            clock.run(seconds)
            return change(model(images))

        return Variant(run, inputs)

    return build


def test_of_several_outputs_each_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    def change(output: dict[str, Tensor]) -> dict[str, Tensor]:
        return {**output, "more": output["more"] * 1.01}

    clock = SimulatedClock(queued=False)
    row: OptimizationResult = compared(clock, monkeypatch, taking(clock, 0.01), taking(clock, 0.01, change)).rows[1]
    assert row.status == "measured"
    assert row.logit_difference is not None
    assert 0.001 < row.logit_difference < 0.01


def test_what_does_not_read_its_input_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimulatedClock(queued=False)

    def ignoring_input(model: nn.Module, inputs: Arguments, backend: DeviceBackend) -> Variant:
        return Variant(lambda images: inputs.call(model), inputs)

    result = compared(clock, monkeypatch, taking(clock, 0.01), ignoring_input)
    assert [row.status for row in result.rows] == ["measured", "failed"]
    assert clock.freed == 0


def test_memory_of_a_row_that_fails_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimulatedClock(queued=False)

    def fail(model: nn.Module, inputs: Arguments, backend: DeviceBackend) -> Variant:
        raise RuntimeError("no memory")

    assert compared(clock, monkeypatch, taking(clock, 0.01), fail).rows[1].reason == "no memory"
    assert clock.freed == 1


def test_all_warm_ups_together_take_a_quarter_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimulatedClock(queued=False)

    def restless(model: nn.Module, inputs: Arguments, backend: DeviceBackend) -> Variant:
        seconds = [0.001]

        def run(images: Tensor) -> object:
            seconds[0] *= 1.02  # it never stands still
            clock.run(seconds[0])
            return model(images)

        return Variant(run, inputs)

    begun: list[float] = []

    def sample(*_: Any, **options: Any) -> Any:
        begun.append(clock.host_s)
        raise KeyboardInterrupt

    monkeypatch.setattr(attempt, "sample", sample)
    with pytest.raises(KeyboardInterrupt):
        compared(clock, monkeypatch, restless, restless, Limits(max_time_s=8.0))
    assert begun[0] == pytest.approx(2.0, abs=0.2)


class Watching(nn.Module):
    """Notes which precision its forward finds."""

    def __init__(self, part: Any, precisions: list[str]) -> None:
        super().__init__()
        self.look: Callable[[], None] = lambda: precisions.append(part.fp32_precision)

    def forward(self, x: Tensor) -> Tensor:
        self.look()
        return x.flatten(1)


def test_the_logits_are_compared_with_those_of_full_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimulatedClock(queued=False)
    part = SimpleNamespace(fp32_precision="tf32")
    precisions: list[str] = []
    model = Watching(part, precisions)
    compared(clock, monkeypatch, taking(clock, 0.01), taking(clock, 0.01), model=model, fp32_settings=(part, part))
    batches = 4  # of two images each
    assert precisions[:batches] == ["ieee"] * batches
    assert set(precisions[batches:]) == {"tf32"}
