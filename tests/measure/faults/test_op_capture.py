"""A forward as Python writes it: operators by kind, their arguments by name, and whose output each one reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from resnet_cli.measure.faults.op_capture import IMAGE_SIZE, FunctionCall, NotApplicableError, capture_ops


class Calling(nn.Module):
    """A forward by function of the module itself, which holds a few things to call."""

    def __init__(self, call: Callable[[Any, Tensor], Any], channels: int = 3) -> None:
        super().__init__()
        self.call = call
        self.conv = nn.Conv2d(channels, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4, eps=1e-3, momentum=0.2)
        self.lin = nn.Linear(IMAGE_SIZE, 5)
        self.offset = nn.Parameter(torch.ones(1, 4, IMAGE_SIZE, IMAGE_SIZE))

    def forward(self, x: Tensor) -> Any:
        return self.call(self, x)


def ops_of(call: Callable[[Any, Tensor], Any]) -> list[FunctionCall]:
    image, *ops = capture_ops(Calling(call))
    assert (image.index, image.kind, image.shape) == (0, "input", (1, 3, IMAGE_SIZE, IMAGE_SIZE))
    return ops


KINDS: dict[str, tuple[Callable[[Any, Tensor], Any], str]] = {
    "module": (lambda net, x: net.conv(x), "conv"),
    "function": (lambda net, x: F.conv2d(x, net.conv.weight), "conv"),
    "of torch": (lambda net, x: torch.conv2d(x, net.conv.weight), "conv"),
    "F.relu": (lambda net, x: F.relu(x), "relu"),
    "torch.relu": (lambda net, x: torch.relu(x), "relu"),
    "method": (lambda net, x: x.relu(), "relu"),
    "in place": (lambda net, x: x.relu_(), "relu"),
    "plus": (lambda net, x: x + x, "add"),
    "plus in place": (lambda net, x: x.add_(x), "add"),
    "torch.add": (lambda net, x: torch.add(x, x), "add"),
    "plus a number": (lambda net, x: x + 1, "other"),
    "plus a vector": (lambda net, x: x + x.mean((2, 3), keepdim=True), "other"),
    "plus of rows": (lambda net, x: (lambda rows: rows + rows)(x.flatten(1)), "other"),
    "plus a parameter": (lambda net, x: net.conv(x) + net.offset, "other"),
    "pool": (lambda net, x: F.max_pool2d(x, 2), "pool"),
    "average": (lambda net, x: F.avg_pool2d(x, 2), "other"),
    "linear": (lambda net, x: net.lin(x), "linear"),
}


@pytest.mark.parametrize("case", KINDS)
def test_what_a_call_is_to_a_residual_network(case: str) -> None:
    call, kind = KINDS[case]
    assert ops_of(call)[-1].kind == kind


def test_inputs_of_each_operator() -> None:
    def call(net: Any, x: Tensor) -> Tensor:
        torch.ones(3).relu()  # nothing of the image's
        y = net.norm(net.conv(x))
        z = torch.cat([y, y.relu()], 1)
        return z[:, :4] + y  # type: ignore[no-any-return]

    ops = ops_of(call)
    shown = [(op.index, op.kind, op.number, op.inputs, op.owner) for op in ops]
    assert shown == [
        (1, "relu", 0, (), ""),
        (2, "conv", 0, (0,), "conv"),
        (3, "norm", 0, (2,), "norm"),
        (4, "relu", 1, (3,), ""),
        (5, "other", 0, (3, 4), ""),
        (6, "other", 1, (5,), ""),
        (7, "add", 0, (6, 3), ""),
    ]
    assert [op.key for op in ops[:2]] == [("relu", 0), ("conv", 0)]


def test_a_change_in_place_is_what_is_read_from_then_on() -> None:
    def call(net: Any, x: Tensor) -> Tensor:
        y = net.conv(x)
        y.relu_()
        return y.sigmoid()  # type: ignore[no-any-return]

    assert [(op.kind, op.inputs) for op in ops_of(call)] == [("conv", (0,)), ("relu", (1,)), ("other", (2,))]


def test_an_operator_knows_its_parameter() -> None:
    conv, norm, linear = ops_of(lambda net, x: net.lin(net.norm(net.conv(x))))
    assert (conv.weight, conv.weight_shape, conv.kernel) == ("conv.weight", (4, 3, 3, 3), 3)
    assert (norm.weight, norm.weight_shape) == ("norm.weight", (4,))
    assert (linear.weight, linear.weight_shape, linear.shape) == (
        *("lin.weight", (5, IMAGE_SIZE)),
        (1, 4, IMAGE_SIZE, 5),
    )
    (product,) = ops_of(lambda net, x: x * 2)
    assert (product.weight, product.weight_shape) == (None, ())
    (linear,) = ops_of(lambda net, x: F.linear(input=x, weight=net.lin.weight))
    assert linear.weight == "lin.weight"


def vector() -> Tensor:
    return torch.ones(3)


@pytest.mark.parametrize("channels", [3, 1, 6])
def test_the_image_has_the_channels_that_the_network_takes(channels: int) -> None:
    image, conv = capture_ops(Calling(lambda net, x: net.conv(x), channels))
    assert (image.shape[1], conv.inputs, conv.number) == (channels, (0,), 0)


def test_a_network_that_takes_one_channel_only_by_its_own_word_gets_one() -> None:
    class Grey(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if x.shape[1] != 1:
                raise ValueError("grey images only")
            return x.relu()

    assert capture_ops(Grey())[0].shape[1] == 1


def test_the_first_reason_why_a_network_does_not_run_is_reported() -> None:
    class Picky(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise ValueError(f"not with {x.shape[1]}\nand more")

    with pytest.raises(NotApplicableError, match=r"does not run on 64 pixels: not with 3$"):
        capture_ops(Picky())


@pytest.mark.parametrize("fails", [True, False])
def test_the_network_is_left_as_it_was(fails: bool) -> None:
    def call(net: Any, x: Tensor) -> Tensor:
        assert not any(module.training for module in net.modules())
        assert not torch.is_grad_enabled()
        if fails:
            raise ValueError("no")
        return net.norm(net.conv(x))  # type: ignore[no-any-return]

    net = Calling(call)
    net.norm.eval()
    if fails:
        with pytest.raises(NotApplicableError):
            capture_ops(net)
    else:
        capture_ops(net)
    assert [name for name, module in net.named_modules() if not module.training] == ["norm"]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
