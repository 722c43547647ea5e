"""Patterns that have a name, each in a residual network of two blocks, and what is none of them."""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from specimens import structure_of
from torch import Tensor, nn

from resnet_cli.measure.diagnosis import diagnose
from resnet_cli.parity_results import Finding

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


def basic(ni: int, no: int, stride: int = 1) -> Block:
    body = nn.Sequential(conv(ni, no, 3, stride), nn.BatchNorm2d(no), nn.ReLU(), conv(no, no), nn.BatchNorm2d(no))
    return Block(body, IDENTITY if ni == no else nn.Sequential(conv(ni, no, 1, stride), nn.BatchNorm2d(no)))


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


def named(ours: nn.Module, theirs: nn.Module | None = None) -> Said:
    """Key → the sentence, and kind and subject of the findings that it explains."""
    structure = structure_of(ours, theirs or network())
    findings = [one.finding for one in structure.differences]
    found = diagnose(structure, findings)
    assert len({one.key for one in found}) == len(found)
    return {
        one.key: (one.text, [(findings[i].kind, findings[i].subject) for i in one.findings])
        for one in found
    }  # fmt: skip


def keys(ours: nn.Module, theirs: nn.Module | None = None) -> set[str]:
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
    ],
)
def test_a_stride_in_any_other_place_is_not(ours: Block, theirs: Block, places: tuple[str, str]) -> None:
    said = named(network(ours), network(theirs))
    assert set(said) == {"stride-moved"}
    text, explained = said["stride-moved"]
    assert text.index(f"{places[0]} has it") < text.index(f"torchvision {places[1]} has it")
    assert explained == STRIDE * 2


def test_a_stride_that_is_lost_has_not_moved() -> None:
    assert not named(network(bottleneck(1, 1, 1)), network(bottleneck(1, 2, 1)))
    assert not named(network(bottleneck(1, 2, 1)), network(bottleneck(1, 1, 1)))


def test_pools() -> None:
    caffe = named(changed(pool=nn.MaxPool2d(3, 2, 0, ceil_mode=True)))
    assert caffe["caffe-pool"][1] == [("setting", "max_pool.ceil_mode"), ("setting", "max_pool.padding")]
    assert set(caffe) == {"caffe-pool"}
    assert not named(changed(pool=nn.MaxPool2d(3, 2, 1, ceil_mode=True)))
    assert not named(changed(pool=nn.MaxPool2d(3, 2)))
    assert named(changed(pool=nn.AvgPool2d(3, 2, 1)))["average-pool-stem"][1] == [("replaced", "max_pool")]
    assert not named(network(), changed(pool=nn.AvgPool2d(3, 2, 1)))


@pytest.mark.parametrize(("eps", "shown"), [(1e-3, "0.001"), (1.001e-5, "1.001e-05")])
def test_the_eps_of_keras(eps: float, shown: str) -> None:
    text, explained = named(norms(eps=eps))["keras-eps"]
    assert f"eps {shown} " in text
    assert "torchvision has 1e-05" in text
    assert explained == [("setting", "batch_norm.eps")] * 6
    assert not named(norms(eps=eps * 1.1))
    assert not named(network(), norms(eps=eps))


@pytest.mark.parametrize(("momentum", "kept"), [(0.9, "0.1"), (0.99, "0.01"), (0.01, "0.99")])
def test_a_momentum_of_what_is_kept(momentum: float, kept: str) -> None:
    text, explained = named(norms(momentum=momentum))["momentum-convention"]
    assert f"a momentum of {momentum} is what TensorFlow calls {kept}:" in text
    assert explained == [("setting", "batch_norm.momentum")] * 6
    assert not named(norms(momentum=0.2))


def test_a_relu_on_the_wrong_side_of_a_norm() -> None:
    text, explained = named(changed(two__body__1=nn.ReLU(), two__body__2=nn.BatchNorm2d(8)))["bn-relu-swapped"]
    assert "at two.body.1" in text
    assert [kind for kind, _ in explained] == ["moved"]


