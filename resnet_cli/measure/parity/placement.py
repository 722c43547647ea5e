"""Where the networks of a comparison run: on the device that was asked for, in float64 where that can compute in it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from resnet_cli.measure.models.substitutes import on_device
from resnet_cli.measure.system.devices.registry import device_backend
from resnet_cli.results.common import Note

CPU = torch.device("cpu")


def device_for(device: torch.device, dtype: torch.dtype) -> torch.device:
    """The CPU in place of a device that cannot compute in float64."""
    return CPU if dtype == torch.float64 and not device_backend(device).has_float64 else device


@contextlib.contextmanager
def placed(model: nn.Module, device: torch.device, dtype: torch.dtype = torch.float32) -> Iterator[nn.Module]:
    """The network in eval mode, with copies of its tensors where their device or dtype has to change."""
    sample = next(model.parameters(), None)
    changes = sample is not None and (sample.device != device or dtype == torch.float64)
    kind = torch.float64 if dtype == torch.float64 else None
    with on_device(model, device, kind) if changes else contextlib.nullcontext():
        model.eval()  # a network's own may return anything
        yield model


def placement_note(device: torch.device) -> tuple[Note, ...]:
    """A note where not everything runs on the device."""
    if device_for(device, torch.float64) == device:
        return ()
    text = f"{device} has no float64: the training step, and what decides on rounding, ran on the CPU"
    return (Note("note", text, "float64-on-cpu"),)
