"""Copies of a network: on the meta device, or with real tensors on the CPU."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import parameter as parameters

from resnet_cli.measure.ops.fast_meta import FastMetaKernels
from resnet_cli.measure.tracing.tensors import is_lazy

_SEED = 0
# Torch's stubs lack their constructors.
_LAZY_PARAMETER: Any = parameters.UninitializedParameter
_LAZY_BUFFER: Any = parameters.UninitializedBuffer


def build_on_meta(factory: Callable[[], nn.Module]) -> nn.Module:
    """Build a network on the meta device, without memory or initialisation of its weights."""
    with FastMetaKernels(), torch.device("meta"):
        return factory()


def meta_copy(model: nn.Module, dtype: torch.dtype | None = None) -> nn.Module:
    """A copy on `meta`. The model is not changed and its weights are not copied.

    Shared parameters and modules stay shared, training flags and `requires_grad` stay as they are, and lazy modules
    stay lazy. With `dtype`, floating-point tensors of the copy take it.

    Raises:
        TypeError: the model holds something that cannot be copied.
    """

    def kind(tensor: Tensor) -> torch.dtype:
        return dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype

    def on_meta(tensor: Tensor) -> Tensor:
        return torch.empty(tensor.shape, dtype=kind(tensor), device="meta")

    # deepcopy does not copy what is in the memo.
    memo: dict[int, Any] = {}
    with torch.no_grad(), FastMetaKernels():
        for parameter in model.parameters():
            trains = parameter.requires_grad
            if is_lazy(parameter):
                memo[id(parameter)] = _LAZY_PARAMETER(trains, device="meta", dtype=kind(parameter))
            else:
                memo[id(parameter)] = nn.Parameter(on_meta(parameter), requires_grad=trains)
        for buffer in model.buffers():
            if is_lazy(buffer):
                memo[id(buffer)] = _LAZY_BUFFER(buffer.requires_grad, device="meta", dtype=kind(buffer))
            else:
                memo[id(buffer)] = on_meta(buffer)
        for module in model.modules():
            # Plain tensor attributes, such as the weight that the older weight_norm computes.
            for value in vars(module).values():
                if isinstance(value, Tensor) and id(value) not in memo:
                    memo[id(value)] = on_meta(value)
        return _copied(model, memo)


def cpu_copy(
    model: nn.Module, rebuilt: Callable[[], nn.Module] | None = None, dtype: torch.dtype | None = None
) -> nn.Module:
    """A copy with real tensors on the CPU.

    Args:
        model: if it is on `meta` and `rebuilt` is None, its weights become small random numbers.
        rebuilt: builds it again with real tensors.
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
        if is_lazy(buffer):  # torch can copy a lazy parameter, but not a lazy buffer
            memo[id(buffer)] = _LAZY_BUFFER(buffer.requires_grad, device="cpu", dtype=buffer.dtype)
        elif buffer.is_meta:
            memo[id(buffer)] = filled(buffer)
    return _copied(model, memo).to(device="cpu", dtype=dtype)


def lazy_names(model: nn.Module) -> list[str]:
    """Names of lazy parameters and buffers, whose shapes a first forward determines."""
    return [name for name, tensor in (*model.named_parameters(), *model.named_buffers()) if is_lazy(tensor)]


def _copied(model: nn.Module, memo: dict[int, Any]) -> nn.Module:
    try:
        return copy.deepcopy(model, memo)
    except Exception as error:
        raise TypeError(f"{type(model).__name__} cannot be copied: {error}") from error
