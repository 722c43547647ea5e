"""Which operator reads whose output, compared with the graph that torch.fx makes by running Python on proxies."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch
from torch import Tensor, fx, nn

from resnet_cli.network.architectures import ModelSpec
from resnet_cli.network.resnet import BottleneckIdentity, BottleneckSkip, ResIdentity, ResSkip, build
from resnet_cli.results.summary import Layer
from tests.helpers.models import inception, mobilenet, summary_of, torchvision_models

VIEWS = ("flatten", "view", "size", "getitem", "chunk")


class _Children(fx.Tracer):
    """Every module that the forward calls is a leaf."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True


def edges_by_fx(module: nn.Module) -> list[tuple[int, ...]]:
    """What each call of the forward reads, in the order of the calls; views stand for what they look at."""
    number: dict[fx.Node, int] = {}
    edges: list[tuple[int, ...]] = []
    alias: dict[fx.Node, list[int]] = {}
    for node in _Children().trace(module).nodes:
        read = [index for source in node.all_input_nodes for index in alias.get(source, [number.get(source, -1)])]
        if node.op in ("placeholder", "output"):
            continue
        name = node.target if isinstance(node.target, str) else node.target.__name__
        if node.op != "call_module" and name in VIEWS:
            alias[node] = read
            continue
        number[node] = len(edges)
        edges.append(tuple(sorted(set(read))))
    return edges


def edges(layer: Layer) -> list[tuple[int, ...] | None]:
    return [child.sources for child in layer.children]


def layers(layer: Layer) -> Iterator[Layer]:
    yield layer
    for child in layer.children:
        yield from layers(child)


def resnet(kind: str) -> nn.Module:
    module = torchvision_models().resnet
    made: nn.Module = module.ResNet(getattr(module, kind), [1, 2, 1, 1])
    return made


THIRD_PARTY: dict[str, Callable[[], nn.Module]] = {
    "BasicBlock": partial(resnet, "BasicBlock"),
    "Bottleneck": partial(resnet, "Bottleneck"),
    "InvertedResidual": mobilenet,
    "SqueezeExcitation": mobilenet,
    "Inception": inception,
}
BUILT_IN: dict[str, Callable[[], nn.Module]] = {
    kind.__name__: partial(build, spec)
    for spec, kinds in (
        (ModelSpec("small", "basic", (1, 2, 1, 1)), (ResIdentity, ResSkip)),
        (ModelSpec("small", "bottleneck", (1, 2, 1, 1)), (BottleneckIdentity, BottleneckSkip)),
    )
    for kind in kinds
}


@pytest.mark.parametrize(("kind", "make"), [*THIRD_PARTY.items(), *BUILT_IN.items()])
def test_edges_within_blocks_are_those_of_fx(kind: str, make: Callable[[], nn.Module]) -> None:
    with torch.device("meta"):
        network = make().eval()
    by_path = {layer.path: layer for layer in layers(summary_of(network, (2, 3, 64, 64)).root)}
    blocks = [(path, module) for path, module in network.named_modules() if type(module).__name__ == kind]
    assert blocks
    for path, module in blocks:
        assert edges(by_path[path]) == edges_by_fx(module), path


def test_edges_between_stages_form_a_chain() -> None:
    root = summary_of(ModelSpec("small", "basic", (1, 1, 1, 1)), (2, 3, 64, 64)).root
    assert edges(root) == [(-1,), (0,), (1,), (2,), (3,), (4,)]


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


def test_the_last_write_is_what_is_read() -> None:
    result = summary_of(Shares(), (2, 8, 1, 1))
    names = [(row.name, row.call, row.sources) for row in result.root.children if row.output_shape is not None]
    assert names == [
        ("lin", 1, (-1,)),
        ("lin", 2, (0,)),
        ("act", 1, (0,)),
        ("add", 1, (1, 2)),
        ("mul", 1, (3,)),
    ]


def test_uncalled_modules_have_no_sources() -> None:
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


def test_operators_without_a_row_pass_their_sources_on() -> None:
    result = summary_of(Overwrites(), (2, 3, 8, 8))
    assert {row.name: row.sources for row in result.root.children} == {"a": (-1,), "b": (-1,), "add": (-1, 0, 1)}
