"""The built-in architectures: what the network of a name or a depth is made of."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, TypeVar, get_args

from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import printable

Block = Literal["basic", "bottleneck"]
Stem = Literal["imagenet", "cifar"]
Initialization = Literal["pytorch", "torchvision", "kaiming-uniform"]

STEMS: tuple[Stem, ...] = get_args(Stem)
INITIALIZATIONS: tuple[Initialization, ...] = get_args(Initialization)
DEPTHS = (18, 34, 50, 101, 152)
DEFAULT = "resnet18"

# Ceilings that keep a slip of the keyboard from filling the memory: no published network comes near them.
MOST_BLOCKS = 1000
MOST_CHANNELS = 10_000
MOST_CLASSES = 10_000_000

Choice = TypeVar("Choice", bound=str)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Everything that decides which network is built; two equal specs build the same one.

    Args:
        name: used in tables and results.
        block: "basic" (two 3×3) or "bottleneck" (1×1, 3×3, 1×1).
        repeat: blocks per stage.
        groups: groups of the bottleneck's 3×3 ("cardinality" in ResNeXt).
        width_per_group: channels per group where the stage is 64 wide.
        stem: "imagenet" (7×7 stride 2, max-pool) or "cifar" (3×3 stride 1, no pool).
        in_channels: of the image.
        num_classes: of the logits.
        initialization: "pytorch" (the layers' own), "torchvision" or "kaiming-uniform"; see `initialize`.
        zero_init_residual: start the last batch norm of each block with gamma 0.
        stride_in_1x1: the bottleneck of the paper (v1): stride in the first 1×1; otherwise in the 3×3 (v1.5).
    """

    name: str
    block: Block
    repeat: tuple[int, int, int, int]
    groups: int = 1
    width_per_group: int = 64
    stem: Stem = "imagenet"
    in_channels: int = 3
    num_classes: int = 1000
    initialization: Initialization = "pytorch"
    zero_init_residual: bool = False
    stride_in_1x1: bool = False

    @property
    def depth(self) -> int:
        """Weighted layers as the paper counts them: the stem, those within the blocks, the classifier."""
        return 2 + sum(self.repeat) * (2 if self.block == "basic" else 3)


_SPECS = (
    ModelSpec("resnet18", "basic", (2, 2, 2, 2)),
    ModelSpec("resnet34", "basic", (3, 4, 6, 3)),
    ModelSpec("resnet50", "bottleneck", (3, 4, 6, 3)),
    ModelSpec("resnet101", "bottleneck", (3, 4, 23, 3)),
    ModelSpec("resnet152", "bottleneck", (3, 8, 36, 3)),
    ModelSpec("resnext50_32x4d", "bottleneck", (3, 4, 6, 3), groups=32, width_per_group=4),
    ModelSpec("resnext101_32x8d", "bottleneck", (3, 4, 23, 3), groups=32, width_per_group=8),
    ModelSpec("resnext101_64x4d", "bottleneck", (3, 4, 23, 3), groups=64, width_per_group=4),
    ModelSpec("wide_resnet50_2", "bottleneck", (3, 4, 6, 3), width_per_group=128),
    ModelSpec("wide_resnet101_2", "bottleneck", (3, 4, 23, 3), width_per_group=128),
)
ARCHITECTURES: Mapping[str, ModelSpec] = MappingProxyType({spec.name: spec for spec in _SPECS})


def resolve(
    depth: int | None = None,
    arch: str | None = None,
    *,
    repeat: str | Sequence[int] | None = None,
    in_channels: int = 3,
    num_classes: int = 1000,
    stem: str = "imagenet",
    initialization: str = "pytorch",
    zero_init_residual: bool = False,
) -> ModelSpec:
    """The spec of a network; resnet18 where neither depth nor arch is given.

    Raises:
        ResnetCliError: an argument is unknown, malformed, or contradicts another.
    """
    spec = _architecture(depth, arch)
    blocks = spec.repeat if repeat is None else _repeat(repeat)
    return replace(
        spec,
        name=spec.name if blocks == spec.repeat else f"{spec.name} with repeat {','.join(map(str, blocks))}",
        repeat=blocks,
        in_channels=_count("in_channels", in_channels, MOST_CHANNELS),
        num_classes=_count("num_classes", num_classes, MOST_CLASSES),
        stem=_choice("stem", stem, STEMS),
        initialization=_choice("initialization", initialization, INITIALIZATIONS),
        zero_init_residual=zero_init_residual,
    )


