"""The network in TensorRT through Torch-TensorRT, which compiles it from torch.export for one shape."""

from __future__ import annotations

import torch
from torch import nn

from resnet_cli.measure.models.inputs.model_inputs import Arguments
from resnet_cli.measure.optimizations.runtimes.onnx_export import require
from resnet_cli.measure.optimizations.variant import Variant
from resnet_cli.measure.system.devices.backend import DeviceBackend
from resnet_cli.measure.system.silence import silenced

_INSTALL = "pip install torch-tensorrt"


def build(model: nn.Module, inputs: Arguments, backend: DeviceBackend) -> Variant:
    """Compile it for these inputs, in float32 and TF32, which is what plain eager convolves in.

    Raises:
        UnavailableError: Torch-TensorRT is not installed.
        Exception: the network cannot be exported or compiled.
    """
    require("torch_tensorrt", install=_INSTALL)
    import torch_tensorrt  # noqa: PLC0415  # optional

    keywords = {"kwarg_inputs": dict(inputs.kwargs)} if inputs.kwargs else {}
    # The exporter makes parameters of its own, which inference mode would not let it change.
    with silenced(""), torch.inference_mode(False), torch.no_grad():
        run = torch_tensorrt.compile(model, ir="dynamo", inputs=list(inputs.args), **keywords)
    return Variant(run, inputs)
