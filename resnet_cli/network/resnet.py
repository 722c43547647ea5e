"""The residual network, from the block up; read it top to bottom.

He et al. 2015, "Deep Residual Learning for Image Recognition" (arXiv 1512.03385), and its heirs: ResNeXt (Xie
et al. 2016, arXiv 1611.05431) groups the bottleneck's 3×3, Wide ResNet (Zagoruyko and Komodakis 2016, arXiv
1605.07146) widens it.

Shapes are (n, channels, height, width); ni and no are the channels in and out. A block adds what it learns to
what it is given: an identity block to its input, a skip block to a 1×1 projection of its input.

The attribute names are the keys of every checkpoint (`l1.block.ResSkip.skip_conv1.weight`): never change one.
"""

# Calling a torch module returns Any:
# mypy: no-warn-return-any

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any, ClassVar

from torch import Tensor, nn

from resnet_cli.network.architectures import STEMS, Block, Initialization, ModelSpec, Stem, resolve
from resnet_cli.network.initialization import initialize


def conv(ni: int, no: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution that keeps the size at stride 1; without bias, since batch norm follows and has one."""
    return nn.Conv2d(ni, no, kernel, stride, padding=kernel // 2, groups=groups, bias=False)


class ResIdentity(nn.Module):
    """The basic block: (n, ni, h, w) → (n, ni, h, w)."""

    key: ClassVar[str] = "ResIdentity"  # its name in a checkpoint, which a subclass inherits
    expansion: ClassVar[int] = 1  # channels out per channel of the 3×3

    def __init__(self, ni: int) -> None:
        super().__init__()
        self.conv1 = conv(ni, ni, 3)
        self.bn1 = nn.BatchNorm2d(ni)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv(ni, ni, 3)
        self.bn2 = nn.BatchNorm2d(ni)

    def forward(self, x: Tensor) -> Tensor:
        """F(x) + x."""
        out = self.relu(self.bn1(self.conv1(x)))  # (n, ni, h, w)
        out = self.bn2(self.conv2(out))  #          (n, ni, h, w)
        out += x
        return self.relu(out)


class ResSkip(nn.Module):
    """The basic block that opens a stage: (n, ni, h, w) → (n, no, h/stride, w/stride)."""

    key: ClassVar[str] = "ResSkip"

    def __init__(self, ni: int, no: int, stride: int = 2) -> None:
        super().__init__()
        self.conv1 = conv(ni, no, 3, stride)
        self.bn1 = nn.BatchNorm2d(no)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv(no, no, 3)
        self.bn2 = nn.BatchNorm2d(no)
        self.skip_conv1 = conv(ni, no, 1, stride)
        self.skip_bn1 = nn.BatchNorm2d(no)

    def forward(self, x: Tensor) -> Tensor:
        """F(x) + projection(x); sizes are those of stride 2."""
        out = self.relu(self.bn1(self.conv1(x)))  # (n, no, h/2, w/2)
        out = self.bn2(self.conv2(out))  #          (n, no, h/2, w/2)
        out += self.skip_bn1(self.skip_conv1(x))
        return self.relu(out)


class BottleneckIdentity(nn.Module):
    """The bottleneck: (n, ni, h, w) → (n, ni, h, w), its 3×3 on a quarter of the channels."""

    key: ClassVar[str] = "BottleneckIdentity"
    expansion: ClassVar[int] = 4

    def __init__(self, ni: int, groups: int = 1, width_per_group: int = 64) -> None:
        super().__init__()
        width = ni // 4 * width_per_group // 64 * groups  # a quarter of ni in a plain ResNet
        self.conv1 = conv(ni, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, 3, groups=groups)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = conv(width, ni, 1)
        self.bn3 = nn.BatchNorm2d(ni)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """F(x) + x."""
        out = self.relu(self.bn1(self.conv1(x)))  #   (n, width, h, w)
        out = self.relu(self.bn2(self.conv2(out)))  # (n, width, h, w)
        out = self.conv3(out)  #                      (n, ni, h, w); on a line of its own: the 3×3's output
        out = self.bn3(out)  #                        is gone before bn3 wants room, where memory peaks
        out += x
        return self.relu(out)


class BottleneckSkip(nn.Module):
    """The bottleneck that opens a stage: (n, ni, h, w) → (n, no, h/stride, w/stride).

    The paper strides in the first 1×1 and so never reads three quarters of its input (v1, `stride_in_1x1`);
    torchvision and this file stride in the 3×3 (v1.5): a little more work, a little more accurate.
    """

    key: ClassVar[str] = "BottleneckSkip"

    def __init__(
        self,
        ni: int,
        no: int,
        stride: int = 2,
        *,
        groups: int = 1,
        width_per_group: int = 64,
        stride_in_1x1: bool = False,
    ) -> None:
        super().__init__()
        width = no // 4 * width_per_group // 64 * groups  # a quarter of no in a plain ResNet
        first, second = (stride, 1) if stride_in_1x1 else (1, stride)
        self.conv1 = conv(ni, width, 1, first)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, 3, second, groups)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = conv(width, no, 1)
        self.bn3 = nn.BatchNorm2d(no)
        self.relu = nn.ReLU(inplace=True)
        self.skip_conv1 = conv(ni, no, 1, stride)
        self.skip_bn1 = nn.BatchNorm2d(no)

    def forward(self, x: Tensor) -> Tensor:
        """F(x) + projection(x); sizes are those of stride 2."""
        out = self.relu(self.bn1(self.conv1(x)))  #   (n, width, h, w)
        out = self.relu(self.bn2(self.conv2(out)))  # (n, width, h/2, w/2)
        out = self.conv3(out)  #                      (n, no, h/2, w/2)
        out = self.bn3(out)
        out += self.skip_bn1(self.skip_conv1(x))
        return self.relu(out)


class NIdentityBlocks(nn.Module):
    """A stage that keeps its shape: (n, ni, h, w) → (n, ni, h, w)."""

    def __init__(self, ni: int, repeat: int = 2, identity: Callable[[int], nn.Module] = ResIdentity) -> None:
        super().__init__()
        self.block = nn.Sequential(OrderedDict(identities(ni, repeat, identity)))

    def forward(self, x: Tensor) -> Tensor:
        """Block after block."""
        return self.block(x)


class SkipAndNIdentityBlocks(nn.Module):
    """A stage that opens with a skip block: (n, ni, h, w) → (n, no, h/stride, w/stride).

    The skip block is one of the `repeat`: repeat=2 is ResSkip and ResIdentity0.
    """

    def __init__(
        self,
        ni: int,
        no: int,
        repeat: int = 2,
        stride: int = 2,
        *,
        skip: Callable[[int, int, int], nn.Module] = ResSkip,
        identity: Callable[[int], nn.Module] = ResIdentity,
    ) -> None:
        super().__init__()
        first = skip(ni, no, stride)
        self.block = nn.Sequential(OrderedDict([(key(first), first), *identities(no, repeat - 1, identity)]))

    def forward(self, x: Tensor) -> Tensor:
        """Block after block."""
        return self.block(x)


def identities(ni: int, repeat: int, identity: Callable[[int], nn.Module]) -> Iterator[tuple[str, nn.Module]]:
    """ResIdentity0, ResIdentity1, …"""
    for number in range(repeat):
        block = identity(ni)
        yield f"{key(block)}{number}", block


def key(block: nn.Module) -> str:
    """A block's name in a checkpoint."""
    return str(getattr(block, "key", type(block).__name__))


class ResNetHead(nn.Module):
    """The stem: (n, ni, h, w) → (n, no, h/4, w/4), or (n, no, h, w) for the small images of CIFAR."""

    def __init__(self, ni: int, no: int, stem: Stem = "imagenet") -> None:
        super().__init__()
        if stem not in STEMS:
            raise ValueError(f"stem is one of {', '.join(STEMS)}, not {stem!r}")
        large = stem == "imagenet"
        self.conv = conv(ni, no, 7, stride=2) if large else conv(ni, no, 3)
        self.bn = nn.BatchNorm2d(no)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1) if large else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Image to features; sizes are those of the imagenet stem."""
        x = self.relu(self.bn(self.conv(x)))  # (n, no, h/2, w/2)
        return self.maxpool(x)  #               (n, no, h/4, w/4)


class ResNetTail(nn.Module):
    """The classifier: (n, ni, h, w) → (n, no)."""

    def __init__(self, ni: int, no: int) -> None:
        super().__init__()
        self.avg = nn.AdaptiveAvgPool2d(1)
        self.lin = nn.Linear(ni, no)

    def forward(self, x: Tensor) -> Tensor:
        """Features to logits."""
        x = self.avg(x).flatten(1)  # (n, ni)
        return self.lin(x)  #         (n, no)


Pair = tuple[type[nn.Module], type[nn.Module]]  # an identity block, a skip block
BLOCKS: dict[Block, Pair] = {
    "basic": (ResIdentity, ResSkip),
    "bottleneck": (BottleneckIdentity, BottleneckSkip),
}


class ResNet(nn.Module):
    """Images (n, ni, h, w) → logits (n, no); `ResNet(3, 1000, [2, 2, 2, 2])` is ResNet-18.

    Args:
        ni: channels of the image.
        no: classes.
        repeat: blocks in each of the four stages.
        block: "basic", "bottleneck", or your own pair of classes: an identity block made from (ni) and a skip
            block made from (ni, no, stride); a pair that subclasses the bottleneck also gets its options.

    The other options are those of `architectures.ModelSpec`.

    Raises:
        ValueError: an argument is out of its range or means nothing to the block.
    """

    def __init__(
        self,
        ni: int,
        no: int,
        repeat: Sequence[int],
        *,
        block: Block | Pair = "basic",
        groups: int = 1,
        width_per_group: int = 64,
        stem: Stem = "imagenet",
        initialization: Initialization = "pytorch",
        zero_init_residual: bool = False,
        stride_in_1x1: bool = False,
    ) -> None:
        super().__init__()
        if len(repeat) != 4 or min(repeat) < 1:
            raise ValueError(f"repeat is four stages of one block or more, not {list(repeat)}")
        if min(ni, no, groups, width_per_group) < 1:
            raise ValueError("ni, no, groups and width_per_group start at 1")
        if isinstance(block, str) and block not in BLOCKS:
            raise ValueError(f"block is one of {', '.join(BLOCKS)}, not {block!r}")
        identity, skip = BLOCKS[block] if isinstance(block, str) else block
        e = getattr(identity, "expansion", 1)
        options: dict[str, Any] = {}
        version: dict[str, Any] = {}
        if issubclass(identity, BottleneckIdentity):
            options = {"groups": groups, "width_per_group": width_per_group}
            version = {"stride_in_1x1": stride_in_1x1}
        elif (groups, width_per_group, stride_in_1x1) != (1, 64, False):
            raise ValueError("groups, width_per_group and stride_in_1x1 belong to the bottleneck")
        identity_of, skip_of = partial(identity, **options), partial(skip, **options, **version)
        stage = partial(SkipAndNIdentityBlocks, skip=skip_of, identity=identity_of)
        self.head = ResNetHead(ni, 64, stem)
        # Only blocks that keep the head's 64 channels can do without a projection in the first stage.
        self.l0 = NIdentityBlocks(64, repeat[0], identity_of) if e == 1 else stage(64, 64 * e, repeat[0], 1)
        self.l1 = stage(64 * e, 128 * e, repeat[1])
        self.l2 = stage(128 * e, 256 * e, repeat[2])
        self.l3 = stage(256 * e, 512 * e, repeat[3])
        self.tail = ResNetTail(512 * e, no)
        initialize(self, initialization, zero_init_residual)

    def forward(self, x: Tensor) -> Tensor:
        """Images to logits; e is 1 for the basic block and 4 for the bottleneck."""
        x = self.head(x)  #      (n, 64, h/4, w/4)
        x = self.l0(x)  #        (n, 64e, h/4, w/4)
        x = self.l1(x)  #        (n, 128e, h/8, w/8)
        x = self.l2(x)  #        (n, 256e, h/16, w/16)
        x = self.l3(x)  #        (n, 512e, h/32, w/32)
        return self.tail(x)  #   (n, no)


def build(model: ModelSpec | str | int, **overrides: Any) -> ResNet:
    """The network of a spec, a name or a depth: `build("resnet50")`, `build(50, num_classes=10)`.

    Args:
        model: which one.
        overrides: fields of `ModelSpec` to set differently.

    Raises:
        ResnetCliError: no architecture has that name or depth.
        ValueError: an override is out of its range.
    """
    if not isinstance(model, ModelSpec):
        model = resolve(arch=model) if isinstance(model, str) else resolve(depth=model)
    options = asdict(replace(model, **overrides))
    del options["name"]
    return ResNet(options.pop("in_channels"), options.pop("num_classes"), **options)
