"""The backend of Intel's GPUs: one more kind of device is one more file, and a row."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.bench.timing.device_timer import busy_time
from resnet_cli.measure.system.devices.registry import CHOICES, FORMS, device_backend, device_of_rank, select_device
from tests.helpers.fake_clock import SimulatedClock, steps
from tests.measure.system.devices.test_cuda import FakeCuda

XPU = torch.device("xpu", 1)


@pytest.fixture
def xpu(monkeypatch: pytest.MonkeyPatch) -> SimulatedClock:
    """Two of them, in place of `torch.xpu`; its functions are called as those of `torch.cuda`."""
    fake = FakeCuda()
    answers = {
        "is_available": lambda: True,
        "device_count": lambda: 2,
        "get_device_name": lambda device: f"an Intel GPU, {device.index}",
        "get_device_properties": lambda device: SimpleNamespace(total_memory=16 * 10**9),
        "memory_reserved": lambda device: 700,
        "memory_allocated": lambda device: 300,
        "mem_get_info": lambda device: (1000, 5000),
    }
    for name, answer in answers.items():
        setattr(fake, name, answer)
    monkeypatch.setattr(torch, "xpu", fake)
    return fake.simulated


def test_it_is_chosen_by_name_and_number(xpu: SimulatedClock) -> None:
    assert {"xpu", "xpu:N"} <= {*CHOICES, *FORMS}
    assert (select_device("xpu"), select_device("xpu:1")) == (torch.device("xpu", 0), XPU)
    assert device_of_rank("xpu", 1, 2) == XPU
    with pytest.raises(ResnetCliError, match=r"`device=xpu:2`: this machine has 2 XPU devices"):
        select_device("xpu:2")


def test_why_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.xpu, "is_available", lambda: False)
    with pytest.raises(ResnetCliError, match="torch finds no Intel GPU"):
        select_device("xpu")


def test_it_has_memory_a_queue_and_a_clock(xpu: SimulatedClock) -> None:
    gpu = device_backend(XPU)
    assert (gpu.name(), gpu.total_memory(), gpu.free_memory()) == ("an Intel GPU, 1", 16 * 10**9, 1400)
    assert busy_time(gpu, steps(xpu, 0.002, enqueue_s=0.010, kernels=10), 0.02) == pytest.approx(0.002)
    assert gpu.peak_memory() == (123, "allocated")
    assert (gpu.fp32_settings(), gpu.graph_capture(), gpu.clock_monitor()) == ((), None, None)


def test_a_torch_without_the_kernel_that_holds_it(xpu: SimulatedClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(FakeCuda, "_sleep")
    assert not device_backend(XPU).hold_queue(1e-3)
