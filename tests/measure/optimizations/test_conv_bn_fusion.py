# What a network of any kind calls returns Any:
# mypy: no-warn-return-any
"""Which norms are folded in networks that are less regular than ours, and which are left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from resnet_cli.measure.optimizations.conv_bn_fusion import fuse_conv_bn
from resnet_cli.measure.optimizations.variant import UnavailableError

IMAGE = torch.linspace(-1, 1, 2 * 3 * 6 * 6).reshape(2, 3, 6, 6)


class Net(nn.Module):
    """A convolution, what stands in the place of its norm, and a convolution with the same weight."""

    def __init__(self, norm: nn.Module, join: Callable[[Net, Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.norm, self.join = nn.Conv2d(3, 3, 3, padding=1), norm, join
        self.tied = nn.Conv2d(3, 3, 3, padding=1)
        self.tied.weight = self.conv.weight
        self.offset = Offset()

    def forward(self, x: Tensor) -> Tensor:
        return self.join(self, x)


class Offset(nn.Module):
    """Takes no input; its tensor is neither a parameter nor a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.value = torch.ones(1)

    def forward(self) -> Tensor:
        return 2 * self.value


def trained(norm: nn.Module) -> nn.Module:
    """A norm that does something."""
    with torch.no_grad():
        for number, tensor in enumerate((*norm.parameters(), *norm.buffers()), 1):
            if tensor.is_floating_point():
                tensor.copy_(torch.linspace(0.5, number, tensor.numel()))
    return norm


def plain(net: Net, x: Tensor) -> Tensor:
    out: Tensor = net.norm(net.conv(x))
    return out


def assert_left(net: nn.Module) -> None:
    truth = net(IMAGE)
    with pytest.raises(UnavailableError, match="no convolution's output goes to a batch norm alone"):
        fuse_conv_bn(net)
    assert torch.equal(net(IMAGE), truth)


def assert_folded(net: nn.Module, pairs: int) -> None:
    truth = net(IMAGE)
    assert fuse_conv_bn(net) == pairs
    torch.testing.assert_close(net(IMAGE), truth, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "norm", [nn.ReLU(), nn.GroupNorm(1, 3), nn.InstanceNorm2d(3, affine=True, track_running_stats=True)]
)
def test_only_batch_norms_themselves_are_folded(norm: nn.Module) -> None:
    assert_left(Net(trained(norm), plain).eval())


def test_a_convolution_in_train_mode_is_left() -> None:
    net = Net(trained(nn.BatchNorm2d(3)), plain).eval()
    net.conv.train()
    assert_left(net)


def test_a_weight_that_is_read_under_the_name_of_another_convolution_is_left() -> None:
    def reading(net: Net, x: Tensor) -> Tensor:
        out: Tensor = net.norm(net.tied(x)) * net.tied.weight.sum()
        return out

    assert_left(Net(trained(nn.BatchNorm2d(3)), reading).eval())


def test_of_two_convolutions_with_one_weight_each_may_be_folded() -> None:
    def both(net: Net, x: Tensor) -> Tensor:
        return torch.add(plain(net, x), net.tied(x))

    net = Net(trained(nn.BatchNorm2d(3)), both).eval()
    assert_folded(net, 1)
    assert net.tied.weight is not net.conv.weight


def test_modules_without_an_input_and_tensors_of_no_kind_do_not_matter() -> None:
    def offset(net: Net, x: Tensor) -> Tensor:
        out: Tensor = plain(net, x) + net.offset() + net.offset.value
        return out

    net = Net(trained(nn.BatchNorm2d(3)), offset).eval()
    net.again = nn.Sequential(net.offset)  # a second name for it
    assert_folded(net, 1)


class Pair(nn.Module):
    """A convolution and a norm, joined by a function."""

    def __init__(self, join: Callable[[Any, Tensor], Tensor], **norm: Any) -> None:
        super().__init__()
        self.conv, self.norm, self.join = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, **norm), join
        self.other = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.join(self, x)


