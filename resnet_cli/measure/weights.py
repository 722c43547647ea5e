"""Weights from a file: read without running anything in it, and held against a network before they are loaded."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from resnet_cli.architectures import FAMILY
from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.shapes import build_on_meta
from resnet_cli.parameter_names import torchvision_names
from resnet_cli.quantities import dimensions, printable
from resnet_cli.resnet import build
from resnet_cli.results import Shape

_CONTAINERS = ("state_dict", "model_state_dict", "model", "model_ema", "params", "net", "weights")
_WRAPPINGS = ("module.", "_orig_mod.", "model.", "net.", "backbone.")
_COUNTER = "num_batches_tracked"


def load_weights(path: str) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, out of the containers and prefixes that training scripts put around them.

    Args:
        path: a `.safetensors` file, or one that `torch.load` reads with `weights_only`.

    Raises:
        ResnetCliError: no such file, no checkpoint, or one that would have to run code.
    """
    file, shown = Path(path), printable(path)
    if not file.exists():
        raise ResnetCliError(f"{shown}: there is no such file")
    if not file.is_file():
        raise ResnetCliError(f"{shown} is no file", "give a .pth, .pt or .safetensors file")
    content = _safetensors(path) if file.suffix.lower() == ".safetensors" else _pickled(path)
    state = _unwrapped(content)
    if not state:
        raise ResnetCliError(f"{shown} holds no tensors by name", "save one with torch.save(model.state_dict(), path)")
    return state


def _safetensors(path: str) -> Any:
    try:
        from safetensors.torch import load_file  # noqa: PLC0415  # an extra
    except ModuleNotFoundError:
        raise ResnetCliError(
            f"{printable(path)} needs the package safetensors, which is not installed", "pip install safetensors"
        ) from None
    try:
        return load_file(path)
    except Exception as error:
        raise ResnetCliError(f"{printable(path)} cannot be read: {_said(error)}") from None


def _pickled(path: str) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "weights_only" in str(error) or "Unsupported" in str(error):
            raise ResnetCliError(
                f"{printable(path)} holds more than tensors, and reading it would run code from it",
                "load it where you trust it and save its state: torch.save(model.state_dict(), path)",
            ) from None
        raise ResnetCliError(f"{printable(path)} is no checkpoint: {_said(error)}") from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, zipfile.BadZipFile) as error:
        raise ResnetCliError(f"{printable(path)} is no checkpoint: {_said(error) or 'it is empty'}") from None


def _said(error: Exception) -> str:
    return printable(" ".join(str(error).split()))[:160]


def _unwrapped(content: Any) -> dict[str, Tensor]:
    """The innermost dict of tensors, without prefixes that all of its keys have."""
    for _ in range(len(_CONTAINERS)):
        if not isinstance(content, Mapping):
            return {}
        inner = next((content[key] for key in _CONTAINERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    state = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    while state:
        prefix = next((one for one in _WRAPPINGS if all(key.startswith(one) for key in state)), None)
        if prefix is None:
            break
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


@dataclass(frozen=True, slots=True)
class Fit:
    """How a file's tensors go with a network's."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[tuple[str, Shape, Shape], ...]  # name, in the file, in the network
    expected: int

    @property
    def exact(self) -> bool:
        """Whether every tensor has its place."""
        return not (self.missing or self.unexpected or self.mismatched)

    @property
    def matched(self) -> int:
        """Tensors of the network that are in the file, in whatever shape."""
        return self.expected - len(self.missing)


def fit(weights: Mapping[str, Tensor], expected: Mapping[str, Shape]) -> Fit:
    """Hold a file's tensors against a network's.

    Counters of batches may be missing: older checkpoints have none.

    Args:
        weights: by name.
        expected: shapes by name.
    """
    needed = [name for name in expected if not name.endswith(_COUNTER)]
    return Fit(
        missing=tuple(name for name in needed if name not in weights),
        unexpected=tuple(name for name in weights if name not in expected),
        mismatched=tuple(
            (name, tuple(weights[name].shape), expected[name])
            for name in expected
            if name in weights and tuple(weights[name].shape) != tuple(expected[name])
        ),
        expected=len(needed),
    )


def explain_misfit(path: str, weights: Mapping[str, Tensor], candidates: Mapping[str, Fit]) -> ResnetCliError:
    """The error for a file that fits none of the namings, told by the one that it comes nearest to.

    Args:
        path: of the file.
        weights: what is in it.
        candidates: a naming ("torchvision's names") and how the file fits it.
    """
    naming, nearest = max(candidates.items(), key=lambda item: (item[1].matched, -len(item[1].mismatched)))
    if not nearest.matched:
        known = ", ".join(printable(key) for key in list(weights)[:3])
        return ResnetCliError(
            f"{printable(path)} fits neither {' nor '.join(candidates)}: it has {known}, …",
            "give weights with the names of one of the two networks",
        )
    parts = []
    if nearest.mismatched:
        name, found, wanted = nearest.mismatched[0]
        more = f" and {len(nearest.mismatched) - 1} more" if len(nearest.mismatched) > 1 else ""
        parts.append(f"{printable(name)} is {dimensions(found)}, not {dimensions(wanted)}{more}")
    for words, names in (("missing", nearest.missing), ("without a place", nearest.unexpected)):
        if names:
            more = ", …" if len(names) > 1 else ""
            parts.append(f"{len(names)} tensors are {words} ({printable(names[0])}{more})")
    guess = _looks_like(weights)
    hint = f"it looks like {guess[0]}: use {guess[1]}" if guess else None
    return ResnetCliError(f"{printable(path)} does not fit, by {naming}: {'; '.join(parts)}", hint)


def _looks_like(weights: Mapping[str, Tensor]) -> tuple[str, str] | None:
    """The member of the family whose tensors these are, and the options that ask for it."""
    sizes = sorted(prod(tensor.shape) for name, tensor in weights.items() if not _is_head(name, tensor))
    for name, spec in FAMILY.items():
        if len(torchvision_names(spec)) - 2 - _counters(spec.name) != len(sizes):
            continue
        state = build_on_meta(lambda spec=spec: build(spec)).state_dict()  # type: ignore[misc]
        if sorted(prod(tensor.shape) for key, tensor in state.items() if not _is_head(key, tensor)) == sizes:
            depth = re.fullmatch(r"resnet(\d+)", name)
            options = f"--depth {depth[1]}" if depth else f"--arch {name}"
            classes = next((t.shape[0] for t in weights.values() if t.dim() == 2), 1000)
            return name, options if classes == 1000 else f"{options} --num-classes {classes}"
    return None


def _is_head(name: str, tensor: Tensor) -> bool:
    return name.endswith(_COUNTER) or tensor.dim() == 2 or name in ("fc.bias", "tail.lin.bias")


def _counters(name: str) -> int:
    return sum(key.endswith(_COUNTER) for key in torchvision_names(FAMILY[name]))
