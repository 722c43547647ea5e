"""Autocast: float32 weights, and bfloat16 where torch thinks it safe; what most training scripts run inference in."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from resnet_cli.measure.models.inputs.model_inputs import Arguments
from resnet_cli.measure.optimizations.precision.bfloat16 import remark
from resnet_cli.measure.optimizations.variant import Variant
from resnet_cli.measure.system.devices.backend import DeviceBackend


def build(model: nn.Module, inputs: Arguments, backend: DeviceBackend) -> Variant:
    """The network under autocast, which each call enters: it casts the weights in every one."""
    kind = backend.device.type

    def run(*args: Any, **kwargs: Any) -> object:
        with torch.autocast(kind, torch.bfloat16):
            return model(*args, **kwargs)

    return Variant(run, inputs, remark(backend))
