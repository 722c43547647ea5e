"""GPUs of NVIDIA, and of AMD through ROCm, which torch calls "cuda" too."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.system.devices.accelerator import AcceleratorBackend
from resnet_cli.measure.system.devices.backend import ClockMonitor, GraphCapture
from resnet_cli.measure.system.nvml import Gpu
from resnet_cli.measure.system.precision import TF32, Precision, cuda_precisions
from resnet_cli.measure.system.silence import silenced

_WAITS = "called a synchronizing CUDA operation"  # torch's error
AMPERE = (8, 0)  # compute capability with TF32 and bfloat16


class CudaBackend(AcceleratorBackend):
    """A GPU through CUDA or ROCm."""

    collectives: ClassVar[str | None] = "nccl"
    kind: ClassVar[str] = "cuda"
    activity: ClassVar[str] = "CUDA"

    @classmethod
    def is_available(cls) -> bool:
        """Whether torch has CUDA and finds a GPU and its driver."""
        with silenced():  # `missing` explains a missing driver
            return torch.cuda.is_available()

    @classmethod
    def missing(cls) -> ResnetCliError:
        """Torch has no CUDA, or finds no GPU."""
        if torch.version.cuda is None:
            return ResnetCliError(
                f"`device=cuda`: this torch ({torch.__version__}) was built without CUDA",
                "install a CUDA build of torch, or use cpu",
            )
        return ResnetCliError("`device=cuda`: torch finds no CUDA device or driver", "check nvidia-smi, or use cpu")

    def waits_within(self, call: Callable[[], object]) -> bool | None:
        """Torch raises an error at an operator that waits, where it is told to."""
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("error")
        try:
            call()
        except RuntimeError as error:
            if _WAITS not in str(error):
                raise
            return True
        finally:
            torch.cuda.set_sync_debug_mode(before)
        return False

    def precision(self, dtype: torch.dtype) -> str:
        """Names TF32 where float32 is computed in it."""
        name = super().precision(dtype)
        if dtype != torch.float32:
            return name
        convolutions, products = (setting.fp32_precision == TF32 for setting in self.fp32_settings())
        if not (convolutions or products) or self.capability() < AMPERE:
            return name
        which = "all" if convolutions and products else "convolutions" if convolutions else "matrix products"
        return f"{name}, {which} in TF32"

    def capability(self) -> tuple[int, int]:
        """Of the GPU."""
        return torch.cuda.get_device_capability(self.device)

    def emulates_bfloat16(self) -> bool:
        """Before Ampere."""
        return self.capability() < AMPERE

    def fp32_settings(self) -> tuple[Precision, ...]:
        """Of cuDNN's convolutions and of cuBLAS's matrix products."""
        return cuda_precisions()

    def graph_capture(self) -> GraphCapture | None:
        """CUDA graphs."""
        return CudaGraphCapture(self.device)

    def clock_monitor(self) -> ClockMonitor | None:
        """Through NVML."""
        return Gpu(self.device)


class CudaGraphCapture:
    """CUDA graphs of one GPU.

    Args:
        device: the GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def warm_up(self, call: Callable[[], object], times: int) -> None:
        """Call it on a side stream, and wait for it."""
        with torch.cuda.device(self.device):
            current, side = torch.cuda.current_stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
            side.wait_stream(current)
            with torch.cuda.stream(side):
                for _ in range(times):
                    call()
            current.wait_stream(side)
            torch.cuda.synchronize()

    def record(self, call: Callable[[], object]) -> tuple[Callable[[], None], object]:
        """Record a call into a graph with a memory pool of its own."""
        with torch.cuda.device(self.device):
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                output = call()
        return graph.replay, output
