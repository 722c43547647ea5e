"""Batch norm folded into the convolutions, in channels_last: what the further optimizations start from."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor, nn

from resnet_cli.measure.optimizations.channels_last import in_channels_last
from resnet_cli.measure.optimizations.conv_bn_fusion import fuse_conv_bn
from resnet_cli.measure.optimizations.variant import UnavailableError, Variant
from resnet_cli.measure.system.devices.backend import DeviceBackend


def build(model: nn.Module, image: Tensor, backend: DeviceBackend) -> Variant:
    """Both; unavailable where nothing can be folded."""
    fuse_conv_bn(model)
    return in_channels_last(model, image)


def best_eager(model: nn.Module, image: Tensor, dtype: torch.dtype = torch.float32) -> Variant:
    """In channels_last if the input is an image, and folded where that is possible."""
    with contextlib.suppress(UnavailableError):
        fuse_conv_bn(model)
    if image.dim() != 4:
        return Variant(model.to(dtype), image.to(dtype) if image.is_floating_point() else image)
    return in_channels_last(model, image, dtype)
