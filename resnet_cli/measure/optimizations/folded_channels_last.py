"""Batch norm folded into the convolutions, in channels_last: what the further optimizations start from."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor, nn

from resnet_cli.measure.models.inputs.model_inputs import Arguments
from resnet_cli.measure.models.model import convert
from resnet_cli.measure.optimizations import channels_last
from resnet_cli.measure.optimizations.conv_bn_fusion import fuse_conv_bn
from resnet_cli.measure.optimizations.variant import UnavailableError, Variant
from resnet_cli.measure.system.devices.backend import DeviceBackend


def build(model: nn.Module, inputs: Arguments, backend: DeviceBackend) -> Variant:
    """Both; unavailable where nothing can be folded, or without images."""
    fuse_conv_bn(model)
    return channels_last.build(model, inputs, backend)


def best_eager(model: nn.Module, inputs: Arguments, dtype: torch.dtype = torch.float32) -> Variant:
    """In channels_last if there are images among the inputs, and folded where that is possible.

    Args:
        model: in float32; changed in place.
        inputs: of a call.
        dtype: of weights, and of inputs in float32.
    """
    with contextlib.suppress(UnavailableError):
        fuse_conv_bn(model)
    convert(model, dtype)

    def converted(tensor: Tensor) -> Tensor:
        return tensor.to(dtype) if tensor.dtype == torch.float32 else tensor

    inputs = inputs.mapped(converted)
    return channels_last.in_channels_last(model, inputs) if channels_last.has_images(inputs) else Variant(model, inputs)
