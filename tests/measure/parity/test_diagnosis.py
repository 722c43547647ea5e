"""Patterns that have a name, each in a residual network of two blocks, and what is none of them."""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Callable
from functools import cache

import pytest
from torch import Tensor, nn

from resnet_cli.measure.graph.alignment import align_graphs
from resnet_cli.measure.graph.diff import diff_graphs
from resnet_cli.measure.graph.nodes import Graph
from resnet_cli.measure.parity.diagnosis import diagnose
from resnet_cli.measure.parity.graphs import graph_of

Join = Callable[[Tensor, Tensor], Tensor]
IDENTITY = nn.Identity()


class Block(nn.Module):
    """What it learns and its shortcut, added and rectified."""

    def __init__(self, body: nn.Module, skip: nn.Module, join: Join = operator.add) -> None:
        super().__init__()
        self.body, self.skip, self.last = body, skip, nn.ReLU()
        self.join = join

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.join(self.body(x), self.skip(x)))
        return out


def conv(ni: int, no: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(ni, no, kernel, stride, kernel // 2, bias=False)


def basic(ni: int, no: int, stride: int = 1, second: int = 1) -> Block:
    one, two = conv(ni, no, 3, stride), conv(no, no, 3, second)
    body = nn.Sequential(one, nn.BatchNorm2d(no), nn.ReLU(), two, nn.BatchNorm2d(no))
    return Block(body, IDENTITY if ni == no else nn.Sequential(conv(ni, no, 1, stride * second), nn.BatchNorm2d(no)))


def bottleneck(*strides: int) -> Block:
    sizes = zip((4, 2, 2), (2, 2, 8), (1, 3, 1), strides, strict=True)
    body = [layer for ni, no, k, s in sizes for layer in (conv(ni, no, k, s), nn.BatchNorm2d(no), nn.ReLU())]
    return Block(nn.Sequential(*body[:-1]), nn.Sequential(conv(4, 8, 1, max(strides)), nn.BatchNorm2d(8)))


def network(first: Block | None = None, *more: Block) -> nn.Sequential:
    """Stem, a block that strides, one that keeps its shape, and a classifier."""
    parts = {"conv": conv(3, 4), "norm": nn.BatchNorm2d(4), "relu": nn.ReLU(), "pool": nn.MaxPool2d(3, 2, 1)}
    parts |= {"one": first or basic(4, 8, 2), "two": basic(8, 8)}
    parts |= {f"more{number}": block for number, block in enumerate(more)}
    parts |= {"average": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten(), "fc": nn.Linear(8, 5)}
    return nn.Sequential(OrderedDict(parts))


def changed(**parts: nn.Module) -> nn.Sequential:
    """Other layers, by paths with two underscores for each dot."""
    made = network()
    for path, part in parts.items():
        made.set_submodule(path.replace("__", "."), part)
    return made


def joined(path: str, join: Join) -> nn.Sequential:
    made = network()
    block = made.get_submodule(path)
    assert isinstance(block, Block)
    block.join = join
    return made


def every(kind: type[nn.Module], make: Callable[[nn.Module], nn.Module]) -> nn.Sequential:
    made = network()
    for path, module in list(made.named_modules()):
        if isinstance(module, kind):
            made.set_submodule(path, make(module))
    return made


def norms(**options: float) -> nn.Sequential:
    return every(nn.BatchNorm2d, lambda norm: nn.BatchNorm2d(norm.num_features, **options))  # type: ignore[arg-type]


Said = dict[str, tuple[str, list[tuple[str, str]]]]


@cache
def sound() -> Graph:
    return traced(network())


def traced(model: nn.Module) -> Graph:
    return graph_of(model, (2, 3, 16, 16), training=True, name="net")


def named(ours: nn.Module | None, theirs: nn.Module | None = None) -> Said:
    """Key → the sentence, and kind and subject of the findings that it explains; None is the network as it is."""
    mine, other = (sound() if model is None else traced(model) for model in (ours, theirs))
    structure = diff_graphs(mine, other, align_graphs(mine, other), "torchvision")
    findings = [one.finding for one in structure.differences]
    found = diagnose(structure, findings)
    assert len({one.key for one in found}) == len(found)
    return {
        one.key: (one.text, [(findings[i].category, findings[i].subject) for i in one.differences])
        for one in found
    }  # fmt: skip


def keys(ours: nn.Module | None, theirs: nn.Module | None = None) -> set[str]:
    return set(named(ours, theirs))


def test_the_same_network_has_no_name() -> None:
    assert not named(network())


STRIDE = [("setting", "conv.stride")]


def test_a_stride_in_the_first_1x1_is_resnet_v1() -> None:
    said = named(network(bottleneck(2, 1, 1)), network(bottleneck(1, 2, 1)))
    assert {key: explained for key, (_, explained) in said.items()} == {"resnet-v1": STRIDE * 2}


@pytest.mark.parametrize(
    ("ours", "theirs", "places"),
    [
        (bottleneck(1, 1, 2), bottleneck(1, 2, 1), ("one.body.6", "one.body.3")),
        (bottleneck(1, 2, 1), bottleneck(2, 1, 1), ("one.body.3", "one.body.0")),
        (bottleneck(2, 1, 1), bottleneck(1, 1, 2), ("one.body.0", "one.body.6")),
        (basic(4, 8, 1, 2), basic(4, 8, 2), ("one.body.3", "one.body.0")),
        (basic(4, 8, 2), basic(4, 8, 1, 2), ("one.body.0", "one.body.3")),
    ],
)
def test_a_stride_in_any_other_place_is_not(ours: Block, theirs: Block, places: tuple[str, str]) -> None:
    said = named(network(ours), network(theirs))
    assert set(said) == {"stride-moved"}
    text, explained = said["stride-moved"]
    assert text.index(places[0]) < text.index("torchvision") < text.index(places[1])
    assert explained == STRIDE * 2


def test_a_stride_that_is_lost_has_not_moved() -> None:
    assert keys(network(bottleneck(1, 1, 1)), network(bottleneck(1, 2, 1))) == {"strides-less"}
    assert keys(network(bottleneck(1, 2, 1)), network(bottleneck(1, 1, 1))) == {"strides-more"}


def test_pools() -> None:
    caffe = named(changed(pool=nn.MaxPool2d(3, 2, 0, ceil_mode=True)))
    assert caffe["caffe-pool"][1] == [("setting", "max_pool.ceil_mode"), ("setting", "max_pool.padding")]
    assert set(caffe) == {"caffe-pool"}
    assert not named(changed(pool=nn.MaxPool2d(3, 2, 1, ceil_mode=True)))
    assert not named(changed(pool=nn.MaxPool2d(3, 2)))
    assert named(changed(pool=nn.AvgPool2d(3, 2, 1)))["average-pool-stem"][1] == [("replaced", "max_pool")]
    assert not named(None, changed(pool=nn.AvgPool2d(3, 2, 1)))


@pytest.mark.parametrize(("eps", "shown"), [(1e-3, "0.001"), (1.001e-5, "1.001e-05")])
def test_the_eps_of_keras(eps: float, shown: str) -> None:
    text, explained = named(norms(eps=eps))["keras-eps"]
    assert f"eps {shown} " in text
    assert "torchvision has 1e-05" in text
    assert explained == [("setting", "batch_norm.eps")] * 6
    assert not named(norms(eps=eps * 1.1))
    assert not named(None, norms(eps=eps))


@pytest.mark.parametrize(("momentum", "kept"), [(0.9, "0.1"), (0.99, "0.01"), (0.01, "0.99")])
def test_a_momentum_of_what_is_kept(momentum: float, kept: str) -> None:
    text, explained = named(norms(momentum=momentum))["momentum-convention"]
    assert f"a momentum of {momentum} is what TensorFlow calls {kept}:" in text
    assert explained == [("setting", "batch_norm.momentum")] * 6
    assert not named(norms(momentum=0.2))
    assert keys(changed(norm=nn.BatchNorm2d(4, momentum=momentum))) == {"momentum-convention"}


def test_a_relu_on_the_wrong_side_of_a_norm() -> None:
    text, explained = named(changed(two__body__1=nn.ReLU(), two__body__2=nn.BatchNorm2d(8)))["bn-relu-swapped"]
    assert "at two.body.1" in text
    assert [kind for kind, _ in explained] == ["moved"]


def body(*layers: nn.Module) -> nn.Sequential:
    """What the second block does behind its first convolution."""
    return changed(two__body=nn.Sequential(conv(8, 8), *layers))


NORM, RELU, TANH, DROP = nn.BatchNorm2d(8), nn.ReLU(), nn.Tanh(), nn.Dropout()


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ([RELU, NORM], [NORM, RELU], {"bn-relu-swapped"}),
        ([RELU, TANH, NORM], [NORM, RELU, TANH], {"bn-relu-swapped"}),
        ([NORM, RELU], [RELU, NORM], set()),
        ([DROP, NORM], [NORM, DROP], set()),
        ([RELU, TANH, DROP], [DROP, RELU, TANH], set()),
        ([RELU, DROP, NORM], [NORM, RELU, DROP], set()),
        ([NORM, conv(8, 8), nn.BatchNorm2d(8), RELU], [NORM, RELU, conv(8, 8), nn.BatchNorm2d(8)], set()),
    ],
)
def test_only_a_relu_on_the_wrong_side_is_called_swapped(
    ours: list[nn.Module], theirs: list[nn.Module], expected: set[str]
) -> None:
    assert keys(body(*ours), body(*theirs)) == expected


