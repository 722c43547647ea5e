"""What stands in a file of weights, read without running anything in it.

A checkpoint is rarely a bare state dict: training scripts put it under a key beside an optimizer, keep an
exponential moving average (EMA) of it, and wrap the network, which prefixes its names. What was taken off and
what was left behind is kept here as data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import printable
from resnet_cli.measure.weights.files import Format, read

PLAIN = (
    "state_dict",
    "model_state_dict",
    "model",
    "module",
    "network",
    "net",
    "params",
    "weights",
)
EMA = (
    "model_ema",
    "state_dict_ema",
    "ema_state_dict",
    "model_ema_state_dict",
    "ema_model",
    "params_ema",
    "ema",
    "shadow",
    "averaged_model",
)
# What DataParallel and AveragedModel, and what torch.compile, put before a name.
_WRAPPERS = ("module", "_orig_mod")
# Where Lightning and other training loops keep their network.
_FIELDS = ("model", "net", "backbone")
# What tools leave among the tensors: the counters of FLOPs of thop, and that of AveragedModel.
_JUNK = ("total_ops", "total_params", "n_averaged")
_STEMS = ("conv1.weight", "head.conv.weight")
_DEEPEST = 8  # containers in containers; three are seen in the wild


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The tensors of a file, and the way to them."""

    tensors: dict[str, Tensor]  # names as the network has them, without the wrappers' prefixes
    format: Format
    bytes: int
    key_path: tuple[str, ...]  # keys that lead to them; () for a bare state dict
    prefix: str  # that all names had: "module._orig_mod."
    ignored_entries: tuple[str, ...]  # what else is in the file
    is_ema: bool  # these are EMA weights
    other: str | None  # key of the plain weights beside the EMA ones, or of the EMA ones beside the plain


def read_checkpoint(path: str, *, averaged: bool = False, mapped: bool = False) -> Checkpoint:
    """The tensors of a checkpoint by name, out of the containers and prefixes that training scripts put around them.

    Args:
        path: a safetensors file, or one that `torch.load` reads with `weights_only`; its content says which.
        averaged: take the EMA weights where there are both; otherwise the plain ones are taken.
        mapped: leave the values in the file until they are used, where its format allows that.

    Raises:
        ResnetCliError: no such file, no checkpoint, a damaged one, or one that would have to run code.
    """
    file = read(path, mapped=mapped)
    opened = _Opened([], [])
    state = _state(path, file.content, averaged, opened)
    found_averaged = any(key in EMA for key in opened.container)
    if averaged and not found_averaged:
        raise ResnetCliError(
            f"{printable(path)} has no EMA weights", f"leave --ema out; they would be under {', '.join(EMA[:3])}"
        )
    tensors, prefix, junk = _named(path, state)
    if not tensors:
        raise ResnetCliError(
            f"{printable(path)} holds no tensors by name", "save one with torch.save(model.state_dict(), path)"
        )
    beside = PLAIN if found_averaged else EMA
    return Checkpoint(
        tensors=tensors,
        format=file.format,
        bytes=file.bytes,
        key_path=tuple(opened.container),
        prefix=prefix,
        ignored_entries=(*opened.dropped, *junk),
        is_ema=found_averaged,
        other=next((key for key in beside if key in opened.states), None),
    )


class _Opened:
    """What was met on the way to the tensors."""

    def __init__(self, container: list[str], dropped: list[str]) -> None:
        self.container = container
        self.dropped = dropped
        self.states: list[str] = []  # keys of everything that could have been opened


def _state(path: str, content: Any, averaged: bool, opened: _Opened) -> dict[str, Tensor]:
    """The innermost dict of tensors."""
    for _ in range(_DEEPEST):
        if not isinstance(content, Mapping):
            return {}
        tensors = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
        inner = [key for key, value in content.items() if isinstance(key, str) and isinstance(value, Mapping)]
        # Beside its containers a checkpoint may have a tensor or two of its own, such as the best accuracy.
        is_network = any("." in name for name in tensors)
        chosen = None if is_network else _chosen(path, content, inner, averaged)
        if chosen is None:
            opened.dropped += [str(key)[:200] for key in content if key not in tensors]
            return tensors
        opened.container.append(chosen)
        opened.dropped += [str(key)[:200] for key in content if key != chosen]
        opened.states += inner
        content = content[chosen]
    raise ResnetCliError(
        f"{printable(path)} has containers in containers, more than {_DEEPEST} deep",
        "save the weights alone: torch.save(model.state_dict(), path)",
    )


