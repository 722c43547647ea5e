"""The network in ONNX Runtime, on the CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from resnet_cli.measure.models.inputs.model_inputs import Arguments
from resnet_cli.measure.optimizations.runtimes.onnx_export import feeds, onnx_model, require
from resnet_cli.measure.optimizations.variant import Variant
from resnet_cli.measure.system.devices.backend import DeviceBackend

_ERRORS_ONLY = 3


def build(model: nn.Module, inputs: Arguments, backend: DeviceBackend) -> Variant:
    """Export it and load it, with as many threads as torch has.

    Raises:
        UnavailableError: a package is not installed.
    """
    require("onnxruntime")
    return session(onnx_model(model, inputs), inputs)


def session(content: bytes, inputs: Arguments) -> Variant:
    """An ONNX model, loaded."""
    import onnxruntime  # noqa: PLC0415  # optional

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = _ERRORS_ONLY
    loaded = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [network_input.name for network_input in loaded.get_inputs()]

    def run(*args: Any, **kwargs: Any) -> object:
        return [torch.from_numpy(output) for output in loaded.run(None, feeds(names, *args, **kwargs))]

    return Variant(run, inputs.mapped(Tensor.contiguous))
