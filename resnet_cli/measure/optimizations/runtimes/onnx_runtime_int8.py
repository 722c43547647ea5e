"""The network in ONNX Runtime with weights and activations of 8 bits, quantized after training.

Static quantization: the ranges of activations are those on a few calibration images. Weights have a scale for each
output channel.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from resnet_cli.measure.models.inputs.model_inputs import Arguments
from resnet_cli.measure.optimizations.runtimes.onnx_export import feeds, onnx_model, require
from resnet_cli.measure.optimizations.runtimes.onnx_runtime import session
from resnet_cli.measure.optimizations.variant import Variant
from resnet_cli.measure.system.devices.backend import DeviceBackend
from resnet_cli.measure.system.silence import silenced

_BATCHES = 4
_SEED = 1000


def build(model: nn.Module, inputs: Arguments, backend: DeviceBackend) -> Variant:
    """Export it, quantize it on random images, and load it.

    Raises:
        UnavailableError: a package is not installed.
    """
    require("onnxruntime")
    content = onnx_model(model, inputs)
    return session(_quantized(content, inputs), inputs)


def _quantized(content: bytes, inputs: Arguments) -> bytes:
    import onnx  # noqa: PLC0415  # optional
    from onnxruntime.quantization import QuantType, quantize_static  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="resnet-cli-") as folder, silenced(""):
        path = Path(folder, "int8.onnx")
        model = onnx.load_model_from_string(content)
        names = [network_input.name for network_input in model.graph.input]
        quantize_static(
            model,
            path,
            _CalibrationInputs(names, inputs),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return path.read_bytes()


class _CalibrationInputs:
    """What ONNX Runtime's quantizer reads: the timed inputs with their floating-point values in another order.

    Args:
        names: of the model's inputs.
        inputs: of a call.
    """

    def __init__(self, names: Sequence[str], inputs: Arguments) -> None:
        self._batches = self._shuffled(names, inputs)

    @staticmethod
    def _shuffled(names: Sequence[str], inputs: Arguments) -> Iterator[dict[str, Any]]:
        generator = torch.Generator().manual_seed(_SEED)

        def shuffled(tensor: Tensor) -> Tensor:
            if not tensor.is_floating_point():
                return tensor  # indices may have an order
            order = torch.randperm(tensor.numel(), generator=generator, device="cpu")
            return tensor.flatten()[order].view(tensor.shape)

        for _ in range(_BATCHES):
            batch = inputs.mapped(shuffled)
            yield feeds(names, *batch.args, **batch.kwargs)

    def get_next(self) -> dict[str, Any] | None:
        """The next batch, by the names of the inputs."""
        return next(self._batches, None)
