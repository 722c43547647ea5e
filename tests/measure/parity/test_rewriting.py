"""Layers written in another way are judged by what they compute: equal ones are no differences, others stay one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.parity.compare import compare
from resnet_cli.measure.parity.config import ParityConfig
from resnet_cli.measure.parity.setup import ParityRun, prepare
from resnet_cli.results.compare import BITWISE, DIFFERENT, REWRITTEN, ROUNDING, CompareResult
from tests.helpers.models import make

Function = Callable[..., Any]
QUICK = ParityConfig(shape=(2, 3, 16, 16))


class Does(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


class Net(nn.Module):
    """A residual network of one block, any layer of which may be given."""

    def __init__(self, **layers: nn.Module) -> None:
        super().__init__()
        parts: dict[str, nn.Module] = {
            "conv": nn.Conv2d(3, 4, 3, 2, 1, bias=False), "norm": nn.BatchNorm2d(4), "relu": nn.ReLU(),
            "pool": nn.MaxPool2d(3, 2, 1), "inner": nn.Conv2d(4, 6, 3, 1, 1, bias=False), "inner_norm": nn.BatchNorm2d(6),
            "projection": nn.Conv2d(4, 6, 1, bias=False), "add": Sum(lambda a, b: a + b), "average": nn.AdaptiveAvgPool2d(1),
            "fc": nn.Linear(6, 5),
        }  # fmt: skip
        for name, layer in (parts | layers).items():
            self.add_module(name, layer)

    def run(self, names: str, *inputs: Tensor) -> Tensor:
        """Some layers, one behind the other."""
        first, *others = names.split()
        out: Tensor = self.get_submodule(first)(*inputs)
        for name in others:
            out = self.get_submodule(name)(out)
        return out

    def stem(self, x: Tensor) -> Tensor:
        return self.run("conv norm relu pool", x)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.run("add relu average", self.run("inner inner_norm", x), self.run("projection", x))
        return self.run("fc", x.flatten(1))


class Sum(Does):
    def forward(self, a: Tensor, b: Tensor) -> Any:  # type: ignore[override]
        return self.function(a, b)


class PoolsFirst(Net):
    def stem(self, x: Tensor) -> Tensor:
        return self.run("conv norm pool relu", x)


class Holds(Does):
    """A function of the input and of parameters of these shapes."""

    def __init__(self, function: Function, *shapes: tuple[int, ...]) -> None:
        super().__init__(function)
        self.tensors = nn.ParameterList(torch.randn(shape) for shape in shapes)

    def forward(self, x: Tensor) -> Any:
        return self.function(x, *self.tensors)


class OwnNorm(nn.Module):
    """A batch norm with parameters of four axes, and its statistics kept in a module of their own."""

    def __init__(self, channels: int, momentum: float = 0.1) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.factor = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.state = nn.Module()
        self.state.register_buffer("middle", torch.zeros(1, channels, 1, 1))
        self.state.register_buffer("spread", torch.ones(1, channels, 1, 1))
        self.momentum = momentum

    def forward(self, x: Tensor) -> Tensor:
        middle, spread = self.state.get_buffer("middle"), self.state.get_buffer("spread")
        if self.training:
            count = x.numel() // x.shape[1]
            mean = x.mean((0, 2, 3), keepdim=True)
            variance = ((x - mean) ** 2).mean((0, 2, 3), keepdim=True)
            with torch.no_grad():
                middle.lerp_(mean, self.momentum)
                spread.lerp_(variance * count / (count - 1), self.momentum)
            return (x - mean) * (variance + 1e-5).rsqrt() * self.factor + self.offset
        return (x - middle) * (spread + 1e-5).rsqrt() * self.factor + self.offset


def unfolded(x: Tensor, weight: Tensor, stride: int = 2) -> Tensor:
    """A 3×3 convolution with padding 1 as a product of matrices."""
    side = (x.shape[2] - 1) // stride + 1
    product = weight.flatten(1) @ F.unfold(x, 3, padding=1, stride=stride)
    return product.view(*product.shape[:2], side, -1)


def patches(x: Tensor) -> Tensor:
    """A 3×3 max pool with stride 2 and padding 1 over unfolded patches."""
    columns = F.unfold(x, 3, padding=1, stride=2).view(len(x), x.shape[1], 9, -1)
    return columns.amax(2).view(len(x), x.shape[1], (x.shape[2] + 1) // 2, -1)


def relu(function: Function) -> dict[str, nn.Module]:
    return {"relu": Does(function)}


def fc(function: Function, *shapes: tuple[int, ...]) -> dict[str, nn.Module]:
    return {"fc": Holds(function, *shapes)}


SAME: dict[str, dict[str, nn.Module]] = {
    "ReLU as a maximum": relu(lambda x: torch.maximum(x, torch.tensor(0.0))),
    "ReLU as a maximum with zeros": relu(lambda x: torch.max(x, torch.zeros_like(x))),
    "ReLU as a choice": relu(lambda x: torch.where(x > 0, x, 0.0)),
    "ReLU as a mask": relu(lambda x: x * (x > 0)),
    "ReLU as a filled mask": relu(lambda x: x.masked_fill(x < 0, 0)),
    "ReLU as half of a sum": relu(lambda x: (x + x.abs()) / 2),
    "ReLU of no slope": relu(lambda x: F.leaky_relu(x, 0.0)),
    "average pool of the image": {"average": Does(lambda x: F.avg_pool2d(x, x.shape[2:]))},
    "average pool of a square image": {"average": Does(lambda x: F.avg_pool2d(x, x.size(3)))},
    "average of one side, then of the other": {"average": Does(lambda x: x.mean(3, keepdim=True).mean(2))},
    "average as a sum": {"average": Does(lambda x: x.sum((2, 3)) / x[0, 0].numel())},
    "product of matrices": fc(lambda x, w, b: x @ w.T + b, (5, 6), (5,)),
    "product with a transposed weight": fc(lambda x, w, b: x @ w + b, (6, 5), (5,)),
    "addmm with a transposed weight": fc(lambda x, w, b: torch.addmm(b, x, w), (6, 5), (5,)),
    "einsum": fc(lambda x, w, b: torch.einsum("ni,oi->no", x, w) + b, (5, 6), (5,)),
    "sum of products": fc(lambda x, w, b: (x[:, None] * w).sum(2) + b, (5, 6), (5,)),
    "padding by itself": {"conv": Holds(lambda x, w: F.conv2d(F.pad(x, (1,) * 4), w, stride=2), (4, 3, 3, 3))},
    "a padding layer": {"inner": nn.Sequential(nn.ZeroPad2d(1), nn.Conv2d(4, 6, 3, bias=False))},
    "a padded max pool": {"pool": Does(lambda x: F.max_pool2d(F.pad(x, (1,) * 4), 3, 2))},
    "max pool of patches": {"pool": Does(patches)},
    "unfolded convolution": {"conv": Holds(unfolded, (4, 27))},
    "axes as elsewhere": {"conv": Holds(lambda x, w: F.conv2d(x, w.permute(3, 2, 0, 1), None, 2, 1), (3, 3, 3, 4))},
    "addition of a list": {"add": Sum(lambda a, b: sum([a, b]))},
    "addition of a stack": {"add": Sum(lambda a, b: torch.stack([a, b]).sum(0))},
    "subtraction of a negative": {"add": Sum(lambda a, b: a - (-b))},
    "a factor of one": {"add": Sum(lambda a, b: a * 1.0 + b)},
    "two ReLUs in a row": relu(lambda x: F.relu(F.relu(x))),
    "a norm by hand": {"norm": OwnNorm(4), "inner_norm": OwnNorm(6)},
}  # fmt: skip

OTHER: dict[str, dict[str, nn.Module]] = {
    "a slope too small to see": relu(lambda x: F.leaky_relu(x, 1e-6)),
    "a bound too high to reach": relu(lambda x: F.hardtanh(x, 0, 100.0)),
    "another function": relu(F.gelu),
    "padding on one side": {"pool": Does(lambda x: F.max_pool2d(F.pad(x, (0, 2, 0, 2)), 3, 2))},
    "padding by something": {"pool": Does(lambda x: F.max_pool2d(F.pad(x, (1,) * 4, value=0.1), 3, 2))},
    "a factor that is almost one": {"add": Sum(lambda a, b: a * 0.999999 + b)},
    "a sum of absolute values": {"add": Sum(lambda a, b: a.abs() + b)},
    "a term in the divisor": {"average": Does(lambda x: x.sum((2, 3)) / (x[0, 0].numel() + 1e-4))},
    "a gradient that is cut": relu(lambda x: torch.maximum(x.detach(), torch.tensor(0.0))),
    "no bias": fc(lambda x, w: x @ w.T, (5, 6)),
    "one bias more": fc(lambda x, w, b, c: x @ w.T + b + c, (5, 6), (5,), (5,)),
}  # fmt: skip


def prepared(layers: dict[str, nn.Module]) -> ParityRun:
    run = prepare(Net(**layers), Net(), QUICK, names=("net", "torchvision net"))
    make(run, "parameters", "settings")
    return run


@pytest.mark.parametrize("name", SAME)
def test_what_computes_the_same_is_no_difference(name: str) -> None:
    run = prepared(SAME[name])
    assert not run.findings, [each.text for each in run.findings]
    assert not any(run.unmapped)
    assert run.rewritings or run.layouts
    assert DIFFERENT not in {check.verdict for check in run.checks}


@pytest.mark.parametrize("name", OTHER)
def test_what_computes_something_else_stays_a_difference(name: str) -> None:
    run = prepared(OTHER[name])
    assert run.findings
    assert not run.rewritings
    assert run.checks[1].verdict == DIFFERENT


def compared(model: nn.Module) -> CompareResult:
    return compare(ModelUnderTest(model, "net"), ModelUnderTest(Net(), "torchvision net"), QUICK)


def test_a_network_that_is_written_otherwise_has_a_verdict_of_its_own() -> None:
    result = compared(Net(**SAME["ReLU as a choice"], **SAME["product with a transposed weight"]))
    assert (result.verdict, result.same) == (REWRITTEN, True)
    assert {check.key: check.verdict for check in result.checks if check.verdict not in (BITWISE, ROUNDING)} == {
        "parameters": REWRITTEN, "settings": REWRITTEN,
    }  # fmt: skip
    assert [(each.model_path, each.model_ops, each.reference_ops) for each in result.rewritings] == [
        ("relu", ("gt", "where"), ("relu",)), ("relu", ("gt", "where"), ("relu",)), ("fc.tensors.1", ("linear", "add"), ("linear",)),
    ]  # fmt: skip
    assert result.mapping.reordered == (("fc.tensors.0", (1, 0)),)
    assert not any(op.is_first_difference for op in result.aligned_ops)
    assert not result.diagnoses


def test_what_differs_is_named_beside_what_does_not() -> None:
    result = compared(Net(**SAME["ReLU as a mask"], norm=nn.BatchNorm2d(4, eps=1e-3)))
    assert [each.subject for each in result.differences] == ["batch_norm.eps"]
    assert len(result.rewritings) == 2
    assert (result.verdict, result.same) == (DIFFERENT, False)


def test_operators_may_come_in_another_order() -> None:
    result = compared(PoolsFirst())
    assert (result.verdict, result.same) == (REWRITTEN, True)


def test_a_weight_in_another_order_is_loaded_either_way() -> None:
    model, reference = Net(**SAME["axes as elsewhere"]), Net()
    weight = model.get_parameter("conv.tensors.0").detach().clone()
    run = prepare(model, reference, ParityConfig(shape=QUICK.shape, transfer="to reference"), names=("net", "other"))
    assert torch.equal(reference.get_parameter("conv.weight"), weight.permute(3, 2, 0, 1))
    assert run.layouts == {"conv.tensors.0": (2, 3, 1, 0)}


def test_a_gradient_of_a_weight_in_another_order_is_compared() -> None:
    result = compared(Net(**SAME["axes as elsewhere"]))
    assert {check.key: check.verdict for check in result.checks}["gradients"] in (BITWISE, ROUNDING)


def test_infinite_padding_of_a_max_pool() -> None:
    assert not prepared({"pool": Does(lambda x: F.max_pool2d(F.pad(x, (1,) * 4, value=-math.inf), 3, 2))}).findings
