"""Weights and input in the channels_last memory format, which an image loader can produce as well as the other one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from resnet_cli.measure.models.inputs.model_inputs import Arguments
from resnet_cli.measure.optimizations.variant import UnavailableError, Variant
from resnet_cli.measure.system.devices.backend import DeviceBackend
from resnet_cli.measure.tracing.tensors import tensors_in


def build(model: nn.Module, inputs: Arguments, backend: DeviceBackend) -> Variant:
    """The network in channels_last.

    Raises:
        UnavailableError: none of the inputs is a batch of images.
    """
    if not has_images(inputs):
        raise UnavailableError("channels_last is a format of images")
    return in_channels_last(model, inputs)


def in_channels_last(model: nn.Module, inputs: Arguments) -> Variant:
    """Weights and inputs of four axes in channels_last; all others stay."""
    model._apply(_in_channels_last)  # type: ignore[no-untyped-call]  # `to` fails for weights of five axes
    return Variant(model, inputs.mapped(_in_channels_last))


def has_images(inputs: Arguments) -> bool:
    """Whether one of the inputs is a floating-point tensor (N, C, H, W)."""
    return any(map(_is_image, tensors_in(inputs)))


def _in_channels_last(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last) if _is_image(tensor) else tensor


def _is_image(tensor: Tensor) -> bool:
    return tensor.dim() == 4 and tensor.is_floating_point() and tensor.layout == torch.strided
