"""Faults planted one by one: which are said to be found, which to be named, and against what they are looked for."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from resnet_cli import signals
from resnet_cli.measure.faults import self_test as module
from resnet_cli.measure.faults.catalog import Fault, NotApplicableError
from resnet_cli.measure.faults.self_test import self_test
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.parity.compare import compare
from resnet_cli.measure.parity.config import ParityConfig
from resnet_cli.results.compare import SelfTestResult

QUICK = ParityConfig(shape=(2, 3, 16, 16), checks=("parameters", "settings"))


def network(**parts: nn.Module) -> nn.Module:
    layers = {
        "conv": nn.Conv2d(3, 4, 3), "norm": nn.BatchNorm2d(4), "relu": nn.ReLU(), "pool": nn.MaxPool2d(2),
        "two": nn.Conv2d(4, 4, 3), "act": nn.ReLU(), "average": nn.AdaptiveAvgPool2d(1),
    }  # fmt: skip
    return nn.Sequential(OrderedDict(layers | parts))


def without_stem_relu(model: nn.Module) -> nn.Module:
    model.set_submodule("relu", nn.Identity())
    return model


def nothing(model: nn.Module) -> nn.Module:
    return model


def nowhere(model: nn.Module) -> nn.Module:
    raise NotApplicableError("no such layer was found")


class Broken(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            raise ValueError("no")
        return x


def broken(model: nn.Module) -> nn.Module:
    return Broken()


NAMED = Fault("missing-stem-relu", "wiring", "no ReLU in the stem", without_stem_relu, frozenset({"missing-stem-relu"}))
UNNAMED = Fault("one-weight", "weights", "called by another's name", without_stem_relu, frozenset({"weight-values"}))
UNSEEN = Fault("nan", "weights", "none at all", nothing, frozenset({"nan"}))
PLACELESS = Fault("gelu", "wiring", "nowhere", nowhere, frozenset({"activation-gelu"}))
FAILING = Fault("kernel", "convolution and pooling", "does not run", broken, frozenset({"setting conv.kernel"}))


@pytest.fixture
def planting(monkeypatch: pytest.MonkeyPatch) -> Callable[..., SelfTestResult]:
    """A self-test of some faults alone, on small networks that are the same but for their names."""

    def run(*faults: Fault, ours: nn.Module | None = None, **options: Any) -> SelfTestResult:
        monkeypatch.setattr(module, "FAULTS", faults)
        model, reference = ModelUnderTest(ours or network(), "ours"), ModelUnderTest(network(), "theirs")
        return self_test(model, reference, options.pop("question", QUICK), **options)

    return run


def test_each_fault_is_a_row_and_all_of_them_a_count(planting: Callable[..., SelfTestResult]) -> None:
    result = planting(NAMED, UNNAMED, UNSEEN, PLACELESS, FAILING)
    rows = [(row.key, row.group, row.title, row.injected, row.detected, row.diagnosed) for row in result.faults]
    assert rows == [
        ("missing-stem-relu", "wiring", "no ReLU in the stem", True, True, True),
        ("one-weight", "weights", "called by another's name", True, True, False),
        ("nan", "weights", "none at all", True, False, False),
        ("gelu", "wiring", "nowhere", False, False, False),
        ("kernel", "convolution and pooling", "does not run", True, False, False),
    ]
    assert [row.checks for row in result.faults] == [("settings",), ("settings",), (), (), ()]
    assert [row.text for row in result.faults[:4]] == [
        "the ReLU of the stem is missing", "the ReLU of the stem is missing", "", "no such layer was found",
    ]  # fmt: skip
    assert "the forward of ours failed" in result.faults[4].text
    assert (result.injected, result.detected, result.diagnosed, result.same) == (4, 2, 1, False)
    assert (result.network.name, result.reference, result.notes, result.interrupted) == ("ours", "theirs", (), False)


def test_all_found_and_named_is_the_same_whatever_has_no_place(planting: Callable[..., SelfTestResult]) -> None:
    result = planting(NAMED, PLACELESS)
    assert (result.injected, result.detected, result.diagnosed, result.same) == (1, 1, 1, True)
    assert not planting(NAMED, UNNAMED).same
    assert not planting(NAMED, UNSEEN).same


def test_a_difference_is_reported_if_no_pattern_matches(planting: Callable[..., SelfTestResult]) -> None:
    def narrower(model: nn.Module) -> nn.Module:
        model.get_submodule("norm").eps = 1e-6  # type: ignore[assignment]
        return model

    result = planting(Fault("eps-1e-6", "batch norm", "eps", narrower, frozenset({"setting batch_norm.eps"})))
    assert result.faults[0].text == "norm: eps 1e-06, torchvision has 1e-05"
    assert result.same


def test_a_network_that_is_not_in_parity_is_compared_with_itself(planting: Callable[..., SelfTestResult]) -> None:
    result = planting(NAMED, UNSEEN, ours=network(act=nn.GELU()))
    assert result.reference == "ours"
    assert [row.detected for row in result.faults] == [True, False]
    assert result.faults[0].text == "the ReLU of the stem is missing"
    (note,) = result.notes
    assert note.level == "warning"
    assert note.key == "compared-with-itself"


def test_the_network_is_left_as_it_is(planting: Callable[..., SelfTestResult]) -> None:
    ours = network()
    before = copy.deepcopy(ours.state_dict())
    planting(NAMED, NAMED, ours=ours, question=replace(QUICK, keep=False))
    assert all(torch.equal(tensor, before[name]) for name, tensor in ours.state_dict().items())
    assert isinstance(ours.get_submodule("relu"), nn.ReLU)


@pytest.mark.parametrize(
    ("shape", "used"),
    [((2, 3, 224, 64), (2, 3, 112, 64)), ((4, 3, 32, 500), (4, 3, 32, 112)), ((2, 3, 16, 16), (2, 3, 16, 16))],
)
def test_images_are_small(
    shape: Any, used: Any, planting: Callable[..., SelfTestResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    configs: list[ParityConfig] = []

    def recording(ours: ModelUnderTest, theirs: ModelUnderTest, question: ParityConfig) -> Any:
        configs.append(question)
        return compare(ours, theirs, question)

    monkeypatch.setattr(module, "compare", recording)
    planting(question=ParityConfig(shape=shape, checks=("settings",), seed=3))
    assert [(config.shape, config.seed, config.transfer, config.keep) for config in configs] == [
        (used, 3, "none", True)
    ]


def test_progress_is_reported_for_each_fault(planting: Callable[..., SelfTestResult]) -> None:
    steps: list[tuple[str, int, int]] = []
    planting(NAMED, PLACELESS, progress=lambda *step: steps.append(step))
    assert steps == [("no ReLU in the stem", 0, 2), ("nowhere", 1, 2)]


def interrupt(model: nn.Module) -> nn.Module:
    raise KeyboardInterrupt


def test_ctrl_c_keeps_the_rows_that_there_are(
    planting: Callable[..., SelfTestResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    acknowledged: list[bool] = []
    monkeypatch.setattr(signals, "acknowledge", lambda: acknowledged.append(True))
    stopping = Fault("gelu", "wiring", "Ctrl-C", interrupt, frozenset({"activation-gelu"}))
    result = planting(NAMED, stopping, NAMED)
    assert [row.key for row in result.faults] == ["missing-stem-relu"]
    assert (result.interrupted, result.same, result.injected) == (True, False, 1)
    assert acknowledged == [True]
    with pytest.raises(KeyboardInterrupt):
        planting(stopping, NAMED)
