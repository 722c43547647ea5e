"""The precision of float32 arithmetic on a GPU: full, or TF32 with 11 bits of mantissa.

Only torch's `fp32_precision` settings are used: once one of them was set, reading the older `allow_tf32` raises.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch

from resnet_cli.measure.system.devices.registry import device_backend

IEEE, TF32 = "ieee", "tf32"


class Precision(Protocol):
    """A part of torch with a float32 precision of its own."""

    fp32_precision: str


def cuda_precisions() -> tuple[Precision, Precision]:
    """The settings of convolutions and of matrix products on a CUDA device."""
    conv: Any = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    matmul: Any = torch.backends.cuda.matmul
    return conv, matmul


@contextlib.contextmanager
def in_precision(parts: Sequence[Precision], precision: str = IEEE) -> Iterator[None]:
    """Compute float32 in one precision, and restore the settings afterwards.

    Args:
        parts: such as `cuda_precisions()`.
        precision: `IEEE` (24 bits of mantissa) or `TF32` (11 bits).
    """
    before = [part.fp32_precision for part in parts]
    try:
        for part in parts:
            part.fp32_precision = precision
        yield
    finally:
        for part, old in zip(parts, before, strict=True):
            part.fp32_precision = old


@contextlib.contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Compute without TF32 and with deterministic cuDNN algorithms; does nothing on other devices than CUDA."""
    settings = device_backend(device).fp32_settings()
    if not settings:
        yield
        return
    deterministic = torch.backends.cudnn.deterministic
    with in_precision(settings):
        torch.backends.cudnn.deterministic = True
        try:
            yield
        finally:
            torch.backends.cudnn.deterministic = deterministic
