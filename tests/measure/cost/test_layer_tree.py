"""The layer tree: torchvision's totals and shapes, rows that add up, networks of any make."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.network.architectures import ARCHITECTURES, resolve
from resnet_cli.network.resnet import build
from resnet_cli.network.torchvision_names import to_torchvision
from resnet_cli.results.summary import Layer, SummaryResult
from tests.helpers.models import (
    IMAGE,
    ODD_NETWORKS,
    SAMPLE,
    Functional,
    Residual,
    Shared,
    row,
    rows,
    summary_of,
    summary_of_member,
    torchvision_forward,
    torchvision_models,
)

SUMMED = (
    *("trainable_parameters", "frozen_parameters", "buffers", "parameter_bytes", "buffer_bytes", "macs", "flops"),
    *("ops", "backward_macs", "activation_bytes", "saved_for_backward_bytes", "bytes_moved"),
)


def test_every_number_of_a_row_is_summed_or_is_no_sum() -> None:
    numbers = {field.name for field in fields(Layer) if field.type in ("int", "int | None")}
    assert numbers - set(SUMMED) == {"call", "groups", "peak_bytes"}


def assert_adds_up(result: SummaryResult) -> None:
    for layer in rows(result.root):
        assert layer.flops == 2 * layer.macs
        assert layer.parameters == layer.trainable_parameters + layer.frozen_parameters
        if layer.children or not layer.path:
            for name in SUMMED:
                parts = [getattr(child, name) for child in layer.children]
                whole = getattr(layer, name)
                assert set(parts) <= {None} if whole is None else whole == sum(parts), (layer.path, name)
            assert layer.peak_bytes == max((child.peak_bytes for child in layer.children), default=0)
    paths = [(layer.path, layer.call) for layer in rows(result.root)]
    assert len(set(paths)) == len(paths)
    assert result.memory.saved_for_backward_bytes == result.root.saved_for_backward_bytes
    assert result.memory.inference_peak_bytes == result.root.peak_bytes
    for name in ("parameters", "trainable_parameters", "frozen_parameters", "buffers", "macs", "flops", "ops"):
        assert getattr(result, name) == getattr(result.root, name)


# The deeper ones repeat the same blocks; their parameters are held against the metadata in tests/network.
@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnext50_32x4d", "wide_resnet50_2"])
def test_totals_are_those_of_torchvisions_metadata(name: str) -> None:
    result = summary_of_member(name)
    meta = torchvision_models().get_model_weights(name).DEFAULT.meta
    assert result.parameters == meta["num_params"]
    # `_ops` are cut or rounded to three decimals.
    assert abs(result.macs / 1e9 - meta["_ops"]) < 0.001


@pytest.mark.parametrize("name", SAMPLE)
def test_buffers_and_bytes_are_those_of_the_state_dict(name: str) -> None:
    result = summary_of_member(name)
    with torch.device("meta"):
        state = torchvision_models().get_model(name).state_dict()
    assert result.memory.parameter_bytes + result.memory.buffer_bytes == sum(value.nbytes for value in state.values())
    assert result.parameters + result.buffers == sum(value.numel() for value in state.values())


@pytest.mark.parametrize("name", SAMPLE)
def test_layers_have_torchvisions_shapes(name: str) -> None:
    """Output shapes of every convolution, batch norm and linear layer, by hooks on torchvision's own network."""
    _, theirs, _ = torchvision_forward(name)
    compared = 0
    for layer in rows(summary_of_member(name).root):
        if layer.parameters and not layer.children:
            other = to_torchvision(f"{layer.path}.weight", ARCHITECTURES[name].block).removesuffix(".weight")
            assert layer.output_shape == theirs[other], layer.path
            compared += 1
    assert compared == 2 * (ARCHITECTURES[name].depth - 1) + 1 + 2 * (3 if ARCHITECTURES[name].block == "basic" else 4)


