"""A network compiled by torch.compile with mode="reduce-overhead": its kernels are launched as a CUDA graph."""

from __future__ import annotations

import torch
from torch import nn

from resnet_cli.measure.models.inputs.model_inputs import Arguments
from resnet_cli.measure.optimizations.compiled.torch_compile import compiled_variant
from resnet_cli.measure.optimizations.variant import Variant
from resnet_cli.measure.system.devices.backend import DeviceBackend


def build(model: nn.Module, inputs: Arguments, backend: DeviceBackend) -> Variant:
    """Compile it from its fastest eager variant."""
    return compiled_variant(
        model, inputs, backend, lambda module: torch.compile(module, dynamic=False, mode="reduce-overhead")
    )
