"""ResNets written in other words that are torchvision's networks all the same.

One scratch network with a style: how things are called, in which order they are registered and run, and what a
convolution, a batch norm and the head are made of. Every leaf remembers its counterpart, so that `truth` knows which
tensor is which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

# By the number of weighted layers, as He et al. 2015 count: basic blocks below 17, bottlenecks there.
BLOCKS = {8: (2, 1), 12: (2, 1, 1, 1), 17: (1, 2, 1, 1)}
TENSORS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
OWN_TENSORS = ("gamma", "beta", "moving_mean", "moving_var", "batches")


@dataclass(frozen=True)
class Style:
    """How a network is written; the defaults are torchvision's ways."""

    conv: str = "module"  # "functional"
    norm: str = "module"  # "functional", "own"
    head: str = "linear"  # "conv"
    pool: str = "adaptive"  # "mean"
    blocks: str = "sequential"  # "list", "flat"
    relu: str = "module"  # "out-of-place", "functional", "method", "method_"
    add: str = "iadd"  # "add", "radd", "function"
    shortcut_first: bool = False
    unused: bool = False
    names: Mapping[str, str] = field(default_factory=dict)
    order: Callable[[str], object] = lambda name: 0  # of registration inside a block and inside the network
    second_first: bool = False  # conv2 and bn2 before conv1 and bn1, in one block alone


class FunctionalConv(nn.Module):
    """F.conv2d over a weight in an nn.ParameterDict."""

    def __init__(self, ni: int, no: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.tensors = nn.ParameterDict({"kernel": nn.Parameter(torch.randn(no, ni, kernel, kernel) * 0.1)})
        self.stride, self.padding = stride, kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.tensors["kernel"], None, self.stride, self.padding)


class OwnNorm(nn.Module):
    """Batch norm by hand or by function, its tensors under names of its own."""

    moving_mean: Tensor
    moving_var: Tensor

    def __init__(self, channels: int, by_hand: bool) -> None:
        super().__init__()
        self.register_buffer("moving_var", torch.ones(channels))
        self.register_buffer("moving_mean", torch.zeros(channels))
        self.beta = nn.Parameter(torch.zeros(channels))
        self.gamma = nn.Parameter(torch.ones(channels))
        self.by_hand = by_hand

    def forward(self, x: Tensor) -> Tensor:
        if not self.by_hand:
            statistics = self.moving_mean, self.moving_var
            return functional.batch_norm(x, *statistics, self.gamma, self.beta, self.training)
        mean, var = self.moving_mean, self.moving_var
        if self.training:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
            count = x.numel() / x.shape[1]
            with torch.no_grad():
                self.moving_mean.mul_(0.9).add_(0.1 * mean)
                self.moving_var.mul_(0.9).add_(0.1 * var * count / (count - 1))
        x = (x - mean[:, None, None]) / torch.sqrt(var[:, None, None] + 1e-5)
        return x * self.gamma[:, None, None] + self.beta[:, None, None]