@pytest.mark.parametrize("name", SAMPLE)
def test_rows_add_up(name: str) -> None:
    assert_adds_up(summary_of_member(name))


@pytest.mark.parametrize("index", range(len(ODD_NETWORKS)))
def test_rows_add_up_in_networks_of_any_make(index: int) -> None:
    model = ODD_NETWORKS[index]()
    result = summary_of(model)
    assert_adds_up(result)
    assert result.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert result.buffers == sum(buffer.numel() for buffer in model.buffers())


def test_a_row_of_a_convolution() -> None:
    conv = row(summary_of_member("resnet18"), "head.conv")
    assert (conv.name, conv.layer_type, conv.is_operator, conv.call) == ("conv", "Conv2d", False, 1)
    assert (conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups) == (
        *((7, 7), (2, 2), (3, 3), (1, 1)),
        1,
    )
    assert (conv.input_shape, conv.output_shape) == (IMAGE, (1, 64, 112, 112))
    assert (conv.parameters, conv.parameter_bytes, conv.buffers) == (9408, 4 * 9408, 0)
    assert conv.macs == conv.backward_macs == 9408 * 112 * 112  # no gradient goes towards the image
    outputs = 64 * 112 * 112
    assert conv.activation_bytes == conv.peak_bytes == 4 * outputs
    assert (
        conv.saved_for_backward_bytes == 0
    )  # it keeps its input, which is the image; its output is kept by the batch norm
    assert row(summary_of_member("resnet18"), "head.bn").saved_for_backward_bytes == 4 * outputs + 2 * 4 * 64
    assert conv.bytes_moved == 4 * (3 * 224 * 224 + 9408 + outputs)
    assert conv.receptive_field == (7, 7)


def test_pooling_shows_its_kernel_and_grouped_convolutions_their_groups() -> None:
    pool = row(summary_of_member("resnet18"), "head.maxpool")
    assert (pool.kernel_size, pool.stride, pool.padding, pool.dilation) == ((3, 3), (2, 2), (1, 1), (1, 1))
    assert row(summary_of_member("resnext50_32x4d"), "l0.block.BottleneckSkip.conv2").groups == 32
    assert row(summary_of_member("resnet18"), "tail.lin").kernel_size is None


def test_a_residual_addition_is_a_row_of_its_block() -> None:
    block = row(summary_of_member("resnet18"), "l1.block.ResSkip")
    (add,) = (child for child in block.children if child.is_operator)
    assert (add.name, add.layer_type, add.ops) == ("add", "add", 128 * 28 * 28)
    assert (add.activation_bytes, add.macs) == (0, 0)  # it is in place
    assert [child.name for child in block.children].index("add") == len(block.children) - 2  # before the last relu
    assert row(summary_of(Residual(in_place=False)), ":add").activation_bytes == 4 * 2 * 3 * 16 * 16


def test_operators_of_one_name_are_told_apart() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.conv(x) + x + x
            return out

    result = summary_of(Twice())
    assert [child.path for child in result.root.children] == ["conv", ":add", ":add2"]
    assert_adds_up(result)


def test_functions_and_weights_of_a_container_are_rows() -> None:
    result = summary_of(Functional())
    assert row(result, ":conv").macs == 2 * 16 * 16 * 4 * 27
    assert (row(result, ":own").parameters, row(result, ":own").macs) == (4 * 27, 0)
    assert (row(result, "relu").macs, row(result, "relu").backward_macs) == (0, 0)


def test_shared_weights_are_counted_once_and_work_at_every_call() -> None:
    result = summary_of(Shared())
    calls = [layer for layer in rows(result.root) if layer.path == "the_first_holder.inner"]
    assert [(layer.call, layer.parameters) for layer in calls] == [(1, 12), (2, 0), (3, 0)]
    assert {layer.macs for layer in calls} == {2 * 16 * 16 * 9}
    assert [layer.name for layer in calls] == ["inner", "the_first_holder.inner", "the_first_holder.inner"]


