"""Parameters by count and by value, settings and initialisation, on networks small enough to count by hand."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from resnet_cli.measure.parity.checks import static
from resnet_cli.measure.parity.config import ParityConfig
from resnet_cli.measure.parity.setup import ParityRun, prepare
from resnet_cli.results.compare import BITWISE, DIFFERENT, Difference
from tests.helpers.models import make, only_check


def network(**parts: nn.Module) -> nn.Sequential:
    """108 values in a convolution, 8 and 8 in a norm, 148 in a second convolution, 25 in a linear layer."""
    layers = {
        "conv": nn.Conv2d(3, 4, 3, bias=False), "norm": nn.BatchNorm2d(4), "two": nn.Conv2d(4, 4, 3),
        "average": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten(), "fc": nn.Linear(4, 5),
    }  # fmt: skip
    return nn.Sequential(OrderedDict(layers | parts))


def sound() -> tuple[nn.Sequential, nn.Sequential]:
    ours = network()
    return ours, copy.deepcopy(ours)


def comparison(ours: nn.Module, theirs: nn.Module, reference: str = "torchvision tiny", **asked: Any) -> ParityRun:
    """Both networks with the weights that they have."""
    question = ParityConfig(shape=(2, 3, 16, 16), transfer="none", **asked)
    return prepare(ours, theirs, question, names=("net", reference))


def counted(ours: nn.Module, theirs: nn.Module, reference: str = "torchvision tiny") -> ParityRun:
    made = comparison(ours, theirs, reference)
    make(made, "parameters")
    return made


def values(made: ParityRun) -> list[Difference]:
    return [one for one in made.findings if one.check == "parameters"]


def test_parameters_are_counted_by_what_reads_them() -> None:
    check = only_check(counted(*sound()))
    assert check.verdict == BITWISE
    assert check.text == (
        "289 parameters (convolution 256, batch norm 8, linear 25) and 8 buffer values"
    )  # fmt: skip
    ours, theirs = sound()
    assert counted(renamed(ours), theirs).checks == counted(ours, renamed(theirs)).checks == [check]


def test_as_many_values_in_other_places_are_not_the_same() -> None:
    ours, theirs = sound()
    ours.set_submodule("two", nn.Sequential(ours.get_submodule("two"), nn.PReLU(4)))
    ours.get_submodule("two.0").register_parameter("bias", None)
    check = only_check(counted(ours, theirs))
    assert check.verdict == DIFFERENT
    assert check.text.startswith("289 parameters (convolution 252, ")
    assert check.text.endswith("; no counterpart for 1 tensors of the model, 1 of torchvision")


def test_torchvisions_own_figure_is_held_against_its_network() -> None:
    assert "publishes" not in only_check(counted(*sound())).text
    published = torchvision.models.get_model_weights("resnet18").DEFAULT.meta["num_params"]
    said = only_check(counted(*sound(), "torchvision resnet18")).text
    assert said.endswith(f"; torchvision publishes {published:,} for resnet18")


class Shared(nn.Module):
    """One convolution twice, also under another name."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 3, 1, bias=False), nn.Linear(3, 5)
        self.alias = self.conv

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc(self.conv(self.alias(x)).mean((2, 3)))
        return out


def test_a_shared_parameter_counts_once() -> None:
    ours = Shared()
    assert only_check(counted(ours, copy.deepcopy(ours))).text.startswith("29 parameters (convolution 9, linear 20)")


def test_a_shared_parameter_may_be_mapped_by_its_other_name() -> None:
    ours = Shared()
    theirs = copy.deepcopy(ours)
    made = comparison(ours, theirs, key_map={"alias.weight": "alias.weight"})
    make(made, "parameters")
    assert only_check(made).verdict == BITWISE
    with torch.no_grad():
        theirs.conv.weight.add_(1)
    theirs.conv.weight.requires_grad_(False)
    made = comparison(ours, theirs, key_map={"alias.weight": "alias.weight"})
    make(made, "parameters")
    told = [(one.category, one.subject) for one in values(made) if one.model_path == "alias.weight"]
    assert told == [("value", "weight"), ("frozen", "requires_grad")]


THREE = "spare0.weight, spare1.weight, spare2.weight"


@pytest.mark.parametrize(("spare", "named"), [(1, "spare0.weight"), (3, THREE), (4, THREE)])
def test_what_no_forward_reads_is_left_out(spare: int, named: str) -> None:
    ours, theirs = sound()
    for number in range(spare):
        ours.add_module(f"spare{number}", nn.PReLU())
    ours.forward = nn.Sequential(*list(ours)[:6]).forward  # type: ignore[method-assign]
    made = counted(ours, theirs)
    assert only_check(made).verdict == BITWISE
    assert only_check(made).text.startswith("289 parameters")
    (note,) = made.notes
    assert note.text == f"no forward reads {named}{' and 1 more' if spare == 4 else ''}: excluded from all counts"


def edited(change: Callable[[nn.Sequential], object]) -> ParityRun:
    ours, theirs = sound()
    with torch.no_grad():
        change(ours)
    return counted(ours, theirs)


def renamed(model: nn.Sequential) -> nn.Sequential:
    return nn.Sequential(OrderedDict((f"{name}_", part) for name, part in model.named_children()))


def tensor(model: nn.Module, name: str) -> Tensor:
    found: Tensor = model.state_dict()[name]
    return found


