"""Apple's GPUs through Metal. Their events are not used: the queue is waited for."""

from __future__ import annotations

import platform
from typing import ClassVar

import psutil
import torch

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.system.devices.backend import DeviceBackend


class MpsBackend(DeviceBackend):
    """The GPU of an Apple chip, which shares the memory of the machine."""

    has_float64: ClassVar[bool] = False
    title: ClassVar[str] = "GPU"

    @classmethod
    def is_available(cls) -> bool:
        """Whether torch finds a Metal device."""
        return torch.backends.mps.is_available()

    @classmethod
    def find(cls, index: int) -> torch.device:
        """There is one."""
        if not cls.is_available():
            raise ResnetCliError("`device=mps`: this machine has no Metal device", "use cpu")
        return torch.device("mps", 0)  # as tensors say that are there; torch counts "mps" as another device

    def name(self) -> str:
        """Of the chip."""
        return platform.processor() or "mps"

    def total_memory(self) -> int | None:
        """What Metal recommends to use at most."""
        return int(torch.mps.recommended_max_memory())

    def free_memory(self) -> int | None:
        """What Metal recommends and the machine can give, with what torch's allocator holds without a tensor in it."""
        used, held = int(torch.mps.current_allocated_memory()), int(torch.mps.driver_allocated_memory())
        recommended = int(torch.mps.recommended_max_memory()) - used
        return max(0, min(recommended, int(psutil.virtual_memory().available) + max(0, held - used)))

    def synchronize(self) -> None:
        """Wait until the GPU is idle."""
        torch.mps.synchronize()

    def reset_peak_memory(self) -> None:
        """Metal keeps no peak."""

    def peak_memory(self) -> tuple[int, str] | None:
        """What the driver holds now; torch seldom gives memory back, so it is close to the peak."""
        return int(torch.mps.driver_allocated_memory()), "allocated"

    def empty_cache(self) -> None:
        """Release blocks that no tensor uses."""
        torch.mps.empty_cache()
