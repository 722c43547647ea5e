"""Training in half precision: float32 weights, autocast, and for float16 a scaled loss (see "Automatic Mixed Precision"
in torch's documentation). A network whose weights are half precision themselves loses the small steps of an optimizer.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor

TRAIN = "train"
AUTOCAST = "autocast"  # last word of such a precision in results
HALVES = (torch.float16, torch.bfloat16)


def is_mixed(mode: str, dtype: torch.dtype | None) -> bool:
    """Whether a workload trains in mixed precision: in train mode where the user asks for half precision.

    Args:
        mode: "inference" or "train".
        dtype: that the user asks for; None: the network's own, which is left as it is.
    """
    return mode == TRAIN and dtype in HALVES


def extra_bytes(trained_values: int, states: int) -> int:
    """Bytes of a training step in mixed precision beyond those of one in half precision throughout.

    Weights, gradients and what the optimizer keeps have 4 bytes in place of 2, and autocast keeps a copy of the weights
    with 2.

    Args:
        trained_values: numbers in the parameters that are trained.
        states: values that the optimizer keeps for each.
    """
    return (2 * (2 + states) + 2) * trained_values


class MixedPrecision:
    """What surrounds the forward, the backward pass and the optimizer of a training step.

    Args:
        device: where it runs.
        dtype: of products and convolutions, float16 or bfloat16; None: nothing surrounds them.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype | None) -> None:
        self._device, self._dtype = device, dtype
        self._scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)

    def forward(self) -> AbstractContextManager[object]:
        """The context of the forward and of the loss."""
        return torch.autocast(self._device.type, self._dtype, enabled=self._dtype is not None)

    def backward(self, loss: Tensor) -> None:
        """The backward pass. In float16 the loss is scaled, since small gradients would become zero."""
        scaled = self._scaler.scale(loss)
        scaled.backward()  # type: ignore[no-untyped-call]

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """A step of the optimizer; left out where a scaled gradient is not finite, and the scale is halved then."""
        self._scaler.step(optimizer)
        self._scaler.update()
