"""The drawing of a network and of the inside of its blocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from torch import Tensor, nn
from torchvision.models import DenseNet, MobileNetV2, SwinTransformer, VisionTransformer

from resnet_cli.network.architectures import ARCHITECTURES
from resnet_cli.render.charts.architecture import architecture
from resnet_cli.render.charts.block_diagram import block_diagram
from resnet_cli.render.charts.block_graph import INPUT, block_graph, skip_of
from resnet_cli.render.charts.block_types import block_types
from resnet_cli.render.charts.drawing.primitives import Box, Curve, Drawing, Group, Label, Mark, bounds
from resnet_cli.render.charts.layer_roles import blocks_of, role_of, settings, stages, unwrap
from resnet_cli.results.summary import Layer, SummaryResult
from tests.helpers.charted_models import ours, summary_of, theirs


def every(marks: tuple[Mark, ...]) -> Iterator[Mark]:
    for mark in marks:
        yield mark
        if isinstance(mark, Group):
            yield from every(mark.marks)


def texts(drawing: Drawing) -> list[str]:
    return [mark.text for mark in every(drawing.marks) if isinstance(mark, Label)]


def all_layers(layer: Layer) -> Iterator[Layer]:
    yield layer
    for child in layer.children:
        yield from all_layers(child)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_a_bar_for_each_block_and_an_arc_for_each_skip(name: str) -> None:
    result = ours(name)
    repeat = ARCHITECTURES[name].repeat
    drawing = architecture(result)
    assert Counter(map(tip_kind, stages(result.root)))["Sequential"] == 4
    assert [len(blocks_of(stage)) for stage in stages(result.root)] == [1, *repeat, 1]
    roles = Counter(mark.role for mark in every(drawing.marks) if isinstance(mark, Curve))
    # The paper's option B: a projection where the shape changes, which for the basic block is in three stages of four.
    projections = 3 if ARCHITECTURES[name].block == "basic" else 4
    assert roles["projection"] == projections
    assert roles["identity"] == sum(repeat) - projections
    assert roles["edge"] == 7


def tip_kind(stage: Layer) -> str:
    return unwrap(stage).layer_type


def test_shapes_stand_on_the_arrows() -> None:
    drawn = texts(architecture(ours("resnet50")))
    # Table 1 of the paper: output sizes 112, 56, 28, 14, 7 and channels 256, 512, 1024, 2048.
    for shape in ("3×224×224", "64×56×56", "256×56×56", "512×28×28", "1024×14×14", "2048×7×7", "1000"):
        assert shape in drawn


def test_blocks_of_torchvisions_networks_have_the_same_skips() -> None:
    for name in ("resnet18", "resnet50"):
        model, reference = ours(name), theirs(name)
        assert [skip_of(part) for part in additions_in(model)] == [skip_of(part) for part in additions_in(reference)]


def additions_in(result: SummaryResult) -> list[Layer]:
    blocks = [block for stage in stages(result.root) for block in blocks_of(stage)]
    return [part for part in blocks if "add" in {child.name for child in part.children}]


SMALL: dict[str, Callable[[], nn.Module]] = {
    "dense connections": lambda: DenseNet(4, (3, 2), 8),
    "attention": lambda: VisionTransformer(32, 16, 2, 2, 16, 32),
    "shifted windows": lambda: SwinTransformer([4, 4], 8, [2], [2], [4, 4]),
    "inverted residuals": lambda: MobileNetV2(inverted_residual_setting=[[1, 16, 1, 1], [6, 24, 2, 2]]),
}


@pytest.mark.parametrize("name", [*SMALL, "googlenet"])
def test_networks_of_any_make_can_be_drawn(name: str) -> None:
    result = summary_of(SMALL[name](), 32) if name in SMALL else theirs(name)
    drawing = architecture(result)
    within(drawing)
    for block in block_types(result, "b"):
        inside = block_diagram(block.layer)
        assert inside is not None
        within(inside)


def within(drawing: Drawing) -> None:
    right, down = bounds(drawing.marks)
    assert right <= drawing.width + 0.01
    assert down <= drawing.height + 0.01


def test_the_inside_of_a_projection_block() -> None:
    result = ours("resnet50")
    block = next(
        each
        for each in block_types(result, "b")
        if each.layer.layer_type == "BottleneckSkip" and "l1" in each.layer.path
    )
    graph = block_graph(block.layer)
    names = [layer.name for layer in graph.layers]
    assert [names[place] for place in graph.main] == "conv1 bn1 relu conv2 bn2 relu conv3 bn3 add relu".split()
    assert graph.sources[names.index("skip_conv1")] == (INPUT,)
    drawing = block_diagram(block.layer)
    assert drawing is not None
    drawn = texts(drawing)
    assert {"256→128 1×1", "128→128 3×3 /2", "128→512 1×1", "256→512 1×1 /2"} <= set(drawn)
    assert {"in 256×56×56", "out 512×28×28"} <= set(drawn)
    roles = Counter(mark.role for mark in drawing.marks if isinstance(mark, Curve))
    assert (roles["projection"], roles["identity"]) == (2, 0)


def test_the_inside_of_an_identity_block() -> None:
    block = next(each for each in block_types(ours("resnet18"), "b") if each.layer.layer_type == "ResIdentity")
    drawing = block_diagram(block.layer)
    assert drawing is not None
    assert "identity" in texts(drawing)
    roles = Counter(mark.role for mark in drawing.marks if isinstance(mark, Curve))
    assert (roles["projection"], roles["identity"]) == (0, 1)


def test_boxes_of_calls_do_not_cover_each_other() -> None:
    for result in (theirs("googlenet"), summary_of(SMALL["dense connections"](), 32)):
        for block in block_types(result, "b"):
            drawing = block_diagram(block.layer)
            assert drawing is not None
            boxes = [mark for mark in every(drawing.marks) if isinstance(mark, Box)]
            corners = {(round(box.x), round(box.y)) for box in boxes}
            assert len(corners) == len(boxes), block.layer.path


def test_identical_blocks_are_drawn_once() -> None:
    types = block_types(ours("resnet50"), "b")
    assert sum(len(block.members) for block in types) == 3 + 4 + 6 + 3 + 2  # blocks, head, tail
    assert len(types) == 10
    assert "l2.block.BottleneckIdentity0…4 ×5" in [block.title for block in types]


def test_a_click_leads_to_the_block() -> None:
    result = ours("resnet18")
    keys = {id(layer): block.key for block in block_types(result, "block-0-") for layer in block.members}
    drawing = architecture(result, lambda layer: keys.get(id(layer), ""))
    links = [mark.link for mark in drawing.marks if isinstance(mark, Group)]
    assert links == [keys[id(part)] for stage in stages(result.root) for part in blocks_of(stage)]
    assert len(set(links)) == 9  # l0's two identity blocks are alike


class Sum(nn.Module):
    """Two ways that begin at the input, one of them twice as long, and a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.b(self.a(x)) * 2 + self.c(x)
        return out


