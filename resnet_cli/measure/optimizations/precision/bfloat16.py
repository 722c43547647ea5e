"""Weights and arithmetic in bfloat16."""

from __future__ import annotations

import torch
from torch import nn

from resnet_cli.measure.models.inputs.model_inputs import Arguments
from resnet_cli.measure.optimizations.folded_channels_last import best_eager
from resnet_cli.measure.optimizations.variant import Variant
from resnet_cli.measure.system.devices.backend import DeviceBackend


def build(model: nn.Module, inputs: Arguments, backend: DeviceBackend) -> Variant:
    """The network in bfloat16, emulated where the device has no such arithmetic."""
    variant = best_eager(model, inputs, torch.bfloat16)
    return Variant(variant.run, variant.inputs, remark(backend))


def remark(backend: DeviceBackend) -> str | None:
    """On a device that has no such arithmetic."""
    return f"emulated: this {backend.title} has no bfloat16 arithmetic" if backend.emulates_bfloat16() else None
