"""GPUs of NVIDIA, and of AMD through ROCm, which torch calls "cuda" too."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.system.devices.backend import ClockMonitor, DeviceBackend, Event, GraphCapture
from resnet_cli.measure.system.nvml import Gpu
from resnet_cli.measure.system.precision import TF32, Precision, cuda_precisions
from resnet_cli.measure.system.silence import silenced

AMPERE = (8, 0)  # compute capability with TF32 and bfloat16


class CudaBackend(DeviceBackend):
    """A GPU; its memory is that of torch's allocator."""

    collectives: ClassVar[str | None] = "nccl"
    title: ClassVar[str] = "GPU"

    @classmethod
    def is_available(cls) -> bool:
        """Whether torch has CUDA and finds a GPU and its driver."""
        with silenced():  # `find` explains a missing driver
            return torch.cuda.is_available()

    @classmethod
    def find(cls, index: int) -> torch.device:
        """The GPU of an index."""
        if not cls.is_available():
            if torch.version.cuda is None:
                raise ResnetCliError(
                    f"`device=cuda`: this torch ({torch.__version__}) was built without CUDA",
                    "install a CUDA build of torch, or use cpu",
                )
            raise ResnetCliError("`device=cuda`: torch finds no CUDA device or driver", "check nvidia-smi, or use cpu")
        count = torch.cuda.device_count()
        if index >= count:
            raise ResnetCliError(
                f"`device=cuda:{index}`: this machine has {count} CUDA device{'s' if count > 1 else ''}",
                f"use cuda:0 to cuda:{count - 1}" if count > 1 else "use cuda:0",
            )
        return torch.device("cuda", index)

    @classmethod
    def for_rank(cls, local_rank: int, processes: int) -> torch.device:
        """A GPU for each process."""
        count = torch.cuda.device_count() if cls.is_available() else 0
        if processes > count:
            raise ResnetCliError(
                f"{processes} processes need a GPU each; this machine has {count or 'none'}",
                f"use {count} processes, or the cpu" if count else "use the cpu",
            )
        return torch.device("cuda", local_rank)

    def name(self) -> str:
        """Of the GPU."""
        return str(torch.cuda.get_device_name(self.device))

    def total_memory(self) -> int | None:
        """Of the GPU."""
        return int(torch.cuda.get_device_properties(self.device).total_memory)

    def free_memory(self) -> int | None:
        """What no process holds, and what torch's allocator holds without a tensor in it."""
        idle = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        return int(torch.cuda.mem_get_info(self.device)[0]) + idle

    def synchronize(self) -> None:
        """Wait until the GPU is idle."""
        torch.cuda.synchronize(self.device)

    def record_event(self) -> Event | None:
        """An event in the current stream."""
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self.device))
        return event

    def reset_peak_memory(self) -> None:
        """The peak begins at what is allocated now."""
        torch.cuda.reset_peak_memory_stats(self.device)

    def peak_memory(self) -> tuple[int, str] | None:
        """Of torch's allocator."""
        return int(torch.cuda.max_memory_allocated(self.device)), "allocated"

    def empty_cache(self) -> None:
        """Release blocks that no tensor uses."""
        torch.cuda.empty_cache()

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
