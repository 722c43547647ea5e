"""Several operators that are one: whoever writes a norm, a dropout or a pool by hand has a norm, a dropout, a pool."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from resnet_cli.measure.graph.nodes import Graph, Node
from resnet_cli.measure.graph.operator_graph import record
from tests.helpers.models import on_meta


class Calling(nn.Module):
    """A forward by function, behind a convolution."""

    def __init__(self, call: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.call = nn.Conv2d(3, 4, 1), call

    def forward(self, x: Tensor) -> Tensor:
        return self.call(self.conv(x))


def graph_of(model: nn.Module, *shape: int, training: bool = False) -> Graph:
    return record(model.to("meta"), [on_meta(*shape)], training=training)


def behind_conv(call: Callable[[Tensor], Tensor], *, training: bool = False) -> list[Node]:
    """What follows the convolution."""
    first, *rest = graph_of(Calling(call), 2, 3, 6, 6, training=training).nodes
    assert first.path == "conv"
    return rest


def summary(nodes: list[Node]) -> list[tuple[str, dict[str, Any]]]:
    return [(node.operator, node.settings) for node in nodes]


@pytest.mark.parametrize("p", [0.1, 1 / 3, 0.5])
def test_a_dropout_is_the_same_as_module_and_as_function(p: float) -> None:
    module = behind_conv(nn.Dropout(p), training=True)
    assert summary(module) == summary(behind_conv(lambda x: F.dropout(x, p, training=True), training=True))
    for other in (nn.Dropout2d(p), nn.AlphaDropout(p)):
        assert summary(module) == summary(behind_conv(other, training=True))
    ((name, settings),) = summary(module)
    assert (name, settings["p"]) == ("dropout", pytest.approx(p))
    assert [node.inputs for node in module] == [(0,)]
    assert behind_conv(nn.Dropout(p)) == []


def test_a_dropped_branch_is_a_dropout() -> None:
    """Stochastic depth as torchvision writes it: a mask of whole images, scaled in place."""

    def drop(x: Tensor) -> Tensor:
        noise = torch.empty((x.shape[0], 1, 1, 1), device="meta").bernoulli_(0.8).div_(0.8)
        return x * noise

    assert summary(behind_conv(drop)) == [("mul", {})]  # a mask that comes out of nowhere is no activation

    def drop_like(x: Tensor) -> Tensor:
        return x.new_empty((x.shape[0], 1, 1, 1)).bernoulli_(0.8).div_(0.8) * x

    (node,) = behind_conv(drop_like)
    assert (node.operator, node.settings, node.inputs) == ("dropout", {"p": 0.2}, (0,))


MULTIPLIED: dict[str, Callable[[Tensor], Tensor]] = {
    "itself": lambda x: x * x,
    "another": lambda x: x * x.sigmoid(),
    "a number": lambda x: x * 2,
    "its half": lambda x: x * (x / 2),
    "what was scaled by what it is": lambda x: x * (x / x.sigmoid()),
}


@pytest.mark.parametrize("case", MULTIPLIED)
def test_other_products_are_no_dropout(case: str) -> None:
    nodes = behind_conv(MULTIPLIED[case])
    assert nodes[-1].operator == "mul"
    assert all(node.operator != "dropout" for node in nodes)


POOLED: dict[str, Callable[[Tensor], Tensor]] = {
    "module": nn.AdaptiveAvgPool2d(1),
    "module and flatten": nn.Sequential(nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten()),
    "function": lambda x: F.adaptive_avg_pool2d(x, 1),
    "mean": lambda x: x.mean((2, 3)),
    "mean in any order": lambda x: x.mean((-1, -2)),
    "mean that keeps": lambda x: x.mean((2, 3), keepdim=True),
    "flat": lambda x: x.flatten(2).mean(2),
}


@pytest.mark.parametrize("case", POOLED)
def test_a_global_pool_is_one_however_it_is_written(case: str) -> None:
    (node,) = behind_conv(POOLED[case])
    assert (node.operator, node.settings, node.inputs) == ("mean", {"dims": "spatial"}, (0,))


OTHER_MEANS: dict[str, tuple[Callable[[Tensor], Tensor], list[tuple[str, dict[str, Any]]]]] = {
    "of channels": (lambda x: x.mean(1), [("mean", {"dims": (1,)})]),
    "of one side": (lambda x: x.mean(3), [("mean", {"dims": (3,)})]),
    "of all": (lambda x: x.mean(), [("mean", {"dims": (0, 1, 2, 3)})]),
    "to two by two": (nn.AdaptiveAvgPool2d(2), [("adaptive_avg_pool", {"output_size": (2, 2)})]),
    "to one by two": (nn.AdaptiveAvgPool2d((1, 2)), [("adaptive_avg_pool", {"output_size": (1, 2)})]),
    "of channels, after the pool": (
        lambda x: x.mean((2, 3)).mean(1),
        [("mean", {"dims": "spatial"}), ("mean", {"dims": (1,)})],
    ),
    "of one side and the channels": (lambda x: x.mean(2).mean(1), [("mean", {"dims": (2,)}), ("mean", {"dims": (1,)})]),
    "of one side twice": (
        lambda x: x.mean(3, keepdim=True).mean(3, keepdim=True),
        [("mean", {"dims": (3,)}), ("mean", {"dims": (3,)})],
    ),
    "of channels, then of one side": (
        lambda x: x.mean(1, keepdim=True).mean((2, 3)),
        [("mean", {"dims": (1,)}), ("mean", {"dims": "spatial"})],
    ),
    "of what is between": (
        lambda x: x.mean(3).relu().mean(2),
        [("mean", {"dims": (3,)}), ("relu", {}), ("mean", {"dims": "spatial"})],
    ),
}


@pytest.mark.parametrize("case", OTHER_MEANS)
def test_other_means_are_not_global_pools(case: str) -> None:
    call, expected = OTHER_MEANS[case]
    assert summary(behind_conv(call)) == expected


def head(module: nn.Module) -> list[tuple[str, dict[str, Any]]]:
    """What is behind a ReLU and a global pool."""
    (relu, pool, *rest) = behind_conv(nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), module))
    assert (relu.operator, pool.operator) == ("relu", "mean")
    return summary(rest)


def test_a_convolution_behind_the_pool_is_a_linear_layer() -> None:
    assert head(nn.Conv2d(4, 7, 1)) == [("linear", {"channels": (4, 7), "bias": True})]
    assert head(nn.Conv2d(4, 7, 1, bias=False)) == [("linear", {"channels": (4, 7), "bias": False})]
    assert head(nn.Sequential(nn.Conv2d(4, 5, 1), nn.ReLU(), nn.Conv2d(5, 7, 1))) == [
        ("linear", {"channels": (4, 5), "bias": True}),
        ("relu", {}),
        ("linear", {"channels": (5, 7), "bias": True}),
    ]
    assert [name for name, _ in head(nn.Conv2d(4, 7, 3, padding=1))] == ["conv"]
    before = behind_conv(nn.Sequential(nn.Conv2d(4, 7, 1), nn.AdaptiveAvgPool2d(1)))
    assert [node.operator for node in before] == ["conv", "mean"]


@pytest.mark.parametrize("mode", ["reflect", "circular", "replicate"])
@pytest.mark.parametrize("bias", [True, False])
def test_a_convolution_that_pads_otherwise_is_one_operator(
    mode: Literal["reflect", "circular", "replicate"], bias: bool
) -> None:
    module = nn.Conv2d(4, 6, (3, 5), (1, 2), (1, 2), (1, 1), 2, bias, padding_mode=mode)
    (node,) = behind_conv(module)
    plain = behind_conv(nn.Conv2d(4, 6, (3, 5), (1, 2), (1, 2), (1, 1), 2, bias))[0]
    assert node.settings == plain.settings | {"padding_mode": mode}
    assert (node.operator, node.inputs, node.shape, node.path) == ("conv", (0,), plain.shape, "call")
    assert node.leaves == plain.leaves
    assert (node.composite, plain.composite) == ("call", None)


class Norm(nn.Module):
    """A batch norm by hand, its vectors under any names."""

    def __init__(self, parameters: Mapping[str, int], buffers: Mapping[str, int], **others: float) -> None:
        super().__init__()
        for name, size in parameters.items():
            self.register_parameter(name, nn.Parameter(torch.ones(size)))
        for name, size in buffers.items():
            self.register_buffer(name, torch.ones(size) if size else torch.tensor(0))
        for name, value in others.items():
            setattr(self, name, value)

    def forward(self, x: Tensor) -> Tensor:
        x = (x - x.mean((0, 2, 3), keepdim=True)) / x.var((0, 2, 3), keepdim=True).sqrt()
        for vector in (*self.parameters(), *self.buffers()):
            if vector.dim():
                x = x * vector.view(1, -1, 1, 1)[:, : x.shape[1]]
        return x


def folded(parameters: dict[str, int], buffers: dict[str, int], **others: float) -> Node:
    (node,) = behind_conv(Norm(parameters, buffers, **others), training=True)
    return node


PAIR = {"running_mean": 4, "running_var": 4}


@pytest.mark.parametrize(
    ("parameters", "buffers", "roles"),
    [
        ({"weight": 4, "bias": 4}, PAIR, ("weight", "bias", "running_mean", "running_var")),
        ({"beta": 4, "gamma": 4}, {"variance": 4, "mean": 4}, ("gamma", "beta", "mean", "variance")),
        ({"Offset": 4, "Scale": 4}, {"sigma": 4, "mu": 4}, ("Scale", "Offset", "mu", "sigma")),
        ({"a": 4, "b": 4}, {"c": 4, "d": 4}, ("a", "b", "c", "d")),  # in order, where no name tells
        ({}, {"m": 4, "v": 4, "g": 4, "b": 4}, ("g", "b", "m", "v")),  # frozen: all four are buffers
        ({}, {"bias": 4, "weight": 4, **PAIR}, ("weight", "bias", "running_mean", "running_var")),
        ({"weight": 4, "bias": 4}, {"count": 0, **PAIR}, ("weight", "bias", "running_mean", "running_var")),
    ],
)
def test_a_norm_by_hand_is_a_batch_norm(
    parameters: dict[str, int], buffers: dict[str, int], roles: tuple[str, ...]
) -> None:
    node = folded(parameters, buffers)
    names = ("weight", "bias", "running_mean", "running_var")
    assert {role: leaf.name for role, leaf in node.leaves.items()} == {
        role: f"call.{name}" for role, name in zip(names, roles, strict=True)
    }
    assert (node.operator, node.path, node.composite, node.inputs) == ("batch_norm", "call", "call", (0,))
    assert node.settings == {"channels": 4, "affine": True, "track_running_stats": True}


def test_a_norm_by_hand_has_the_settings_that_it_calls_by_a_usual_name() -> None:
    assert folded({"weight": 4}, {}, eps=1e-3).settings == {
        "channels": 4,
        "affine": True,
        "track_running_stats": False,
        "eps": 1e-3,
    }
    node = folded({}, PAIR, epsilon=1e-4, momentum=0.3)
    assert (node.settings["affine"], node.settings["track_running_stats"]) == (False, True)
    assert (node.settings["eps"], node.settings["momentum"]) == (1e-4, 0.3)
    assert "momentum" not in folded({"weight": 4}, {}, momentum=1).settings


class Scaled(nn.Module):
    """Vectors, but no division by a spread."""

    def __init__(self, size: int = 4) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight.view(1, -1, 1, 1)


class Shrinking(Scaled):
    """A spread, but the shape does not stay."""

    def forward(self, x: Tensor) -> Tensor:
        return x.var((2, 3)) * self.weight


class Standardised(Scaled):
    """A norm of a single axis."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean()) / x.std() * self.weight


class Holding(Norm):
    """A norm that holds a module."""

    def __init__(self) -> None:
        super().__init__({"weight": 4}, {})
        self.relu = nn.ReLU()


OTHERS: dict[str, nn.Module] = {
    "no spread": Scaled(),
    "another shape": Shrinking(),
    "vectors of another length": Norm({"weight": 5}, {}),
    "with a module inside": Holding(),
    "without vectors": Norm({}, {"count": 0}),
    "of one axis": nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(0), Standardised(8)),
}


def test_norms_of_torch_are_not_composites() -> None:
    nodes = graph_of(nn.RMSNorm(3), 2, 3).nodes
    assert {"rsqrt", "_fused_rms_norm"} & {node.operator for node in nodes}
    assert all(node.composite is None for node in nodes)


@pytest.mark.parametrize("case", OTHERS)
def test_other_modules_are_not_batch_norms(case: str) -> None:
    nodes = behind_conv(OTHERS[case])
    assert len(nodes) + (case in ("no spread", "another shape")) > 1
    assert all(node.composite is None and node.operator != "batch_norm" for node in nodes)
