"""Names and shapes of weights → the network that they belong to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import printable
from resnet_cli.measure.ops.fast_meta import build_on_meta
from resnet_cli.network.architectures import FAMILY, MOST_BLOCKS, MOST_CHANNELS, MOST_CLASSES, Block, ModelSpec
from resnet_cli.network.resnet import build
from resnet_cli.network.torchvision_names import to_torchvision, torchvision_names
from resnet_cli.results.common import Shape

Naming = Literal["ours", "torchvision"]

NAMINGS: dict[Naming, str] = {"ours": "resnet-cli's names", "torchvision": "torchvision's names"}
_WIDTH = 64  # channels of the first stage, which all of the family have


@dataclass(frozen=True, slots=True)
class DetectedArchitecture:
    """The network that tensors look like; whether they fit it in all is another question."""

    spec: ModelSpec
    naming: Naming

    def names(self, naming: Naming) -> dict[str, str]:
        """Every name of the network in a naming, by its name in the file's, in the order of its state dict."""
        pairs = torchvision_names(self.spec).items()
        return {
            (ours if self.naming == "ours" else theirs): (ours if naming == "ours" else theirs)
            for ours, theirs in pairs
        }

    def shapes(self) -> dict[str, Shape]:
        """What the network's tensors have to be, under the names of the file's naming."""
        state = build_on_meta(lambda: build(self.spec)).state_dict()
        names = torchvision_names(self.spec)
        return {name if self.naming == "ours" else names[name]: tuple(tensor.shape) for name, tensor in state.items()}


def detect_architecture(tensors: Mapping[str, Tensor]) -> DetectedArchitecture:
    """Find the network: its block and repeats from the names, its widths, stem, channels and classes from the shapes.

    What the shapes do not show is as in torchvision's networks: the stride stands in the bottleneck's 3×3.

    Args:
        tensors: by name, without prefixes.

    Raises:
        ResnetCliError: neither we nor torchvision name the tensors of a residual network so.
    """
    naming: Naming | None = (
        "ours" if "head.conv.weight" in tensors else "torchvision" if "conv1.weight" in tensors else None
    )
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if naming == "ours":
        shapes = _translated(shapes)
    repeat = _repeat(shapes)
    if naming is None or repeat is None:
        known = ", ".join(printable(name[:60]) for name in list(tensors)[:3])
        raise ResnetCliError(
            f"these are not the weights of a ResNet under {' or '.join(NAMINGS.values())}: it has {known}, …",
            "give those of a network with the names of resnet-cli or of torchvision's family",
        )
    block = _block(shapes)
    groups, width = _groups(shapes) if block == "bottleneck" else (1, _WIDTH)
    stem = shapes["conv1.weight"]
    head = shapes.get("fc.bias") or shapes.get("fc.weight")
    return DetectedArchitecture(
        replace(
            _named(block, repeat, groups, width),
            stem="cifar" if stem[2:] == (3, 3) else "imagenet",
            in_channels=_within(stem[1] if len(stem) == 4 else 3, MOST_CHANNELS),
            num_classes=_within(head[0] if head else 0, MOST_CLASSES),
        ),
        naming,
    )


def _translated(shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """Our names as torchvision's; those that we do not have are left out."""
    block: Block = "bottleneck" if any(".Bottleneck" in name for name in shapes) else "basic"
    found = {}
    for name, shape in shapes.items():
        try:
            found[to_torchvision(name, block)] = shape
        except ResnetCliError:
            continue
    return found


def _repeat(shapes: Mapping[str, Shape]) -> tuple[int, int, int, int] | None:
    """Blocks in each stage; None where a stage has none, or more than a network could have."""
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


def _within(value: int, most: int) -> int:
    """A figure from a file that a network can have; a wrong one then shows as a shape that does not fit."""
    return min(max(value, 1), most)


def _named(block: Block, repeat: tuple[int, int, int, int], groups: int, width: int) -> ModelSpec:
    """The member of the family, or another network of its kind under a name that says how it is made."""
    kin = [one for one in FAMILY.values() if (one.block, one.groups, one.width_per_group) == (block, groups, width)]
    for spec in kin:
        if spec.repeat == repeat:
            return spec
    blocks = ",".join(map(str, repeat))
    if kin:
        return ModelSpec(f"{kin[0].name} with repeat {blocks}", block, repeat, groups, width)
    name = f"{block} {blocks}, groups={groups}, width_per_group={width}"
    return ModelSpec(name, block, repeat, groups, width)
