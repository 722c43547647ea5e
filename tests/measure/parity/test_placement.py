"""Every check of a comparison runs its networks on the device that was asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.models.substitutes import on_device
from resnet_cli.measure.parity import placement, train_step
from resnet_cli.measure.parity.checks import CHECKS, SPECS, CheckSpec
from resnet_cli.measure.parity.compare import compare
from resnet_cli.measure.parity.config import ParityConfig
from resnet_cli.measure.system.devices.cpu import CpuBackend
from resnet_cli.measure.system.devices.loss import DeviceLostError
from resnet_cli.results.compare import BITWISE, DIFFERENT, CompareResult
from tests.helpers.simulated_gpu import simulated_gpu

# Tensors are on "cpu" whichever of the two they are moved to; the names differ, as those of a CPU and a GPU do.
DEVICE, CPU = torch.device("cpu", 0), torch.device("cpu")
RUNNING = [spec.key for spec in SPECS if spec.key not in ("parameters", "settings", "statistics", "gradients", "step")]


class Net(nn.Module):
    """A small network."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = 1.0
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(torch.relu(self.norm(self.conv(x))).mean((2, 3)))
        return logits if self.scale == 1 else logits * self.scale


@pytest.fixture
def forwards(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str, torch.dtype]]]:
    """Of each forward within a check: the check, where the network's tensors are, and the dtype."""
    seen: list[tuple[str, str, torch.dtype]] = []
    places: dict[int, list[torch.device]] = {}
    check: list[str] = []

    @contextlib.contextmanager
    def spy(model: nn.Module, device: torch.device = CPU, dtype: torch.dtype | None = None) -> Iterator[None]:
        places.setdefault(id(model), []).append(device)
        with on_device(model, device, dtype):
            yield
        places[id(model)].pop()

    def made(self: CheckSpec, run: Any) -> Any:
        check.append(self.key)
        result = make(self, run)
        check.pop()
        return result

    def report(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if check and isinstance(module, Net) and not inputs[0].is_meta:
            seen.append((check[-1], str((places.get(id(module)) or [CPU])[-1]), inputs[0].dtype))

    make = CheckSpec.make
    monkeypatch.setattr(CheckSpec, "make", made)
    monkeypatch.setattr(placement, "on_device", spy)
    monkeypatch.setattr(train_step, "on_device", spy)
    hook = nn.modules.module.register_module_forward_pre_hook(report)  # the network itself does not lead to it
    yield seen
    hook.remove()


def compared(difference: float = 0.0) -> CompareResult:
    """The network against itself, its outputs scaled by a little."""
    torch.manual_seed(0)
    model = Net()
    model.scale = 1 + difference
    return compare(
        ModelUnderTest(model, "net"), ModelUnderTest(Net(), "other"), ParityConfig((2, 3, 16, 16), device=DEVICE)
    )


def test_all_checks_run_on_the_device(forwards: list[tuple[str, str, torch.dtype]]) -> None:
    result = compared()
    assert {check.key for check in result.checks if check.verdict == BITWISE} == set(CHECKS)
    assert {key for key, _, _ in forwards} == set(RUNNING)
    assert {place for _, place, _ in forwards} == {"cpu:0"}
    assert ("train", "cpu:0", torch.float64) in forwards
    assert result.environment.device == "cpu:0"
    assert not [note for note in result.notes if note.key == "float64-on-cpu"]


def test_rounding_is_decided_on_the_device(forwards: list[tuple[str, str, torch.dtype]]) -> None:
    """Another network makes the checks look further, at float64."""
    assert compared(1e-6).verdict == DIFFERENT
    assert {place for _, place, _ in forwards} == {"cpu:0"}
    assert ("eval", "cpu:0", torch.float64) in forwards


def test_without_float64_that_part_runs_on_the_cpu_and_a_note_says_so(
    forwards: list[tuple[str, str, torch.dtype]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CpuBackend, "has_float64", False)
    result = compared()
    assert {(place, dtype) for _, place, dtype in forwards} == {("cpu:0", torch.float32), ("cpu", torch.float64)}
    assert [note.key for note in result.notes].count("float64-on-cpu") == 1
    assert placement.placement_note(DEVICE)[0].text.startswith("cpu:0 has no float64")


@pytest.mark.parametrize("stage", ["comparing every operator", "training one step in float64", "trying other sizes"])
def test_a_gpu_that_fails_is_no_difference_of_the_networks(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, other = ModelUnderTest(Net(), "net"), ModelUnderTest(Net(), "other")
    with simulated_gpu(monkeypatch) as gpu:

        def progress(text: str) -> None:
            if text == stage:
                gpu.fails_at = 0

        with pytest.raises(DeviceLostError, match="the GPU stopped working: CUDA error: device-side assert triggered"):
            compare(model, other, ParityConfig((2, 3, 16, 16), device=CPU), progress=progress)
