"""Who reads whose output, held against the graph that torch.fx finds by other means (it runs Python on proxies)."""

from __future__ import annotations

import operator
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, fx, nn

from resnet_cli.network.resnet import BottleneckIdentity, BottleneckSkip, ResIdentity, ResSkip, build
from resnet_cli.results.summary import Layer
from tests.helpers.models import summary_of, torchvision_models

VIEWS = ("flatten", "view", "size", "getitem", "chunk")


class _Children(fx.Tracer):
    """Every module that the forward calls is a leaf."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True


def edges_by_fx(module: nn.Module) -> list[tuple[int, ...]]:
    """What each call of the forward reads, in the order of the calls; views stand for what they look at."""
    number: dict[fx.Node, int] = {}
    found: list[tuple[int, ...]] = []
    alias: dict[fx.Node, list[int]] = {}
    for node in _Children().trace(module).nodes:
        read = [one for source in node.all_input_nodes for one in alias.get(source, [number.get(source, -1)])]
        if node.op in ("placeholder", "output"):
            continue
        name = node.target if isinstance(node.target, str) else node.target.__name__
        if node.op != "call_module" and name in VIEWS:
            alias[node] = read
            continue
        number[node] = len(found)
        found.append(tuple(sorted(set(read))))
    return found


def edges(layer: Layer) -> list[tuple[int, ...] | None]:
    return [child.sources for child in layer.children]


def layers(layer: Layer) -> Iterator[Layer]:
    yield layer
    for child in layer.children:
        yield from layers(child)


def blocks_of(name: str) -> list[tuple[str, nn.Module]]:
    with torch.device("meta"):
        network = torchvision_models().get_model(name, **({"init_weights": False} if name == "googlenet" else {}))
    kinds = ("BasicBlock", "Bottleneck", "SqueezeExcitation", "InvertedResidual", "Inception")
    return [(path, module) for path, module in network.named_modules() if type(module).__name__ in kinds]


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet_v3_small", "googlenet"])
def test_edges_of_torchvisions_blocks_are_those_of_fx(name: str) -> None:
    with torch.device("meta"):
        network = torchvision_models().get_model(name, **({"init_weights": False} if name == "googlenet" else {}))
    network.eval()
    found = {layer.path: layer for layer in layers(summary_of(network, (2, 3, 224, 224)).root)}
    blocks = blocks_of(name)
    assert len(blocks) > 7
    for path, module in blocks:
        assert edges(found[path]) == edges_by_fx(module.eval()), path


@pytest.mark.parametrize("depth", [18, 50])
def test_edges_of_our_blocks_are_those_of_fx(depth: int) -> None:
    with torch.device("meta"):
        network = build(depth)
    found = {layer.path: layer for layer in layers(summary_of(network, (2, 3, 64, 64)).root)}
    blocks = (ResIdentity, ResSkip, BottleneckIdentity, BottleneckSkip)
    seen = 0
    for path, module in network.named_modules():
        if isinstance(module, blocks):
            seen += 1
            assert edges(found[path]) == edges_by_fx(module), path
    assert seen == {18: 8, 50: 16}[depth]
    assert edges(found[""]) == [(-1,), (0,), (1,), (2,), (3,), (4,)]


class Shares(nn.Module):
    """One module called twice, a view between them, a constant, an in-place change of the input's own storage."""

    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(8, 8)
        self.act = nn.ReLU(inplace=True)
        self.scale = nn.Parameter(torch.ones(8))

    def forward(self, x: Tensor) -> Tensor:
        first = self.lin(x.flatten(1))
        second = self.lin(first)
        self.act(first)  # changes what the addition below reads
        total: Tensor = operator.add(first, second) * self.scale
        return total


def test_what_was_written_last_is_what_is_read() -> None:
    result = summary_of(Shares(), (2, 8, 1, 1))
    names = [(row.name, row.call, row.sources) for row in result.root.children if row.output_shape is not None]
    assert names == [
        ("lin", 1, (-1,)),
        ("lin", 2, (0,)),
        ("act", 1, (0,)),
        ("add", 1, (1, 2)),
        ("mul", 1, (3,)),
    ]


def test_what_no_forward_calls_reads_nothing_known() -> None:
    result = summary_of(Shares(), (2, 8, 1, 1))
    assert [row.sources for row in result.root.children if row.output_shape is None] == [None]


class Overwrites(nn.Module):
    """Operators that compute nothing have no row: who reads them reads what they read."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.a(x)
        out.copy_(self.b(x))
        total: Tensor = out + x
        return total


def test_what_has_no_row_stands_for_what_it_reads() -> None:
    result = summary_of(Overwrites(), (2, 3, 8, 8))
    found = {row.name: row.sources for row in result.root.children}
    assert found == {"a": (-1,), "b": (-1,), "add": (-1, 0, 1)}
