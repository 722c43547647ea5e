"""Figures of a network from real tensors on the CPU, without the product: the truth that its figures are held to."""

from __future__ import annotations

import random
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class RealFigures:
    """What `real_figures` finds. MACs are those of torch's FlopCounterMode, bytes those of storages."""

    parameters: int  # elements
    trainable: int
    buffers: int  # elements; of a sparse one those that it stores
    weight_bytes: int  # parameters and buffers, each storage once
    gradient_bytes: int  # one gradient for each trainable parameter
    macs: int  # eval mode
    inference_peak: int  # storages alive at once; weights and inputs not counted
    # None where there is no training step.
    saved: int | None = None  # storages that autograd holds when the forward has ended
    training_macs: int | None = None  # forward in train mode
    backward_macs: int | None = None
    training_peak: int | None = None


def real_figures(make: Callable[[], nn.Module], *inputs: Tensor, train: bool = True) -> RealFigures:
    """Figures of the second call of a network: a first one is thrown away, with whatever it leaves behind.

    Args:
        make: builds the network. Weights and random paths are those of seed 0.
        inputs: on the CPU.
        train: measure a training step too, from the sum of all outputs that have a gradient.
    """
    _seed()
    model = make().eval()
    with torch.no_grad():
        model(*inputs)
    tensors = [*model.parameters(), *model.buffers()]
    fixed = {storage._cdata: storage.nbytes() for tensor in tensors for storage in _storages(tensor)}
    figures = {
        "parameters": sum(tensor.numel() for tensor in model.parameters()),
        "trainable": sum(tensor.numel() for tensor in model.parameters() if tensor.requires_grad),
        "buffers": sum(_elements(tensor) for tensor in model.buffers()),
        "weight_bytes": sum(fixed.values()),
        "gradient_bytes": sum(
            tensor.numel() * tensor.element_size() for tensor in model.parameters() if tensor.requires_grad
        ),
    }
    apart = fixed.keys() | {storage._cdata for tensor in inputs for storage in _storages(tensor)}
    with torch.no_grad():
        _, figures["macs"] = _counted(lambda: model(*inputs))
        figures["inference_peak"] = _peak(lambda: model(*inputs), apart)
    return RealFigures(**figures, **(_training(model, inputs, apart) if train else {}))


def _training(model: nn.Module, inputs: tuple[Tensor, ...], apart: set[int]) -> dict[str, int]:
    model.train()
    loss, forward = _counted(lambda: _loss(model(*inputs)))
    _, backward = _counted(lambda: loss.backward())
    saved = _saved(lambda: model(*inputs), apart)
    model.zero_grad(set_to_none=True)

    def step() -> None:
        output = model(*inputs)  # lives until the end of the step, as in a training loop
        _loss(output).backward()  # type: ignore[no-untyped-call]

    peak = _peak(step, apart)
    return {"training_macs": forward, "backward_macs": backward, "saved": saved, "training_peak": peak}


def _loss(output: Any) -> Tensor:
    ends = [tensor for tensor in tensors_of(output) if tensor.requires_grad]
    return sum((tensor.abs() if tensor.is_complex() else tensor).sum() for tensor in ends)  # type: ignore[return-value]


def _counted(call: Callable[[], Any]) -> tuple[Any, int]:
    _seed()
    with FlopCounterMode(display=False) as counter:
        result = call()
    return result, int(counter.get_total_flops()) // 2


class _Held:
    """What autograd holds in place of a tensor that it saves."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor.detach()


def _saved(call: Callable[[], Any], apart: set[int]) -> int:
    held: weakref.WeakSet[_Held] = weakref.WeakSet()

    def pack(tensor: Tensor) -> _Held:
        item = _Held(tensor)
        held.add(item)
        return item

    _seed()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda item: item.tensor):
        output = call()
    storages = {storage._cdata: storage.nbytes() for item in held for storage in _storages(item.tensor)}
    del output
    return sum(size for address, size in storages.items() if address not in apart)


class _Storages(TorchDispatchMode):
    """Follows the storages that operators return, until they are freed."""

    def __init__(self, apart: set[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.apart = apart
        self.peak = 0
        self.sizes: dict[int, int] = {}  # bytes by address
        self.watched: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tensors_of(out):
            for storage in _storages(tensor):
                address = storage._cdata
                if address in self.apart or address in self.sizes:
                    continue
                self.sizes[address] = storage.nbytes()
                self.watched[address] = weakref.ref(storage, partial(self.forget, address))
        self.peak = max(self.peak, sum(self.sizes.values()))
        return out

    def forget(self, address: int, _: Any) -> None:
        del self.sizes[address]


def _peak(call: Callable[[], Any], apart: set[int]) -> int:
    _seed()
    with _Storages(apart) as storages:
        call()
    return int(storages.peak)


def tensors_of(value: Any) -> Iterator[Tensor]:
    """The tensors in nested lists, tuples, dicts and dataclasses."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_of(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_of(item)
    elif is_dataclass(value):
        for each in fields(value):
            yield from tensors_of(getattr(value, each.name))


def _storages(tensor: Tensor) -> list[Any]:
    """The storages of a tensor, or of the parts of a sparse one."""
    if tensor.layout == torch.strided:
        return [tensor.untyped_storage()]
    if tensor.layout == torch.sparse_coo:
        parts = [tensor._indices(), tensor._values()]
    elif tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        parts = [tensor.crow_indices(), tensor.col_indices(), tensor.values()]
    else:
        parts = [tensor.ccol_indices(), tensor.row_indices(), tensor.values()]
    return [part.untyped_storage() for part in parts]


def _elements(tensor: Tensor) -> int:
    return (
        tensor.numel()
        if tensor.layout == torch.strided
        else (tensor.coalesce() if tensor.layout == torch.sparse_coo else tensor).values().numel()
    )


def _seed() -> None:
    random.seed(0)
    torch.manual_seed(0)
