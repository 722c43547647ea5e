"""Rows of a network have one identity in layer trees and in operator graphs."""

from __future__ import annotations

from torch import Tensor, nn

from resnet_cli.measure.graph.operator_graph import record
from resnet_cli.network.architectures import ARCHITECTURES
from resnet_cli.network.resnet import build
from tests.helpers.models import Holder, on_meta, rows, summary_of


class Doubling(nn.Module):
    """Runs two additions beside a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.conv(x)
        return x + x


class Twice(Holder):
    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(self.inner(x))
        return out


def test_operators_of_a_module_that_is_called_twice_have_rows_of_each_call() -> None:
    sites = [(layer.path, layer.call) for layer in rows(summary_of(Twice(Doubling())).root)]
    expected = [("inner:add", call) for call in (1, 2)] + [("inner:add2", call) for call in (1, 2)]
    assert sorted(site for site in sites if "add" in site[0]) == expected
    assert len(set(sites)) == len(sites)


def test_every_operator_of_a_graph_has_a_row_in_the_layer_tree() -> None:
    for model in (Twice(Doubling()), build(18)):
        sites = {(layer.path, layer.call) for layer in rows(summary_of(model, (2, 3, 32, 32)).root)}
        graph = record(model.to("meta"), [on_meta(2, 3, 32, 32)], training=False)
        assert {node.site for node in graph.nodes} <= sites
    assert len(graph.nodes) > sum(ARCHITECTURES["resnet18"].repeat)