def test_a_relu_before_the_addition() -> None:
    ours = joined("two", lambda learned, x: learned.relu() + x)
    ours.set_submodule("two.last", IDENTITY)
    text, explained = named(ours)["relu-before-add"]
    assert "in two;" in text
    assert explained == [("moved", "relu")]
    assert keys(ours) == {"relu-before-add"}


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("relu", "missing-stem-relu"), ("one__body__2", "missing-inner-relu"), ("two__body__2", "missing-inner-relu"),
        ("one__last", "missing-relu"), ("two__last", "missing-last-relu"),
    ],
)  # fmt: skip
def test_a_relu_that_is_missing_has_a_name_by_its_place(path: str, key: str) -> None:
    said = named(changed(**{path: IDENTITY}))
    assert {key: explained for key, (_, explained) in said.items()} == {key: [("missing", "relu")]}
    if "inner" in key or key == "missing-relu":
        assert path.replace("__", ".") in said[key][0]


@pytest.mark.parametrize(
    ("layer", "key", "spelt"),
    [
        (nn.GELU(), "activation-gelu", "GELU"), (nn.SiLU(), "activation-silu", "SiLU"),
        (nn.LeakyReLU(), "activation-leaky_relu", "LeakyReLU"), (nn.Mish(), "activation-mish", "mish"),
        (nn.PReLU(), "activation-prelu", "PReLU"),
    ],
)  # fmt: skip
def test_another_activation(layer: nn.Module, key: str, spelt: str) -> None:
    text, explained = named(every(nn.ReLU, lambda _: layer))[key]
    assert text.startswith(spelt)
    assert explained == [("replaced", "relu")] * 5
    assert named(None, every(nn.ReLU, lambda _: layer))["activation-relu"][0].endswith(f"has {spelt}")


