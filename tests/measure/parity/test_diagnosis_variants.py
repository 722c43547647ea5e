"""Variants of blocks and heads: one cause gives one row, and a sentence that is not true of a network is not said."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from tests.helpers.models import structure_of
from tests.measure.parity.test_diagnosis import (
    IDENTITY,
    STRIDE,
    Block,
    basic,
    bottleneck,
    changed,
    conv,
    every,
    joined,
    keys,
    named,
    network,
    traced,
)


def test_a_relu_missing_behind_every_addition_is_one_row() -> None:
    for blocks in (2, 4):
        model, reference = (network(None, *(basic(8, 8) for _ in range(blocks - 2))) for _ in range(2))
        for block in model.children():
            if isinstance(block, Block):
                block.last = IDENTITY  # type: ignore[assignment]
        ((key, (text, explained)),) = named(model, reference).items()
        assert (key, len(explained)) == ("missing-relu", blocks)
        assert f"in all {blocks} blocks" in text


def test_a_relu_missing_inside_of_several_blocks_is_one_row() -> None:
    said = named(changed(one__body__2=IDENTITY, two__body__2=IDENTITY))
    assert {key: len(explained) for key, (_, explained) in said.items()} == {"missing-inner-relu": 2}


class Gate(nn.Module):
    """Squeeze and excitation of convolutions, or of a pool that is none of a whole image."""

    def __init__(self, pool: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layers = nn.Sequential(conv(8, 2, 1), nn.ReLU(), conv(2, 8, 1), nn.Sigmoid())
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x * self.layers(self.pool(x))
        return out


@pytest.mark.parametrize("pool", [lambda x: functional.avg_pool2d(x, x.shape[2]), lambda x: x.mean((2, 3), True)])
def test_a_gate_is_no_resnet_d_however_it_averages(pool: Callable[[Tensor], Tensor]) -> None:
    model = network()
    for path in ("one.body", "two.body"):
        model.get_submodule(path).append(Gate(pool))  # type: ignore[operator]
    ((key, (text, _)),) = named(model).items()
    assert (key, text.split(";")[0]) == ("squeeze-excite", "2 squeeze-and-excitation gates")


def test_an_average_pool_in_the_residual_branch_is_no_resnet_d() -> None:
    model = network(basic(4, 8, 2))
    body = model.get_submodule("one.body")
    body[0] = nn.Sequential(conv(4, 8), nn.AvgPool2d(2))  # type: ignore[operator]
    said = named(model)
    assert {key: sorted(explained) for key, (_, explained) in said.items()} == {
        "pooled-stride": [("extra", "avg_pool"), *STRIDE]
    }
    assert "where torchvision's one.body.0 strides" in said["pooled-stride"][0]


def project(ni: int, no: int, stride: int) -> nn.Sequential:
    return nn.Sequential(conv(ni, no, 1, stride), nn.BatchNorm2d(no))


def test_a_projection_in_an_identity_block_is_no_deep_stem() -> None:
    first = basic(4, 4)
    projected = Block(basic(4, 4).body, project(4, 4, 1))
    model, reference = (
        nn.Sequential(conv(3, 4), nn.BatchNorm2d(4), nn.ReLU(), block, basic(4, 8, 2)) for block in (projected, first)
    )
    said = named(model, reference)
    assert {key: sorted(explained) for key, (_, explained) in said.items()} == {
        "projected-identity": [("extra", "batch_norm"), ("extra", "conv")]
    }
    assert "in 3;" in said["projected-identity"][0]


def test_strides_in_other_blocks_have_not_moved_within_one() -> None:
    def strided(*strides: int) -> nn.Sequential:
        made = network(basic(4, 8, strides[0]), *(basic(8, 16, strides[1]), basic(16, 16)))
        made.set_submodule("fc", nn.Linear(16, 5))
        return made

    ((key, (text, explained)),) = named(strided(1, 2), strided(2, 1)).items()
    assert (key, explained) == ("stride-in-other-blocks", STRIDE * 4)  # and those of the projections
    assert text == "other blocks stride: more0, and not one, which stride in torchvision"


class Zeros(nn.Module):
    """Channels of zeros behind those of a strided image: the shortcut without parameters."""

    def __init__(self, *, pads: bool) -> None:
        super().__init__()
        self.pads = pads

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :, ::2, ::2]
        return functional.pad(x, (0, 0, 0, 0, 0, 4)) if self.pads else torch.cat([x, torch.zeros_like(x)], 1)


@pytest.mark.parametrize("pads", [True, False])
def test_a_padded_shortcut_lacks_no_batch_norm(*, pads: bool) -> None:
    said = named(changed(one__skip=Zeros(pads=pads)))
    assert set(said) == {"padded-shortcut"}
    assert {("missing", "conv"), ("missing", "batch_norm")} <= set(said["padded-shortcut"][1])


class Late(nn.Module):
    """The shortcut takes the output of the first ReLU, as where `x` is assigned too early."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.body, self.last = block.body, block.last

    def forward(self, x: Tensor) -> Tensor:
        assert isinstance(self.body, nn.Sequential)
        x = self.body[:3](x)
        out: Tensor = self.last(self.body[3:](x) + x)
        return out


