"""Two small networks side by side: what each operator gave, by itself and with all that stands above it."""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.measure.graph.alignment import align_graphs
from resnet_cli.measure.graph.nodes import Graph
from resnet_cli.measure.models import random_init
from resnet_cli.measure.parity import paired_forward
from resnet_cli.measure.parity.graphs import graph_of
from resnet_cli.measure.parity.paired_forward import GraphMismatchError, Run

SHAPE = (2, 3, 8, 8)
IMAGE = random_init.image(SHAPE, 0)


@pytest.fixture(autouse=True)
def no_thread_is_left_behind() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def graphs_of(ours: nn.Module, theirs: nn.Module) -> tuple[Graph, Graph]:
    model_graph, reference_graph = (graph_of(model, SHAPE, training=False, name="net") for model in (ours, theirs))
    return model_graph, reference_graph


def side_by_side(
    ours: nn.Module, theirs: nn.Module, graphs: tuple[Graph, Graph] | None = None, image: Tensor = IMAGE
) -> tuple[Run, Graph]:
    graphs = graphs or graphs_of(ours, theirs)
    partner = {a.number: b.number for a, b in align_graphs(*graphs) if a and b}
    return paired_forward.run(ours.eval(), theirs.eval(), graphs, partner, (image, image)), graphs[0]


Errors = dict[str, tuple[float | None, float | None]]


def errors(ours: nn.Module, theirs: nn.Module) -> Errors:
    """Cumulative and isolated error by the operator's name and place."""
    run, graph = side_by_side(ours, theirs)
    return {
        f"{node.operator} {node.label}".strip(): (run.steps[node.number].cumulative, run.steps[node.number].isolated)
        for node in graph.nodes
        if node.number in run.steps
    }


def chain(*more: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), *more)


CHAIN = ["conv 0", "batch_norm 1", "relu 2", "conv 3"]


def test_equal_networks_are_equal_at_every_operator() -> None:
    model = chain()
    assert errors(model, copy.deepcopy(model)) == dict.fromkeys(CHAIN, (0.0, 0.0))
    run, _ = side_by_side(model, copy.deepcopy(model))
    assert run.output == 0.0
    with torch.no_grad():
        assert torch.equal(run.model_output, model(IMAGE))
    assert torch.equal(run.reference_output, run.model_output)


def test_an_error_is_isolated_at_its_operator_and_cumulative_behind_it() -> None:
    """Twice the weight is twice the output: an error of 1, to the last bit."""
    model = chain()
    other = copy.deepcopy(model)
    with torch.no_grad():
        for part in (model[0].weight, model[0].bias):
            part.mul_(2)  # type: ignore[operator]
    by_operator = errors(model, other)
    assert by_operator["conv 0"] == (1.0, 1.0)
    assert all(by_operator[name][0] for name in CHAIN)
    assert [by_operator[name][1] for name in CHAIN[1:]] == [0.0] * 3
    run, _ = side_by_side(model, other)
    with torch.no_grad():
        ours, theirs = model(IMAGE), other(IMAGE)
    assert run.output == pytest.approx(float((ours - theirs).abs().max() / theirs.abs().max()))


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("layer", [nn.ReLU, nn.SiLU])  # twice the one is the one; twice the other is something else
def test_in_place_operators_are_followed(layer: Callable[..., nn.Module], in_place: bool) -> None:
    ours, theirs = chain(layer(inplace=in_place)), chain(layer(inplace=in_place))
    name = f"{layer.__name__.lower()} 4"
    assert errors(ours, theirs)[name] == (0.0, 0.0)
    with torch.no_grad():
        ours[3].bias.add_(1)  # type: ignore[operator]
    cumulative, isolated = errors(ours, theirs)[name]
    assert cumulative
    assert isolated == 0.0


