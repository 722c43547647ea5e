"""A ResNet of four blocks with 8 channels, and two ResNet-18s, the way a user would hand them to `--model`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from resnet_cli.network.resnet import ResNet


class Block(nn.Module):
    """Two 3×3 convolutions and a shortcut, which is projected where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Features (n, c, h, w) to features."""
        y = self.relu(self.bn1(self.conv1(x)))
        output: Tensor = self.relu(self.bn2(self.conv2(y)) + self.shortcut(x))
        return output


class TinyResNet(nn.Module):
    """For images of 32×32."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.stage1 = nn.Sequential(Block(8, 8, 1), Block(8, 8, 1))
        self.stage2 = nn.Sequential(Block(8, 16, 2), Block(16, 16, 1))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(16, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images (n, 3, h, w) to logits (n, classes)."""
        x = self.stage2(self.stage1(self.stem(x)))
        logits: Tensor = self.classifier(self.pool(x).flatten(1))
        return logits


def changed() -> nn.Module:
    """One block more, and one that strides late."""
    model = TinyResNet()
    model.stage1.append(Block(8, 8, 1))
    late = Block(8, 16, 2)
    late.conv1, late.conv2 = nn.Conv2d(8, 16, 3, 1, 1, bias=False), nn.Conv2d(16, 16, 3, 2, 1, bias=False)
    model.stage2[0] = late
    return model


def with_mistakes() -> nn.Module:
    """ResNet-18 with another epsilon in one batch norm, and a GELU in place of a ReLU."""
    model = ResNet(3, 1000, (2, 2, 2, 2))
    modules = dict(model.named_modules())
    norm = modules["l2.block.ResSkip.bn1"]
    assert isinstance(norm, nn.BatchNorm2d)
    norm.eps = 1e-3
    modules["l3.block.ResIdentity0"].relu = nn.GELU()
    return model


class Maximum(nn.Module):
    """A ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        return torch.maximum(x, torch.zeros(()))


class Product(nn.Module):
    """A linear layer, its weight stored as inputs × outputs."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Features (n, inputs) to (n, outputs)."""
        return x @ self.weight + self.bias


def written_otherwise() -> nn.Module:
    """ResNet-18 with the ReLUs of its blocks as maxima, and the classifier as a product of matrices."""
    model = ResNet(3, 1000, (2, 2, 2, 2))
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.ReLU) and "block" in name:
            model.set_submodule(name, Maximum())
        elif isinstance(module, nn.Linear):
            model.set_submodule(name, Product(module.in_features, module.out_features))
    return model