def test_a_shortcut_that_starts_late_is_one_cause() -> None:
    said = named(network(None, Late(basic(8, 8))), network(None, basic(8, 8)))  # type: ignore[arg-type]
    assert set(said) == {"late-shortcut"}
    assert "the shortcut starts behind more0.body.2 in more0;" in said["late-shortcut"][0]


class Parts(nn.Module):
    """A convolution for each half of the channels, the second one added to the first, as in Res2Net."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(conv(4, 4) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, 1)
        first = self.convs[0](first)
        return torch.cat([first, self.convs[1](second + first)], 1)


def test_convolutions_of_parts_are_no_more_blocks() -> None:
    assert keys(changed(two__body__0=Parts())) == {"split-convolutions"}


class Blur(nn.Module):
    """Strides by a fixed filter over reflected borders."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.kernel: Tensor = nn.Buffer(torch.ones(channels, 1, 3, 3) / 9)

    def forward(self, x: Tensor) -> Tensor:
        padded = functional.pad(x, (1, 1, 1, 1), "reflect")
        return functional.conv2d(padded, self.kernel, stride=2, groups=x.shape[1])


def test_blur_pooling_is_no_padding_of_convolutions() -> None:
    model = changed(
        pool=nn.Sequential(nn.MaxPool2d(3, 1, 1), Blur(4)),
        one__body=nn.Sequential(*basic(4, 8).body[:3], Blur(8), *basic(4, 8).body[3:]),  # type: ignore[index]
        one__skip=nn.Sequential(Blur(4), *project(4, 8, 1)),
    )
    ((key, (text, _)),) = named(model).items()
    assert (key, text.split("(")[0]) == ("blur-pool", "3 strides are in depthwise convolutions of their own ")


@pytest.mark.parametrize(
    ("layer", "loss"),
    [(nn.Softmax(1), "CrossEntropyLoss"), (nn.LogSoftmax(1), "CrossEntropyLoss"), (nn.Sigmoid(), "BCEWithLogitsLoss")],
)
def test_an_activation_of_the_logits_is_told_with_its_loss(layer: nn.Module, loss: str) -> None:
    said = named(changed(fc=nn.Sequential(nn.Linear(8, 5), layer)))
    assert set(said) == {"final-activation"}
    assert f"nn.{loss} applies too" in said["final-activation"][0]
    assert "final-activation" not in keys(changed(fc=nn.Sequential(layer, nn.Linear(8, 5))))


@pytest.mark.parametrize(
    "parts",
    [{"average": nn.AvgPool2d(4)}, {"average": IDENTITY, "fc": nn.Linear(8 * 4 * 4, 5)}],
)
def test_a_head_for_maps_of_one_size_is_one_row(parts: dict[str, nn.Module]) -> None:
    ((key, (text, _)),) = named(changed(**parts)).items()
    assert key == "head-of-one-size"
    assert "4×4" in text


