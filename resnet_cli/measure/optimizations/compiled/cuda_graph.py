"""A network as a CUDA graph: its kernels are recorded once and then launched all at once.

At small batches a GPU waits for the host to launch kernel after kernel; replaying a graph is a single launch. See
"CUDA Graphs" in torch's notes on CUDA semantics for the requirements of a capture.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

from resnet_cli.measure.bench.timing.sampling import without_collection
from resnet_cli.measure.models.inputs.model_inputs import Arguments
from resnet_cli.measure.optimizations.folded_channels_last import best_eager
from resnet_cli.measure.optimizations.variant import UnavailableError, Variant
from resnet_cli.measure.system.devices.backend import DeviceBackend, GraphCapture
from resnet_cli.measure.tracing.tensors import tensors_in

WARM_UPS = 3  # calls before the capture, as torch's notes recommend


def build(model: nn.Module, inputs: Arguments, backend: DeviceBackend) -> Variant:
    """The network as a graph."""
    capture = backend.graph_capture()
    if capture is None:
        raise UnavailableError("this device records no graphs")
    variant = best_eager(model, inputs)
    return Variant(capture_graph(variant, capture), variant.inputs)


def capture_graph(variant: Variant, capture: GraphCapture) -> Callable[..., object]:
    """A function that copies its input to where the graph reads, launches the graph and returns its output.

    The copy belongs to a request and is timed with it. The next call overwrites the output.

    Args:
        variant: must not synchronize, nor depend on the values of its inputs; the graph is for their shapes only.
        capture: of the device.

    Raises:
        Exception: whatever torch raises where something in the network cannot be captured.
    """
    static = variant.inputs.mapped(Tensor.clone)
    tensors = tensors_in(static)
    run = partial(static.call, variant.run)
    capture.warm_up(run, WARM_UPS)
    # A garbage collection could destroy events or graphs, whose destructors call what is illegal in a capture.
    with without_collection():
        replay, output = capture.record(run)

    def replayed(*args: Any, **kwargs: Any) -> object:
        for tensor, value in zip(tensors, tensors_in((args, kwargs)), strict=True):
            tensor.copy_(value)
        replay()
        return output

    return replayed
