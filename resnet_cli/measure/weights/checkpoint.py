"""The tensors of a checkpoint file, read without running code from it.

A checkpoint is rarely a bare state_dict: training scripts put it under a key beside an optimizer, keep an exponential
moving average (EMA) of it, and wrap the network, which prefixes its names. What was stripped and what was ignored is
recorded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.weights.files import Format, read

STATE_KEYS = (
    "state_dict",
    "model_state_dict",
    "model",
    "module",
    "network",
    "net",
    "params",
    "weights",
)
EMA_KEYS = (
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
# Prefixes of DataParallel and AveragedModel (module) and of torch.compile (_orig_mod).
_WRAPPERS = ("module", "_orig_mod")
# Attributes in which Lightning and other training loops keep the network.
_WRAPPER_FIELDS = ("model", "net", "backbone")
# Entries of tools among the tensors: FLOP counters of thop, the counter of AveragedModel.
_IGNORED_NAMES = ("total_ops", "total_params", "n_averaged")
_STEMS = ("conv1.weight", "head.conv.weight")
_MAX_DEPTH = 8  # nested containers; three occur in practice


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The tensors of a file, and where they were in it."""

    tensors: dict[str, Tensor]  # by name, without prefixes of wrappers
    format: Format
    bytes: int
    key_path: tuple[str, ...]  # keys that lead to them; () for a bare state_dict
    prefix: str  # stripped from all names: "module._orig_mod."
    ignored_entries: tuple[str, ...]  # other entries of the file
    is_ema: bool  # these are EMA weights
    other: str | None  # key of the plain weights beside the EMA ones, or of the EMA ones beside the plain


def read_checkpoint(path: str, *, averaged: bool = False, mapped: bool = False) -> Checkpoint:
    """Read a checkpoint: tensors by name, without the containers and prefixes of training scripts.

    Args:
        path: a safetensors file, or one that `torch.load` reads with `weights_only`; its content decides.
        averaged: take the EMA weights if there are both kinds.
        mapped: memory-map the values, if the format allows it.

    Raises:
        ResnetCliError: no such file, not a checkpoint, damaged, or reading it would run code.
    """
    file = read(path, mapped=mapped)
    containers = _Containers()
    state = _state(path, file.content, averaged, containers)
    is_ema = any(key in EMA_KEYS for key in containers.key_path)
    if averaged and not is_ema:
        raise ResnetCliError(f"{path} has no EMA weights", f"they would be under {', '.join(EMA_KEYS[:3])}")
    tensors, prefix, ignored = _strip_prefix(path, state)
    if not tensors:
        raise ResnetCliError(f"{path} holds no named tensors", "save it with torch.save(model.state_dict(), path)")
    other_keys = STATE_KEYS if is_ema else EMA_KEYS
    return Checkpoint(
        tensors=tensors,
        format=file.format,
        bytes=file.bytes,
        key_path=tuple(containers.key_path),
        prefix=prefix,
        ignored_entries=(*containers.ignored, *ignored),
        is_ema=is_ema,
        other=next((key for key in other_keys if key in containers.states), None),
    )


@dataclass(slots=True)
class _Containers:
    """The nested containers that were opened to reach the tensors."""

    key_path: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    states: list[str] = field(default_factory=list)  # keys of all containers that were seen


def _state(path: str, content: Any, averaged: bool, containers: _Containers) -> dict[str, Tensor]:
    """The innermost dict of tensors."""
    for _ in range(_MAX_DEPTH):
        if not isinstance(content, Mapping):
            return {}
        tensors = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
        inner = [key for key, value in content.items() if isinstance(key, str) and isinstance(value, Mapping)]
        # Beside containers, a checkpoint may hold a tensor of its own, such as the best accuracy.
        is_network = any("." in name for name in tensors)
        key = None if is_network else _next_container(path, content, inner, averaged)
        if key is None:
            containers.ignored += [str(entry)[:200] for entry in content if entry not in tensors]
            return tensors
        containers.key_path.append(key)
        containers.ignored += [str(entry)[:200] for entry in content if entry != key]
        containers.states += inner
        content = content[key]
    raise ResnetCliError(
        f"{path} nests containers more than {_MAX_DEPTH} deep",
        "save only the weights: torch.save(model.state_dict(), path)",
    )