class Kept(nn.Module):
    """Reads what goes into its ReLU a second time."""

    def __init__(self, *, in_place: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.in_place = nn.Conv2d(3, 4, 3), in_place

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return (x.clone().relu_() if self.in_place else x.relu()) + x


def test_an_operator_of_ours_in_place_changes_nothing_of_the_references() -> None:
    ours, theirs = Kept(in_place=True), Kept(in_place=False)
    with torch.no_grad():
        ours.conv.weight.mul_(2)
        run, graph = side_by_side(ours, theirs)
        assert torch.equal(run.reference_output, theirs(IMAGE))
        assert torch.equal(run.model_output, ours(IMAGE))
    assert [run.steps[node.number].isolated for node in graph.nodes][1:] == [0.0, 0.0]


class Branches(nn.Module):
    """Two branches of one image, made and put together in either order."""

    def __init__(self, join: Callable[[Tensor, Tensor], Tensor], *, second_first: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 1)
        self.act = nn.Sigmoid()
        self.join, self.second_first = join, second_first

    def forward(self, x: Tensor) -> Tensor:
        if self.second_first:
            b = self.b(x)
            return self.join(self.act(self.a(x)), b)
        a = self.act(self.a(x))
        return self.join(a, self.b(x))


@pytest.mark.parametrize("second_first", [False, True])
def test_the_order_in_which_branches_are_made_does_not_matter(second_first: bool) -> None:
    ours, theirs = Branches(torch.add), Branches(torch.add, second_first=second_first)
    assert errors(ours, theirs) == dict.fromkeys(("conv a", "sigmoid act", "conv b", "add"), (0.0, 0.0))
    assert errors(theirs, ours) == errors(ours, theirs)


def test_swapped_inputs_are_reordered() -> None:
    """The branches differ, the addition does not, whichever of them it names first."""
    ours, theirs = Branches(lambda a, b: b + a), Branches(torch.add)
    with torch.no_grad():
        ours.a.weight.mul_(2)
    by_operator = errors(ours, theirs)
    assert by_operator["add"][0]
    assert by_operator["add"][1] == 0.0
    # A difference is not what it is the other way about.
    ours, theirs = Branches(lambda a, b: b - a), Branches(torch.sub)
    assert errors(ours, theirs)["sub"] == (2.0, 2.0)
    assert errors(theirs, ours)["sub"] == (2.0, 2.0)


class Skip(nn.Module):
    """The image beside what a convolution makes of it."""

    def __init__(self, join: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.join = nn.Conv2d(3, 3, 1), join

    def forward(self, x: Tensor) -> Tensor:
        return self.join(x, self.conv(x))


def test_inputs_of_other_sizes_are_not_put_into_ours() -> None:
    """A gate of one pixel, and one as large as the image."""
    ours = Skip(lambda x, made: x * made.mean((2, 3), keepdim=True).sigmoid())
    cumulative, isolated = errors(ours, Skip(lambda x, made: x * made.sigmoid()))["mul"]
    assert cumulative
    assert isolated is None


def test_an_operator_that_reads_something_else_is_judged_on_what_the_reference_reads() -> None:
    ours, theirs = Branches(lambda a, b: a + a), Branches(torch.add)
    cumulative, isolated = errors(ours, theirs)["add"]
    assert cumulative
    assert isolated == 0.0
    ours = Branches(lambda a, b: torch.cat([a, b]))
    assert errors(ours, Branches(lambda a, b: torch.cat([a, b])))["cat"] == (0.0, 0.0)


def test_other_sizes_and_other_operators_are_not_compared() -> None:
    ours, theirs = chain(nn.GELU()), chain(nn.ReLU())
    cumulative, isolated = errors(ours, theirs)["gelu 4"]
    assert cumulative
    assert isolated is None
    ours, theirs = chain(nn.MaxPool2d(2)), chain(nn.MaxPool2d(2, 1))
    assert errors(ours, theirs)["max_pool 4"] == (None, None)
    run, _ = side_by_side(ours, theirs)
    assert run.output == math.inf


class Flat(nn.Module):
    def __init__(self, *sizes: int) -> None:
        super().__init__()
        self.sizes = sizes

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(self.sizes)


def test_outputs_of_another_shape_are_not_the_same_whatever_they_hold() -> None:
    assert side_by_side(chain(Flat(2, -1)), chain())[0].output == math.inf
    assert side_by_side(chain(Flat(2, -1)), chain(Flat(2, -1)))[0].output == 0.0


def test_inputs_are_taken_in_our_shape_and_dtype() -> None:
    """A linear layer where the reference has a convolution of one pixel, and single precision against double."""
    ours = nn.Sequential(chain(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    theirs = nn.Sequential(chain(), nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 5, 1), nn.Flatten())
    with torch.no_grad():
        theirs.get_parameter("2.weight").copy_(ours.get_parameter("3.weight")[:, :, None, None])
        theirs.get_parameter("2.bias").copy_(ours.get_parameter("3.bias"))
        ours.get_parameter("0.0.weight").mul_(2)
    cumulative, isolated = errors(ours, theirs)["linear 3"]
    assert cumulative
    assert isolated is not None
    assert isolated < 1e-6
    model = chain()
    graphs = graphs_of(model, model)
    partner = {node.number: node.number for node in graphs[0].nodes}
    run = paired_forward.run(model.eval(), copy.deepcopy(model).double(), graphs, partner, (IMAGE, IMAGE.double()))
    assert all(0 < (step.isolated or 0) < 1e-6 for step in run.steps.values() if step.isolated)
    assert 0 < run.output < 1e-5


class OwnNorm(nn.Module):
    """Batch norm by hand, several operators that are taken together."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(4)), nn.Parameter(torch.zeros(4))
        self.mean: Tensor
        self.var: Tensor
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("var", torch.ones(4))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        x = (x - self.mean.view(4, 1, 1)) * torch.rsqrt(self.var.view(4, 1, 1) + self.eps)
        return x.mul(self.weight.view(4, 1, 1)).pow(1) + self.bias.view(4, 1, 1)


def test_a_norm_by_hand_is_run_as_one_on_the_references_input() -> None:
    """Over a variance of 1 + 3, the output is half of what it should be."""
    ours, theirs = chain(OwnNorm(3.0)), chain(nn.BatchNorm2d(4, eps=1e-12))
    _, graph = side_by_side(ours, theirs)
    assert [node.composite for node in graph.nodes if node.label == "4"] == ["4"]
    by_operator = errors(ours, theirs)
    assert by_operator["batch_norm 4"] == pytest.approx((0.5, 0.5))
    with torch.no_grad():
        ours[0].bias.add_(1)  # type: ignore[operator]
    assert errors(ours, theirs)["batch_norm 4"][1] == pytest.approx(0.5)


def test_a_missing_counterpart_is_an_error() -> None:
    model = chain()
    graphs = graphs_of(model, model)
    with pytest.raises(GraphMismatchError, match="999"):
        paired_forward.run(model.eval(), copy.deepcopy(model), graphs, {graphs[0].nodes[0].number: 999}, (IMAGE, IMAGE))


@pytest.mark.parametrize("place", [0, 1])
def test_a_forward_that_runs_other_operators_than_its_graph_is_refused(place: int) -> None:
    model = chain(nn.ReLU())
    graphs = list(graphs_of(model, model))
    calls = graphs[place].calls
    for wrong in ((*calls[:-1], "tanh"), calls[:-1]):
        graphs[place] = replace(graphs[place], calls=wrong)
        with pytest.raises(GraphMismatchError, match="relu"):
            side_by_side(model, copy.deepcopy(model), (graphs[0], graphs[1]))


class Converting(nn.Module):
    """Works in one precision, whatever it is given."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        return x.to(self.dtype).sigmoid().to(x.dtype).relu()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_conversion_is_followed_where_it_has_something_to_do_and_where_not(dtype: torch.dtype) -> None:
    model = chain(Converting(dtype))
    graphs = graphs_of(model, model)
    partner = {node.number: node.number for node in graphs[0].nodes}
    for image in (IMAGE, IMAGE.double()):
        ours = copy.deepcopy(model).to(image.dtype).eval()
        run = paired_forward.run(ours, copy.deepcopy(ours), graphs, partner, (image, image))
        assert list(run.steps) == [node.number for node in graphs[0].nodes]
        assert run.output == 0.0


class Failing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.is_meta:
            return x
        raise ValueError("not this one")


@pytest.mark.parametrize("whose", ["ours", "theirs"])
def test_a_forward_that_fails_says_so(whose: str) -> None:
    ours, theirs = chain(Failing()), chain()
    with pytest.raises(ValueError, match="not this one"):
        side_by_side(*((ours, theirs) if whose == "ours" else (theirs, ours)))
    early = nn.Sequential(Failing(), *chain())
    with pytest.raises(ValueError, match="not this one"):
        side_by_side(*((early, theirs) if whose == "ours" else (theirs, early)))