def test_values_that_differ_are_counted_and_measured() -> None:
    def change(ours: nn.Sequential) -> None:
        tensor(ours, "conv.weight").view(-1)[:3] += torch.tensor([0.25, -0.5, 0.125])
        tensor(ours, "norm.running_mean")[1] += 0.5

    made = edited(change)
    assert [(one.category, one.subject, one.model_path, one.reference_path) for one in values(made)] == [
        ("value", "weight", "conv.weight", "conv.weight"),
        ("value", "buffer", "norm.running_mean", "norm.running_mean"),
    ]
    assert [one.text for one in values(made)] == [
        "conv.weight: 3 of 108 values differ, by at most 0.5",
        "norm.running_mean: 1 of 4 values differ, by at most 0.5",
    ]
    assert only_check(made).verdict == DIFFERENT
    assert only_check(made).text.endswith("; 2 with another value or frozen")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_no_difference_like_any_other(value: float) -> None:
    (found,) = values(edited(lambda ours: tensor(ours, "conv.weight").view(-1)[:2].fill_(value)))
    assert (found.subject, found.text) == ("nan", "conv.weight: 2 values are not finite")


def test_another_dtype_with_the_same_values() -> None:
    ours, theirs = sound()
    with torch.no_grad():
        for model in (ours, theirs):
            tensor(model, "norm.weight").copy_(torch.tensor([0.5, 1.0, 2.0, 4.0]))  # the same in half precision
    ours.get_parameter("norm.weight").data = tensor(ours, "norm.weight").bfloat16()
    (found,) = values(counted(ours, theirs))
    assert (found.subject, found.text) == ("dtype", "norm.weight: bfloat16, torchvision has float32")
    ours.get_parameter("norm.weight").data[0] = 0.25
    (found,) = values(counted(ours, theirs))
    assert found.text == "norm.weight: 1 of 4 values differ, by at most 0.25"


def test_two_tensors_with_each_others_values_are_swapped() -> None:
    ours, theirs = sound()
    with torch.no_grad():
        for model, (one, other) in ((ours, (1.0, 2.0)), (theirs, (2.0, 1.0))):
            tensor(model, "norm.weight").fill_(one)
            tensor(model, "norm.bias").fill_(other)
    found = values(counted(ours, theirs))
    assert [one.subject for one in found] == ["swapped"] * 2
    assert found[0].text == "norm.weight holds the values of norm.bias: the two are swapped"
    with torch.no_grad():
        tensor(ours, "norm.bias").fill_(3.0)  # one of them alone holds the other's
    assert [one.subject for one in values(counted(ours, theirs))] == ["weight"] * 2


def test_three_tensors_in_a_circle_are_not_swapped() -> None:
    ours, theirs = sound()
    names = ("norm.weight", "norm.bias", "two.bias")
    with torch.no_grad():
        for place, name in enumerate(names):
            tensor(ours, name).fill_(float(place))
            tensor(theirs, name).fill_(float((place + 1) % 3))
    assert [one.subject for one in values(counted(ours, theirs))] == ["weight"] * 3


def test_frozen_parameters_are_told_whoevers_they_are() -> None:
    ours, theirs = sound()
    ours.get_parameter("conv.weight").requires_grad_(False)
    theirs.get_parameter("fc.bias").requires_grad_(False)
    made = counted(ours, theirs)
    assert [(one.category, one.model_path, one.model_value, one.reference_value, one.text) for one in values(made)] == [
        ("frozen", "conv.weight", "frozen", "trainable", "conv.weight is frozen, torchvision's is trainable"),
        ("frozen", "fc.bias", "trainable", "frozen", "fc.bias is trainable, torchvision's is frozen"),
    ]
    assert only_check(made).verdict == DIFFERENT


def test_a_buffer_in_the_place_of_a_parameter() -> None:
    def bury(model: nn.Module) -> None:
        norm = model.get_submodule("norm")
        kept = norm.weight.detach()  # type: ignore[operator]
        del norm.weight
        norm.register_buffer("weight", kept)

    ours, theirs = sound()
    bury(ours)
    (found,) = values(counted(ours, theirs))
    assert (found.category, found.text) == ("parameter", "norm.weight is a buffer, torchvision's norm.weight is not")
    ours, theirs = sound()
    bury(theirs)
    (found,) = values(counted(ours, theirs))
    assert found.text == "norm.weight is a parameter, torchvision's norm.weight is not"


def test_a_tensor_of_another_size_is_a_clash() -> None:
    made = counted(network(fc=nn.Linear(4, 6)), network())
    assert set(made.clashes) == {("fc.weight", "fc.weight"), ("fc.bias", "fc.bias")}
    assert only_check(made).verdict == DIFFERENT


NORM = nn.GroupNorm(1, 4)


@pytest.mark.parametrize(
    ("behind", "names"),
    [
        ([], None),
        ([nn.ReLU()], None),
        ([nn.PReLU()], "two.1.weight"),
        ([NORM], "two.1.weight, two.1.bias"),
        ([NORM, nn.PReLU()], "two.1.weight, two.1.bias and 1 more"),
        ([NORM, nn.GroupNorm(2, 4)], "two.1.weight, two.1.bias and 2 more"),
    ],
)
def test_values_that_have_no_counterpart_are_arbitrary(behind: list[nn.Module], names: str | None) -> None:
    made = comparison(network(two=nn.Sequential(nn.Conv2d(4, 4, 3), *behind)), network())
    why = static.not_comparable(made)
    rest = "has no counterpart, so its" if names == "two.1.weight" else "have no counterpart, so their"
    assert why == (names and f"{names} of the model {rest} values are arbitrary")