def _next_container(path: str, content: Mapping[Any, Any], inner: Sequence[str], averaged: bool) -> str | None:
    """The container to open next."""
    for key in (*EMA_KEYS, *STATE_KEYS) if averaged else (*STATE_KEYS, *EMA_KEYS):
        # The key may hold options instead: {"params": {"lr": 0.1}, "weights": …}.
        if key in inner and any(isinstance(value, (Tensor, Mapping)) for value in content[key].values()):
            return key
    unknown = [key for key in inner if any(isinstance(value, Tensor) for value in content[key].values())]
    if len(unknown) > 1:
        names = ", ".join(key[:80] for key in unknown[:6])
        raise ResnetCliError(
            f"{path} holds several sets of weights: {names}",
            "save one of them: torch.save(checkpoint[KEY], path)",
        )
    return unknown[0] if unknown else None


def _strip_prefix(path: str, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str, tuple[str, ...]]:
    """Tensors without the common prefix, that prefix, and entries to ignore."""
    ignored = tuple(name for name in state if name.rpartition(".")[2] in _IGNORED_NAMES)
    kept = {name: tensor for name, tensor in state.items() if name not in ignored}
    prefix = _prefix(list(kept))
    named: dict[str, Tensor] = {}
    for name, tensor in kept.items():
        # A compiled submodule has _orig_mod in the middle of its names.
        inside = ".".join(part for part in name.removeprefix(prefix).split(".") if part != "_orig_mod")
        why = _unusual(tensor)
        if why is not None:
            raise ResnetCliError(
                f"{path}: {name[:80]} {why}",
                "save plain tensors: torch.save(model.state_dict(), path)",
            )
        if inside in named:
            raise ResnetCliError(f"{path} has {inside} twice, under two prefixes")
        named[inside] = tensor
    return named, prefix, ignored


def _unusual(tensor: Tensor) -> str | None:
    """Why a tensor is not a plain dense one, or None."""
    if tensor.is_nested or tensor.layout != torch.strided:
        return "is nested" if tensor.is_nested else f"is {str(tensor.layout).removeprefix('torch.')}, not dense"
    if tensor.is_quantized:
        return "is quantized"
    if tensor.is_meta:
        return "has no values, only a shape"
    # With strides of 0, a few bytes can claim any number of values.
    if tensor.nbytes > tensor.untyped_storage().nbytes():
        return "is an expanded view of a smaller storage"
    return None


def _prefix(names: Sequence[str]) -> str:
    """The prefix that wrappers put before all names, with its final dot.

    The names of a network may share a beginning of their own: unless it is a known wrapper, it is stripped only if the
    name of a ResNet's first convolution follows it.
    """
    if not names:
        return ""
    shared = _common_parts(names)
    full = "".join(f"{part}." for part in shared)
    if any(f"{full}{stem}" in names for stem in _STEMS):
        return full
    outer = 0
    while outer < len(shared) and shared[outer] in _WRAPPERS:
        outer += 1
    return "".join(f"{part}." for part in shared[:outer])


def _common_parts(names: Sequence[str]) -> list[str]:
    """Leading parts that all names share, their last part excluded."""
    # What the first and the last in sorted order share, all share.
    first, last = min(names).split("."), max(names).split(".")
    shared = []
    for part, counterpart in zip(first[:-1], last[:-1], strict=False):
        if part != counterpart:
            break
        shared.append(part)
    return shared


def strip_wrapper_field(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without the attribute name of a training loop (`model.`), if all have it."""
    shared = _common_parts(list(tensors)) if tensors else []
    if not shared or shared[0] not in _WRAPPER_FIELDS:
        return dict(tensors)
    return {name.removeprefix(f"{shared[0]}."): tensor for name, tensor in tensors.items()}