class Normalized(nn.Module):
    """Features of length 1."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.normalize(x)


def test_normalized_features_are_one_row() -> None:
    said = named(changed(flat=nn.Sequential(nn.Flatten(), Normalized())))
    assert set(said) == {"normalized-features"}


def test_the_stem_for_cifar_is_one_row() -> None:
    reference = changed(conv=nn.Conv2d(3, 4, 7, 2, 3, bias=False))
    said = named(changed(pool=IDENTITY), reference)
    assert {key: len(explained) for key, (_, explained) in said.items()} == {"cifar-stem": 4}
    assert "cifar-stem" not in keys(changed(conv=nn.Conv2d(3, 4, 5, 1, 2, bias=False), pool=IDENTITY), reference)
    assert "cifar-stem" not in keys(changed(), reference)


def test_hardly_a_counterpart_is_another_architecture_and_nothing_else() -> None:
    layers = [layer for width in (6, 7, 9) for layer in (nn.LazyConv2d(width, 3), nn.GELU(), nn.LazyBatchNorm2d())]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(3))
    model(torch.zeros(2, 3, 16, 16))
    said = named(model)
    assert set(said) == {"other-architecture"}
    assert "of 4 convolutions and linear layers, 0 have a counterpart of the same size" in said["other-architecture"][0]


def test_one_block_in_place_of_several_is_named_at_its_place() -> None:
    block = basic(8, 8)
    ((key, (text, explained)),) = named(
        network(None, *[block] * 3), network(None, *(basic(8, 8) for _ in range(3)))
    ).items()
    assert (key, explained) == ("shared-module", [("shared", "module")])
    assert text.startswith("more0.body is one module used 3 times; torchvision has more0.body and more1.body and ")
    assert "`[block] * n`" in text


def test_one_norm_in_place_of_two_is_named_at_its_place() -> None:
    model = network()
    for path in ("one.body", "two.body"):
        body = model.get_submodule(path)
        body[1] = body[4]  # type: ignore[index,operator]
    ((key, (text, explained)),) = named(model).items()
    assert (key, explained) == ("shared-module", [("shared", "module")] * 2)
    assert text == (
        "one.body.1 is one module used 2 times; torchvision has one.body.1 and one.body.4; likewise two.body.1"
    )
    assert not named(model, model)


class Half(nn.Module):
    """An instance norm on the first half of the channels and a batch norm on the second."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.instance, self.batch = nn.InstanceNorm2d(channels // 2, affine=True), nn.BatchNorm2d(channels // 2)

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, 1)
        return torch.cat([self.instance(first), self.batch(second)], 1)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda n: nn.InstanceNorm2d(n, affine=True), "6 instance norms are used where torchvision has batch norm"),
        (nn.InstanceNorm2d, "6 instance norms are used where torchvision has batch norm"),
        (lambda n: nn.GroupNorm(2, n), "6 group norms are used where torchvision has batch norm"),
        (Half, "6 norms are an instance norm on some channels and a batch norm on the others (IBN); "
               "torchvision has batch norm on all"),
    ],
)  # fmt: skip
def test_norms_of_another_kind_are_one_row(make: Callable[[int], nn.Module], text: str) -> None:
    model = every(nn.BatchNorm2d, lambda norm: make(norm.num_features))  # type: ignore[arg-type]
    ((_, (said, explained)),) = named(model).items()
    assert said == text
    assert not any(subject.endswith("track_running_stats") for _, subject in explained)


class Kept(nn.Module):
    """A batch norm whose running statistics are plain attributes, which no state dict has."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        shape = 1, channels, 1, 1
        self.weight, self.bias = nn.Parameter(torch.ones(shape)), nn.Parameter(torch.zeros(shape))
        self.mean, self.var = torch.zeros(shape), torch.ones(shape)

    def forward(self, x: Tensor) -> Tensor:
        mean, var = self.mean, self.var
        if self.training:
            mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), unbiased=False, keepdim=True)
            self.mean, self.var = 0.9 * self.mean + 0.1 * mean.detach(), 0.9 * self.var + 0.1 * var.detach()
        return (x - mean) / (var + 1e-5).sqrt() * self.weight + self.bias


def test_statistics_that_are_no_buffers_are_told() -> None:
    ((key, (text, explained)),) = named(every(nn.BatchNorm2d, lambda norm: Kept(norm.num_features))).items()  # type: ignore[arg-type]
    assert (key, explained) == ("plain-statistics", [("setting", "batch_norm.statistics")] * 6)
    assert "plain attributes, no buffers" in text


def test_basic_blocks_for_bottlenecks_are_another_depth() -> None:
    model = network(None, basic(8, 8), basic(8, 8))
    layers = [(8, 4, 1), (4, 4, 3), (4, 8, 1)]
    bodies = [
        [part for i, o, k in layers for part in (conv(i, o, k), nn.BatchNorm2d(o), nn.ReLU())][:-1] for _ in "abc"
    ]
    reference = network(bottleneck(1, 2, 1), *(Block(nn.Sequential(*body), IDENTITY) for body in bodies))
    reference.set_submodule("two", reference.get_submodule("more2"))
    del reference.more2
    ((key, (text, explained)),) = named(model, reference).items()
    assert (key, text) == (
        "other-block-type", "4 basic blocks, where torchvision has 4 bottleneck blocks: another depth"
    )  # fmt: skip
    assert len(explained) > 20


def test_convolutions_between_bottlenecks_are_another_architecture() -> None:
    model = network(Block(nn.Sequential(conv(4, 4, 1), conv(4, 4), conv(4, 4, 1)), IDENTITY), basic(4, 4))
    model.set_submodule("two", nn.Sequential(conv(4, 8, 1), conv(8, 8, 1)))
    model.set_submodule("more0", IDENTITY)
    ((key, (text, _)),) = named(model).items()
    assert (key, text) == (
        "other-architecture", "another architecture than torchvision's: 2 convolutions are in no residual block"
    )  # fmt: skip


def test_other_widths_and_groups_are_one_row() -> None:
    def made(width: int, groups: int) -> nn.Sequential:
        layers = [(8, width, 1, 1), (width, width, 3, groups), (width, 8, 1, 1)]
        body = [part for i, o, k, g in layers
                for part in (nn.Conv2d(i, o, k, 1, k // 2, groups=g, bias=False), nn.BatchNorm2d(o), nn.ReLU())]  # fmt: skip
        return network(None, Block(nn.Sequential(*body[:-1]), IDENTITY))

    for width, groups, clauses in (
        (8, 1, ["other widths"]),
        (4, 2, ["2 groups"]),
        (8, 4, ["other widths", "4 groups"]),
    ):
        ((key, (text, _)),) = named(made(width, groups), made(4, 1)).items()
        assert key == "other-widths"
        assert all(clause in text for clause in clauses)


def test_a_network_without_additions_has_no_fewer_blocks() -> None:
    model = network()
    for path in ("one", "two"):
        model.set_submodule(path, nn.Sequential(model.get_submodule(f"{path}.body"), nn.ReLU()))
    assert keys(model) == {"no-shortcuts"}


def test_additions_that_are_lost_are_no_fewer_blocks() -> None:
    dropped = joined("one", lambda learned, x: learned)
    ((key, (text, explained)),) = named(dropped).items()
    assert (key, text.split(":")[0]) == ("dropped-identity", "no shortcut in one")
    assert ("missing", "conv") in explained


def test_a_norm_without_momentum_averages_all_batches() -> None:
    structure = structure_of(every(nn.BatchNorm2d, lambda n: nn.BatchNorm2d(n.num_features, momentum=None)), network())  # type: ignore[arg-type]
    assert {difference.finding.model_value for difference in structure.differences} == {"cumulative average"}


def test_a_norm_without_momentum_is_one_row() -> None:
    ((key, (text, explained)),) = named(
        every(nn.BatchNorm2d, lambda n: nn.BatchNorm2d(n.num_features, momentum=None))  # type: ignore[arg-type]
    ).items()
    assert (key, explained) == ("cumulative-average", [("setting", "batch_norm.momentum")] * 6)
    assert text.endswith("at 6 batch norms; torchvision has a momentum of 0.1")


class Frozen(nn.BatchNorm2d):
    """Stays in eval mode, as a network that was traced in eval mode does."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


