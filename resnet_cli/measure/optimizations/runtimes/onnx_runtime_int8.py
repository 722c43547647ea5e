"""The network in ONNX Runtime with weights and activations of 8 bits, quantized after training.

Static quantization: the ranges of activations are those on a few calibration images. Weights have a scale for each
output channel.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from resnet_cli.measure.models import random_init
from resnet_cli.measure.optimizations.runtimes.onnx_export import onnx_model, require
from resnet_cli.measure.optimizations.runtimes.onnx_runtime import session
from resnet_cli.measure.optimizations.variant import Variant
from resnet_cli.measure.system.devices.backend import DeviceBackend
from resnet_cli.measure.system.silence import silenced

_BATCHES = 4
_SEED = 1000  # images that are neither timed nor compared


def build(model: nn.Module, image: Tensor, backend: DeviceBackend) -> Variant:
    """Export it, quantize it on random images, and load it.

    Raises:
        UnavailableError: a package is not installed.
    """
    require("onnxruntime")
    content = onnx_model(model, image)
    return session(_quantized(content, image), image)


def _quantized(content: bytes, image: Tensor) -> bytes:
    import onnx  # noqa: PLC0415  # optional
    from onnxruntime.quantization import QuantType, quantize_static  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="resnet-cli-") as folder, silenced(""):
        path = Path(folder, "int8.onnx")
        model = onnx.load_model_from_string(content)
        name = model.graph.input[0].name
        quantize_static(
            model,
            path,
            _CalibrationImages(name, image),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return path.read_bytes()


class _CalibrationImages:
    """What ONNX Runtime's quantizer reads."""

    def __init__(self, name: str, image: Tensor) -> None:
        self._batches = self._draw(name, image)

    @staticmethod
    def _draw(name: str, image: Tensor) -> Iterator[dict[str, object]]:
        for number in range(_BATCHES):
            images = random_init.image(tuple(image.shape), _SEED + number, torch.float32)
            yield {name: images.numpy()}

    def get_next(self) -> dict[str, object] | None:
        """The next batch, by the input's name."""
        return next(self._batches, None)
