"""The icicle: widths are shares, and the shares are those of the result."""

from __future__ import annotations

import pytest
from torch import Tensor, nn

from resnet_cli.render.charts.drawing.primitives import Box, Label
from resnet_cli.render.charts.icicle import MEASURES, WIDTH, icicle, layer_nodes, measures, module_nodes
from resnet_cli.results.flops import FlopsResult
from tests.helpers.charted_models import ours, summary_of, times


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
@pytest.mark.parametrize("key", ["macs", "parameters", "activation"])
def test_widths_are_shares(name: str, key: str) -> None:
    result = ours(name)
    root = layer_nodes(result, None)
    assert root is not None
    nodes = list(root)
    drawing = icicle(root, MEASURES[key], name)
    for box in drawing.marks:
        if isinstance(box, Box) and box.data is not None:
            share = nodes[box.data].values[key] / root.values[key]
            assert box.width == pytest.approx(share * WIDTH)
            assert box.x + box.width <= WIDTH + 1e-6
    assert root.values == {
        "macs": result.macs,
        "parameters": result.parameters,
        "activation": result.root.activation_bytes,
    }


def test_children_stand_below_their_parent_and_add_up_to_it() -> None:
    root = layer_nodes(ours("resnet50"), None)
    assert root is not None
    for node in root:
        if node.children:
            for key in ("macs", "parameters", "activation"):
                assert sum(child.values[key] for child in node.children) == node.values[key], node.path
    drawing = icicle(root, MEASURES["macs"], "x")
    boxes = {box.data: box for box in drawing.marks if isinstance(box, Box)}
    numbers = {id(node): number for number, node in enumerate(root)}
    for node in root:
        for child in node.children:
            inner, outer = boxes.get(numbers[id(child)]), boxes.get(numbers[id(node)])
            if inner and outer:
                assert inner.y == outer.y + outer.height
                assert outer.x - 1e-6 <= inner.x
                assert inner.x + inner.width <= outer.x + outer.width + 1e-6


def test_times_of_a_benchmark_find_their_layers() -> None:
    result = ours("resnet18")
    spent = times(result)
    root = layer_nodes(result, spent)
    assert root is not None
    leaves = [node for node in root if not node.children]
    assert all(node.values["time"] == pytest.approx(1e-3) for node in leaves), (
        "each leaf and each addition has its time"
    )
    assert len(leaves) == 20 + 20 + 17 + 8 + 2 + 1  # convolutions, norms, ReLUs, additions, pools, the classifier
    assert root.values["time"] == pytest.approx(len(leaves) * 1e-3)
    assert [measure.key for measure in measures(root)] == ["macs", "parameters", "activation", "time"]


def test_times_alone_make_a_layer_nodes() -> None:
    result = ours("resnet18")
    whole, alone = layer_nodes(result, times(result)), layer_nodes(None, times(result))
    assert whole is not None
    assert alone is not None
    assert alone.values["time"] == whole.values["time"]
    assert [measure.key for measure in measures(alone)] == ["macs", "time"]


def test_modules_of_a_count_make_a_layer_nodes(flops: FlopsResult) -> None:
    root = module_nodes(flops.root)
    assert root.values["macs"] == flops.root.macs
    assert [measure.key for measure in measures(root)] == ["macs"]


class Sums(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = (self.conv(x) + x) * 2 + x
        return out


def test_operators_of_one_forward_are_one_node() -> None:
    root = layer_nodes(summary_of(Sums()), None)
    assert root is not None
    assert [(node.name, node.role) for node in root.children] == [("conv", "conv"), ("add, mul", "merge")]


def test_nothing_to_share_is_no_drawing_and_no_fault() -> None:
    root = layer_nodes(summary_of(nn.Identity()), None)
    assert root is not None
    assert measures(root) == ()
    assert icicle(root, MEASURES["macs"], "x").marks == ()
    assert layer_nodes(None, None) is None


def test_names_stand_in_their_boxes() -> None:
    root = layer_nodes(ours("resnet18"), None)
    assert root is not None
    drawing = icicle(root, MEASURES["parameters"], "resnet18")
    boxes = [mark for mark in drawing.marks if isinstance(mark, Box)]
    for label in (mark for mark in drawing.marks if isinstance(mark, Label)):
        assert any(box.x < label.x < box.x + box.width and box.y < label.y < box.y + box.height for box in boxes)
