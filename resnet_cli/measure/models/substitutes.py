"""Runs a network with other tensors in place of its own, and puts everything back.

A measurement must not change a network, and a copy of it is not always one: a lock or an open file has no copy, and
what a function encloses stays the original's. So the network itself runs, while `meta` tensors or copies on the CPU
stand in place of its parameters, buffers and other tensors.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import parameter as parameters
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from resnet_cli import signals
from resnet_cli.measure.models.holders import Holder, holders_of
from resnet_cli.measure.ops.fast_meta import FastMetaKernels
from resnet_cli.measure.tracing.storages import is_compressed, parts_of
from resnet_cli.measure.tracing.tensors import is_lazy

_SEED = 0
# Torch's stubs lack their constructors.
_LAZY_PARAMETER: Any = parameters.UninitializedParameter
_LAZY_BUFFER: Any = parameters.UninitializedBuffer


@contextlib.contextmanager
def on_meta(model: nn.Module, dtype: torch.dtype | None = None) -> Iterator[nn.Module]:
    """The network with tensors on `meta`: no weight is copied.

    Shared tensors and storages stay shared, `requires_grad` stays, and lazy modules stay lazy. At the end the network
    holds again what it held before, also in lists, dictionaries, hooks and functions that it refers to.

    Args:
        model: runs inside the context.
        dtype: of floating-point tensors inside; None keeps theirs.
    """

    with _replaced(list(holders_of(model)), _StandIns(torch.device("meta"), dtype)):
        yield model


@contextlib.contextmanager
def on_device(
    model: nn.Module, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
) -> Iterator[nn.Module]:
    """The network with copies of its tensors; where they are on `meta`, with small random numbers.

    All else is as in `on_meta`.

    Args:
        model: runs inside the context.
        device: of the copies.
        dtype: of floating-point tensors inside; None keeps theirs.
    """
    with _replaced(list(holders_of(model)), _StandIns(torch.device(device), dtype)):
        yield model


@contextlib.contextmanager
def with_zeros(model: nn.Module, dtype: torch.dtype | None = torch.float32) -> Iterator[nn.Module]:
    """The network on the CPU, where all values of a tensor are one and the same zero, and take no memory.

    Args:
        model: runs inside the context.
        dtype: of floating-point tensors inside; None keeps theirs.
    """
    with _replaced(list(holders_of(model)), _Zeros(torch.device("cpu"), dtype)):
        yield model


@contextlib.contextmanager
def _replaced(holders: Sequence[Holder], stand_in: _StandIns) -> Iterator[None]:
    try:
        with torch.no_grad(), FastMetaKernels():
            for holder in holders:
                holder.replace(stand_in)
        yield
    finally:
        with signals.deferred():
            for holder in holders:
                holder.restore()


class _StandIns:
    """Maps each tensor to the one that stands in its place, and other values to themselves.

    Args:
        device: of the stand-ins.
        dtype: of floating-point tensors; None keeps theirs.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype | None) -> None:
        self._device, self._dtype = device, dtype
        self._made: dict[int, Tensor] = {}
        self._storages: dict[tuple[int, torch.dtype], Tensor] = {}
        self._held: list[Tensor] = []  # an id means something only as long as its tensor lives
        self._generator = torch.Generator().manual_seed(_SEED)

    def __call__(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            if id(value) not in self._made:
                self._held.append(value)
                self._made[id(value)] = self._stand_in(value)
            return self._made[id(value)]
        if isinstance(value, tuple):
            items = [self(item) for item in value]
            if any(item is not before for item, before in zip(items, value, strict=True)):
                return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
        return value

    def _stand_in(self, tensor: Tensor) -> Tensor:
        if is_lazy(tensor):
            make = _LAZY_PARAMETER if isinstance(tensor, nn.Parameter) else _LAZY_BUFFER
            return make(tensor.requires_grad, device=self._device, dtype=self._kind(tensor))  # type: ignore[no-any-return]
        if _is_plain(tensor):
            other = self._strided(tensor.detach())
        elif self._device.type == "meta":
            return tensor  # `meta` has no such tensors: the forward fails, and is run with real ones
        else:
            other = self._unusual(tensor.detach())
        if isinstance(tensor, nn.Parameter):
            other = nn.Parameter(other, requires_grad=tensor.requires_grad)
        elif tensor.is_leaf:
            other.requires_grad_(tensor.requires_grad)
        if vars(tensor):
            vars(other).update(vars(tensor))
        return other

    def _strided(self, tensor: Tensor) -> Tensor:
        """A view of what stands in place of the whole storage of a tensor."""
        storage = tensor.untyped_storage()
        key = (storage._cdata, tensor.dtype)
        if key not in self._storages:
            count = storage.nbytes() // tensor.element_size()
            self._storages[key] = self._values(tensor.as_strided((count,), (1,), 0), self._kind(tensor))
        return self._storages[key].as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())

    def _unusual(self, tensor: Tensor) -> Tensor:
        """A copy with the same layout; a sparse one consists of views of whole storages too."""
        if tensor.layout is torch.sparse_coo:
            indices, values = map(self._strided, parts_of(tensor))
            return torch.sparse_coo_tensor(
                indices, values, tensor.shape, is_coalesced=tensor.is_coalesced(), check_invariants=False
            )
        if is_compressed(tensor):
            places, others, values = map(self._strided, parts_of(tensor))
            return torch.sparse_compressed_tensor(
                places, others, values, tensor.shape, layout=tensor.layout, check_invariants=False
            )
        # Some layouts have copies, and none to another place.
        return tensor.clone() if tensor.device == self._device else tensor.to(self._device)

    def _values(self, values: Tensor, kind: torch.dtype) -> Tensor:
        """As many values in another place or dtype."""
        if self._device.type == "meta":
            return torch.empty(values.shape, dtype=kind, device="meta")
        if not values.is_meta:
            return values.to(self._device, kind, copy=True)
        drawn = torch.zeros(values.shape, dtype=kind, device="cpu")
        if kind.is_floating_point:
            drawn.normal_(0, 0.01, generator=self._generator).abs_()  # a variance is never negative
        return drawn.to(self._device)

    def _kind(self, tensor: Tensor) -> torch.dtype:
        return self._dtype if self._dtype is not None and tensor.is_floating_point() else tensor.dtype


def _is_plain(tensor: Tensor) -> bool:
    """Whether it has a storage of its own: neither sparse, quantized, nested, nor a wrapper around other tensors."""
    wrapped: bool = is_traceable_wrapper_subclass(tensor)
    return tensor.layout == torch.strided and not (tensor.is_quantized or tensor.is_nested or wrapped)


class _Zeros(_StandIns):
    """Zeros that take no memory."""

    def _strided(self, tensor: Tensor) -> Tensor:
        return torch.zeros((), dtype=self._kind(tensor), device="cpu").expand(tensor.shape)

    def _unusual(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._device, copy=True)  # with its indices