def test_tied_weights_are_counted_once() -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), nn.Conv2d(3, 3, 1, bias=False))
    model[1].weight = model[0].weight
    assert [layer.parameters for layer in summary_of(model).root.children] == [9, 0]


def test_frozen_parameters_are_told_from_trainable_ones() -> None:
    model = build("resnet18")
    model.head.requires_grad_(False)
    result = summary_of(model, (2, 3, 64, 64))
    assert result.frozen_parameters == 9408 + 128
    assert result.trainable_parameters == 11_689_512 - 9536
    assert row(result, "head.conv").backward_macs == 0
    assert result.memory.gradient_bytes == result.memory.optimizer_bytes == 4 * result.trainable_parameters
    assert_adds_up(result)


@pytest.mark.parametrize(
    ("options", "parameters", "logits"),
    [
        # 11,689,512 less what goes, plus what comes.
        ({"stem": "cifar"}, 11_689_512 - 64 * 3 * 49 + 64 * 3 * 9, 1000),
        ({"in_channels": 1}, 11_689_512 - 2 * 64 * 49, 1000),
        ({"num_classes": 10}, 11_689_512 - 990 * 513, 10),
        ({"repeat": "1,1,1,1"}, 11_689_512 - sum(2 * 9 * c * c + 4 * c for c in (64, 128, 256, 512)), 1000),
    ],
)
def test_changed_networks(options: dict[str, object], parameters: int, logits: int) -> None:
    spec = resolve(depth=18, **options)  # type: ignore[arg-type]
    result = summary_of(spec, (2, spec.in_channels, 32, 32))
    assert result.parameters == parameters
    assert result.root.output_shape == (2, logits)
    if spec.stem == "cifar":
        assert row(result, "l0").output_shape == (2, 64, 32, 32)
    assert_adds_up(result)


def test_a_hundred_blocks() -> None:
    result = summary_of(resolve(depth=18, repeat="25,25,25,25"), (2, 3, 32, 32))
    assert sum(layer.layer_type in ("ResIdentity", "ResSkip") for layer in rows(result.root)) == 100
    assert_adds_up(result)


def test_work_grows_with_the_batch_and_weights_do_not() -> None:
    one, eight = (summary_of(ARCHITECTURES["resnet18"], (images, 3, 64, 64)) for images in (1, 8))
    for first, second in zip(rows(one.root), rows(eight.root), strict=True):
        for name in ("macs", "ops", "backward_macs", "activation_bytes", "peak_bytes"):
            assert 8 * getattr(first, name) == getattr(second, name), (first.path, name)
        for name in ("parameters", "buffers", "parameter_bytes", "buffer_bytes"):
            assert getattr(first, name) == getattr(second, name)


def test_half_precision_halves_bytes_and_leaves_counts() -> None:
    dtype = torch.bfloat16
    single, half = (summary_of(ARCHITECTURES["resnet18"], (2, 3, 64, 64), kind) for kind in (torch.float32, dtype))
    assert (single.macs, single.ops, single.parameters) == (half.macs, half.ops, half.parameters)
    assert (half.input.bytes, half.input.dtype) == (single.input.bytes // 2, str(dtype).removeprefix("torch."))
    trackers = 8 * 20  # int64
    for first, second in zip(rows(single.root), rows(half.root), strict=True):
        assert first.parameter_bytes == 2 * second.parameter_bytes
        if not first.path.endswith("maxpool") and not first.children:
            assert first.activation_bytes == 2 * second.activation_bytes
    assert single.memory.buffer_bytes - trackers == 2 * (half.memory.buffer_bytes - trackers)


def test_a_batch_that_no_machine_could_hold() -> None:
    result = summary_of(ARCHITECTURES["resnet18"], (100_000, 3, 1024, 1024))
    assert result.memory.inference_peak_bytes > 10**13
    assert result.root.output_shape == (100_000, 1000)
    assert result.macs % 100_000 == 0
