"""Faults in single layers: which layer they are planted in, and what exactly is done to it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.measure.faults import catalog, layers, weights
from resnet_cli.measure.faults.catalog import FAULTS
from resnet_cli.measure.faults.op_capture import NotApplicableError
from resnet_cli.measure.models import random_init
from tests.measure.parity.test_diagnosis import IDENTITY, Block, basic, conv, network

Plant = Callable[[nn.Module], nn.Module]


def randomised(model: nn.Module) -> nn.Module:
    random_init.randomize_parameters(model, 0)
    return model


@cache
def original() -> nn.Module:
    """Four blocks: one strides, and of the others, which keep their shape, `more0` is in the middle."""
    model = randomised(network(None, basic(8, 8), basic(8, 8)))
    with torch.no_grad():
        model.get_parameter("norm.bias").sub_(1)  # so that the ReLU and the pool of the stem have something to do
    return model


def bottlenecks() -> nn.Module:
    """Two that stride in their 3×3, and one that does not."""

    def block(ni: int, stride: int) -> Block:
        sizes = ((ni, 2, 1, 1), (2, 2, 3, stride), (2, 8, 1, 1))
        body = [layer for size in sizes for layer in (conv(*size), nn.BatchNorm2d(size[1]), nn.ReLU())]
        skip = IDENTITY if stride == 1 else nn.Sequential(conv(ni, 8, 1, stride), nn.BatchNorm2d(8))
        return Block(nn.Sequential(*body[:-1]), skip)

    return network(block(4, 2), block(8, 1), block(8, 2))


def of(plant: Plant, model: nn.Module | None = None) -> nn.Module:
    return plant(copy.deepcopy(model or original()))


def changed(plant: Plant, model: nn.Module | None = None) -> dict[str, str]:
    """What the layers are that are no longer what they were."""
    before = {name: repr(module) for name, module in (model or original()).named_modules()}
    after = {name: repr(module) for name, module in of(plant, model).named_modules() if not list(module.children())}
    return {name: text for name, text in after.items() if text != before.get(name)}


MIDDLE = "more0.body"
CONV = "Conv2d(8, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)"


@pytest.mark.parametrize(
    ("plant", "expected"),
    [
        (layers.stride_moved, {
            "one.body.0": "Conv2d(4, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)",
            "one.body.3": CONV.replace("stride=(1, 1)", "stride=(2, 2)"),
        }),
        (layers.stem_padding, {"conv": "Conv2d(3, 4, kernel_size=(3, 3), stride=(1, 1), bias=False)"}),
        (layers.pool_padding, {
            "pool": "MaxPool2d(kernel_size=3, stride=2, padding=0, dilation=1, ceil_mode=True)",
        }),
        (layers.ceil_mode, {
            "pool": "MaxPool2d(kernel_size=3, stride=2, padding=1, dilation=1, ceil_mode=True)",
        }),
        (layers.conv_padding, {
            f"{MIDDLE}.0": CONV.replace(", padding=(1, 1)", ""),
            f"{MIDDLE}.3": CONV.replace("padding=(1, 1)", "padding=(2, 2)"),
        }),
        (layers.reflect, {f"{MIDDLE}.0": f"{CONV[:-1]}, padding_mode=reflect)"}),
        (layers.kernel, {f"{MIDDLE}.0": CONV.replace("(3, 3)", "(5, 5)").replace("g=(1, 1)", "g=(2, 2)")}),
        (layers.dilation, {
            f"{MIDDLE}.0": CONV.replace("padding=(1, 1)", "padding=(2, 2), dilation=(2, 2)"),
        }),
        (layers.groups, {f"{MIDDLE}.0": CONV.replace("bias", "groups=2, bias")}),
        (layers.missing_bn, {f"{MIDDLE}.1": "Identity()"}),
        (layers.missing_projection_bn, {"one.skip.1": "Identity()"}),
        (layers.biased_running_variance, {f"{MIDDLE}.1": "BiasedBatchNorm2d()"}),
        (layers.conv_bias, {f"{MIDDLE}.0": CONV.replace(", bias=False", "")}),
        (layers.no_head_bias, {"fc": "Linear(in_features=8, out_features=5, bias=False)"}),
    ],
)  # fmt: skip
def test_a_fault_is_in_one_place_and_does_one_thing(plant: Plant, expected: dict[str, str]) -> None:
    assert changed(plant) == expected


def test_every_bottleneck_that_strides_gets_its_stride_in_its_first_1x1() -> None:
    changes = changed(layers.stride_in_1x1, bottlenecks())
    assert {name: "stride=(2, 2)" in text for name, text in changes.items()} == {
        "one.body.0": True, "one.body.3": False, "more1.body.0": True, "more1.body.3": False,
    }  # fmt: skip


def oblong() -> nn.Module:
    """Kernels, strides and paddings that are not the same in both directions."""
    model = copy.deepcopy(original())
    model.set_submodule("conv", nn.Conv2d(3, 4, (3, 5), padding=(1, 2)))
    for name in ("one.body.0", "one.skip.0"):
        model.get_submodule(name).stride = (2, 1)  # type: ignore[assignment]
    model.set_submodule(f"{MIDDLE}.0", nn.Conv2d(8, 8, (5, 3), padding=(2, 1)))
    model.set_submodule(f"{MIDDLE}.3", nn.Conv2d(8, 8, (3, 5), padding=(1, 2)))
    return model


@pytest.mark.parametrize(
    ("plant", "expected"),
    [
        (layers.stem_padding, {"conv": ((1, 1), (0, 1))}),
        (layers.stride_moved, {"one.body.0": ((1, 1), (1, 1)), "one.body.3": ((2, 1), (1, 1))}),
        (layers.conv_padding, {f"{MIDDLE}.0": ((1, 1), (1, 0)), f"{MIDDLE}.3": ((1, 1), (2, 3))}),
    ],
)
def test_either_direction_has_its_own_stride_and_padding(
    plant: Plant, expected: dict[str, tuple[tuple[int, int], tuple[int, int]]]
) -> None:
    faulty = of(plant, oblong())
    assert changed(plant, oblong()).keys() == expected.keys()
    for name, settings in expected.items():
        layer = faulty.get_submodule(name)
        assert isinstance(layer, nn.Conv2d)
        assert (layer.stride, layer.padding) == settings


@pytest.mark.parametrize(
    ("key", "option", "value", "is_everywhere"),
    [
        ("eps-1e-3", "eps", 1e-3, True), ("eps-1e-6", "eps", 1e-6, False), ("eps-1.001e-5", "eps", 1.001e-5, True),
        ("momentum", "momentum", 0.01, True),
    ],
)  # fmt: skip
def test_faults_of_the_list_have_the_figures_of_their_names(
    key: str, option: str, value: float, is_everywhere: bool
) -> None:
    fault = next(fault for fault in FAULTS if fault.key == key)
    faulty = fault.apply(copy.deepcopy(original()))
    norms = {name: getattr(part, option) for name, part in faulty.named_modules() if isinstance(part, nn.BatchNorm2d)}
    assert {name for name, actual in norms.items() if actual == value} == (
        set(norms) if is_everywhere else {f"{MIDDLE}.1"}
    )


def test_a_fault_after_which_the_network_does_not_run_has_no_place() -> None:
    def breaking(model: nn.Module) -> nn.Module:
        model.set_submodule("fc", nn.Linear(7, 5))
        return model

    (fault,) = catalog._group("group", ("key", "title", breaking, "diagnosis"))
    assert (fault.key, fault.group, fault.title) == ("key", "group", "title")
    with pytest.raises(NotApplicableError, match="the network does not run on 64 pixels"):
        fault.apply(copy.deepcopy(original()))


def weight(model: nn.Module, name: str) -> Tensor:
    return model.get_parameter(f"{name}.weight").detach()


def test_a_wider_kernel_is_the_old_one_with_a_border() -> None:
    before, after = weight(original(), f"{MIDDLE}.0"), weight(of(layers.kernel), f"{MIDDLE}.0")
    assert torch.equal(after[:, :, 1:4, 1:4], before)
    border = after.clone()
    border[:, :, 1:4, 1:4] = 0
    assert int((border != 0).sum()) == 8 * 8 * 16
    assert 0 < float(border.abs().max()) < 0.1


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (4, 2), (8, 4)])
def test_other_groups_read_other_channels(before: int, after: int) -> None:
    model = copy.deepcopy(original())
    model.set_submodule(f"{MIDDLE}.0", nn.Conv2d(8, 8, 3, padding=1, groups=before, bias=False))
    kept = weight(model, f"{MIDDLE}.0")
    faulty = of(layers.groups, model).get_submodule(f"{MIDDLE}.0")
    assert isinstance(faulty, nn.Conv2d)
    assert faulty.groups == after
    assert faulty.weight.shape == (8, 8 // after, 3, 3)
    assert torch.equal(faulty.weight[:, : kept.shape[1]], kept[:, : 8 // after])


def test_the_biased_variance_is_all_that_a_norm_by_hand_does_otherwise() -> None:
    norm = randomised(nn.BatchNorm2d(4, eps=1e-3, momentum=0.3))
    assert isinstance(norm, nn.BatchNorm2d)
    twin = layers.BiasedBatchNorm2d(copy.deepcopy(norm))
    x = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    before = norm.running_var.clone()  # type: ignore[union-attr]
    assert torch.allclose(twin(x), norm(x), atol=1e-6)
    assert torch.allclose(twin.running_mean, norm.running_mean)  # type: ignore[arg-type]
    assert torch.allclose(twin.running_var, 0.7 * before + 0.3 * x.var((0, 2, 3), correction=0))
    assert int(twin.get_buffer("num_batches_tracked")) == int(norm.num_batches_tracked)  # type: ignore[arg-type]
    norm.running_var = twin.running_var
    assert torch.allclose(twin.eval()(x), norm.eval()(x), atol=1e-6)
    assert not layers.BiasedBatchNorm2d(norm).training
    assert layers.BiasedBatchNorm2d(nn.BatchNorm2d(4, momentum=None)).momentum == 0.1


PLANTS = {
    "stride_in_1x1": layers.stride_in_1x1, "stride_moved": layers.stride_moved,
    "stem_padding": layers.stem_padding, "pool_padding": layers.pool_padding,
    "conv_padding": layers.conv_padding, "reflect": layers.reflect,
    "missing_projection_bn": layers.missing_projection_bn, "missing_bn": layers.missing_bn,
    "groups": layers.groups, "affine_off": layers.affine_off,
    "no_running_statistics": layers.no_running_statistics,
    "biased_running_variance": layers.biased_running_variance,
    "no_head_bias": layers.no_head_bias, "swapped_convs": weights.swapped_convs,
    "one_buffer": weights.one_buffer, "frozen": weights.frozen_parameter,
}  # fmt: skip


def replaced(kind: type[nn.Module], make: Callable[[nn.Module], nn.Module]) -> nn.Module:
    model = copy.deepcopy(original())
    for name, module in list(model.named_modules()):
        if isinstance(module, kind):
            model.set_submodule(name, make(module))
    return model


def unpadded(layer: nn.Module) -> nn.Module:
    assert isinstance(layer, nn.Conv2d)
    return nn.Conv2d(layer.in_channels, layer.out_channels, 1, max(layer.stride), bias=False)


def flattened(layer: nn.Module) -> nn.Module:
    """Padded in one direction alone."""
    assert isinstance(layer, nn.Conv2d)
    padding, stride = (0, layer.padding[1]), max(layer.stride)
    return nn.Conv2d(layer.in_channels, layer.out_channels, (1, layer.kernel_size[1]), stride, padding)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "refused", "planted"),
    [
        (lambda: replaced(nn.Conv2d, unpadded), {"stem_padding", "conv_padding", "reflect", "groups", "stride_moved"},
         {"missing_bn"}),
        (lambda: replaced(nn.MaxPool2d, lambda _: nn.MaxPool2d(2)), {"pool_padding"}, {"stem_padding"}),
        (lambda: replaced(nn.BatchNorm2d, lambda _: IDENTITY), {
            "missing_bn", "missing_projection_bn", "affine_off", "no_running_statistics", "biased_running_variance",
            "one_buffer",
        }, {"swapped_convs"}),
        (lambda: replaced(nn.BatchNorm2d, lambda norm: nn.BatchNorm2d(
            norm.num_features, affine=False, track_running_stats=False,  # type: ignore[arg-type]
        )), {"affine_off", "no_running_statistics", "biased_running_variance", "one_buffer"}, {"missing_bn"}),
        (lambda: replaced(nn.BatchNorm2d, lambda norm: nn.BatchNorm2d(
            norm.num_features, affine=False,  # type: ignore[arg-type]
        )), {"affine_off", "biased_running_variance"}, {"no_running_statistics", "one_buffer"}),
        (lambda: replaced(nn.Linear, lambda _: nn.Linear(8, 5, bias=False)), {"no_head_bias"}, {"frozen"}),
        (lambda: copy.deepcopy(original()).requires_grad_(False), {"frozen"}, {"swapped_convs"}),
        (bottlenecks, {"stride_moved"}, {"stride_in_1x1"}),
        (lambda: of(layers.stride_in_1x1, bottlenecks()), {"stride_in_1x1"}, {"reflect"}),
        (lambda: of(layers.stride_moved), {"stride_moved"}, {"reflect"}),
        (lambda: replaced(nn.Conv2d, flattened), {"conv_padding"}, {"missing_bn"}),
        (original, {"stride_in_1x1"}, {"stride_moved"}),
    ],
)  # fmt: skip
def test_a_network_without_a_place_for_a_fault_says_so(
    make: Callable[[], nn.Module], refused: set[str], planted: set[str]
) -> None:
    model = make()
    for key in refused:
        with pytest.raises(NotApplicableError, match=r"^(no|the|every) "):
            of(PLANTS[key], model)
    for key in planted:
        of(PLANTS[key], model)
