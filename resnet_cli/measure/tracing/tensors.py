"""The tensors in what a module or an operator takes and returns, however nested."""

from __future__ import annotations

import copy
import dataclasses
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter
from torch.nn.utils.rnn import PackedSequence
from torch.utils import _pytree

from resnet_cli.measure.tracing.storages import parts_of

_PLAIN = (int, float, complex, str, bytes, type(None))
_MAX_DEPTH = 32  # of objects inside objects, which may refer to each other


def parts(value: Any) -> Mapping[Any, Any] | None:
    """The values inside a container or object by key, index or attribute; None for what has no parts.

    These are mappings, tuples, lists, sets, dataclasses, what `torch.utils._pytree` knows (users and libraries register
    their classes there), and objects of classes that are neither torch's nor Python's, by their attributes. An
    iterator is not run.
    """
    if isinstance(value, (Tensor, *_PLAIN)):
        return None
    if isinstance(value, Mapping):
        return value
    if isinstance(value, (tuple, list, deque)):
        return dict(enumerate(value))
    if isinstance(value, (set, frozenset)):
        # Tensors are in a set by their address: without an order of their own each run would see another first one.
        return dict(enumerate(sorted(value, key=lambda item: str(getattr(item, "shape", item)))))
    node = _pytree.SUPPORTED_NODES.get(type(value))
    if node is not None:
        return dict(enumerate(node.flatten_fn(value)[0]))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
    if isinstance(value, (type, nn.Module)) or callable(value):
        return None
    home = type(value).__module__
    if home.partition(".")[0] in ("torch", "builtins", "numpy") and not home.startswith("torch.distributions"):
        return None
    return getattr(value, "__dict__", None)


def tensors_in(value: Any) -> list[Tensor]:
    """Every tensor in a value, in order; see `parts`."""
    tensors: list[Tensor] = []
    _collect(value, tensors, 0)
    return tensors


def _collect(value: Any, tensors: list[Tensor], depth: int, around: tuple[int, ...] = ()) -> None:
    if isinstance(value, Tensor):
        tensors.append(value)
    elif depth < _MAX_DEPTH and not isinstance(value, _PLAIN):
        if type(value) in (tuple, list):  # the usual arguments of an operator, without a dictionary of each
            inside = value
        elif id(value) in around:  # objects may refer to each other
            return
        else:
            inside, around = (parts(value) or {}).values(), (*around, id(value))
        for part in inside:
            _collect(part, tensors, depth + 1, around)


def map_leaves(value: Any, function: Callable[[Any], Any], leaf_type: type[Any] = Tensor) -> Any:
    """The same containers and objects with another value for each leaf.

    Args:
        value: nested in any way; objects may refer to each other.
        function: called with each leaf: what has no parts, or is of the leaf type.
        leaf_type: not looked into.
    """
    return _mapped(value, function, leaf_type, {})


def _mapped(value: Any, function: Callable[[Any], Any], leaf_type: type[Any], twins: dict[int, Any]) -> Any:
    """As `map_leaves`; `twins` are those of objects by their ids, also while they are being made."""
    if id(value) in twins:
        return twins[id(value)]
    if isinstance(value, PackedSequence):  # the sizes of its batches are always on the CPU
        return value._replace(data=function(value.data))
    inside = None if isinstance(value, leaf_type) else parts(value)
    if inside is None:
        return function(value)
    if isinstance(value, (tuple, list, deque, set, frozenset)):
        items = [_mapped(part, function, leaf_type, twins) for part in inside.values()]
        is_named = isinstance(value, tuple) and hasattr(value, "_fields")
        return type(value)(*items) if is_named else type(value)(items)
    node = _pytree.SUPPORTED_NODES.get(type(value))
    if node is not None and not isinstance(value, Mapping):
        items = [_mapped(part, function, leaf_type, twins) for part in inside.values()]
        return node.unflatten_fn(items, node.flatten_fn(value)[1])
    twin = twins[id(value)] = copy.copy(value)
    for key, part in inside.items():
        item = _mapped(part, function, leaf_type, twins)
        if isinstance(value, Mapping):
            twin[key] = item
        else:
            object.__setattr__(twin, key, item)  # of a frozen dataclass too
    return twin


def dense(tensor: Tensor) -> Tensor:
    """The same values in strides, for operators that sparse tensors have not."""
    return tensor if tensor.layout == torch.strided else tensor.to_dense()


def shape_of(value: Any) -> tuple[int, ...] | None:
    """Shape of the first tensor, None where there is none; of a nested tensor that of all its values together."""
    tensors = tensors_in(value)
    if not tensors:
        return None
    shape = tuple(tensors[0].shape)
    return shape if all(type(length) is int for length in shape) else tuple(parts_of(tensors[0])[0].shape)


def why_no_gradient(output: Any) -> str:
    """Why nothing in the output of a network can be differentiated."""
    tensors = tensors_in(output)
    if not tensors:
        return f"it returns {type(output).__name__}, in which no tensor was found"
    if not any(tensor.is_floating_point() or tensor.is_complex() for tensor in tensors):
        return f"its output is {str(tensors[0].dtype).removeprefix('torch.')}, which has no gradient"
    return "none of its outputs depends on a trainable parameter"


def is_lazy(tensor: Tensor) -> bool:
    """Whether a tensor has no shape yet, because the first forward of its lazy module sets it."""
    return isinstance(tensor, (UninitializedParameter, UninitializedBuffer))