def paired(net: Any, x: Tensor) -> Tensor:
    return net.other(net.norm(net.conv(x)))


def output_twice(net: Any, x: Tensor) -> Tensor:
    out = net.conv(x)
    return net.norm(out) + out


def conv_twice(net: Any, x: Tensor) -> Tensor:
    return net.norm(net.conv(x)) + net.conv(x)


def norm_twice(net: Any, x: Tensor) -> Tensor:
    return net.norm(net.other(net.norm(net.conv(x))))


def between(net: Any, x: Tensor) -> Tensor:
    return net.norm(net.conv(x).relu())


def weight_read(net: Any, x: Tensor) -> Tensor:
    return net.norm(net.conv(x)) * net.conv.weight.abs().sum()


def norm_read(net: Any, x: Tensor) -> Tensor:
    return net.norm(net.conv(x)) + net.norm.bias.sum()


def hooked(net: Pair) -> None:
    net.conv.register_forward_hook(lambda module, args, output: output * 2)


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


def parametrised(net: Pair) -> None:
    parametrize.register_parametrization(net.conv, "weight", Doubled())


def as_it_is(net: Pair) -> None: ...


def randomised(net: Pair) -> Pair:
    torch.manual_seed(0)
    for tensor in (net.norm.weight, net.norm.bias, net.norm.running_mean, net.norm.running_var):
        if tensor is not None:
            nn.init.uniform_(tensor, 0.5, 1.5)
    return net.eval()


@pytest.mark.parametrize(
    ("join", "change", "options"),
    [
        (output_twice, as_it_is, {}),
        (conv_twice, as_it_is, {}),
        (norm_twice, as_it_is, {}),
        (between, as_it_is, {}),
        (weight_read, as_it_is, {}),
        (norm_read, as_it_is, {}),
        (paired, hooked, {}),
        (paired, parametrised, {}),
        (paired, as_it_is, {"track_running_stats": False}),
    ],
)
def test_nothing_is_folded_that_may_not_be(
    join: Callable[[Any, Tensor], Tensor], change: Callable[[Pair], None], options: dict[str, Any]
) -> None:
    net = randomised(Pair(join, **options))
    change(net)
    image = torch.randn(2, 3, 8, 8)
    truth = net(image)
    with pytest.raises(UnavailableError, match="batch norm"):
        fuse_conv_bn(net)
    assert torch.equal(net(image), truth)


def test_a_norm_in_train_mode_is_left() -> None:
    net = randomised(Pair(paired))
    net.norm.train()
    with pytest.raises(UnavailableError):
        fuse_conv_bn(net)


@pytest.mark.parametrize("options", [{}, {"affine": False}])
def test_a_pair_in_the_middle_of_anything_is_folded(options: dict[str, Any]) -> None:
    net = randomised(Pair(paired, **options))
    image = torch.randn(2, 3, 8, 8)
    truth = net(image)
    assert fuse_conv_bn(net) == 1
    assert isinstance(net.norm, nn.Identity)
    torch.testing.assert_close(net(image), truth, rtol=1e-5, atol=1e-5)


def test_a_module_with_two_names_is_replaced_under_both() -> None:
    net = randomised(Pair(lambda net, x: net.again(net.conv(x))))
    net.again = net.norm
    image = torch.randn(2, 3, 8, 8)
    truth = net(image)
    assert fuse_conv_bn(net) == 1
    assert net.again is net.norm
    torch.testing.assert_close(net(image), truth, rtol=1e-5, atol=1e-5)


def test_a_network_that_goes_by_its_data_says_why_it_is_not_folded() -> None:
    net = randomised(Pair(lambda net, x: paired(net, x) if x.sum() > 0 else net.conv(x)))
    with pytest.raises(UnavailableError, match=r"cannot be traced: .+") as caught:
        fuse_conv_bn(net)
    assert "\n" not in str(caught.value)