def test_what_runs_beside_the_longest_way_has_a_lane_of_its_own() -> None:
    result = summary_of(Sum())
    graph = block_graph(result.root)
    assert [layer.name for layer in graph.layers] == ["a", "b", "mul", "c", "add"]
    assert graph.ranks == (1, 2, 3, 1, 4)
    assert graph.main == (0, 1, 2, 4)
    assert skip_of(result.root) == "projection"


def test_without_known_edges_calls_follow_each_other(summary: SummaryResult) -> None:
    def forgotten(layer: Layer) -> Layer:
        return replace(layer, sources=None, children=tuple(map(forgotten, layer.children)))

    root = forgotten(summary.root)
    graph = block_graph(unwrap(root))
    assert graph.sources == tuple((place - 1,) for place in range(len(graph.layers)))
    within(architecture(replace(summary, root=root)))


@pytest.mark.parametrize(
    ("kind", "role"),
    [
        ("Conv2d", "conv"),
        ("BatchNorm2d", "norm"),
        ("FrozenBatchNorm2d", "norm"),
        ("ReLU6", "activation"),
        ("MaxPool2d", "pool"),
        ("Linear", "linear"),
        ("add", "merge"),
        ("batch_norm", "norm"),
        ("Whatever", "other"),
    ],
)
def test_roles(kind: str, role: str) -> None:
    assert role_of(kind) == role


def test_settings_of_a_grouped_convolution() -> None:
    result = summary_of(nn.Sequential(nn.Conv2d(3, 6, 3, 2, groups=3), nn.Flatten(), nn.Linear(6 * 7 * 7, 10)))
    layers = {layer.path: layer for layer in all_layers(result.root)}
    assert settings(layers["0"]) == "3→6 3×3 /2 g3"
    assert settings(layers["2"]) == "294→10"
