"""Networks as people really write them, compared in full: whether they are the same, and the one sentence that says why.

The exit code of the command is 0 where the result says `same`, else 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.parity.compare import compare
from resnet_cli.measure.parity.config import ParityConfig
from resnet_cli.results.compare import BITWISE, DIFFERENT, REWRITTEN, ROUNDING, CompareResult
from tests.measure.parity.test_diagnosis import IDENTITY, Block, basic, changed, conv, every, joined, network
from tests.measure.parity.test_diagnosis_variants import Half, Kept, PreActivated

pytestmark = pytest.mark.usefixtures("one_thread")
Make = Callable[[], nn.Module]


class Wrapped(nn.Module):
    """A network with another forward."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def part(self, x: Tensor, *names: str) -> Tensor:
        """Some layers, one after another."""
        for name in names:
            x = self.inner.get_submodule(name)(x)
        return x


class Casting(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return self.part(self.part(x, "conv", "norm").float(), "relu", "pool", "one", "two", "average", "flat", "fc")


class Squeezing(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return self.part(self.part(x, "conv", "norm", "relu", "pool", "one", "two", "average").squeeze(), "fc")


class Cutting(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        x = self.part(x, "conv", "norm", "relu", "pool", "one").detach()
        return self.part(x, "two", "average", "flat", "fc")


class Features(Wrapped):
    """Logits, and the features that they are made of; or the features first."""

    def __init__(self, inner: nn.Module, *, first: bool) -> None:
        super().__init__(inner)
        self.first = first

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.part(x, "conv", "norm", "relu", "pool", "one", "two")
        logits = self.part(features, "average", "flat", "fc")
        return (features, logits) if self.first else (logits, features)


class Unflattened(Wrapped):
    """Logits with two axes of length 1."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.part(x, "conv", "norm", "relu", "pool", "one", "two", "average", "flat", "fc")
        return x[:, :, None, None]


def half_cut() -> nn.Module:
    """A block whose shortcut passes no gradient on."""
    return joined("two", lambda learned, x: learned + x.detach())


class Recomputing(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        x = self.part(x, "conv", "norm", "relu", "pool")
        x = checkpoint(self.inner.get_submodule("one"), x, use_reentrant=False)
        return self.part(x, "two", "average", "flat", "fc")


class ReturnsNothing(Wrapped):
    """Sets its mode without returning itself, as networks do that freeze their norms."""

    def train(self, mode: bool = True) -> None:  # type: ignore[override]
        self.inner.train(mode)

    def forward(self, x: Tensor) -> Tensor:
        return self.part(x, "conv", "norm", "relu", "pool", "one", "two", "average", "flat", "fc")


class Deep(Wrapped):
    """Drops whole blocks at random while it is trained."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.part(x, "conv", "norm", "relu", "pool", "one")
        if not self.training or torch.rand(1).item() > 0.5:
            x = self.part(x, "two")
        return self.part(x, "average", "flat", "fc")


class Assigning(nn.Module):
    """A batch norm whose running statistics are assigned anew in each forward."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        mean, var = self.running_mean, self.running_var
        if self.training:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
            count = x.numel() / x.shape[1]
            self.running_mean = 0.9 * self.running_mean + 0.1 * mean.detach()
            self.running_var = 0.9 * self.running_var + 0.1 * var.detach() * count / (count - 1)
        shape = 1, -1, 1, 1
        x = (x - mean.view(shape)) / torch.sqrt(var.view(shape) + 1e-5)
        return x * self.weight.view(shape) + self.bias.view(shape)


class Outside(Assigning):
    """Adds its eps to the standard deviation, not to the variance."""

    def forward(self, x: Tensor) -> Tensor:
        mean, var = self.running_mean, self.running_var
        if self.training:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
        shape = 1, -1, 1, 1
        x = (x - mean.view(shape)) / (torch.sqrt(var) + 1e-5).view(shape)
        return x * self.weight.view(shape) + self.bias.view(shape)


class OverChannels(nn.Module):
    """A layer norm over the channels of each place, by hand."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        mean, var = x.mean(1, keepdim=True), x.var(1, keepdim=True, correction=0)
        return (x - mean) / torch.sqrt(var + 1e-6) * self.weight[:, None, None] + self.bias[:, None, None]


class Gate(nn.Module):
    """Squeeze and excitation with an average pool of the map's size and 1×1 convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(channels, 2, 1), nn.Conv2d(2, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = functional.avg_pool2d(x, list(x.shape[2:]))
        return x * torch.sigmoid(self.up(torch.relu(self.down(gate))))


class Zeros(nn.Module):
    """Option A: every second pixel, and channels of zeros."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))


class Late(Block):
    """Adds what is behind the first ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        first, norm, relu, second, last = self.body.children()
        x = relu(norm(first(x)))
        added: Tensor = self.last(last(second(x)) + x)
        return added


class Split(nn.Module):
    """A convolution for each half of the channels, the second with what the first gives."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList([conv(4, 4), conv(4, 4)])

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, 1)
        first = self.convs[0](first)
        return torch.cat([first, self.convs[1](second + first)], 1)


class Blur(nn.Module):
    """A fixed depthwise filter that strides."""

    kernel: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("kernel", torch.full((channels, 1, 3, 3), 1 / 9))

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.kernel, stride=2, padding=1, groups=len(self.kernel))


def lazy() -> nn.Module:
    model = changed(conv=nn.LazyConv2d(4, 3, padding=1, bias=False), fc=nn.LazyLinear(5))
    model(torch.zeros(2, 3, 32, 32))
    return model


def of_norms(make: Callable[[int], nn.Module]) -> Make:
    return lambda: every(nn.BatchNorm2d, lambda norm: make(norm.num_features))  # type: ignore[arg-type]


def repeated() -> nn.Module:
    block = basic(8, 8)
    return network(None, *[block] * 2)


def one_norm_for_two() -> nn.Module:
    model = network()
    body = model.get_submodule("two.body")
    body.add_module("1", body.get_submodule("4"))
    return model


def without_last_relus() -> nn.Module:
    model = network(None, basic(8, 8))
    for path in ("one.last", "two.last", "more0.last"):
        model.set_submodule(path, IDENTITY)
    return model


def pooled_stride() -> nn.Module:
    model = changed(one__body__0=conv(4, 8))
    body = model.get_submodule("one.body")
    assert isinstance(body, nn.Sequential)
    body.insert(3, nn.AvgPool2d(2, 2, ceil_mode=True))
    return model


def pre_activated() -> nn.Module:
    blocks = [PreActivated(basic(4, 8, 2), 4), PreActivated(basic(8, 8), 8)]
    head = nn.Sequential(nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    return changed(norm=IDENTITY, relu=IDENTITY, one=blocks[0], two=blocks[1], average=head)


def projecting() -> nn.Module:
    return changed(two__skip=nn.Sequential(conv(8, 8, 1), nn.BatchNorm2d(8)))


def striding_elsewhere() -> nn.Module:
    return network(
        Block(basic(4, 8).body, nn.Sequential(conv(4, 8, 1), nn.BatchNorm2d(8))),
        basic(8, 8),
    )


def blurred() -> nn.Module:
    model = changed(one__skip__0=nn.Sequential(Blur(4), conv(4, 8, 1)), one__body__0=conv(4, 8))
    body = model.get_submodule("one.body")
    assert isinstance(body, nn.Sequential)
    body.insert(3, Blur(8))
    return model


def frozen() -> nn.Module:
    return network().requires_grad_(False)


def weight_normed() -> nn.Module:
    model = network()
    parametrizations.weight_norm(model.get_submodule("fc"))
    return model


def of_seven() -> nn.Module:
    return changed(conv=nn.Conv2d(3, 4, 7, 2, 3, bias=False))


def flat_head() -> nn.Module:
    return changed(average=IDENTITY, fc=nn.Linear(8 * 8 * 8, 5))


# Name → the network and the verdict.
SAME: dict[str, tuple[Make, str]] = {
    "statistics assigned anew": (of_norms(Assigning), ROUNDING),
    "lazy modules": (lazy, BITWISE),
    "train() that returns nothing": (lambda: ReturnsNothing(network()), BITWISE),
    "a compiled part": (lambda: changed(two__body=torch.jit.script(basic(8, 8).body)), BITWISE),
    "a cast to float32": (lambda: Casting(network()), BITWISE),
    "padding by itself": (
        lambda: changed(conv=nn.Sequential(nn.ZeroPad2d(1), nn.Conv2d(3, 4, 3, bias=False))), REWRITTEN,
    ),
    "two ReLUs in a row": (lambda: changed(two__last=nn.Sequential(nn.ReLU(), nn.ReLU())), REWRITTEN),
}  # fmt: skip

# Name → the network, the key of the diagnosis, what its sentence begins with, and the reference if it is a special one.
OTHER: dict[str, tuple[Any, ...]] = {
    "a pool of the whole map": (
        lambda: changed(average=nn.AvgPool2d(8)), "other-inputs", "the outputs differ only for other inputs: 97 × 161",
    ),
    "a classifier of all places": (flat_head, "head-of-one-size", "the classifier reads each of 8×8 places"),
    "[block] * n": (
        repeated, "shared-module", "more0.body is one module used 2 times; torchvision has more0.body and more1.body",
        lambda: network(None, basic(8, 8), basic(8, 8)),
    ),
    "one norm for two": (
        one_norm_for_two, "shared-module",
        "two.body.1 is one module used 2 times; torchvision has two.body.1 and two.body.4",
    ),
    "no ReLU behind additions": (
        without_last_relus, "missing-relu", "the ReLU behind the addition is missing in all 3 blocks",
        lambda: network(None, basic(8, 8)),
    ),
    "instance norms": (
        of_norms(lambda n: nn.InstanceNorm2d(n, affine=True)), "norm-instance_norm",
        "6 instance norms are used where torchvision has batch norm",
    ),
    "instance norm on half of the channels": (of_norms(Half), "split-norm", "6 norms are an instance norm on some"),
    "an average pool that strides": (
        pooled_stride, "pooled-stride", "the residual branch is average-pooled in one, where torchvision's one.body.0",
    ),
    "option A": (
        lambda: changed(one__skip=Zeros()), "padded-shortcut", "option A: the shortcut is padded with zeros in one;",
    ),
    "an eps outside of the root": (
        of_norms(Outside), "other-operators", "6 batch norms (norm, …) give something else than torchvision's on the same",
    ),
    "layer norm by hand": (
        of_norms(OverChannels), "norm-layer_norm", "6 layer norms are used where torchvision has batch norm",
    ),
    "statistics as attributes": (of_norms(Kept), "plain-statistics", "running statistics are plain attributes"),
    "a squeeze of one image": (
        lambda: Squeezing(network()), "other-inputs",
        "the outputs differ only for other inputs: batch size 1: the output has shape 5, torchvision's 1 × 5",
    ),
    "the stem for CIFAR": (
        lambda: changed(pool=IDENTITY), "cifar-stem", "this is the stem for CIFAR: conv is 3×3 with stride 1", of_seven,
    ),
    "stochastic depth": (lambda: Deep(network()), "random-path", "net draws its path at random in train mode"),
    "a gate of convolutions": (
        lambda: changed(two__body__4=nn.Sequential(nn.BatchNorm2d(8), Gate(8))), "squeeze-excite", "1 squeeze-and-excitation gate; torchvision has none",
    ),
    "a projection for the identity": (
        projecting, "projected-identity", "the shortcut is a projection in two; torchvision has the identity",
    ),
    "a shortcut that starts late": (
        lambda: changed(two=Late(basic(8, 8).body, IDENTITY)), "late-shortcut", "the shortcut starts behind two.body.2",
    ),
    "convolutions of halves": (
        lambda: changed(two__body__0=Split()), "split-convolutions", "2 convolutions on parts of the channels",
    ),
    "blur pooling": (blurred, "blur-pool", "2 strides are in depthwise convolutions of their own"),
    "a softmax at the end": (
        lambda: changed(fc=nn.Sequential(nn.Linear(8, 5), nn.Softmax(1))), "final-activation",
        "the network ends in softmax, which nn.CrossEntropyLoss applies too",
    ),
    "a graph that is cut": (
        lambda: Cutting(network()), "cut-gradients", "12 parameters get no gradient",
    ),
    "logits and features": (
        lambda: Features(network(), first=False), "other-outputs", "the model returns 2 tensors, torchvision 1 tensor",
    ),
    "features and logits": (
        lambda: Features(network(), first=True), "other-outputs", "the model returns 2 tensors, torchvision 1 tensor",
    ),
    "logits with more axes": (
        lambda: Unflattened(network()), "other-outputs", "the model returns 2×5×1×1, torchvision 2×5",
    ),
    "a shortcut that is cut": (half_cut, "other-gradients", "13 gradients differ although the outputs agree"),
    "activation checkpointing": (
        lambda: Recomputing(network()), "repeated-norms", "3 batch norms run 2 times in a training step",
    ),
    "frozen": (frozen, "frozen-parameter", "the same function; "),
    "weight normalization": (weight_normed, "computed-weights", "the weight of fc is computed by weight norm"),
    "traced in eval mode": (
        lambda: torch.jit.trace(network().eval(), torch.zeros(2, 3, 32, 32)),  # type: ignore[no-untyped-call]
        "frozen-norms", "6 batch norms use the running statistics in train mode too",
    ),
}  # fmt: skip


def compared(model: nn.Module, reference: nn.Module | None = None) -> CompareResult:
    config = ParityConfig(shape=(2, 3, 32, 32), keep=False)
    return compare(ModelUnderTest(model, "net"), ModelUnderTest(reference or network(), "torchvision net"), config)


@pytest.mark.parametrize("name", SAME)
def test_the_same_function_is_the_same_however_it_is_written(name: str) -> None:
    make, verdict = SAME[name]
    result = compared(make())
    assert (result.same, result.verdict) == (True, verdict)
    assert not result.differences
    assert not result.diagnoses


@pytest.mark.parametrize("name", OTHER)
def test_another_function_is_another_with_one_sentence(name: str) -> None:
    make, key, start, *reference = OTHER[name]
    result = compared(make(), *(each() for each in reference))
    assert (result.same, result.verdict) == (False, DIFFERENT)
    (diagnosis,) = result.diagnoses
    assert (diagnosis.key, len(diagnosis.differences)) == (key, len(result.differences))
    assert diagnosis.text.startswith(start)


def test_a_network_compiled_as_a_whole_is_the_same() -> None:
    def made() -> nn.Module:
        return nn.Sequential(conv(3, 4), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    result = compared(torch.jit.script(made()), made())
    assert (result.same, result.verdict) == (True, BITWISE)


def test_pre_activation_is_one_row_beside_the_projection() -> None:
    result = compared(pre_activated())
    assert [diagnosis.key for diagnosis in result.diagnoses] == ["pre-activation", "missing-projection-bn"]
    assert sum(len(diagnosis.differences) for diagnosis in result.diagnoses) == len(result.differences)


def test_images_of_one_channel_need_a_reference_of_one_channel() -> None:
    gray = changed(conv=conv(1, 4))
    with pytest.raises(ResnetCliError) as caught:
        compared(gray)
    assert "`in_channels=1` works" in (caught.value.hint or "")
    config = ParityConfig(shape=(2, 1, 32, 32))
    reference = ModelUnderTest(changed(conv=conv(1, 4)), "torchvision net")
    assert compare(ModelUnderTest(gray, "net"), reference, config).same
