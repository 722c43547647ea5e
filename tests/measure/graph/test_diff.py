"""What is not the same in two small networks, in the words that a reader gets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from resnet_cli.measure.graph.diff import GraphDiff, lines
from resnet_cli.measure.graph.nodes import Node
from resnet_cli.measure.graph.settings_text import settings_text
from tests.helpers.models import structure_of


def conv(kernel: int = 3, out: int = 4, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(3, out, kernel, **options)


def behind(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(conv(), *layers)


def norm(**options: Any) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(4, **options)


def findings(structure: GraphDiff) -> list[tuple[str, str, str | None, str | None]]:
    found = [one.finding for one in structure.differences]
    return [(one.category, one.subject, one.model_value, one.reference_value) for one in found]


def texts(structure: GraphDiff) -> list[str]:
    return [one.finding.text for one in structure.differences]


def statuses(structure: GraphDiff) -> list[str]:
    return [structure.status[place] for place in range(len(structure.pairs))]


class Frozen(nn.BatchNorm2d):
    """Normalizes by what it remembers in train mode too."""

    def train(self, mode: bool = True) -> Frozen:
        super().train(False)
        return self


class Alpha(nn.Module):
    """Adds its input twice, or thrice."""

    def __init__(self, alpha: int = 2) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(x, x, alpha=self.alpha)


@pytest.mark.parametrize(
    ("ours", "theirs", "subject", "values", "text"),
    [
        (conv(stride=2), conv(), "conv.stride", ("2", "1"), "0: stride 2, torchvision has 1"),
        (conv(stride=(2, 1)), conv(), "conv.stride", ("2×1", "1"), "0: stride 2×1, torchvision has 1"),
        (conv(5), conv(), "conv.kernel", ("5×5", "3×3"), "0: kernel 5×5, torchvision has 3×3"),
        (conv(out=8), conv(), "conv.channels", ("3→8", "3→4"), "0: channels 3→8, torchvision has 3→4"),
        (conv(bias=False), conv(), "conv.bias", ("off", "on"), "0: bias off, torchvision has on"),
        (
            conv(padding=1, padding_mode="reflect"), conv(padding=1), "conv.padding_mode", ("reflect", "zeros"),
            "0: padding mode reflect, torchvision has zeros",
        ),
        (behind(norm(eps=1e-3)), behind(norm()), "batch_norm.eps", ("0.001", "1e-05"),
         "0.1: eps 0.001, torchvision has 1e-05"),
        # No digit is dropped that would hide a difference.
        (behind(norm(momentum=0.1000000001)), behind(norm()), "batch_norm.momentum", ("0.1000000001", "0.1"),
         "0.1: momentum 0.1000000001, torchvision has 0.1"),
        (behind(norm()), behind(norm(track_running_stats=False)), "batch_norm.track_running_stats", ("on", "off"),
         "0.1: running statistics on, torchvision has off"),
        (behind(Alpha()), behind(Alpha(1)), "add.alpha", ("2", "None"), "0.1: alpha 2, torchvision has None"),
        (behind(Frozen(4)), behind(norm()), "batch_norm.batch_statistics", ("off", "on"),
         "0.1: batch statistics in train mode off, torchvision has on"),
        (weight_norm(conv()), conv(), "conv.weight", ("_weight_norm_interface", ""),
         "0: its weight is computed by _weight_norm_interface"),
        (conv(), weight_norm(conv()), "conv.weight", ("", "_weight_norm_interface"),
         "0: its weight is computed by nothing, in torchvision by _weight_norm_interface"),
    ],
)  # fmt: skip
def test_a_setting_that_differs_is_told_with_both_values(
    ours: nn.Module, theirs: nn.Module, subject: str, values: tuple[str, str], text: str
) -> None:
    structure = structure_of(nn.Sequential(ours), nn.Sequential(theirs))
    assert findings(structure) == [("setting", subject, *values)]
    assert texts(structure) == [text]
    assert statuses(structure)[-1] == "setting"


class OwnNorm(nn.Module):
    """Batch norm by hand, which calls its options as it likes."""

    def __init__(self, **options: float) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(4)), nn.Parameter(torch.zeros(4))
        self.mean: Tensor
        self.var: Tensor
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("var", torch.ones(4))
        for name, value in options.items():
            setattr(self, name, value)

    def forward(self, x: Tensor) -> Tensor:
        x = (x - x.mean((0, 2, 3), keepdim=True)) / (x.var((0, 2, 3), keepdim=True) + 1e-5).sqrt()
        return x * self.weight.view(1, 4, 1, 1) + self.bias.view(1, 4, 1, 1)


@pytest.mark.parametrize("options", [{}, {"eps": 1e-5}, {"momentum": 0.1}, {"momentum": 0.9, "eps": 1e-5}])
def test_a_norm_by_hand_is_held_to_what_it_calls_by_a_name(options: dict[str, float]) -> None:
    """Its momentum may be what is taken, as in torch, or what is kept, as in TensorFlow."""
    structure = structure_of(behind(OwnNorm(**options)), behind(norm()))
    assert structure.pairs[1][0] is not None
    assert structure.pairs[1][0].composite == "1"
    assert statuses(structure) == ["equal", "equal"]
    assert not structure_of(behind(norm()), behind(OwnNorm(eps=1e-5))).differences


def test_one_operator_in_the_place_of_another_is_a_replacement() -> None:
    structure = structure_of(behind(nn.GELU()), behind(nn.ReLU()))
    assert findings(structure) == [("replaced", "relu", "gelu", "relu")]
    assert texts(structure) == ["1: GELU, torchvision has ReLU"]
    assert statuses(structure) == ["equal", "replaced"]
    structure = structure_of(behind(nn.AdaptiveAvgPool2d(1)), behind(nn.MaxPool2d(14)))
    assert texts(structure) == ["1: global average pool, torchvision has max pool"]


def test_an_operator_on_another_side_of_its_neighbour_has_moved() -> None:
    structure = structure_of(behind(nn.ReLU(), norm()), behind(norm(), nn.ReLU()))
    assert findings(structure) == [("moved", "relu", "convolution 0", "batch norm 1")]
    assert texts(structure) == ["1: ReLU comes after convolution 0, in torchvision after batch norm 1"]
    assert statuses(structure) == ["equal", "moved", "equal", "moved"]
    structure = structure_of(nn.Sequential(nn.ReLU(), conv()), nn.Sequential(conv(), nn.ReLU()))
    assert texts(structure) == ["0: ReLU comes after the image, in torchvision after convolution 0"]


def test_what_one_of_the_two_has_not_is_told_with_its_place() -> None:
    more, fewer = behind(nn.ReLU(), nn.Dropout(0.3)), behind(nn.ReLU())
    structure = structure_of(more, fewer)
    assert findings(structure) == [("extra", "dropout", "dropout", None)]
    assert texts(structure) == ["2: dropout behind ReLU 1; torchvision has none there"]
    structure = structure_of(fewer, more)
    assert findings(structure) == [("missing", "dropout", None, "dropout")]
    assert texts(structure) == ["no dropout behind ReLU 1; torchvision has 2"]
    assert statuses(structure) == ["equal", "equal", "missing"]
    assert texts(structure_of(conv(), nn.Sequential(nn.ReLU(), conv()))) == [
        "no ReLU behind the image; torchvision has 0"
    ]


def test_behind_what_is_missing_stands_what_is_there() -> None:
    """Of three that are missing in a row, each is told by what both networks have."""
    structure = structure_of(behind(), behind(norm(), nn.ReLU(), nn.Dropout()))
    assert texts(structure) == [
        f"no {kind} behind convolution 0; torchvision has {place}"
        for place, kind in enumerate(("batch norm", "ReLU", "dropout"), start=1)
    ]


class Wired(nn.Module):
    """Three convolutions in a row, and what is added at the end, behind the second one, and what stands between."""

    def __init__(self, end: Callable[..., Tensor], early: Callable[..., Tensor] = lambda x, a, b: b) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(3, 3, 1) for _ in range(3))
        self.end, self.early = end, early

    def forward(self, x: Tensor) -> Tensor:
        a = self.a(x)
        b = self.b(a)
        return self.end(x, a, b, self.c(self.early(x, a, b)))


PLAIN = Wired(lambda x, a, b, c: c)


@pytest.mark.parametrize(
    ("ours", "theirs", "said", "values"),
    [
        (lambda x, a, b, c: c + x, lambda x, a, b, c: c + a, "reads the image and does not read convolution a",
         ("the image", "convolution a")),
        (lambda x, a, b, c: c + a, lambda x, a, b, c: c + x, "reads convolution a and does not read the image",
         ("convolution a", "the image")),
        (lambda x, a, b, c: c + b, lambda x, a, b, c: c + a, "reads convolution b and does not read convolution a",
         ("convolution b", "convolution a")),
        (lambda x, a, b, c: torch.cat([c, x, a]), lambda x, a, b, c: torch.cat([c, b, b]),
         "reads the image and convolution a and does not read convolution b", ("the image, convolution a",
                                                                             "convolution b")),
        (lambda x, a, b, c: torch.cat([c, b, b]), lambda x, a, b, c: torch.cat([c, x, a]),
         "reads convolution b and does not read the image and convolution a", ("convolution b",
                                                                             "the image, convolution a")),
        (lambda x, a, b, c: c + c, lambda x, a, b, c: c + a, "does not read convolution a", ("", "convolution a")),
        (lambda x, a, b, c: c + a, lambda x, a, b, c: c + c, "reads convolution a", ("convolution a", "")),
    ],
)  # fmt: skip
def test_an_operator_that_reads_something_else(
    ours: Callable[..., Tensor], theirs: Callable[..., Tensor], said: str, values: tuple[str, str]
) -> None:
    structure = structure_of(Wired(ours), Wired(theirs))
    kind = "cat" if "and convolution" in said else "add"
    assert findings(structure) == [("wiring", kind, *values)]
    assert texts(structure) == [f"{kind} {said}, unlike torchvision"]
    assert statuses(structure) == ["equal"] * 3 + ["setting"]


def summed(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return b + a


def rectified(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return (b + a).relu()


@pytest.mark.parametrize("early", [summed, rectified])
def test_an_addition_too_many_is_one_finding_and_not_one_for_each_reader(early: Callable[..., Tensor]) -> None:
    more = Wired(lambda x, a, b, c: c, early)
    assert {kind for kind, *_ in findings(structure_of(more, PLAIN))} == {"extra"}
    structure = structure_of(PLAIN, more)
    assert {kind for kind, *_ in findings(structure)} == {"missing"}
    assert texts(structure)[0] == "no add behind convolution b and convolution a; torchvision has one"


def test_equal_networks_differ_in_nothing() -> None:
    structure = structure_of(Wired(lambda x, a, b, c: c + a), Wired(lambda x, a, b, c: a + c))
    assert not structure.differences
    assert set(statuses(structure)) == {"equal"}


def relu(number: int, **settings: Any) -> Node:
    return Node(number, "relu", settings, (number - 1,), {}, f"relu{number}", (1, 4))


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False), "4→6 3×3 stride 2 padding 1"),
        (nn.Conv2d(4, 4, (1, 3), dilation=2, groups=2), "4→4 1×3 dilation 2 groups 2 bias"),
        (nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), "4→4 3×3 padding 1 bias reflect"),
        (nn.Conv2d(4, 4, 1, bias=False), "4→4 1×1"),
        (norm(), "4"),
        (norm(eps=1e-3, momentum=0.01), "4 eps 0.001 momentum 0.01"),
        (norm(affine=False, track_running_stats=False), "4 no affine no running statistics"),
        (Frozen(4), "4 frozen statistics"),
        (OwnNorm(), "4"),
        (nn.MaxPool2d(3, 2, 1), "3×3 stride 2 padding 1"),
        (nn.MaxPool2d(3, 2, ceil_mode=True), "3×3 stride 2 ceil_mode"),
        (nn.AvgPool2d(2), "2×2 stride 2"),
        (nn.Sequential(nn.Flatten(), nn.Linear(784, 5)), "784→5"),
        (nn.Sequential(nn.Flatten(), nn.Linear(784, 5, bias=False)), "784→5 no bias"),
        (nn.Dropout(0.3), "p 0.3"),
        (nn.ReLU(), ""),
        (nn.AdaptiveAvgPool2d(1), ""),
        (nn.Hardtanh(-2.0, 2.0), "min_val -2 max_val 2"),
    ],
)
def test_settings_in_a_few_words(layer: nn.Module, text: str) -> None:
    node = structure_of(behind(layer), behind(layer)).pairs[-1][0]
    assert node is not None
    assert settings_text(node) == text


def test_both_networks_side_by_side() -> None:
    ours, theirs = behind(nn.ReLU(), norm(eps=1e-3)), behind(norm(), nn.Dropout(0.3))
    shown = [
        (
            one.model_path,
            one.model_op,
            one.model_settings,
            one.reference_path,
            one.reference_op,
            one.reference_settings,
            one.status,
        )
        for one in lines(structure_of(ours, theirs))
    ]
    assert shown == [
        ("0", "conv", "3→4 3×3 bias", "0", "conv", "3→4 3×3 bias", "equal"),
        ("1", "relu", "", None, None, "", "extra"),
        ("2", "batch_norm", "4 eps 0.001", "1", "batch_norm", "4", "setting"),
        (None, None, "", "2", "dropout", "p 0.3", "missing"),
    ]
