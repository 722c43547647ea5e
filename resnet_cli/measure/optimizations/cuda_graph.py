"""A network as a CUDA graph: its kernels are recorded once and then launched all at once.

At small batches a GPU waits for the host to launch kernel after kernel; replaying a graph is a single launch. See
"CUDA Graphs" in torch's notes on CUDA semantics for the requirements of a capture.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from resnet_cli.measure.bench.sampling import without_collection
from resnet_cli.measure.optimizations.folded_channels_last import best_eager
from resnet_cli.measure.optimizations.variant import UnavailableError, Variant
from resnet_cli.measure.system.devices.backend import DeviceBackend, GraphCapture

WARM_UPS = 3  # calls before the capture, as torch's notes recommend


def build(model: nn.Module, image: Tensor, backend: DeviceBackend) -> Variant:
    """The network as a graph."""
    capture = backend.graph_capture()
    if capture is None:
        raise UnavailableError("this device records no graphs")
    variant = best_eager(model, image)
    return Variant(capture_graph(variant.run, variant.image, capture), variant.image)


def capture_graph(run: Callable[[Tensor], object], image: Tensor, capture: GraphCapture) -> Callable[[Tensor], object]:
    """A function that copies its input to where the graph reads, launches the graph and returns its output.

    The copy belongs to a request and is timed with it. The next call overwrites the output.

    Args:
        run: the network; it must not synchronize, nor depend on the values of its input.
        image: an input of the only shape that the graph is for.
        capture: of the device.

    Raises:
        Exception: whatever torch raises where something in the network cannot be captured.
    """
    static = image.clone()
    capture.warm_up(lambda: run(static), WARM_UPS)
    # A garbage collection could destroy events or graphs, whose destructors call what is illegal in a capture.
    with without_collection():
        replay, output = capture.record(lambda: run(static))

    def replayed(images: Tensor) -> object:
        static.copy_(images)
        replay()
        return output

    return replayed
