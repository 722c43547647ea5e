"""How the weights start, before any training or checkpoint."""

from __future__ import annotations

import math

from torch import nn

from resnet_cli.network.architectures import INITIALIZATIONS, Initialization


def initialize(network: nn.Module, initialization: Initialization = "pytorch", zero_residual: bool = False) -> None:
    """Set the initial weights of a freshly built network.

    Args:
        network: as its constructors leave it, in PyTorch's own initialization.
        initialization: "pytorch" leaves the weights as they are. "torchvision" draws those of convolutions from
            N(0, 2 / fan_out), "kaiming-uniform" those of convolutions and linear layers from
            U(-sqrt(3 / (2 fan_in)), sqrt(3 / (2 fan_in))), Kaiming's rule for a leaky ReLU of slope sqrt(3), and
            biases from U(-1 / sqrt(fan_in), 1 / sqrt(fan_in)) (He et al. 2015, arXiv 1502.01852).
        zero_residual: set gamma of each block's last batch norm to 0, so that the block adds nothing at first
            (Goyal et al. 2017, arXiv 1706.02677).

    Raises:
        ValueError: there is no initialization of that name.
    """
    if initialization not in INITIALIZATIONS:
        raise ValueError(f"initialization is one of {', '.join(INITIALIZATIONS)}, not {initialization!r}")
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and initialization == "torchvision":
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Conv2d | nn.Linear) and initialization == "kaiming-uniform":
            nn.init.kaiming_uniform_(module.weight, a=math.sqrt(3))
            if module.bias is not None:
                bound = 1 / math.sqrt(module.weight[0].numel())
                nn.init.uniform_(module.bias, -bound, bound)
        if zero_residual and isinstance(last := last_batch_norm(module), nn.BatchNorm2d):
            nn.init.zeros_(last.weight)


def last_batch_norm(block: nn.Module) -> nn.Module | None:
    """The batch norm before a block's addition: bn3 of a bottleneck, bn2 of a basic block, None elsewhere."""
    return getattr(block, "bn3", None) or getattr(block, "bn2", None)
