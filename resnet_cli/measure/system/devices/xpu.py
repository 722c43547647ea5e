"""GPUs of Intel."""

from __future__ import annotations

from typing import ClassVar

import torch

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.system.devices.accelerator import AcceleratorBackend


class XpuBackend(AcceleratorBackend):
    """A GPU through SYCL."""

    collectives: ClassVar[str | None] = "xccl"
    kind: ClassVar[str] = "xpu"
    activity: ClassVar[str] = "XPU"

    @classmethod
    def is_available(cls) -> bool:
        """Whether torch has XPU and finds a GPU and its driver."""
        return bool(torch.xpu.is_available())

    @classmethod
    def missing(cls) -> ResnetCliError:
        """There is none."""
        return ResnetCliError("`device=xpu`: torch finds no Intel GPU", "install an XPU build of torch, or use cpu")