def make_conv(style: Style, ni: int, no: int, kernel: int, stride: int = 1) -> nn.Module:
    if style.conv == "functional":
        return FunctionalConv(ni, no, kernel, stride)
    return nn.Conv2d(ni, no, kernel, stride, kernel // 2, bias=False)


def make_norm(style: Style, channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels) if style.norm == "module" else OwnNorm(channels, style.norm == "own")


class Written(nn.Module):
    """Holds its parts under the names and in the order of a style."""

    def __init__(self, style: Style) -> None:
        super().__init__()
        self.style = style
        self.relu = nn.ReLU(inplace=style.relu == "module")

    def hold(self, parts: Mapping[str, nn.Module], second_first: bool = False) -> None:
        order: Callable[[str], Any] = self.style.order
        names = sorted(parts, key=(lambda name: name[-1] != "2") if second_first else order)
        for name in names:
            self.add_module(self.style.names.get(name, name), parts[name])

    def part(self, name: str) -> nn.Module:
        return self.get_submodule(self.style.names.get(name, name))

    def run(self, name: str, x: Tensor) -> Tensor:
        out: Tensor = self.part(name)(x)
        return out

    def active(self, x: Tensor) -> Tensor:
        match self.style.relu:
            case "functional":
                return functional.relu(x)
            case "method":
                return x.relu()
            case "method_":
                return x.relu_()
        out: Tensor = self.relu(x)
        return out


class Residual(Written):
    """A block, basic or bottleneck."""

    def __init__(self, style: Style, theirs: str, ni: int, width: int, stride: int, bottleneck: bool) -> None:
        super().__init__(style)
        no = width * 4 if bottleneck else width
        first = (ni, width, 1, 1) if bottleneck else (ni, width, 3, stride)
        second = (width, width, 3, stride if bottleneck else 1)
        parts: dict[str, nn.Module] = {}
        convs = [first, second, (width, no, 1, 1)][: 3 if bottleneck else 2]
        for number, sizes in enumerate(convs, 1):
            parts[f"conv{number}"] = remembering(f"{theirs}.conv{number}", make_conv(style, *sizes))
            parts[f"bn{number}"] = remembering(f"{theirs}.bn{number}", make_norm(style, sizes[1]))
        self.layers = len(convs)
        self.projects = stride > 1 or ni != no
        if self.projects:
            parts["skip_conv"] = remembering(f"{theirs}.downsample.0", make_conv(style, ni, no, 1, stride))
            parts["skip_bn"] = remembering(f"{theirs}.downsample.1", make_norm(style, no))
        self.hold(parts, style.second_first and theirs == "layer1.1")
        if style.unused:
            self.spare = nn.Sequential(nn.Conv2d(ni, no, 3, bias=False), nn.BatchNorm2d(no))

    def shortcut(self, x: Tensor) -> Tensor:
        return self.run("skip_bn", self.run("skip_conv", x)) if self.projects else x

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.shortcut(x) if self.style.shortcut_first else None
        out = x
        for number in range(1, self.layers + 1):
            out = self.run(f"bn{number}", self.run(f"conv{number}", out))
            if number < self.layers:
                out = self.active(out)
        shortcut = self.shortcut(x) if shortcut is None else shortcut
        match self.style.add:
            case "iadd":
                out += shortcut
            case "add":
                out = out + shortcut
            case "radd":
                out = shortcut + out
            case "function":
                out = torch.add(shortcut, out)
        return self.active(out)


class Scratch(Written):
    """A ResNet of a style."""

    def __init__(self, style: Style, depth: int) -> None:
        super().__init__(style)
        bottleneck = depth >= 17
        parts: dict[str, nn.Module] = {
            "stem_conv": remembering("conv1", make_conv(style, 3, 64, 7, 2)),
            "stem_bn": remembering("bn1", make_norm(style, 64)),
        }
        ni, blocks = 64, []
        for stage, repeat in enumerate(BLOCKS[depth]):
            row = []
            for number in range(repeat):
                theirs, stride = f"layer{stage + 1}.{number}", 2 if stage and not number else 1
                row.append(Residual(style, theirs, ni, 64 << stage, stride, bottleneck))
                ni = (64 << stage) * (4 if bottleneck else 1)
            blocks.append(row)
            if style.blocks == "sequential":
                parts[f"stage{stage}"] = nn.Sequential(*row)
        if style.blocks == "list":
            parts["blocks"] = nn.ModuleList(block for row in blocks for block in row)
        parts["fc"] = remembering("fc", nn.Linear(ni, 1000) if style.head == "linear" else nn.Conv2d(ni, 1000, 1))
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.stages = len(blocks)
        self.hold(parts)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.active(self.run("stem_bn", self.run("stem_conv", x))))
        if self.style.blocks == "list":
            for block in self.part("blocks").children():
                x = block(x)
        else:
            for stage in range(self.stages):
                x = self.run(f"stage{stage}", x)
        if self.style.head == "conv":
            return self.run("fc", functional.adaptive_avg_pool2d(x, 1)).flatten(1)
        x = x.mean((2, 3)) if self.style.pool == "mean" else functional.adaptive_avg_pool2d(x, 1).flatten(1)
        return self.run("fc", x)


def flat(style: Style, depth: int) -> nn.Module:
    """One nn.Sequential from the image to the logits."""
    source = Scratch(replace(style, blocks="list"), depth)
    blocks = source.part("blocks").children()
    stem = source.part("stem_conv"), source.part("stem_bn"), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), source.part("fc"))


def written(style: Style, depth: int) -> nn.Module:
    return flat(style, depth) if style.blocks == "flat" else Scratch(style, depth)


def timm_network(depth: int) -> nn.Module:
    import timm

    name = "resnet50" if depth >= 17 else "resnet18"
    network: nn.Module = timm.create_model(name, layers=list(BLOCKS[depth]))
    return network


