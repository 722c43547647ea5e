"""The backend of Apple's GPUs, on a fake of torch.mps."""

from __future__ import annotations

from types import SimpleNamespace

import psutil
import pytest
import torch

from resnet_cli.measure.system.devices.registry import device_backend, select_device

GB = 10**9


def test_the_device_is_the_one_that_tensors_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert select_device("mps") == torch.device("mps:0")
    assert torch.device("mps") != torch.device("mps:0")  # which is why


@pytest.mark.parametrize(
    ("available", "free"),
    [
        (100 * GB, 12 * GB - 3 * GB),  # what Metal recommends, less what tensors take
        (2 * GB, 2 * GB + 1 * GB),  # what the machine has left, and what the allocator holds
        (0, 1 * GB),
    ],
)
def test_free_memory_is_what_metal_recommends_and_the_machine_has(
    available: int, free: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = SimpleNamespace(
        recommended_max_memory=lambda: 12 * GB,
        current_allocated_memory=lambda: 3 * GB,
        driver_allocated_memory=lambda: 4 * GB,
    )
    monkeypatch.setattr(torch, "mps", fake)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=available))
    assert device_backend(torch.device("mps", 0)).free_memory() == free
