"""Eager execution as torch comes: what every optimization is compared with."""

from __future__ import annotations

from torch import nn

from resnet_cli.measure.models.inputs.model_inputs import Arguments
from resnet_cli.measure.optimizations.variant import Variant
from resnet_cli.measure.system.devices.backend import DeviceBackend


def build(model: nn.Module, inputs: Arguments, backend: DeviceBackend) -> Variant:
    """The network itself."""
    return Variant(model, inputs)
