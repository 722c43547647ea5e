"""Inspect, verify and benchmark ResNets: layer summaries, FLOPs, parity with torchvision, latency.

    from resnet_cli import ResNet, build

    network = ResNet(3, 1000, [2, 2, 2, 2])  # ResNet-18
    network = build("wide_resnet50_2", num_classes=10)

The names below are imported on first use, so that `import resnet_cli` alone does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resnet_cli.errors import ResnetCliError
    from resnet_cli.network.architectures import ARCHITECTURES, ModelSpec, resolve
    from resnet_cli.network.resnet import (
        BottleneckIdentity,
        BottleneckSkip,
        NIdentityBlocks,
        ResIdentity,
        ResNet,
        ResNetHead,
        ResNetTail,
        ResSkip,
        SkipAndNIdentityBlocks,
        build,
    )

__version__ = "0.2.0.dev0"

__all__ = [
    "ARCHITECTURES",
    "BottleneckIdentity",
    "BottleneckSkip",
    "ModelSpec",
    "NIdentityBlocks",
    "ResIdentity",
    "ResNet",
    "ResNetHead",
    "ResNetTail",
    "ResSkip",
    "ResnetCliError",
    "SkipAndNIdentityBlocks",
    "build",
    "resolve",
]

_LIGHT = {
    "ARCHITECTURES": "network.architectures",
    "ModelSpec": "network.architectures",
    "resolve": "network.architectures",
    "ResnetCliError": "errors",
}


def __getattr__(name: str) -> object:
    """Import a public name on first use (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LIGHT.get(name, 'network.resnet')}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
