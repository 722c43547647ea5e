"""Weights and input in the channels_last memory format, which an image loader can produce as well as the other one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from resnet_cli.measure.optimizations.variant import UnavailableError, Variant
from resnet_cli.measure.system.devices.backend import DeviceBackend


def build(model: nn.Module, image: Tensor, backend: DeviceBackend) -> Variant:
    """The network in channels_last."""
    return in_channels_last(model, image)


def in_channels_last(model: nn.Module, image: Tensor, dtype: torch.dtype = torch.float32) -> Variant:
    """Convert weights and input, to a dtype as well.

    Raises:
        UnavailableError: the input is not a batch of images.
    """
    if image.dim() != 4:
        raise UnavailableError("channels_last is a format of images")
    model.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Variant(model, image.to(dtype=dtype, memory_format=torch.channels_last))
