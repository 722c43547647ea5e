"""Copies of a network to experiment with: one without values, and one with real tensors."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import parameter as parameters

from resnet_cli.measure.ops.fast_meta import FastMetaKernels, is_lazy

_SEED = 0
# Torch's stubs know not what these take.
_LAZY_PARAMETER: Any = parameters.UninitializedParameter
_LAZY_BUFFER: Any = parameters.UninitializedBuffer


def meta_copy(model: nn.Module, dtype: torch.dtype | None = None) -> nn.Module:
    """A copy on `meta` to experiment with; the model itself is not touched, and its weights are not copied.

    Shared parameters and modules stay shared, training flags and `requires_grad` stay as they are, and lazy modules
    stay lazy. With `dtype`, floating-point tensors of the copy take it.

    Raises:
        TypeError: the model holds something that cannot be copied.
    """

    def kind(tensor: Tensor) -> torch.dtype:
        return dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype

    def hollow(tensor: Tensor) -> Tensor:
        return torch.empty(tensor.shape, dtype=kind(tensor), device="meta")

    # deepcopy looks into the memo first: tensors found there are never copied.
    memo: dict[int, Any] = {}
    with torch.no_grad(), FastMetaKernels():
        for parameter in model.parameters():
            wanted = parameter.requires_grad
            if is_lazy(parameter):
                memo[id(parameter)] = _LAZY_PARAMETER(wanted, device="meta", dtype=kind(parameter))
            else:
                memo[id(parameter)] = nn.Parameter(hollow(parameter), requires_grad=wanted)
        for buffer in model.buffers():
            if is_lazy(buffer):
                memo[id(buffer)] = _LAZY_BUFFER(buffer.requires_grad, device="meta", dtype=kind(buffer))
            else:
                memo[id(buffer)] = hollow(buffer)
        for module in model.modules():
            # Tensors that are attributes and no more, such as a weight that an older weight_norm computes.
            for value in vars(module).values():
                if isinstance(value, Tensor) and id(value) not in memo:
                    memo[id(value)] = hollow(value)
        return _copied(model, memo)


def cpu_copy(
    model: nn.Module, rebuilt: Callable[[], nn.Module] | None = None, dtype: torch.dtype | None = None
) -> nn.Module:
    """A copy with real tensors on the CPU.

    Args:
        model: the network; where it is on `meta` and nothing rebuilds it, its weights are small random numbers.
        rebuilt: builds it once more with real tensors.
        dtype: of the copy's floating-point tensors.

    Raises:
        TypeError: the model holds something that cannot be copied.
    """
    if rebuilt is not None and any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers())):
        return rebuilt().to(device="cpu", dtype=dtype)
    generator = torch.Generator().manual_seed(_SEED)

    def filled(tensor: Tensor) -> Tensor:
        values = torch.zeros(tensor.shape, dtype=tensor.dtype)
        if tensor.is_floating_point():
            values.normal_(0, 0.01, generator=generator).abs_()  # a variance is never negative
        return values

    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        if parameter.is_meta and not is_lazy(parameter):
            memo[id(parameter)] = nn.Parameter(filled(parameter), requires_grad=parameter.requires_grad)
    for buffer in model.buffers():
        if is_lazy(buffer):  # torch knows how to copy a lazy parameter, and not a lazy buffer
            memo[id(buffer)] = _LAZY_BUFFER(buffer.requires_grad, device="cpu", dtype=buffer.dtype)
        elif buffer.is_meta:
            memo[id(buffer)] = filled(buffer)
    return _copied(model, memo).to(device="cpu", dtype=dtype)


def lazy_names(model: nn.Module) -> list[str]:
    """Weights whose shapes a first forward has to find."""
    return [name for name, tensor in (*model.named_parameters(), *model.named_buffers()) if is_lazy(tensor)]


def _copied(model: nn.Module, memo: dict[int, Any]) -> nn.Module:
    try:
        return copy.deepcopy(model, memo)
    except Exception as error:
        raise TypeError(f"{type(model).__name__} cannot be copied: {error}") from error