def remembering(theirs: str, module: nn.Module) -> nn.Module:
    """A leaf that knows its name in torchvision's network."""
    module.theirs = theirs  # type: ignore[assignment]  # a plain attribute
    return module


def _last(*late: str) -> Callable[[str], object]:
    return lambda name: any(part in name for part in late)


def _first(*early: str) -> Callable[[str], object]:
    return lambda name: not any(part in name for part in early)


RENAMED = {
    "conv1": "reduce", "bn1": "n_a", "conv2": "spatial", "bn2": "n_b", "conv3": "expand", "bn3": "n_c",
    "skip_conv": "project", "skip_bn": "project_norm", "stem_conv": "entry", "stem_bn": "entry_norm", "fc": "logits",
    "stage0": "alpha", "stage1": "beta", "stage2": "gamma", "stage3": "delta",
}  # fmt: skip

STYLES = {
    "plain": Style(),
    "renamed": Style(names=RENAMED),
    "stages-registered-backwards": Style(order=lambda name: -int(name[-1]) if name.startswith("stage") else 0),
    "head-and-skips-registered-first": Style(order=_first("fc", "skip")),
    "second-conv-registered-first": Style(second_first=True),
    "shortcut-first": Style(shortcut_first=True),
    "functional": Style(conv="functional", norm="functional", relu="functional", add="function", pool="mean"),
    "own-norm": Style(norm="own"),
    "out-of-place": Style(relu="out-of-place", add="add"),
    "methods": Style(relu="method", add="radd"),
    "in-place-method": Style(relu="method_"),
    "unused-modules": Style(unused=True),
    "conv-head": Style(head="conv"),
    "module-list": Style(blocks="list"),
    "flat": Style(blocks="flat"),
    "everything": Style(
        conv="functional", norm="own", head="conv", blocks="list", relu="method", add="radd", shortcut_first=True,
        unused=True, names=RENAMED, order=_last("conv1", "stem"),
    ),
}  # fmt: skip

HARMLESS: dict[str, Callable[[int], nn.Module]] = {
    **{name: partial(written, style) for name, style in STYLES.items()},
    "timm": timm_network,
}


def truth(name: str, depth: int) -> dict[str, str]:
    """Name in the harmless network → name in torchvision's; what no forward reads has none."""
    with torch.device("meta"):
        network = HARMLESS[name](depth)
    if name == "timm":
        return {key: key for key in network.state_dict()}
    return dict(_pairs(network))


def _pairs(network: nn.Module) -> Iterator[tuple[str, str]]:
    own = {**dict(zip(OWN_TENSORS, TENSORS, strict=True)), "tensors.kernel": "weight"}
    for path, module in network.named_modules():
        if hasattr(module, "theirs"):
            for key in module.state_dict():
                yield f"{path}.{key}", f"{module.theirs}.{own.get(key, key)}"


def randomise(network: nn.Module, seed: int = 0) -> nn.Module:
    """Batch norms that are no identities: at their defaults they hide most faults."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.weight, 0.5, 1.0), (module.bias, -0.3, 0.3),
                (module.running_mean, -0.3, 0.3), (module.running_var, 0.5, 2.0),
            ):  # fmt: skip
                assert tensor is not None
                tensor.data.uniform_(low, high, generator=generator)
    return network


def load(network: nn.Module, pairs: Mapping[str, str], reference: nn.Module) -> nn.Module:
    """The reference's tensors in a network; a head that is a convolution has two more axes."""
    theirs = reference.state_dict()
    for name, tensor in network.state_dict().items():
        if name in pairs:
            tensor.copy_(theirs[pairs[name]].reshape(tensor.shape))
    return network


def narrow(network: nn.Module, factor: int = 8) -> nn.Module:
    """The same network with an eighth of the channels; only counts that are multiples of 64 change.

    Time and memory of a wide network tell nothing about how it is written.
    """

    def size(channels: int) -> int:
        return channels // factor if channels % 64 == 0 else channels

    for module in network.modules():
        for attribute in ("in_channels", "out_channels", "num_features", "in_features", "out_features"):
            if isinstance(channels := getattr(module, attribute, None), int):
                setattr(module, attribute, size(channels))
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = nn.Parameter(_cut(parameter.detach(), size))
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = _cut(buffer, size)
    return network


def _cut(tensor: Tensor, size: Callable[[int], int]) -> Tensor:
    return tensor[tuple(slice(size(length)) for length in tensor.shape)].clone()
