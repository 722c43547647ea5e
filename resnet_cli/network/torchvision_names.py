"""Names of parameters and buffers in this package's ResNet and in torchvision's.

    head.conv, head.bn          conv1, bn1
    l1.block.ResSkip            layer2.0, whose skip_conv1 and skip_bn1 are downsample.0 and downsample.1
    l1.block.ResIdentity0       layer2.1: numbered from 0 here, from behind the skip block there
    tail.lin                    fc

The first stage of a basic network has no skip block, so there ResIdentity0 is layer1.0.
"""

from __future__ import annotations

import re

from resnet_cli.errors import ResnetCliError
from resnet_cli.network.architectures import Block, ModelSpec

_BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
_PREFIX: dict[Block, str] = {"basic": "Res", "bottleneck": "Bottleneck"}
_CONVS: dict[Block, int] = {"basic": 2, "bottleneck": 3}


def _tensors(layer: str, torchvision_layer: str, parts: tuple[str, ...]) -> dict[str, str]:
    return {f"{layer}.{part}": f"{torchvision_layer}.{part}" for part in parts}


_ENDS = {
    **_tensors("head.conv", "conv1", ("weight",)),
    **_tensors("head.bn", "bn1", _BATCH_NORM),
    **_tensors("tail.lin", "fc", ("weight", "bias")),
}
_PROJECTION = {
    **_tensors("skip_conv1", "downsample.0", ("weight",)),
    **_tensors("skip_bn1", "downsample.1", _BATCH_NORM),
}


def to_torchvision(name: str, block: Block) -> str:
    """Torchvision's name of a parameter: "l1.block.ResSkip.conv1.weight" → "layer2.0.conv1.weight".

    Raises:
        ResnetCliError: no network of that block has such a name.
    """
    if name in _ENDS:
        return _ENDS[name]
    prefix = _PREFIX[block]
    match = re.fullmatch(rf"l([0-3])\.block\.{prefix}(?:(Skip)|Identity(0|[1-9][0-9]*))\.(.+)", name)
    if match is not None:
        stage, skip, number, inside = int(match[1]), match[2] is not None, match[3], match[4]
        names = _inside(block, skip)
        if inside in names and (_has_skip(stage, block) or not skip):
            index = 0 if skip else int(number) + _has_skip(stage, block)
            return f"layer{stage + 1}.{index}.{names[inside]}"
    raise ResnetCliError(f"{name} is not a parameter of a ResNet with {block} blocks")


def torchvision_names(spec: ModelSpec) -> dict[str, str]:
    """Name → torchvision's name of every parameter and buffer of a network, in the order of its state dict."""
    names = [name for name in _ENDS if name.startswith("head")]
    for stage, repeat in enumerate(spec.repeat):
        skips = _has_skip(stage, spec.block)
        kinds = ["Skip"] * skips + [f"Identity{number}" for number in range(repeat - skips)]
        names += [
            f"l{stage}.block.{_PREFIX[spec.block]}{kind}.{inside}"
            for kind in kinds
            for inside in _inside(spec.block, kind == "Skip")
        ]
    names += [name for name in _ENDS if name.startswith("tail")]
    return {name: to_torchvision(name, spec.block) for name in names}


def _has_skip(stage: int, block: Block) -> bool:
    """Whether a stage opens with a projection: all but the first of a basic network do."""
    return stage > 0 or block == "bottleneck"


def _inside(block: Block, skip: bool) -> dict[str, str]:
    """Names within one block → torchvision's."""
    names: dict[str, str] = {}
    for number in range(1, _CONVS[block] + 1):
        names |= _tensors(f"conv{number}", f"conv{number}", ("weight",))
        names |= _tensors(f"bn{number}", f"bn{number}", _BATCH_NORM)
    return names | _PROJECTION if skip else names
