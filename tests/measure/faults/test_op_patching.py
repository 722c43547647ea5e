"""Operators of a network that calls functions: they get other options, other inputs, and other operands."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from resnet_cli.measure.faults import layers, wiring
from tests.measure.faults.test_layers import Plant, original
from tests.measure.parity.test_diagnosis import Block

IMAGE = torch.randn(2, 3, 18, 18, generator=torch.Generator().manual_seed(1))


class Functional(nn.Module):
    """The same small network, its stem and its classifier called as functions, by position or by keyword."""

    def __init__(self, *, keywords: bool) -> None:
        super().__init__()
        self.net, self.keywords = copy.deepcopy(original()), keywords

    def forward(self, x: Tensor) -> Tensor:
        net = self.net.get_submodule
        weight, last = self.net.get_parameter("conv.weight"), self.net.get_parameter("fc.weight")
        if self.keywords:
            x = functional.conv2d(input=x, weight=weight, padding=1)
            x = functional.relu(input=net("norm")(x))
            x = functional.max_pool2d(input=x, kernel_size=3, stride=2, padding=1)
        else:
            x = functional.conv2d(x, weight, None, 1, 1)
            x = functional.max_pool2d(functional.relu(net("norm")(x)), 3, 2, 1)
        for name in ("one", "two", "more0", "more1"):
            x = net(name)(x)
        x = x.mean((2, 3))
        if self.keywords:
            return functional.linear(input=x, weight=last, bias=self.net.get_parameter("fc.bias"))
        return functional.linear(x, last, self.net.get_parameter("fc.bias"))


@pytest.mark.parametrize("keywords", [False, True])
@pytest.mark.parametrize(
    "plant",
    [
        layers.stem_padding, layers.pool_padding, layers.ceil_mode,
        wiring.average_pool_stem, wiring.missing_stem_relu, wiring.input_normalization,
        wiring.gelu,
    ],
)  # fmt: skip
def test_a_function_gets_the_fault_that_a_module_would(plant: Plant, keywords: bool) -> None:
    faulty, expected = plant(Functional(keywords=keywords)).eval(), plant(copy.deepcopy(original())).eval()
    with torch.no_grad():
        assert torch.allclose(faulty(IMAGE), expected(IMAGE), rtol=1e-4)
        assert not torch.allclose(faulty(IMAGE), copy.deepcopy(original()).eval()(IMAGE), rtol=1e-4)


@pytest.mark.parametrize("keywords", [False, True])
def test_a_function_gets_another_input(keywords: bool) -> None:
    faulty, sound = wiring.dropout(Functional(keywords=keywords)), Functional(keywords=keywords)
    with torch.no_grad():
        assert torch.equal(faulty.eval()(IMAGE), sound.eval()(IMAGE))
        assert not torch.equal(faulty.train()(IMAGE), sound.train()(IMAGE))


def reversed_blocks() -> nn.Module:
    """The same sums, the shortcut named first."""
    model = copy.deepcopy(original())
    for module in model.modules():
        if isinstance(module, Block):
            module.join = lambda learned, x: x + learned
    return model


@pytest.mark.parametrize("plant", [wiring.dropped_identity, wiring.scaled_identity, wiring.relu_before_add])
def test_the_shortcut_may_be_either_operand_of_the_sum(plant: Plant) -> None:
    faulty, expected = plant(reversed_blocks()).eval(), plant(copy.deepcopy(original())).eval()
    with torch.no_grad():
        assert torch.allclose(faulty(IMAGE), expected(IMAGE), rtol=1e-4)