def is_architecture(name: str) -> bool:
    """Whether a name is that of a built-in architecture, in whatever case."""
    return _plain(name) in {_plain(known) for known in ARCHITECTURES}


def _architecture(depth: int | None, arch: str | None) -> ModelSpec:
    """The architecture that depth and arch name together."""
    if depth is not None and depth not in DEPTHS:
        nearest = min(DEPTHS, key=lambda known: abs(known - depth))
        raise ResnetCliError(
            f"`depth={depth}` is not supported; choose {_listed(DEPTHS, 'or')}",
            f"did you mean `depth={nearest}`? `repeat` builds other depths",
        )
    if arch is None:
        return ARCHITECTURES[DEFAULT if depth is None else f"resnet{depth}"]
    names = {_plain(name): name for name in ARCHITECTURES}
    spec = ARCHITECTURES[names[_choice("arch", arch, tuple(names), shown=tuple(ARCHITECTURES))]]
    if depth is not None and depth != spec.depth:
        raise ResnetCliError(
            f"`depth={depth}` contradicts `arch={spec.name}`, whose depth is {spec.depth}",
            "leave one of the two out",
        )
    return spec


def _repeat(value: str | Sequence[int]) -> tuple[int, int, int, int]:
    """Blocks per stage, from "2,2,2,3" or a sequence of whole numbers."""
    parts = value.split(",") if isinstance(value, str) else [str(part) for part in value]
    option = f"`repeat={_quoted(','.join(parts))}`"
    hint = "give the blocks of each of the four stages, such as `repeat=2,2,2,2`"
    for part in parts:
        if not re.fullmatch(r"\s*[+-]?[0-9]+\s*", part):
            raise ResnetCliError(f"{option}: {_quoted(part)} is not a whole number", hint)
        # Twelve characters hold every sensible number, and int() refuses those of thousands of digits.
        if len(part) > 12 or not 1 <= int(part) <= MOST_BLOCKS:
            raise ResnetCliError(f"{option}: a stage has 1 to {MOST_BLOCKS} blocks, not {_quoted(part)}", hint)
    if len(parts) != 4:
        raise ResnetCliError(f"{option} has {len(parts)} values for 4 stages", hint)
    first, second, third, fourth = map(int, parts)
    return first, second, third, fourth


def _count(parameter: str, value: int, most: int) -> int:
    """A number of channels or classes, within bounds."""
    if not 1 <= value <= most:
        raise ResnetCliError(f"`{parameter}={value}` is out of range", f"use a whole number from 1 to {most}")
    return value


def _choice(parameter: str, value: str, choices: tuple[Choice, ...], shown: tuple[str, ...] | None = None) -> Choice:
    """The choice that a word means, in whatever case; `shown` are the choices' readable names."""
    shown = shown or choices
    word = _plain(value)[:80]
    plain = [_plain(choice) for choice in choices]
    if word in plain:
        return choices[plain.index(word)]
    near = difflib.get_close_matches(word, plain, n=1)
    raise ResnetCliError(
        f"`{parameter}={_quoted(value)}` is not known",
        f"did you mean `{parameter}={shown[plain.index(near[0])]}`?" if near else f"choose {_listed(shown, 'or')}",
    )


def _plain(name: str) -> str:
    """ResNeXt50-32x4d, resnext50_32x4d → resnext5032x4d."""
    return re.sub(r"[-_\s]", "", name).lower()


def _quoted(text: str) -> str:
    """Text from outside, fit for one line of a terminal."""
    return shlex.quote(printable(text if len(text) <= 80 else text[:79] + "…"))


def _listed(words: Sequence[object], last: str = "and") -> str:
    """18, 34 and 50."""
    return f"{', '.join(map(str, words[:-1]))} {last} {words[-1]}"
