"""Weights held against a network before they are loaded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from torch import Tensor

from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import dimensions, printable
from resnet_cli.measure.ops.fast_meta import build_on_meta
from resnet_cli.measure.weights.checkpoint import read_checkpoint
from resnet_cli.network.architectures import FAMILY
from resnet_cli.network.resnet import build
from resnet_cli.network.torchvision_names import torchvision_names
from resnet_cli.results.common import Shape

COUNTER = "num_batches_tracked"


def load_weights(path: str) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, out of the containers and prefixes that training scripts put around them.

    Args:
        path: a `.safetensors` file, or one that `torch.load` reads with `weights_only`.

    Raises:
        ResnetCliError: no such file, no checkpoint, or one that would have to run code.
    """
    return read_checkpoint(path).tensors


@dataclass(frozen=True, slots=True)
class KeyMatch:
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


def match_keys(weights: Mapping[str, Tensor], expected: Mapping[str, Shape]) -> KeyMatch:
    """Hold a file's tensors against a network's.

    Counters of batches may be missing: older checkpoints have none.

    Args:
        weights: by name.
        expected: shapes by name.
    """
    needed = [name for name in expected if not name.endswith(COUNTER)]
    return KeyMatch(
        missing=tuple(name for name in needed if name not in weights),
        unexpected=tuple(name for name in weights if name not in expected),
        mismatched=tuple(
            (name, tuple(weights[name].shape), expected[name])
            for name in expected
            if name in weights and tuple(weights[name].shape) != tuple(expected[name])
        ),
        expected=len(needed),
    )


def describe_mismatch(path: str, weights: Mapping[str, Tensor], candidates: Mapping[str, KeyMatch]) -> ResnetCliError:
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
    guess = _looks_like(weights)
    hint = f"it looks like {guess[0]}: use {guess[1]}" if guess else None
    return ResnetCliError(f"{printable(path)} does not fit, by {naming}: {mismatch_error(nearest)}", hint)


def mismatch_error(one: KeyMatch) -> str:
    """What does not fit, with the first name of each kind."""
    parts = []
    if one.mismatched:
        name, found, wanted = one.mismatched[0]
        more = f" and {len(one.mismatched) - 1} more" if len(one.mismatched) > 1 else ""
        turned = " (transposed)" if found == tuple(reversed(wanted)) else ""
        parts.append(f"{printable(name)} is {_shape(found)}, not {_shape(wanted)}{turned}{more}")
    for words, names in (("missing", one.missing), ("without a place", one.unexpected)):
        if names:
            are, more = ("tensors are", ", …") if len(names) > 1 else ("tensor is", "")
            parts.append(f"{len(names)} {are} {words} ({printable(names[0][:80])}{more})")
    return "; ".join(parts)


def _shape(sizes: Shape) -> str:
    return dimensions(sizes) or "a scalar"


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
    return name.endswith(COUNTER) or tensor.dim() == 2 or name in ("fc.bias", "tail.lin.bias")


def _counters(name: str) -> int:
    return sum(key.endswith(COUNTER) for key in torchvision_names(FAMILY[name]))
