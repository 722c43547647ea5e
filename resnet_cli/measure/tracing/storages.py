"""The storages that tensors of any layout consist of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, UntypedStorage
from torch.nn.parameter import Parameter
from torch.utils._python_dispatch import _disable_current_modes, is_traceable_wrapper_subclass

_COMPRESSED_ROWS = (torch.sparse_csr, torch.sparse_bsr)
_COMPRESSED_COLUMNS = (torch.sparse_csc, torch.sparse_bsc)


def is_compressed(tensor: Tensor) -> bool:
    """Whether a tensor is sparse with compressed rows or columns."""
    return tensor.layout in (*_COMPRESSED_ROWS, *_COMPRESSED_COLUMNS)


def parts_of(tensor: Tensor) -> list[Tensor]:
    """The dense tensors that a tensor consists of: itself, or the indices and values of a sparse one, values last.

    A tensor whose memory torch does not show (oneDNN's own layout) has none.
    """
    wrapper: Any = tensor
    if is_traceable_wrapper_subclass(wrapper):
        names, _ = wrapper.__tensor_flatten__()
        return [part for name in names for part in parts_of(getattr(tensor, name))]
    if tensor.layout is torch.strided or tensor.layout is torch.jagged:
        return [tensor]
    with _disable_current_modes():
        if tensor.layout is torch.sparse_coo:
            return [tensor._indices(), tensor._values()]
        if tensor.layout in _COMPRESSED_ROWS:
            return [tensor.crow_indices(), tensor.col_indices(), tensor.values()]
        if tensor.layout in _COMPRESSED_COLUMNS:
            return [tensor.ccol_indices(), tensor.row_indices(), tensor.values()]
    return []


def storages_of(tensor: Tensor) -> list[UntypedStorage]:
    """The storages of a tensor: one, or those of its parts."""
    if type(tensor) in (Tensor, Parameter) and tensor.layout is torch.strided:
        return [tensor.untyped_storage()]
    return [part.untyped_storage() for part in parts_of(tensor)]


def addresses_of(tensor: Tensor) -> list[int]:
    """The addresses of its storages, which identify them as long as they live."""
    if type(tensor) in (Tensor, Parameter) and tensor.layout is torch.strided:
        return [tensor.untyped_storage()._cdata]  # without a call more: tracing asks for each argument
    return [storage._cdata for storage in storages_of(tensor)]


def storage_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of the storages of some tensors, each counted once."""
    storages = {storage._cdata: storage.nbytes() for tensor in tensors for storage in storages_of(tensor)}
    return sum(storages.values())


def elements_of(tensor: Tensor) -> int:
    """Elements of a tensor; of a sparse one those that it stores."""
    is_sparse = tensor.layout is torch.sparse_coo or is_compressed(tensor)
    return parts_of(tensor)[-1].numel() if is_sparse else tensor.numel()


def bytes_of(tensor: Tensor) -> int:
    """Bytes of the elements of a tensor, indices included where it is sparse."""
    if type(tensor) in (Tensor, Parameter) and tensor.layout is torch.strided:
        return tensor.nbytes
    return sum(part.nbytes for part in parts_of(tensor))