def test_two_other_activations_are_two() -> None:
    said = named(changed(relu=nn.GELU(), one__last=nn.SiLU(), two__last=nn.SiLU()))
    assert {key: len(explained) for key, (_, explained) in said.items()} == {"activation-gelu": 1, "activation-silu": 2}


def test_norms_that_are_missing() -> None:
    projection = named(changed(one__skip__1=IDENTITY))
    assert set(projection) == {"missing-projection-bn"}
    assert "one.skip.1" in projection["missing-projection-bn"][0]
    one = named(changed(two__body__4=IDENTITY))
    assert set(one) == {"missing-bn"}
    assert one["missing-bn"][0].endswith("two.body.4")
    both = named(changed(one__skip__1=IDENTITY, one__body__1=IDENTITY, two__body__4=IDENTITY))
    assert set(both) == {"missing-projection-bn", "missing-bn"}
    assert both["missing-bn"][0].endswith("one.body.1 and 1 more")
    assert both["missing-bn"][1] == [("missing", "batch_norm")] * 2
    assert keys(changed(norm=IDENTITY, relu=IDENTITY)) == {"missing-bn", "missing-stem-relu"}
    assert keys(None, changed(conv=nn.Sequential(nn.BatchNorm2d(3), conv(3, 4)))) == {"missing-bn"}
    assert keys(changed(one__body__4=IDENTITY)) == {"missing-bn"}  # what goes into the addition, and is no projection


def preactivated(path: str) -> nn.Sequential:
    made = network()
    body = made.get_submodule(f"{path}.body")
    conv1, norm1, relu, conv2, norm2 = body.children()
    made.set_submodule(f"{path}.body", nn.Sequential(norm2, nn.ReLU(), conv1, norm1, relu, conv2))
    made.set_submodule(f"{path}.last", IDENTITY)
    return made


def test_a_norm_behind_the_addition_is_preactivation() -> None:
    ours = preactivated("two")
    ours.set_submodule("flat", nn.Sequential(nn.Flatten(), nn.Dropout()))
    said = named(ours)
    assert set(said) == {"pre-activation", "dropout"}
    assert {subject for _, subject in said["pre-activation"][1]} == {"batch_norm", "relu"}
    assert "pre-activation" not in keys(None, preactivated("two"))
