"""The network in OpenVINO, on the CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from resnet_cli.measure.models.inputs.model_inputs import Arguments
from resnet_cli.measure.optimizations.runtimes.onnx_export import feeds, onnx_model, require
from resnet_cli.measure.optimizations.variant import Variant
from resnet_cli.measure.system.devices.backend import DeviceBackend


def build(model: nn.Module, inputs: Arguments, backend: DeviceBackend) -> Variant:
    """Export it and compile it for latency in float32, with as many threads as torch has.

    Raises:
        UnavailableError: a package is not installed.
    """
    require("openvino")
    import openvino  # noqa: PLC0415  # optional

    settings = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16 on processors that have it
    }
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(onnx_model(model, inputs)), "CPU", settings)
    request, names = compiled.create_infer_request(), [port.any_name for port in compiled.inputs]

    def run(*args: Any, **kwargs: Any) -> object:
        outputs = request.infer(feeds(names, *args, **kwargs), share_inputs=True, share_outputs=True)
        return [torch.from_numpy(output) for output in outputs.values()]

    return Variant(run, inputs.mapped(Tensor.contiguous))
