"""Networks that fail on rank 1, in the middle of a run."""

from __future__ import annotations

import os

from torch import Tensor, nn


class Small(nn.Module):
    """A convolution, a batch norm, the mean over all pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.norm(self.conv(x))
        return features.mean((2, 3))


class Mortal(Small):
    """Ends its process on rank 1 in the fourth forward.

    The first is that of the calibration, so that it ends within a round whose end the other process waits for.
    """

    forwards = 0

    def forward(self, x: Tensor) -> Tensor:
        self.forwards += 1
        if os.environ["RANK"] == "1" and self.forwards > 3:
            os._exit(7)
        return super().forward(x)


class Raising(Small):
    """Raises on rank 1 from a batch size of 5 on."""

    def forward(self, x: Tensor) -> Tensor:
        if os.environ["RANK"] == "1" and len(x) >= 5:
            raise ValueError("the weather is bad\nand will stay so")
        return super().forward(x)