def test_a_relu_before_the_addition() -> None:
    ours = joined("two", lambda learned, x: learned.relu() + x)
    ours.set_submodule("two.last", IDENTITY)
    text, explained = named(ours)["relu-before-add"]
    assert "at two;" in text
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
    ],
)  # fmt: skip
def test_another_activation(layer: nn.Module, key: str, spelt: str) -> None:
    text, explained = named(every(nn.ReLU, lambda _: layer))[key]
    assert text == f"{spelt} stands where torchvision has ReLU"
    assert explained == [("replaced", "relu")] * 5
    assert named(network(), every(nn.ReLU, lambda _: layer))["activation-relu"][0].endswith(f"has {spelt}")


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
    assert keys(changed(one__body__4=IDENTITY)) == {"missing-bn"}  # what goes into the addition, and is no projection


def preactivated(path: str) -> nn.Sequential:
    made = network()
    body = made.get_submodule(f"{path}.body")
    conv1, norm1, relu, conv2, norm2 = body.children()
    made.set_submodule(f"{path}.body", nn.Sequential(norm2, nn.ReLU(), conv1, norm1, relu, conv2))
    made.set_submodule(f"{path}.last", IDENTITY)
    return made


def test_a_norm_behind_the_addition_is_preactivation() -> None:
    said = named(preactivated("two"))
    assert "pre-activation" in said
    assert "bn-relu-swapped" not in said
    assert {subject for _, subject in said["pre-activation"][1]} == {"batch_norm", "relu"}
    assert "pre-activation" not in keys(network(), preactivated("two"))


def test_a_shortcut_that_is_lost() -> None:
    said = named(joined("two", lambda learned, x: learned))
    assert {key: explained for key, (_, explained) in said.items()} == {"dropped-identity": [("missing", "add")]}
    assert "at two:" in said["dropped-identity"][0]


def test_a_shortcut_that_is_scaled() -> None:
    for join, subject in (
        (lambda learned, x: learned + 0.5 * x, ("extra", "mul")),
        (lambda learned, x: learned + x / 2, ("extra", "div")),
        (lambda learned, x: torch.add(learned, x, alpha=2), ("setting", "add.alpha")),
    ):
        said = named(joined("two", join))
        assert {key: explained for key, (_, explained) in said.items()} == {"scaled-identity": [subject]}
        assert "at two;" in said["scaled-identity"][0]
    assert "scaled by 0.5 " in named(joined("two", lambda learned, x: learned + 0.5 * x))["scaled-identity"][0]
    assert not named(joined("two", lambda learned, x: (learned + x) * 0.5))  # behind the addition


def test_an_average_pool_in_the_shortcut_is_resnet_d() -> None:
    ours = changed(one__skip=nn.Sequential(nn.AvgPool2d(2, 2, ceil_mode=True), conv(4, 8, 1), nn.BatchNorm2d(8)))
    said = named(ours)
    assert {key: sorted(explained) for key, (_, explained) in said.items()} == {
        "resnet-d": [("extra", "avg_pool"), *STRIDE]
    }
    assert "resnet-d" not in keys(changed(one=nn.Sequential(basic(4, 8, 1), nn.AvgPool2d(2))))


@pytest.mark.parametrize(("count", "word"), [(1, "one block"), (2, "2 blocks")])
def test_blocks_too_many_and_too_few(count: int, word: str) -> None:
    more = network(None, *(basic(8, 8) for _ in range(count)))
    said = named(more)
    assert set(said) == {"block-more"}
    assert said["block-more"][0].startswith(f"{word} more than torchvision (more0.body.0, …)" if count == 1 else word)
    assert len(said["block-more"][1]) == 7 * count
    fewer = named(network(), more)
    assert set(fewer) == {"block-fewer"}
    assert fewer["block-fewer"][0].startswith(f"{word} fewer than torchvision (")
    assert len(fewer["block-fewer"][1]) == 7 * count
    more.set_submodule("relu", nn.ReLU())
    assert keys(changed(relu=IDENTITY), more) == {"block-fewer", "missing-stem-relu"}


