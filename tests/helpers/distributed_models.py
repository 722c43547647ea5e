"""Networks that end their process on rank 1, in the middle of a run."""

from __future__ import annotations

import os

from torch import Tensor, nn


class Mortal(nn.Module):
    """A network that on rank 1 does not survive its fourth forward.

    The first is that of the calibration, so that it ends in the middle of a step that the others wait for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.forwards = 0

    def forward(self, x: Tensor) -> Tensor:
        self.forwards += 1
        if os.environ["RANK"] == "1" and self.forwards > 3:
            self.end()
        features: Tensor = self.norm(self.conv(x))
        return features.mean((2, 3))

    def end(self) -> None:
        os._exit(7)


class Raising(Mortal):
    def end(self) -> None:
        raise ValueError("the weather is bad\nand will stay so")
