"""Weights and arithmetic in float16, which CPUs compute slowly."""

from __future__ import annotations

import torch
from torch import nn

from resnet_cli.measure.models.inputs.model_inputs import Arguments
from resnet_cli.measure.optimizations.folded_channels_last import best_eager
from resnet_cli.measure.optimizations.variant import Variant
from resnet_cli.measure.system.devices.backend import DeviceBackend


def build(model: nn.Module, inputs: Arguments, backend: DeviceBackend) -> Variant:
    """The network in float16."""
    return best_eager(model, inputs, torch.float16)
