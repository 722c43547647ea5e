"""Which tensors of a checkpoint fit a network, before they are loaded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from torch import Tensor

from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import dimensions
from resnet_cli.measure.models.copies import build_on_meta
from resnet_cli.measure.weights.checkpoint import read_checkpoint
from resnet_cli.network.architectures import ARCHITECTURES
from resnet_cli.network.resnet import build
from resnet_cli.network.torchvision_names import torchvision_names
from resnet_cli.results.common import Shape

COUNTER = "num_batches_tracked"


def load_weights(path: str) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, without the containers and prefixes of training scripts.

    Args:
        path: a .safetensors file, or one that `torch.load` reads with `weights_only`.

    Raises:
        ResnetCliError: no such file, not a checkpoint, or reading it would run code.
    """
    return read_checkpoint(path).tensors


@dataclass(frozen=True, slots=True)
class KeyMatch:
    """Missing, unexpected and mismatched tensors of a file with respect to a network."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[tuple[str, Shape, Shape], ...]  # name, in the file, in the network
    expected: int

    @property
    def exact(self) -> bool:
        """Whether all tensors fit."""
        return not (self.missing or self.unexpected or self.mismatched)

    @property
    def matched(self) -> int:
        """Number of tensors of the network whose names are in the file."""
        return self.expected - len(self.missing)


def match_keys(weights: Mapping[str, Tensor], expected: Mapping[str, Shape]) -> KeyMatch:
    """Match the tensors of a file with those of a network, by name and shape.

    `num_batches_tracked` may be missing: older checkpoints lack it.

    Args:
        weights: by name.
        expected: shapes by name.
    """
    required = [name for name in expected if not name.endswith(COUNTER)]
    return KeyMatch(
        missing=tuple(name for name in required if name not in weights),
        unexpected=tuple(name for name in weights if name not in expected),
        mismatched=tuple(
            (name, tuple(weights[name].shape), expected[name])
            for name in expected
            if name in weights and tuple(weights[name].shape) != tuple(expected[name])
        ),
        expected=len(required),
    )


def describe_mismatch(path: str, weights: Mapping[str, Tensor], candidates: Mapping[str, KeyMatch]) -> ResnetCliError:
    """Error for a file that fits under none of the namings, explained by the closest one.

    Args:
        path: of the file.
        weights: its tensors by name.
        candidates: title of a naming ("torchvision names") → match.
    """
    naming, closest = max(candidates.items(), key=lambda item: (item[1].matched, -len(item[1].mismatched)))
    if not closest.matched:
        known = ", ".join(list(weights)[:3])
        return ResnetCliError(
            f"{path} matches neither {' nor '.join(candidates)}: it has {known}, …",
            "use a checkpoint with the names of one of them",
        )
    guess = _looks_like(weights)
    hint = f"it looks like {guess[0]}: use {guess[1]}" if guess else None
    return ResnetCliError(f"{path} does not fit ({naming}): {mismatch_error(closest)}", hint)


def mismatch_error(match: KeyMatch) -> str:
    """The mismatches in words, with the first name of each kind."""
    parts = []
    if match.mismatched:
        name, shape, expected = match.mismatched[0]
        more = f" and {len(match.mismatched) - 1} more" if len(match.mismatched) > 1 else ""
        transposed = " (transposed)" if shape == tuple(reversed(expected)) else ""
        parts.append(f"{name} is {_shape(shape)}, not {_shape(expected)}{transposed}{more}")
    for words, names in (("missing", match.missing), ("unexpected", match.unexpected)):
        if names:
            are, more = ("tensors are", ", …") if len(names) > 1 else ("tensor is", "")
            parts.append(f"{len(names)} {are} {words} ({names[0][:80]}{more})")
    return "; ".join(parts)


def _shape(sizes: Shape) -> str:
    return dimensions(sizes) or "a scalar"


def _looks_like(weights: Mapping[str, Tensor]) -> tuple[str, str] | None:
    """The built-in architecture with tensors of these sizes, and the arguments that select it."""
    sizes = sorted(prod(tensor.shape) for name, tensor in weights.items() if not _is_head(name, tensor))
    for name, spec in ARCHITECTURES.items():
        if len(torchvision_names(spec)) - 2 - _counters(spec.name) != len(sizes):
            continue
        state = build_on_meta(lambda spec=spec: build(spec)).state_dict()  # type: ignore[misc]
        if sorted(prod(tensor.shape) for key, tensor in state.items() if not _is_head(key, tensor)) == sizes:
            depth = re.fullmatch(r"resnet(\d+)", name)
            arguments = f"`depth={depth[1]}`" if depth else f"`arch={name}`"
            classes = next((t.shape[0] for t in weights.values() if t.dim() == 2), 1000)
            return name, arguments if classes == 1000 else f"{arguments} and `num_classes={classes}`"
    return None


def _is_head(name: str, tensor: Tensor) -> bool:
    return name.endswith(COUNTER) or tensor.dim() == 2 or name in ("fc.bias", "tail.lin.bias")


def _counters(name: str) -> int:
    return sum(key.endswith(COUNTER) for key in torchvision_names(ARCHITECTURES[name]))
