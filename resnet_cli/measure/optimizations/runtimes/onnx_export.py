"""A network as an ONNX model, which other runtimes read."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from resnet_cli.measure.models.inputs.model_inputs import Arguments
from resnet_cli.measure.optimizations.variant import UnavailableError
from resnet_cli.measure.system.silence import silenced
from resnet_cli.measure.tracing.tensors import tensors_in

EXTRA = "pip install 'resnet-cli[runtimes]'"


def require(*packages: str, install: str = EXTRA) -> None:
    """Check that packages are installed.

    Args:
        packages: as they are imported.
        install: the command that installs them.

    Raises:
        UnavailableError: one of them is not.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise UnavailableError(f"needs {' and '.join(missing)}: {install}")


def onnx_model(model: nn.Module, inputs: Arguments) -> bytes:
    """Export a network for inputs of one shape, by torch's exporter on torch.export.

    Args:
        model: in eval mode, on the CPU.
        inputs: of a call.

    Raises:
        UnavailableError: the exporter's packages are not installed.
        Exception: the network cannot be exported.
    """
    require("onnx", "onnxscript")
    with silenced(""):
        program = torch.onnx.export(model, inputs.args, kwargs=dict(inputs.kwargs), dynamo=True, verbose=False)
    assert program is not None
    content: bytes = program.model_proto.SerializeToString()
    return content


def feeds(names: Sequence[str], *args: Any, **kwargs: Any) -> dict[str, Any]:
    """The tensors of a call as arrays, by the names that they have in an ONNX model.

    Args:
        names: of the model's inputs, in the order of the arguments.
        args: of the network.
        kwargs: the same.

    Raises:
        UnavailableError: the exported network does not read all of them, so that it is not known which is which.
    """
    tensors = tensors_in((args, kwargs))
    if len(tensors) != len(names):
        raise UnavailableError(f"the exported network has {len(names)} inputs for {len(tensors)} tensors")
    return {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)}
