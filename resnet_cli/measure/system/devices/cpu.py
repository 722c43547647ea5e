"""The processor: torch's calls have finished when they return."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import psutil
import torch

from resnet_cli.measure.system import cgroups, cpu
from resnet_cli.measure.system.devices.backend import DeviceBackend

ROOT = Path("/")


class CpuBackend(DeviceBackend):
    """The processor and the memory of this machine, as far as the process's control group grants them."""

    is_accelerator: ClassVar[bool] = False
    collectives: ClassVar[str | None] = "gloo"
    title: ClassVar[str] = "CPU"
    _was_reset = False  # else the peak is that of the whole life of the process

    @classmethod
    def is_available(cls) -> bool:
        """Always."""
        return True

    @classmethod
    def find(cls, index: int) -> torch.device:
        """There is one."""
        return torch.device("cpu")

    def name(self) -> str:
        """Model name of the processor."""
        return cpu.name()

    def total_memory(self) -> int | None:
        """The machine's, or the control group's limit where that is lower."""
        return _lowest(psutil.virtual_memory().total, cgroups.limit_bytes(ROOT))

    def free_memory(self) -> int | None:
        """What the system and the control group leave, whichever is less."""
        return _lowest(psutil.virtual_memory().available, cgroups.free_bytes(ROOT))

    def synchronize(self) -> None:
        """Nothing is queued."""

    def reset_peak_memory(self) -> None:
        """Linux keeps the peak of resident memory and resets it on request."""
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            self._was_reset = False
        else:
            self._was_reset = True

    def peak_memory(self) -> tuple[int, str] | None:
        """Resident memory of the whole process since the reset; None outside of Linux."""
        if not self._was_reset:
            return None
        size = cgroups.number(Path("/proc/self/status"), "VmHWM")
        return None if size is None else (1024 * size, "resident")

    def emulates_bfloat16(self) -> bool:
        """An x86 processor with neither AVX512_BF16 nor AMX does; for others torch does not tell."""
        if not torch.cpu._is_avx2_supported():
            return False
        return not (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _lowest(*sizes: int | None) -> int | None:
    return min((size for size in sizes if size is not None), default=None)