def test_norms_that_stay_in_eval_mode_are_one_row() -> None:
    frozen = every(nn.BatchNorm2d, lambda norm: Frozen(norm.num_features))  # type: ignore[arg-type]
    compiled = torch.jit.trace(network().eval(), torch.zeros(2, 3, 16, 16))  # type: ignore[no-untyped-call]
    for model in (frozen, compiled):
        ((key, (text, explained)),) = named(model).items()
        assert (key, explained) == ("frozen-norms", [("setting", "batch_norm.batch_statistics")] * 6)
        assert text.startswith("6 batch norms use the running statistics in train mode too")


def test_a_weight_that_is_computed_from_others_is_one_row() -> None:
    model = network()
    parametrizations.weight_norm(model.get_submodule("fc"))
    ((key, (text, explained)),) = named(model).items()
    assert (key, explained) == ("computed-weights", [("setting", "linear.weight")])
    assert text.startswith("the weight of fc is computed by weight norm from parameters")
    assert "fc.parametrizations.weight.original0" in traced(model).used
    for module in list(model.modules()):
        if isinstance(module, nn.Conv2d):
            parametrizations.weight_norm(module)
    assert "the weight of 7 layers (conv, …) is computed" in named(model)["computed-weights"][0]


class PreActivated(nn.Module):
    """Norm and ReLU in front of each convolution; the projection, without a norm, reads behind the first ReLU."""

    def __init__(self, block: Block, channels: int) -> None:
        super().__init__()
        self.before, self.relu = nn.BatchNorm2d(channels), nn.ReLU()
        self.body = nn.Sequential(*list(block.body.children())[:-1])
        self.skip = next(block.skip.children(), None)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.before(x))
        added: Tensor = self.body(y) + (x if self.skip is None else self.skip(y))
        return added


def test_pre_activation_tells_which_norms_have_moved() -> None:
    blocks = [PreActivated(basic(4, 8, 2), 4), PreActivated(basic(8, 8), 8)]
    head = nn.Sequential(nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    said = named(changed(norm=IDENTITY, relu=IDENTITY, one=blocks[0], two=blocks[1], average=head))
    assert set(said) == {"pre-activation", "missing-projection-bn"}
    assert "the stem has no batch norm, where torchvision has norm" in said["pre-activation"][0]
    assert said["pre-activation"][0].endswith("the last block has one behind its addition (average.0)")
    kept = named(changed(one=blocks[0], two=blocks[1], average=head))["pre-activation"][0]
    assert "the stem has no" not in kept
