"""The network in OpenVINO, on the CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from resnet_cli.measure.optimizations.runtimes.onnx_export import onnx_model, require
from resnet_cli.measure.optimizations.variant import Variant
from resnet_cli.measure.system.devices.backend import DeviceBackend


def build(model: nn.Module, image: Tensor, backend: DeviceBackend) -> Variant:
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
    request = core.compile_model(core.read_model(onnx_model(model, image)), "CPU", settings).create_infer_request()

    def run(images: Tensor) -> object:
        outputs = request.infer([images.numpy()], share_inputs=True, share_outputs=True)
        return [torch.from_numpy(output) for output in outputs.values()]

    return Variant(run, image.contiguous())
