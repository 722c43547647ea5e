"""TF32 is on in the calls alone, and says where it was on before."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.measure.models.inputs.model_inputs import Arguments
from resnet_cli.measure.optimizations.tf32 import build
from resnet_cli.measure.optimizations.variant import UnavailableError
from tests.helpers.fake_clock import SimulatedBackend


def precisions(conv: str = "tf32", matmul: str = "none") -> tuple[Any, Any]:
    return SimpleNamespace(fp32_precision=conv), SimpleNamespace(fp32_precision=matmul)


def seen(parts: tuple[Any, Any]) -> tuple[str, str]:
    return parts[0].fp32_precision, parts[1].fp32_precision


class Watching(nn.Module):
    """Notes which precisions its forward finds."""

    def __init__(self, parts: tuple[Any, Any]) -> None:
        super().__init__()
        self.parts: list[Any] = list(parts)
        self.precisions: list[tuple[str, str]] = []
        self.fails = False

    def forward(self, x: Tensor) -> Tensor:
        self.precisions.append((self.parts[0].fp32_precision, self.parts[1].fp32_precision))
        if self.fails:
            raise RuntimeError("no kernel")
        return x


def test_tf32_is_on_in_the_call_alone() -> None:
    parts = precisions()
    net = Watching(parts)
    inputs = Arguments((torch.zeros(1, 3, 4, 4),), {})
    variant = build(net, inputs, SimulatedBackend(capability=(9, 0), fp32_settings=parts))
    variant.call()
    assert net.precisions == [("tf32", "tf32")]
    assert seen(parts) == ("tf32", "none")
    assert variant.remark == "already on for convolutions in plain eager"
    net.fails = True
    with pytest.raises(RuntimeError):
        variant.call()
    assert seen(parts) == ("tf32", "none")


@pytest.mark.parametrize(
    ("parts", "capability", "reason"),
    [
        (precisions("tf32", "tf32"), (9, 0), "already on for convolutions and matrix products"),
        (precisions(), (7, 5), "needs compute capability 8.0, and this GPU has 7.5"),
    ],
)
def test_tf32_that_cannot_be_turned_on(parts: tuple[Any, Any], capability: tuple[int, int], reason: str) -> None:
    with pytest.raises(UnavailableError) as caught:
        build(
            nn.Identity(),
            Arguments((torch.zeros(1),), {}),
            SimulatedBackend(capability=capability, fp32_settings=parts),
        )
    assert str(caught.value) == reason
