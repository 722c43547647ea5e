"""A forward as a graph: what each operator reads, whatever views and changes in place lie between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils import parametrizations

from resnet_cli.measure.graph.nodes import IMAGE, Graph, ParameterRef
from resnet_cli.measure.graph.operator_graph import record
from resnet_cli.network.resnet import build
from tests.helpers.models import on_meta


class Calling(nn.Module):
    """A forward by function of the module itself, which holds a few things to call."""

    def __init__(self, call: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.call = call
        self.a, self.b = nn.Conv2d(3, 3, 1, bias=False), nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.lin = nn.Linear(4, 4)
        self.token = nn.Parameter(torch.ones(1, 3, 4, 4))
        self.register_buffer("scale", torch.ones(3, 1, 1))

    def forward(self, x: Tensor) -> Any:
        return self.call(self, x)


def graph_of(call: nn.Module | Callable[[Any, Tensor], Any], *shape: int, training: bool = False) -> Graph:
    model = call if isinstance(call, nn.Module) else Calling(call)
    return record(model.to("meta"), [on_meta(*(shape or (2, 3, 4, 4)))], training=training)


def wired(graph: Graph) -> list[tuple[Any, ...]]:
    """Every operator with the operators that it reads, by their place in the graph."""
    place = {IMAGE: "x"} | {node.number: str(index) for index, node in enumerate(graph.nodes)}
    return [(node.operator, *(place[number] for number in node.inputs)) for node in graph.nodes]


def in_place(net: Any, x: Tensor) -> Tensor:
    y: Tensor = net.a(x)
    rows = y.flatten(1)
    y.relu_()
    return rows.sigmoid()


def through_a_view(net: Any, x: Tensor) -> Tensor:
    y: Tensor = net.a(x)
    y.view(2, -1).relu_()
    return y.sigmoid()


def into_a_part(net: Any, x: Tensor) -> Tensor:
    out = x.new_zeros(2, 6, 4, 4)
    out[:, :3] = x
    return out.sigmoid()


def made_of_another(net: Any, x: Tensor) -> Tensor:
    return net.a(x) + x.new_ones(x.shape)  # type: ignore[no-any-return]


WIRES: dict[str, tuple[Callable[[Any, Tensor], Any], list[tuple[str, ...]]]] = {
    "chain": (lambda net, x: net.a(x).relu(), [("conv", "x"), ("relu", "0")]),
    "residual": (lambda net, x: x + net.a(x), [("conv", "x"), ("add", "x", "0")]),
    "the other way round": (lambda net, x: net.a(x) + x, [("conv", "x"), ("add", "0", "x")]),
    "twice the same": (lambda net, x: (lambda y: y * y)(net.a(x)), [("conv", "x"), ("mul", "0", "0")]),
    "views are what they look at": (
        lambda net, x: net.a(x).flatten(1).view(2, 3, 4, 4).unsqueeze(0).squeeze(0).relu(),
        [("conv", "x"), ("relu", "0")],
    ),
    "a view of what is changed": (in_place, [("conv", "x"), ("relu", "0"), ("sigmoid", "1")]),
    "changed by a view": (through_a_view, [("conv", "x"), ("relu", "0"), ("sigmoid", "1")]),
    "copied into a part": (into_a_part, [("slice", "x"), ("copy", "0", "x"), ("sigmoid", "1")]),
    "a transposed image": (
        lambda net, x: net.a(x.transpose(2, 3)),
        [("transpose", "x"), ("conv", "0")],
    ),
    "put together": (lambda net, x: torch.cat([net.a(x), x]), [("conv", "x"), ("cat", "0", "x")]),
    "filled like the image": (
        made_of_another,
        [("conv", "x"), ("add", "0", "x")],
    ),
    "dead ends are left out": (lambda net, x: (net.b(x), net.a(x))[1], [("conv", "x")]),
    "nothing at all": (lambda net, x: x, []),
    "a constant beside": (lambda net, x: (net.scale, net.a(x)), [("conv", "x")]),
    "two outputs": (lambda net, x: {"a": net.a(x), "rest": [x, x.relu()]}, [("conv", "x"), ("relu", "x")]),
}


@pytest.mark.parametrize("case", WIRES)
def test_what_each_operator_reads(case: str) -> None:
    call, expected = WIRES[case]
    assert wired(graph_of(call)) == expected


def branches(first: str, second: str) -> Callable[[Any, Tensor], Tensor]:
    def call(net: Any, x: Tensor) -> Tensor:
        made = {}
        for name in (first, second):
            made[name] = net.a(x) if name == "short" else net.b(x.relu()).relu()
        return made["long"] + made["short"]  # type: ignore[no-any-return]

    return call


def test_the_order_of_branches_does_not_matter() -> None:
    one, other = graph_of(branches("short", "long")), graph_of(branches("long", "short"))
    assert [node.operator for node in one.nodes] == ["relu", "conv", "relu", "conv", "add"]
    assert [(node.operator, node.path) for node in one.nodes] == [(node.operator, node.path) for node in other.nodes]
    assert one.calls != other.calls


def test_a_freed_tensor_is_not_mistaken_for_a_new_one() -> None:
    """Python gives the address of a tensor that is gone to the next one."""

    def views(net: Any, x: Tensor) -> Tensor:
        for _ in range(4):
            x = (x * net.scale.view(1, 3, 1, 1)).relu()
        return x

    def computed(net: Any, x: Tensor) -> Tensor:
        for _ in range(4):
            x = (x * net.scale.exp()).relu()
        return x

    def constants(net: Any, x: Tensor) -> Tensor:
        for _ in range(4):
            x.sigmoid()
            x = x * torch.ones(3, 1, 1, device="meta")
        return x

    both = [("mul", "x"), ("relu", "0"), ("mul", "1"), ("relu", "2"), ("mul", "3"), ("relu", "4")]
    assert wired(graph_of(views)) == wired(graph_of(computed)) == [*both, ("mul", "5"), ("relu", "6")]
    assert wired(graph_of(constants)) == [("mul", "x"), ("mul", "0"), ("mul", "1"), ("mul", "2")]


def test_branches_of_equal_depth_are_told_apart_by_what_is_above_them() -> None:
    def one(net: Any, x: Tensor) -> Tensor:
        return x.sigmoid().relu() + x.tanh().relu()

    def other(net: Any, x: Tensor) -> Tensor:
        return x.tanh().relu() + x.sigmoid().relu()

    assert [node.operator for node in graph_of(one).nodes] == [node.operator for node in graph_of(other).nodes]


def test_a_node_says_where_it_was_run_and_what_came_out() -> None:
    net = nn.Sequential(nn.Conv2d(3, 5, 1), nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1)), nn.Flatten())
    graph = graph_of(net)
    assert [(node.path, node.shape) for node in graph.nodes] == [
        ("0", (2, 5, 4, 4)),
        ("1.0", (2, 5, 4, 4)),
        ("1.1", (2, 5, 1, 1)),
    ]
    assert graph.outputs == ((2, 5),)
    assert graph.by_number == {node.number: node for node in graph.nodes}
    assert [graph.calls[node.number] for node in graph.nodes] == ["conv", "relu", "mean"]


def test_parameters_are_known_by_role() -> None:
    conv, norm, linear = graph_of(
        nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 2))
    ).nodes
    assert conv.leaves == {"weight": ParameterRef("0.weight", (4, 3, 1, 1)), "bias": ParameterRef("0.bias", (4,))}
    assert norm.leaves == {
        role: ParameterRef(f"1.{role}", (4,)) for role in ("weight", "bias", "running_mean", "running_var")
    }
    assert linear.leaves == {"weight": ParameterRef("3.weight", (2, 64)), "bias": ParameterRef("3.bias", (2,))}


LEAVES: dict[str, tuple[Callable[[Any, Tensor], Any], dict[str, ParameterRef]]] = {
    "a buffer": (lambda net, x: x * net.scale, {"other": ParameterRef("scale", (3, 1, 1))}),
    "a view of a weight": (
        lambda net, x: x * net.scale.flatten().view(1, 3, 1, 1),
        {"other": ParameterRef("scale", (3, 1, 1))},
    ),
    "a turned weight": (lambda net, x: x @ net.lin.weight.t(), {"weight": ParameterRef("lin.weight", (4, 4))}),
    "a weight turned another way": (
        lambda net, x: x @ net.lin.weight.transpose(0, 1),
        {"weight": ParameterRef("lin.weight", (4, 4))},
    ),
    "a token beside an activation": (
        lambda net, x: torch.cat([net.token.expand(2, -1, -1, -1), x]),
        {"tensors0": ParameterRef("token", (1, 3, 4, 4))},
    ),
    "a token behind it": (
        lambda net, x: torch.cat([x, net.token]),
        {"tensors1": ParameterRef("token", (1, 3, 4, 4))},
    ),
    "a weight that is computed": (
        lambda net, x: F.conv2d(x, net.a.weight * 2),
        {"weight": ParameterRef("a.weight", (3, 3, 1, 1), ("mul",))},
    ),
    "a weight that is computed in steps": (
        lambda net, x: F.conv2d(x, (net.lin.weight[:3, :3].exp() / 3)[:, :, None, None]),
        {"weight": ParameterRef("lin.weight", (3, 3), ("slice", "slice", "exp", "div"))},
    ),
}


@pytest.mark.parametrize("case", LEAVES)
def test_views_of_parameters_keep_their_name(case: str) -> None:
    call, expected = LEAVES[case]
    assert graph_of(call).nodes[-1].leaves == expected


def test_a_parametrized_weight_is_computed() -> None:
    model = nn.Sequential(parametrizations.weight_norm(nn.Conv2d(3, 4, 1, bias=False)))
    (conv,) = graph_of(model).nodes
    assert conv.leaves["weight"].name.startswith("0.parametrizations.weight.original")
    assert conv.leaves["weight"].computed
    assert conv.leaves["weight"].shape == (4, 3, 1, 1)


def test_updates_of_buffers_do_not_change_what_is_read() -> None:
    """num_batches_tracked goes up in train mode."""
    (conv, norm) = graph_of(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), training=True).nodes
    assert norm.leaves["running_mean"] == ParameterRef("1.running_mean", (4,))
    assert conv.leaves["weight"].computed == ()

    def renewed(net: Any, x: Tensor) -> Tensor:
        net.scale.mul_(0.9)
        return x * net.scale  # type: ignore[no-any-return]

    (product,) = graph_of(renewed).nodes
    assert product.leaves == {"other": ParameterRef("scale", (3, 1, 1))}


def test_a_tied_weight_has_the_name_that_comes_first() -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), nn.Conv2d(3, 3, 1, bias=False)).to("meta")
    model[1].weight = model[0].weight
    assert [node.leaves["weight"].name for node in graph_of(model).nodes] == ["0.weight", "0.weight"]


def test_resnet18_by_hand() -> None:
    graph = graph_of(build(18, num_classes=10), 1, 3, 64, 64)
    count = {
        name: sum(node.operator == name for node in graph.nodes) for name in {node.operator for node in graph.nodes}
    }
    # 17 convolutions of 3x3 and 7x7 with 3 projections; two ReLUs for each of 8 blocks and one in the stem.
    assert count == {"conv": 20, "batch_norm": 20, "relu": 17, "add": 8, "max_pool": 1, "mean": 1, "linear": 1}
    assert len(graph.used) == 20 + 20 * 4 + 2
    assert [node.operator for node in graph.nodes[:4]] == ["conv", "batch_norm", "relu", "max_pool"]
    assert [node.operator for node in graph.nodes[-3:]] == ["relu", "mean", "linear"]


class ReassignsBuffer(nn.Module):
    """Replaces a buffer, whose memory the activations behind it may take over."""

    def __init__(self) -> None:
        super().__init__()
        self.mean: Tensor = nn.Buffer(torch.zeros(4))
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        self.mean = 0.9 * self.mean + x.mean((0, 2, 3))
        for _ in range(20):
            x = x.relu() + 1
        return x


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_a_buffer_that_a_forward_replaces_is_no_activation(device: str) -> None:
    graphs = []
    for _ in range(5):
        model = ReassignsBuffer().to(device)
        graphs.append(record(model, [torch.zeros(2, 3, 4, 4, device=device)], training=True))
    assert {len(graph.nodes) for graph in graphs} == {41}
    assert all(not node.leaves for graph in graphs for node in graph.nodes[1:])