class Gate(nn.Module):
    """Squeeze and excitation."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv(8, 2, 1), nn.ReLU(), conv(2, 8, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x * self.layers(x)
        return out


def test_squeeze_and_excitation() -> None:
    made = network()
    made.get_submodule("two.body").append(Gate())  # type: ignore[operator]
    said = named(made)
    assert set(said) == {"squeeze-excite"}
    assert said["squeeze-excite"][0].startswith("1 squeeze-and-excitation gate")
    assert {subject for _, subject in said["squeeze-excite"][1]} >= {"mean", "sigmoid", "mul"}


def test_dropout_has_a_place() -> None:
    before = named(changed(flat=nn.Sequential(nn.Flatten(), nn.Dropout(0.3))))
    assert set(before) == {"dropout"}
    assert "dropout of 0.3 before the classifier;" in before["dropout"][0]
    inside = named(changed(two__last=nn.Sequential(nn.ReLU(), nn.Dropout(0.3)), pool=nn.Sequential(
        nn.MaxPool2d(3, 2, 1), nn.Dropout(0.2)
    )))  # fmt: skip
    assert "dropout of 0.2 at pool.1;" in inside["dropout"][0]
    assert inside["dropout"][1] == [("extra", "dropout")] * 2


class Standardised(nn.Module):
    """Takes the mean out of the image."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - 0.5) / 0.25


def test_an_image_that_is_normalised_inside() -> None:
    said = named(changed(conv=nn.Sequential(Standardised(), conv(3, 4))))
    assert set(said) == {"input-normalisation"}
    assert said["input-normalisation"][1] == [("extra", "sub"), ("extra", "div")]
    later = changed(relu=nn.Sequential(nn.ReLU(), Standardised()))
    assert not named(later)


def test_a_stem_of_several_convolutions() -> None:
    said = named(changed(conv=nn.Sequential(conv(3, 3), conv(3, 4), conv(4, 4))))
    assert set(said) == {"deep-stem"}
    assert said["deep-stem"][0].startswith("the stem has 3 convolutions")
    assert said["deep-stem"][1] == [("extra", "conv")] * 2
    assert not named(changed(pool=nn.Sequential(nn.MaxPool2d(3, 2, 1), conv(4, 4))))
    assert not named(changed(two__body__4=nn.Sequential(nn.BatchNorm2d(8), conv(8, 8))))


def test_biases() -> None:
    one = named(changed(conv=nn.Conv2d(3, 4, 3, padding=1)))
    assert {key: explained for key, (_, explained) in one.items()} == {"conv-bias": [("setting", "conv.bias")]}
    assert one["conv-bias"][0].startswith("a convolution has a bias;")
    two = named(changed(conv=nn.Conv2d(3, 4, 3, padding=1), one__body__3=nn.Conv2d(8, 8, 3, padding=1)))
    assert two["conv-bias"][0].startswith("2 convolutions have a bias;")
    head = named(changed(fc=nn.Linear(8, 5, bias=False)))
    assert {key: explained for key, (_, explained) in head.items()} == {"no-head-bias": [("setting", "linear.bias")]}
    assert not named(network(), changed(fc=nn.Linear(8, 5, bias=False)))
    assert not named(network(), changed(conv=nn.Conv2d(3, 4, 3, padding=1)))


@pytest.mark.parametrize(
    ("layer", "mode"),
    [
        (nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect", bias=False), "reflect"),
        (nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular", bias=False), "circular"),
        (nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(8, 8, 3, bias=False)), "reflect"),
        (nn.Sequential(nn.ReplicationPad2d(1), nn.Conv2d(8, 8, 3, bias=False)), "replicate"),
    ],
)
def test_another_padding(layer: nn.Module, mode: str) -> None:
    said = named(changed(two__body__0=layer))
    assert set(said) == {"padding-mode"}
    assert f"pad by {mode};" in said["padding-mode"][0]
    assert len(said["padding-mode"][1]) == 1


def test_a_name_points_at_its_findings_among_all() -> None:
    structure = structure_of(changed(relu=IDENTITY, fc=nn.Linear(8, 5, bias=False)), network())
    found = [one.finding for one in structure.differences]
    value = replace(found[0], kind="value")
    assert [one.findings for one in diagnose(structure, [value, *found])] == [(1,), (2,)]
    assert [one.findings for one in diagnose(structure, found[1:])] == [(), (0,)]
    other: list[Finding] = []
    assert [one.key for one in diagnose(structure, other)] == ["missing-stem-relu", "no-head-bias"]
