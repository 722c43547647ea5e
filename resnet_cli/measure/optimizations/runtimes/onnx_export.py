"""A network as an ONNX model, which other runtimes read."""

from __future__ import annotations

from importlib.util import find_spec

import torch
from torch import Tensor, nn

from resnet_cli.measure.optimizations.variant import UnavailableError
from resnet_cli.measure.system.silence import silenced

EXTRA = "pip install 'resnet-cli[runtimes]'"


def require(*packages: str) -> None:
    """Check that packages are installed.

    Raises:
        UnavailableError: one of them is not.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise UnavailableError(f"needs {' and '.join(missing)}: {EXTRA}")


def onnx_model(model: nn.Module, image: Tensor) -> bytes:
    """Export a network for images of one shape, by torch's exporter on torch.export.

    Args:
        model: in eval mode, on the CPU.
        image: a batch, (N, C, H, W).

    Raises:
        UnavailableError: the exporter's packages are not installed.
        Exception: the network cannot be exported.
    """
    require("onnx", "onnxscript")
    with silenced(""):
        program = torch.onnx.export(model, (image,), dynamo=True, verbose=False)
    assert program is not None
    content: bytes = program.model_proto.SerializeToString()
    return content
