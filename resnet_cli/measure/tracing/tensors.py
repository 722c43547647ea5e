"""The tensors in what a module or an operator takes and returns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested tuples, lists, mappings and dataclass-like outputs."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors_in(item)
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            yield from tensors_in(getattr(value, name))


def shape_of(value: Any) -> tuple[int, ...] | None:
    """Shape of the first tensor, None where there is none."""
    tensor = next(tensors_in(value), None)
    return None if tensor is None else tuple(tensor.shape)


def is_lazy(tensor: Tensor) -> bool:
    """Whether a tensor has no shape yet, because the first forward of its lazy module sets it."""
    return isinstance(tensor, (UninitializedParameter, UninitializedBuffer))
