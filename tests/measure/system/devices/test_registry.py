"""Devices and data types by name, on machines with and without GPUs."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import pytest
import torch

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.bench.timing.device_timer import Sample, timed
from resnet_cli.measure.system import cpu
from resnet_cli.measure.system.devices import backend
from resnet_cli.measure.system.devices.registry import CHOICES, KINDS, device_backend, select_device
from resnet_cli.measure.system.dtypes import dtype
from tests.helpers.fake_clock import SimulatedClock, steps


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine without a GPU, whatever this one has."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.xpu, "is_available", lambda: False)
    return monkeypatch


def with_gpus(machine: pytest.MonkeyPatch, count: int) -> None:
    machine.setattr(torch.cuda, "is_available", lambda: True)
    machine.setattr(torch.cuda, "device_count", lambda: count)


def test_the_best_device_is_chosen(machine: pytest.MonkeyPatch) -> None:
    assert select_device("auto") == torch.device("cpu")
    machine.setattr(torch.backends.mps, "is_available", lambda: True)
    assert select_device("auto") == select_device("mps") == torch.device("mps", 0)
    with_gpus(machine, 2)
    assert select_device("auto") == torch.device("cuda", 0)
    assert select_device("cpu") == torch.device("cpu")


def test_a_driver_that_is_too_old_is_answered_and_not_warned_of(machine: pytest.MonkeyPatch) -> None:
    def unavailable() -> bool:
        warnings.warn("CUDA initialization: the NVIDIA driver on your system is too old", stacklevel=2)
        return False

    machine.setattr(torch.cuda, "is_available", unavailable)
    assert select_device("auto") == torch.device("cpu")
    with pytest.raises(ResnetCliError, match="device=cuda`"):
        select_device("cuda")


def test_gpus_by_their_number(machine: pytest.MonkeyPatch) -> None:
    with_gpus(machine, 2)
    assert select_device("cuda") == torch.device("cuda", 0)
    assert select_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(ResnetCliError, match=r"device=cuda:2`: this machine has 2 CUDA devices$") as caught:
        select_device("cuda:2")
    assert caught.value.hint == "use cuda:0 to cuda:1"
    with_gpus(machine, 1)
    with pytest.raises(ResnetCliError, match=r"this machine has 1 CUDA device$") as caught:
        select_device("cuda:1")
    assert caught.value.hint == "use cuda:0"


def test_why_there_is_no_gpu(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(torch.version, "cuda", None)
    with pytest.raises(ResnetCliError, match="was built without CUDA"):
        select_device("cuda")
    machine.setattr(torch.version, "cuda", "13.0")
    with pytest.raises(ResnetCliError, match="no CUDA device or driver") as caught:
        select_device("cuda:0")
    assert "nvidia-smi" in (caught.value.hint or "")
    with pytest.raises(ResnetCliError, match="no Metal device"):
        select_device("mps")


@pytest.mark.parametrize("name", ["", "gpu", "cuda:", "cuda:-1", "cuda:99999", "cpu:0", "CPU", "mps:0", "cuda:0\n"])
def test_what_is_no_device(name: str) -> None:
    with pytest.raises(ResnetCliError, match="is not a device"):
        select_device(name)


def test_dtypes_by_name() -> None:
    assert [dtype(name) for name in ("float32", "bfloat16", "float16", "float64")] == [
        *(torch.float32, torch.bfloat16, torch.float16, torch.float64)
    ]
    with pytest.raises(ResnetCliError, match="int8") as caught:
        dtype("int8")
    assert "bfloat16" in (caught.value.hint or "")


def test_names_and_memory_of_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"a GPU, {device.index}")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=80 * 10**9))
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 12 * 10**9)
    monkeypatch.setattr(cpu, "name", lambda: "a processor")
    monkeypatch.setattr("platform.processor", lambda: "")
    kinds = [device_backend(device) for device in (gpu, torch.device("cpu"), torch.device("mps"))]
    assert [kind.name() for kind in kinds] == ["a GPU, 0", "a processor", "mps"]
    assert [kinds[index].total_memory() for index in (0, 2)] == [80 * 10**9, 12 * 10**9]


def test_every_row_has_its_backend() -> None:
    assert ("auto", *KINDS) == CHOICES
    for key, row in KINDS.items():
        assert type(device_backend(torch.device(key))) is row.load()
    assert device_backend(torch.device("mps:0")).device.type == "mps"  # torch counts it as another device than "mps"


def test_metal_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    simulated = SimulatedClock()
    fake = SimpleNamespace(
        synchronize=simulated.synchronize, driver_allocated_memory=lambda: 77, empty_cache=lambda: None
    )
    monkeypatch.setattr(torch, "mps", fake)
    monkeypatch.setattr(backend, "time", SimpleNamespace(perf_counter=simulated.now))
    metal = device_backend(torch.device("mps"))
    simulated.run(5.0)
    assert timed(metal, steps(simulated, 0.25, enqueue_s=0.125)) == Sample(0.375, 0.125)
    assert metal.peak_memory() == (77, "allocated")
