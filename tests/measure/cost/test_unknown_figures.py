"""Assertions about figures that are not known, or are lower bounds, fail with the reason; all others are decided."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.assertions import evaluate, parse_assertions, quantities
from resnet_cli.measure.cost.summary import summarize
from resnet_cli.measure.models.inputs.model_inputs import images
from resnet_cli.measure.system.environment import environment
from resnet_cli.render.document import Fields, ViewOptions
from resnet_cli.render.pages import page
from resnet_cli.results.summary import SummaryResult
from tests.helpers.models import flops_of, subject

SHAPE = (2, 3, 4, 4)
INFERENCE, TRAINING = {"inference-memory", "inference-peak"}, {"training-memory", "training-peak", "saved-for-backward"}
MACS = {"macs", "flops", "ops"}
WEIGHTS = {"parameters", "weight-memory", "inference-memory", "training-memory"}


class Function(nn.Module):
    """A layer, and a function of its output."""

    def __init__(self, function: Callable[[Function, Tensor], Tensor], *layers: nn.Module) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.function = function
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, self.first(x))


def recurrent(network: Function, x: Tensor) -> Tensor:
    out: Tensor = network.layers[0](x.flatten(0, 1))[0]
    return out


def attention(network: Function, x: Tensor) -> Tensor:
    out: Tensor = network.layers[0](x[0], x[0], x[0], need_weights=False)[0]
    return out


def by_chance(always: bool) -> Callable[[Function, Tensor], Tensor]:
    def function(network: Function, x: Tensor) -> Tensor:
        out: Tensor = network.layers[0](x) if (always or network.training) and random.random() < 0.5 else x
        return out

    return function


@torch.compile
def doubled(x: Tensor) -> Tensor:
    return x + x


def overwritten(_: Function, x: Tensor) -> Tensor:
    """Torch refuses the backward pass: the sigmoid's output is gone."""
    result = x.sigmoid()
    result.data.zero_()
    return result.sigmoid_().add_(1).sigmoid_().exp().mul_(0).detach()


def quantized() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.ao is deprecated
        packed = torch.ao.nn.quantized.dynamic.Linear(4, 2)  # type: ignore[no-untyped-call]
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 4), packed)


CASES: dict[str, tuple[Callable[[], nn.Module], str, str, set[str]]] = {
    "recurrent on a GPU": (
        lambda: Function(recurrent, nn.LSTM(4, 4)),
        "cuda",
        "memory-of-a-cpu",
        INFERENCE | TRAINING,
    ),
    "fused": (lambda: Function(attention, nn.MultiheadAttention(4, 2)), "cpu", "fused-in-eval-mode", INFERENCE),
    "compiled function": (
        lambda: Function(lambda _, x: doubled(x)),
        "cpu",
        "memory-without-compile",
        INFERENCE | TRAINING,
    ),
    "random path in train mode": (
        lambda: Function(by_chance(False), nn.Linear(4, 4)),
        "cpu",
        "random-path-train",
        TRAINING,
    ),
    "random path always": (
        lambda: Function(by_chance(True), nn.Linear(4, 4)),
        "cpu",
        "random-path-eval",
        INFERENCE | MACS | TRAINING,
    ),
    "no training": (lambda: Function(overwritten), "cpu", "no-training", TRAINING),
    "packed weights": (quantized, "cpu", "packed-weights", WEIGHTS | TRAINING),
    "nothing": (lambda: Function(lambda _, x: x.relu()), "cpu", "", set()),
}


def summary_on(device: str, model: nn.Module) -> SummaryResult:
    return summarize(subject(model), inputs=images(SHAPE), device=torch.device(device))


@pytest.fixture(autouse=True)
def _environment_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    of_a_cpu = environment(torch.device("cpu"))
    monkeypatch.setattr("resnet_cli.measure.cost.summary.environment", lambda device: of_a_cpu)


@pytest.mark.parametrize("case", CASES)
def test_what_a_note_doubts_no_assertion_decides(case: str) -> None:
    make, device, key, undecided = CASES[case]
    result = summary_on(device, make())
    assert key in {note.key for note in result.notes} | {""}
    texts = [f"{name}<=1P" for name in quantities("summary")]
    checked = evaluate(result, parse_assertions(texts, "summary")).assertions
    assert {each.quantity for each in checked if not each.holds} == undecided
    notes = [note.text for note in result.notes if note.unknown or note.lower_bounds]
    for each in checked:
        assert each.holds is (each.reason is None)
        assert each.holds or any(text in (each.reason or "") for text in notes)


def test_the_backward_pass_of_a_random_path_is_undecided() -> None:
    result = flops_of(Function(by_chance(False), nn.Linear(4, 4)), SHAPE, backward=True)
    texts = [f"{name}<=1P" for name in quantities("flops")]
    checked = evaluate(result, parse_assertions(texts, "flops")).assertions
    assert {each.quantity for each in checked if not each.holds} == {"backward-macs", "backward-flops"}


def test_the_page_marks_what_is_not_known() -> None:
    result = summary_on("cpu", CASES["compiled function"][0]())
    labels = {
        label for element in page(result, ViewOptions()).elements if isinstance(element, Fields)
        for label, _ in element.items if "uncertain" in label
    }  # fmt: skip
    assert labels == {
        "activations, peak, uncertain", "total, uncertain", "activations, gradients, uncertain",
        "saved for backward, uncertain", "inference, uncertain", "training, uncertain",
    }  # fmt: skip
