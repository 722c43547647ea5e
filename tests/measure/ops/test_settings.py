"""Operators under the names that people know, their settings those that somebody chose, however they are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from resnet_cli.measure.graph.nodes import Node
from resnet_cli.measure.graph.operator_graph import record
from tests.helpers.models import on_meta

aten = torch.ops.aten


class Calling(nn.Module):
    """A forward by function."""

    def __init__(self, call: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.call = call

    def forward(self, x: Tensor) -> Tensor:
        return self.call(x)


def node_of(written: nn.Module | Callable[[Tensor], Tensor], *shape: int, training: bool = False) -> Node:
    """The one operator of a network."""
    model = written if isinstance(written, nn.Module) else Calling(written)
    (node,) = record(model.to("meta"), [on_meta(*shape)], training=training).nodes
    return node


def settings_of(written: nn.Module | Callable[[Tensor], Tensor], *shape: int) -> tuple[str, dict[str, Any]]:
    node = node_of(written, *shape)
    return node.operator, node.settings


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_a_convolution_has_the_settings_of_its_module(groups: int, bias: bool) -> None:
    module = nn.Conv2d(6, 4, (3, 5), stride=(2, 1), padding=(1, 2), dilation=(1, 3), groups=groups, bias=bias)
    assert settings_of(module, 2, 6, 16, 16) == (
        "conv",
        {
            "channels": (6, 4),
            "kernel": (3, 5),
            "stride": (2, 1),
            "padding": (1, 2),
            "dilation": (1, 3),
            "groups": groups,
            "bias": bias,
            "padding_mode": "zeros",
        },
    )


@pytest.mark.parametrize("groups", [1, 2])
def test_a_transposed_convolution_leads_from_its_input_to_its_output_too(groups: int) -> None:
    node = node_of(nn.ConvTranspose2d(6, 8, 2, stride=2, groups=groups), 2, 6, 8, 8)
    assert (node.operator, node.settings["channels"], node.settings["groups"]) == ("conv", (6, 8), groups)
    assert node.settings["transposed"] is True
    assert "transposed" not in node_of(nn.Conv2d(6, 8, 2), 2, 6, 8, 8).settings


def test_one_figure_for_both_axes_is_two_equal_ones() -> None:
    def short(x: Tensor) -> Tensor:
        out: Tensor = aten.convolution(x, on_meta(4, 6, 3, 3), None, [2], [1], [1], False, [0], 1)
        return out

    assert settings_of(short, 2, 6, 8, 8) == settings_of(nn.Conv2d(6, 4, 3, 2, 1, bias=False), 2, 6, 8, 8)
    assert node_of(short, 2, 6, 8, 8).settings["stride"] == (2, 2)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("tracked", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_a_batch_norm_has_the_settings_of_its_module(affine: bool, tracked: bool, training: bool) -> None:
    module = nn.BatchNorm2d(5, eps=1e-3, momentum=0.2, affine=affine, track_running_stats=tracked)
    node = node_of(module, 2, 5, 4, 4, training=training)
    assert node.operator == "batch_norm"
    assert node.settings == {
        "channels": 5,
        "eps": 1e-3,
        "momentum": 0.2,
        "affine": affine,
        "track_running_stats": tracked,
        "batch_statistics": training or not tracked,
    }


VECTORS = [on_meta(3) for _ in range(4)]
NORMS: dict[str, tuple[Callable[[Tensor], Any], bool]] = {
    "native": (lambda x: aten.native_batch_norm(x, *VECTORS, True, 0.2, 1e-3), True),
    "native, eval": (lambda x: aten.native_batch_norm(x, *VECTORS, False, 0.2, 1e-3), False),
    "legit": (lambda x: aten._native_batch_norm_legit(x, *VECTORS, True, 0.2, 1e-3), True),
    "no training": (lambda x: aten._native_batch_norm_legit_no_training(x, *VECTORS, 0.2, 1e-3), False),
    "with update": (lambda x: aten._batch_norm_with_update(x, *VECTORS, 0.2, 1e-3), False),
    "no update": (lambda x: aten._batch_norm_no_update(x, *VECTORS, 0.2, 1e-3), False),
}


@pytest.mark.parametrize("case", NORMS)
def test_every_form_of_batch_norm_is_one_operator(case: str) -> None:
    call, training = NORMS[case]
    name, settings = settings_of(lambda x: call(x)[0], 2, 3, 4, 4)
    expected = {"channels": 3, "eps": 1e-3, "momentum": 0.2, "affine": True, "track_running_stats": True}
    assert (name, settings) == ("batch_norm", expected | {"batch_statistics": training})


POOLS: dict[str, tuple[nn.Module | Callable[[Tensor], Tensor], str, dict[str, Any]]] = {
    "maximum": (nn.MaxPool2d(3), "max_pool", {"kernel": (3, 3), "stride": (3, 3), "padding": (0, 0)}),
    "maximum, all of it": (
        nn.MaxPool2d((5, 3), (2, 1), (2, 1), 2, ceil_mode=True),
        "max_pool",
        {"kernel": (5, 3), "stride": (2, 1), "padding": (2, 1), "dilation": (2, 2), "ceil_mode": True},
    ),
    "average": (
        nn.AvgPool2d((3, 2)),
        "avg_pool",
        {"kernel": (3, 2), "stride": (3, 2), "ceil_mode": False, "count_include_pad": True, "divisor_override": None},
    ),
    "average, all of it": (
        nn.AvgPool2d(4, 2, 1, ceil_mode=True, count_include_pad=False, divisor_override=7),
        "avg_pool",
        {
            "kernel": (4, 4),
            "stride": (2, 2),
            "padding": (1, 1),
            "ceil_mode": True,
            "count_include_pad": False,
            "divisor_override": 7,
        },
    ),
    "to a size": (nn.AdaptiveAvgPool2d((2, 1)), "adaptive_avg_pool", {"output_size": (2, 1)}),
    "mean": (lambda x: x.mean(), "mean", {"dims": (0, 1, 2, 3)}),
    "mean from the end": (lambda x: x.mean((-4, 1)), "mean", {"dims": (0, 1)}),
    "mean in any order": (lambda x: x.mean((1, 0)), "mean", {"dims": (0, 1)}),
}


@pytest.mark.parametrize("case", POOLS)
def test_pools_have_the_settings_that_were_chosen(case: str) -> None:
    written, name, chosen = POOLS[case]
    operator, settings = settings_of(written, 2, 6, 12, 12)
    assert operator == name
    assert {key: settings[key] for key in chosen} == chosen


@pytest.mark.parametrize("shape", [(3, 9), (2, 3, 9)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer_has_the_settings_of_its_module(bias: bool, shape: tuple[int, ...]) -> None:
    node = node_of(nn.Linear(9, 5, bias=bias), *shape)
    assert (node.operator, node.settings) == ("linear", {"channels": (9, 5), "bias": bias})
    assert {role: leaf.name for role, leaf in node.leaves.items()} == {"weight": "weight"} | (
        {"bias": "bias"} if bias else {}
    )


ACTIVATIONS: dict[str, tuple[nn.Module | Callable[[Tensor], Tensor], str, dict[str, Any]]] = {
    "module": (nn.ReLU(), "relu", {}),
    "in place": (nn.ReLU(inplace=True), "relu", {}),
    "clamp from below": (lambda x: x.clamp(min=0), "relu", {}),
    "clamp_min": (lambda x: x.clamp_min(0), "relu", {}),
    "threshold": (lambda x: F.threshold(x, 0, 0), "relu", {}),
    "another threshold": (lambda x: F.threshold(x, 1, 0), "threshold", {"threshold": 1, "value": 0}),
    "another value": (lambda x: F.threshold(x, 0, 1), "threshold", {"threshold": 0, "value": 1}),
    "clamp from above": (lambda x: x.clamp(max=0), "clamp", {"min": None, "max": 0}),
    "clamp from below and above": (lambda x: x.clamp(0, 6), "clamp", {"min": 0, "max": 6}),
    "relu6": (nn.ReLU6(), "relu6", {}),
    "relu6 by its limits": (nn.Hardtanh(0, 6), "relu6", {}),
    "hardtanh": (nn.Hardtanh(), "hardtanh", {"min_val": -1, "max_val": 1}),
    "to six from below zero": (nn.Hardtanh(-1, 6), "hardtanh", {"min_val": -1, "max_val": 6}),
    "slope": (nn.LeakyReLU(0.2, inplace=True), "leaky_relu", {"negative_slope": 0.2}),
    "words": (nn.GELU("tanh"), "gelu", {"approximate": "tanh"}),
    "list": (lambda x: F.pad(x, (1, 2), value=0.5), "constant_pad", {"pad": (1, 2), "value": 0.5}),
    "what torch chooses": (lambda x: x.sum(1, keepdim=True), "sum", {"dim": (1,)}),
    "indices": (lambda x: x[:, on_meta(3, dtype=torch.int64)], "index", {}),
    "tensors": (lambda x: torch.cat([x, x], 1), "cat", {"dim": 1}),
}


@pytest.mark.parametrize("case", ACTIVATIONS)
def test_settings_are_the_chosen_arguments(case: str) -> None:
    written, name, settings = ACTIVATIONS[case]
    assert settings_of(written, 2, 6, 8, 8) == (name, settings)


ADDITIONS: dict[str, tuple[Callable[[Tensor], Tensor], dict[str, Any]]] = {
    "of tensors": (lambda x: x + x, {}),
    "of a number": (lambda x: x + 3, {"other": 3}),
    "of a multiple": (lambda x: torch.add(x, x, alpha=2), {"alpha": 2}),
    "of a multiple, in place": (lambda x: x.add_(x, alpha=2), {"alpha": 2}),
}


@pytest.mark.parametrize("case", ADDITIONS)
def test_an_addition_says_what_is_unusual_about_it(case: str) -> None:
    written, settings = ADDITIONS[case]
    assert settings_of(written, 2, 3, 4, 4) == ("add", settings)
