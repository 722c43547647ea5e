"""What one output pixel has seen of the input (Araujo et al. 2019, doi:10.23915/distill.00021)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from resnet_cli.measure.ops.names import aten

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Field:
    """What one output pixel has seen of the input, per axis (height, width)."""

    size: Pair  # pixels
    stride: Pair  # input pixels from one output pixel to the next


def mark(tensor: Tensor, receptive: Field | None) -> None:
    """Let a field travel with a tensor, on the object itself; None says that it has none."""
    tensor._resnet_cli_field = receptive  # type: ignore[attr-defined]


_WINDOWS = aten("convolution max_pool2d_with_indices avg_pool2d")
_PIXELWISE = aten(
    """
    native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training cudnn_batch_norm relu
    hardswish hardsigmoid hardtanh clamp dropout native_dropout alias clone _to_copy contiguous cat
    """
)


def after(func: Any, name: str, args: Sequence[Any], activations: Sequence[Tensor]) -> Field | None:
    """The field after an operator: None where it has none, as behind a global pool."""
    fields = [tensor._resnet_cli_field for tensor in activations if hasattr(tensor, "_resnet_cli_field")]
    if not fields or any(receptive is None for receptive in fields):
        return None
    if name in _WINDOWS:
        return _through_window(name, args, fields[0])
    if torch.Tag.pointwise in func.tags or name in _PIXELWISE:
        if len({receptive.stride for receptive in fields}) > 1:
            return None
        size = (max(r.size[0] for r in fields), max(r.size[1] for r in fields))
        return Field(size, fields[0].stride)
    return None


def _through_window(name: str, args: Sequence[Any], before: Field) -> Field | None:
    if args[0].dim() != 4 or (name == "aten::convolution" and args[6]):
        return None
    if name == "aten::convolution":
        kernel, stride, dilation = args[1].shape[2:], args[3], args[5]
    else:
        kernel, stride, dilation = args[1], (args[2] if len(args) > 2 and args[2] else args[1]), (1, 1)
        if name == "aten::max_pool2d_with_indices" and len(args) > 4:
            dilation = args[4]
    pairs = [(tuple(value) * 2)[:2] for value in (kernel, stride, dilation)]
    size, steps = [], []
    for axis in range(2):
        reach = pairs[2][axis] * (pairs[0][axis] - 1)
        size.append(before.size[axis] + reach * before.stride[axis])
        steps.append(before.stride[axis] * pairs[1][axis])
    return Field((size[0], size[1]), (steps[0], steps[1]))
