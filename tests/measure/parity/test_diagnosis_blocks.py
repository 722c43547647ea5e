"""Shortcuts, whole blocks, and what stands where the reference has nothing: each pattern by its name."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.measure.parity.diagnosis import diagnose
from resnet_cli.results.compare import Difference
from tests.helpers.models import structure_of
from tests.measure.parity.test_diagnosis import (
    IDENTITY,
    STRIDE,
    Block,
    Join,
    basic,
    changed,
    conv,
    joined,
    keys,
    named,
    network,
)


def test_a_shortcut_that_is_lost() -> None:
    said = named(joined("two", lambda learned, x: learned))
    assert {key: explained for key, (_, explained) in said.items()} == {"dropped-identity": [("missing", "add")]}
    assert "in two:" in said["dropped-identity"][0]


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


class Bare(nn.Module):
    """A convolution and what is done with it, in its own forward."""

    def __init__(self, join: Join) -> None:
        super().__init__()
        self.conv, self.join = conv(3, 3), join

    def forward(self, x: Tensor) -> Tensor:
        return self.join(self.conv(x), x)


def test_a_forward_that_does_it_all_is_called_the_network() -> None:
    said = named(Bare(lambda learned, x: learned + 0.5 * x), Bare(operator.add))
    assert "at the network;" in said["scaled-identity"][0]


def test_an_image_that_is_added_is_no_normalization_of_it() -> None:
    assert not named(Bare(operator.add), Bare(lambda learned, x: learned))
    assert not named(Bare(lambda learned, x: x + learned), Bare(lambda learned, x: learned))


def test_an_average_pool_in_the_shortcut_is_resnet_d() -> None:
    ours = changed(one__skip=nn.Sequential(nn.AvgPool2d(2, 2, ceil_mode=True), conv(4, 8, 1), nn.BatchNorm2d(8)))
    said = named(ours)
    assert {key: sorted(explained) for key, (_, explained) in said.items()} == {
        "resnet-d": [("extra", "avg_pool"), *STRIDE]
    }
    ours.set_submodule("conv", conv(3, 4, 3, 2))
    assert sorted(named(ours)["resnet-d"][1]) == [("extra", "avg_pool"), *STRIDE]
    assert "resnet-d" not in keys(changed(one=nn.Sequential(basic(4, 8, 1), nn.AvgPool2d(2))))


@pytest.mark.parametrize(("count", "word"), [(1, "one block"), (2, "2 blocks")])
def test_blocks_too_many_and_too_few(count: int, word: str) -> None:
    more = network(None, *(basic(8, 8) for _ in range(count)))
    said = named(more)
    assert set(said) == {"block-more"}
    assert said["block-more"][0] == f"{word} more than torchvision (more0.body.0, …)"
    assert len(said["block-more"][1]) == 7 * count
    fewer = named(None, more)
    assert set(fewer) == {"block-fewer"}
    assert fewer["block-fewer"][0] == f"{word} fewer than torchvision (more0.body.0, …)"
    assert len(fewer["block-fewer"][1]) == 7 * count
    more.set_submodule("relu", nn.ReLU())
    assert keys(changed(relu=IDENTITY), more) == {"block-fewer", "missing-stem-relu"}


def test_a_block_of_one_convolution_is_one_too() -> None:
    said = named(network(None, Block(conv(8, 8), IDENTITY)))
    assert {key: text for key, (text, _) in said.items()} == {
        "block-more": "one block more than torchvision (more0.body)"
    }


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


@pytest.mark.parametrize(
    "gate",
    [
        lambda x: x * x.sigmoid(),
        lambda x: x * x.mean((2, 3), keepdim=True),
        lambda x: x + x.mean((2, 3), keepdim=True).sigmoid(),
    ],
)
def test_a_part_of_it_is_not_squeeze_and_excitation(gate: Callable[[Tensor], Tensor]) -> None:
    assert "squeeze-excite" not in keys(joined("two", lambda learned, x: gate(learned) + x))


def test_dropout_has_a_place() -> None:
    before = named(changed(flat=nn.Sequential(nn.Flatten(), nn.Dropout(0.3))))
    assert set(before) == {"dropout"}
    assert "dropout of 0.3 before the classifier;" in before["dropout"][0]
    inside = named(changed(two__last=nn.Sequential(nn.ReLU(), nn.Dropout(0.3)), pool=nn.Sequential(
        nn.MaxPool2d(3, 2, 1), nn.Dropout(0.2)
    )))  # fmt: skip
    assert "dropout at pool.1 and two.last.1;" in inside["dropout"][0]
    assert inside["dropout"][1] == [("extra", "dropout")] * 2
    both = changed(relu=nn.Sequential(nn.ReLU(), nn.Dropout(0.2)), flat=nn.Sequential(nn.Flatten(), nn.Dropout(0.3)))
    assert "dropout of 0.3 before the classifier;" in named(both)["dropout"][0]


class Standardised(nn.Module):
    """Takes the mean out of the image."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - 0.5) / 0.25


def test_an_image_that_is_normalized_inside() -> None:
    said = named(changed(conv=nn.Sequential(Standardised(), conv(3, 4))))
    assert set(said) == {"input-normalization"}
    assert said["input-normalization"][1] == [("extra", "sub"), ("extra", "div")]
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
    assert not named(None, changed(fc=nn.Linear(8, 5, bias=False)))
    assert not named(None, changed(conv=nn.Conv2d(3, 4, 3, padding=1)))


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
    value = replace(found[0], category="value")
    assert [one.differences for one in diagnose(structure, [value, *found])] == [(1,), (2,)]
    assert [one.differences for one in diagnose(structure, found[1:])] == [(), (0,)]
    other: list[Difference] = []
    assert [one.key for one in diagnose(structure, other)] == ["missing-stem-relu", "no-head-bias"]
