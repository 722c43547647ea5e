"""The architecture of a checkpoint, found from the names and shapes of its tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.models.copies import build_on_meta
from resnet_cli.network.architectures import ARCHITECTURES, MOST_BLOCKS, MOST_CHANNELS, MOST_CLASSES, Block, ModelSpec
from resnet_cli.network.resnet import build
from resnet_cli.network.torchvision_names import to_torchvision, torchvision_names
from resnet_cli.results.common import Shape

Naming = Literal["resnet-cli", "torchvision"]

NAMING_TITLES: dict[Naming, str] = {"resnet-cli": "resnet-cli names", "torchvision": "torchvision names"}
_WIDTH = 64  # channels of the first stage in every built-in architecture


@dataclass(frozen=True, slots=True)
class DetectedArchitecture:
    """The architecture that the tensors suggest; `key_matching` checks whether they all fit it."""

    spec: ModelSpec
    naming: Naming

    def names(self, naming: Naming) -> dict[str, str]:
        """Names in the file's naming → names in another naming, in the order of the state_dict."""
        pairs = [
            {"resnet-cli": name, "torchvision": counterpart}
            for name, counterpart in torchvision_names(self.spec).items()
        ]
        return {pair[self.naming]: pair[naming] for pair in pairs}

    def shapes(self) -> dict[str, Shape]:
        """Shapes of the tensors of this architecture, by name in the file's naming."""
        state = build_on_meta(lambda: build(self.spec)).state_dict()
        names = torchvision_names(self.spec)
        return {
            name if self.naming == "resnet-cli" else names[name]: tuple(tensor.shape) for name, tensor in state.items()
        }


def detect_architecture(tensors: Mapping[str, Tensor]) -> DetectedArchitecture:
    """Find the architecture: blocks and repeats from the names; widths, stem, channels and classes from the shapes.

    What shapes do not show is assumed as in torchvision: the stride of a bottleneck is in its 3×3 convolution.

    Args:
        tensors: by name, without prefixes.

    Raises:
        ResnetCliError: these are not the names of a ResNet of resnet-cli or torchvision.
    """
    naming: Naming | None = (
        "resnet-cli" if "head.conv.weight" in tensors else "torchvision" if "conv1.weight" in tensors else None
    )
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if naming == "resnet-cli":
        shapes = _under_torchvision_names(shapes)
    repeat = _repeat(shapes)
    if naming is None or repeat is None:
        known = ", ".join(name[:60] for name in list(tensors)[:3])
        raise ResnetCliError(
            f"not the weights of a ResNet under {' or '.join(NAMING_TITLES.values())}: the file has {known}, …",
            "use a checkpoint of a resnet-cli or torchvision ResNet",
        )
    block = _block(shapes)
    groups, width = _groups(shapes) if block == "bottleneck" else (1, _WIDTH)
    stem = shapes["conv1.weight"]
    head = shapes.get("fc.bias") or shapes.get("fc.weight")
    return DetectedArchitecture(
        replace(
            _spec_of(block, repeat, groups, width),
            stem="cifar" if stem[2:] == (3, 3) else "imagenet",
            in_channels=_clamp(stem[1] if len(stem) == 4 else 3, MOST_CHANNELS),
            num_classes=_clamp(head[0] if head else 0, MOST_CLASSES),
        ),
        naming,
    )


def _under_torchvision_names(shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """Shapes by torchvision's names; unknown names are left out."""
    block: Block = "bottleneck" if any(".Bottleneck" in name for name in shapes) else "basic"
    renamed = {}
    for name, shape in shapes.items():
        try:
            renamed[to_torchvision(name, block)] = shape
        except ResnetCliError:
            continue
    return renamed


def _repeat(shapes: Mapping[str, Shape]) -> tuple[int, int, int, int] | None:
    """Blocks in each stage; None if a stage has none or implausibly many."""
    blocks: list[set[int]] = [set(), set(), set(), set()]
    for name in shapes:
        match = re.match(r"layer([1-4])\.(0|[1-9][0-9]{0,3})\.", name)
        if match is not None:
            blocks[int(match[1]) - 1].add(int(match[2]))
    if not all(blocks) or any(max(stage) >= MOST_BLOCKS for stage in blocks):
        return None
    # A gap in the numbers is a missing block, not a shorter stage.
    first, second, third, fourth = (max(stage) + 1 for stage in blocks)
    return first, second, third, fourth


def _block(shapes: Mapping[str, Shape]) -> Block:
    return "bottleneck" if any(re.match(r"layer\d\.\d+\.conv3\.", name) for name in shapes) else "basic"


def _groups(shapes: Mapping[str, Shape]) -> tuple[int, int]:
    """Groups of the 3×3 and channels per group, from the first stage: its weight is (width, width / groups, 3, 3)."""
    shape = shapes.get("layer1.0.conv2.weight", ())
    if len(shape) != 4 or not 1 <= shape[0] <= MOST_CHANNELS or not shape[1] or shape[0] % shape[1]:
        return 1, _WIDTH
    groups = shape[0] // shape[1]
    return groups, shape[1]


def _clamp(value: int, most: int) -> int:
    """A value from the file within the allowed range; a wrong one shows later as a shape mismatch."""
    return min(max(value, 1), most)


def _spec_of(block: Block, repeat: tuple[int, int, int, int], groups: int, width: int) -> ModelSpec:
    """The built-in architecture, or another one of its kind under a descriptive name."""
    similar = [
        one for one in ARCHITECTURES.values() if (one.block, one.groups, one.width_per_group) == (block, groups, width)
    ]
    for spec in similar:
        if spec.repeat == repeat:
            return spec
    blocks = ",".join(map(str, repeat))
    if similar:
        return ModelSpec(f"{similar[0].name} with repeat {blocks}", block, repeat, groups, width)
    name = f"{block} {blocks}, groups={groups}, width_per_group={width}"
    return ModelSpec(name, block, repeat, groups, width)