def _chosen(path: str, content: Mapping[Any, Any], inner: Sequence[str], averaged: bool) -> str | None:
    """The container to open next."""
    for key in (*EMA, *PLAIN) if averaged else (*PLAIN, *EMA):
        # A container of that name may hold options instead: {"params": {"lr": 0.1}, "weights": …}.
        if key in inner and any(isinstance(value, (Tensor, Mapping)) for value in content[key].values()):
            return key
    unknown = [key for key in inner if any(isinstance(value, Tensor) for value in content[key].values())]
    if len(unknown) > 1:
        names = ", ".join(printable(key[:80]) for key in unknown[:6])
        raise ResnetCliError(
            f"{printable(path)} holds more than one set of weights: {names}",
            "save the one that you mean: torch.save(checkpoint[KEY], path)",
        )
    return unknown[0] if unknown else None


def _named(path: str, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str, tuple[str, ...]]:
    """The tensors under the names of the network, the prefix that they had, and the junk among them."""
    junk = tuple(name for name in state if name.rpartition(".")[2] in _JUNK)
    kept = {name: tensor for name, tensor in state.items() if name not in junk}
    prefix = _prefix(list(kept))
    named: dict[str, Tensor] = {}
    for name, tensor in kept.items():
        # torch.compile of a part of a network leaves its mark in the middle.
        inside = ".".join(part for part in name.removeprefix(prefix).split(".") if part != "_orig_mod")
        why = _unusual(tensor)
        if why is not None:
            raise ResnetCliError(
                f"{printable(path)}: {printable(name[:80])} {why}",
                "save plain tensors: torch.save(model.state_dict(), path)",
            )
        if inside in named:
            raise ResnetCliError(f"{printable(path)} has {printable(inside)} twice, under two prefixes")
        named[inside] = tensor
    return named, prefix, junk


def _unusual(tensor: Tensor) -> str | None:
    """Why a tensor is not the plain numbers of a layer; None where it is."""
    if tensor.is_nested or tensor.layout != torch.strided:
        return "is nested" if tensor.is_nested else f"is {str(tensor.layout).removeprefix('torch.')}, not dense"
    if tensor.is_quantized:
        return "is quantized"
    if tensor.is_meta:
        return "has no values, only a shape"
    # A few bytes can be made to look like any number of values, by strides of 0.
    if tensor.nbytes > tensor.untyped_storage().nbytes():
        return "repeats its values instead of having them all"
    return None


def _prefix(names: Sequence[str]) -> str:
    """What wrappers put before all names, with the dot at its end.

    A network's own names may begin alike too; what is no known wrapper is taken off where the first convolution of
    a residual network stands behind it.
    """
    if not names:
        return ""
    shared = _shared(names)
    full = "".join(f"{part}." for part in shared)
    if any(f"{full}{stem}" in names for stem in _STEMS):
        return full
    outer = 0
    while outer < len(shared) and shared[outer] in _WRAPPERS:
        outer += 1
    return "".join(f"{part}." for part in shared[:outer])


def _shared(names: Sequence[str]) -> list[str]:
    """The parts that all names begin with, their last part aside."""
    # What the first and the last in order share, all between them share as well.
    first, last = min(names).split("."), max(names).split(".")
    shared = []
    for one, other in zip(first[:-1], last[:-1], strict=False):
        if one != other:
            break
        shared.append(one)
    return shared


def strip_wrapper_field(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without the name of the field that a training loop keeps its network in, if all are under one."""
    shared = _shared(list(tensors)) if tensors else []
    if not shared or shared[0] not in _FIELDS:
        return dict(tensors)
    return {name.removeprefix(f"{shared[0]}."): tensor for name, tensor in tensors.items()}
