"""Passes through a copy: where it needs values, where it is lazy, and where train mode does something else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.models import runner
from resnet_cli.measure.models.inputs.model_inputs import images
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.models.runner import ForwardRunner
from resnet_cli.network.architectures import ARCHITECTURES
from resnet_cli.results.common import Network, Shape
from tests.helpers.models import subject, summary_of

SHAPE: Shape = (2, 3, 4, 4)


class Calling(nn.Module):
    """A forward by function of the module itself, which holds a few things to call."""

    def __init__(self, call: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.call = call
        self.conv, self.lin = nn.Conv2d(3, 4, 1), nn.Linear(4, 5)
        self.norm = nn.BatchNorm2d(3, affine=False)
        self.heads = nn.ModuleList(nn.Linear(4, 2) for _ in range(6))

    def forward(self, x: Tensor) -> Any:
        return self.call(self, x)


PassesOf = Callable[..., ForwardRunner]


@pytest.fixture
def passes_of() -> Iterator[PassesOf]:
    with ExitStack() as stack:

        def enter(call: Callable[[Any, Tensor], Any], dtype: torch.dtype = torch.float32) -> ForwardRunner:
            return stack.enter_context(ForwardRunner(ModelUnderTest(Calling(call), "net"), images(SHAPE), dtype))

        yield enter


def reading(net: Any, x: Tensor) -> Tensor:
    y = net.conv(x)
    return y * 2 if y.abs().sum().item() > 0 else y  # type: ignore[no-any-return]


def test_a_network_is_described_by_what_it_was_built_from() -> None:
    spec = replace(ARCHITECTURES["resnext50_32x4d"], num_classes=7, stem="cifar", in_channels=1)
    assert subject(spec).description == Network(spec.name, "bottleneck", (3, 4, 6, 3), 32, 4, "cifar", 1, 7)
    assert ModelUnderTest(nn.ReLU(), "theirs").description == Network("theirs", *[None] * 7)


def test_what_needs_no_values_has_none(passes_of: PassesOf) -> None:
    passes = passes_of(lambda net, x: net.conv(x), torch.float64)
    assert passes.inference().output.is_meta
    assert (passes.is_real, passes.arguments().args[0].dtype) == (False, torch.float64)
    assert [note.key for note in passes.notes] == ["converted-dtype"]


def test_what_needs_values_is_given_the_same_ones_every_time(passes_of: PassesOf) -> None:
    passes = passes_of(reading, torch.float64)
    output = passes.inference().output
    assert (passes.is_real, output.device.type, output.dtype) == (True, "cpu", torch.float64)
    assert torch.equal(passes.arguments().args[0], passes.arguments().args[0])
    assert torch.equal(output, passes.inference().output)
    assert [note.key for note in passes.notes] == ["converted-dtype", "ran-with-real-tensors"]


def test_both_passes_are_through_one_copy(passes_of: PassesOf) -> None:
    """Train mode alone needs values: then eval mode is measured with them too."""
    passes = passes_of(lambda net, x: reading(net, x) if net.training else net.conv(x))
    inference, training = passes.infer_and_train()
    assert not isinstance(training, str)
    assert (inference.output.device.type, training.output.device.type) == ("cpu", "cpu")
    inference, _ = passes_of(lambda net, x: net.conv(x)).infer_and_train()
    assert inference.output.is_meta


def odd(net: Any, x: Tensor) -> Tensor:
    """Fails on `meta`, in words that do not speak of it."""
    if x.is_meta:
        raise ValueError("odd")
    return net.conv(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize(("weights", "pixels", "is_cheap"), [(76, 96, True), (100, 95, False), (75, 1000, False)])
def test_real_tensors_are_tried_where_they_are_cheap(
    weights: int, pixels: int, is_cheap: bool, monkeypatch: pytest.MonkeyPatch, passes_of: PassesOf
) -> None:
    monkeypatch.setattr(runner, "_CHEAP_WEIGHTS", weights + 25)  # a linear layer beside
    monkeypatch.setattr(runner, "_CHEAP_INPUT", pixels)
    passes = passes_of(odd)
    assert sum(parameter.numel() for parameter in passes.model.parameters()) == 16 + 25 + 6 * 10 == 76 + 25
    if is_cheap:
        assert passes.inference().output.device.type == "cpu"
    else:
        with pytest.raises(ResnetCliError, match="odd"):
            passes.inference()
    assert passes.is_real == is_cheap


def test_what_runs_with_values_no_more_than_without_says_why(passes_of: PassesOf) -> None:
    def failing(net: Any, x: Tensor) -> Tensor:
        raise NotImplementedError("not on meta") if x.is_meta else ValueError("not with values")

    with pytest.raises(ResnetCliError, match="not with values"):
        passes_of(failing).inference()


@pytest.mark.parametrize(("reason", "line"), [("never\n  trained", "never trained"), ("", "ValueError")])
def test_why_a_step_was_impossible_is_said_on_one_line(passes_of: PassesOf, reason: str, line: str) -> None:
    def failing(net: Any, x: Tensor) -> Tensor:
        if net.training:
            raise ValueError(reason)
        return net.conv(x)  # type: ignore[no-any-return]

    passes = passes_of(failing)
    inference, step = passes.infer_and_train()
    assert inference.output.shape == (2, 4, 4, 4)
    assert step == line
    assert passes.training_failure is not None
    assert passes.alive_in_training(4) is None


def test_a_lazy_network_that_cannot_be_trained_is_measured_in_eval_mode() -> None:
    model = nn.Sequential(nn.LazyConv2d(4, 1), nn.AdaptiveAvgPool2d(1), nn.LazyBatchNorm2d())
    result = summary_of(model, (1, 3, 4, 4))
    assert result.parameters == 16 + 8
    assert any(note.text.startswith("no training figures") for note in result.notes)


def test_a_lazy_layer_of_train_mode_alone_is_found_too() -> None:
    class Trained(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.aux = nn.LazyConv2d(4, 1), nn.LazyLinear(5)

        def forward(self, x: Tensor) -> Any:
            x = self.body(x)
            return (x, self.aux(x.flatten(1))) if self.training else x

    assert summary_of(Trained(), SHAPE).parameters == 16 + 65 * 5


# MACs in train and eval mode, and the modules that only one of them calls.
MODES: dict[str, tuple[Callable[[Any, Tensor], Any], tuple[str, ...] | None]] = {
    "equal": (lambda net, x: net.lin(net.conv(x)), None),
    "work without modules": (
        lambda net, x: nn.functional.linear(x, net.lin.weight) if net.training else x * net.conv.bias[0],
        ("480 MACs", "0 in eval"),
    ),
    "called in train mode": (
        lambda net, x: (net.conv(x), net.lin(x)) if net.training else net.conv(x),
        ("864 MACs", "384 in eval", "train mode: lin"),
    ),
    "called in eval mode": (
        lambda net, x: net.conv(x) if net.training else net.lin(net.conv(x)),
        ("384 MACs", "1,024 in eval", "eval mode: lin"),
    ),
    "without MACs": (lambda net, x: net.conv(net.norm(x) if net.training else x), ("train mode: norm",)),
    "many": (
        lambda net, x: [head(x) for head in net.heads] if net.training else net.conv(x),
        ("heads.3 and 2 more", "eval mode: conv"),
    ),
}


@pytest.mark.parametrize("case", MODES)
def test_a_difference_between_train_and_eval_mode_is_noted(case: str) -> None:
    call, parts = MODES[case]
    notes = [note for note in summary_of(Calling(call), SHAPE).notes if note.key == "train-mode-differs"]
    assert len(notes) == (parts is not None)
    assert all(part in notes[0].text for part in parts or ())
