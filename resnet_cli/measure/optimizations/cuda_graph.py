"""A network as a CUDA graph: its kernels are recorded once and then launched all at once.

At small batches a GPU waits for the host to launch kernel after kernel; replaying a graph is a single launch. See
"CUDA Graphs" in torch's notes on CUDA semantics for what a capture demands.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from resnet_cli.measure.bench.sampling import without_collection

WARM_UPS = 3  # on a side stream: workspaces are allocated and algorithms chosen before the capture


class Capture(Protocol):
    """What capturing asks of a device."""

    def warm_up(self, call: Callable[[], object], times: int) -> None:
        """Call it on a stream of its own, and wait for it."""

    def record(self, call: Callable[[], object]) -> tuple[Callable[[], None], object]:
        """Record a call: a function that launches the same kernels on the same memory, and where their output is."""


class CudaCapture:
    """Of a GPU.

    Args:
        device: the GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def warm_up(self, call: Callable[[], object], times: int) -> None:
        """Call it on a stream of its own, and wait for it."""
        with torch.cuda.device(self.device):
            current, side = torch.cuda.current_stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
            side.wait_stream(current)
            with torch.cuda.stream(side):
                for _ in range(times):
                    call()
            current.wait_stream(side)
            torch.cuda.synchronize()

    def record(self, call: Callable[[], object]) -> tuple[Callable[[], None], object]:
        """Record a call into a graph with memory of its own."""
        with torch.cuda.device(self.device):
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                output = call()
        return graph.replay, output


def capture_cuda_graph(run: Callable[[Tensor], object], image: Tensor, device: Capture) -> Callable[[Tensor], object]:
    """A function that copies its input to where the graph reads, launches the graph and gives its output.

    The copy belongs to a request and is timed with it. The output is overwritten by the next call.

    Args:
        run: of the network; it neither waits for the device nor goes by the values of its input.
        image: an input of the only shape that the graph is for.
        device: records it.

    Raises:
        Exception: whatever the device raises when something in the network cannot be captured.
    """
    static = image.clone()
    device.warm_up(lambda: run(static), WARM_UPS)
    with without_collection():  # a tensor that is freed within a capture would break it
        replay, output = device.record(lambda: run(static))

    def replayed(images: Tensor) -> object:
        static.copy_(images)
        replay()
        return output

    return replayed
