"""The network in ONNX Runtime, on the CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from resnet_cli.measure.optimizations.runtimes.onnx_export import onnx_model, require
from resnet_cli.measure.optimizations.variant import Variant
from resnet_cli.measure.system.devices.backend import DeviceBackend

_ERRORS_ONLY = 3


def build(model: nn.Module, image: Tensor, backend: DeviceBackend) -> Variant:
    """Export it and load it, with as many threads as torch has.

    Raises:
        UnavailableError: a package is not installed.
    """
    require("onnxruntime")
    return session(onnx_model(model, image), image)


def session(content: bytes, image: Tensor) -> Variant:
    """An ONNX model with one input, loaded."""
    import onnxruntime  # noqa: PLC0415  # optional

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = _ERRORS_ONLY
    loaded = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (network_input,) = loaded.get_inputs()

    def run(images: Tensor) -> object:
        return [torch.from_numpy(output) for output in loaded.run(None, {network_input.name: images.numpy()})]

    return Variant(run, image.contiguous())
