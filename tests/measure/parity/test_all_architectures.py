"""`--all` and `--self-test` with a few of the architectures and faults, to save time."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from resnet_cli.measure.faults import self_test
from resnet_cli.measure.faults.catalog import FAULTS
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.parity import all_architectures
from resnet_cli.measure.parity.config import ParityConfig
from resnet_cli.measure.parity.model_pair import model_pair
from resnet_cli.network.architectures import ARCHITECTURES, ModelSpec
from tests.helpers import results_compare as parity

SMALL = ParityConfig(shape=(2, 3, 32, 32), checks=("parameters", "settings", "eval"))


def test_members_of_the_family_are_torchvisions_bit_for_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    some = {name: ARCHITECTURES[name] for name in ("resnet18", "resnext50_32x4d")}
    monkeypatch.setattr(all_architectures, "ARCHITECTURES", some)
    steps: list[tuple[str, int, int]] = []

    def progress(text: str, done: int = 0, of: int = 0) -> None:
        steps.append((text, done, of))

    result = all_architectures.compare_all_architectures(SMALL, 10, progress=progress)
    assert result.same
    assert [(row.name, row.verdict, row.differences) for row in result.architectures] == [
        ("resnet18", "bitwise", 0),
        ("resnext50_32x4d", "bitwise", 0),
    ]
    # Of torchvision's metadata, less the classes that are not there: 990 x (512 or 2048 weights and a bias).
    assert [row.parameters for row in result.architectures] == [11_689_512 - 990 * 513, 25_028_904 - 990 * 2049]
    assert all(row.mapped == row.tensors for row in result.architectures)
    assert steps[0] == ("resnet18: building both networks", 0, 2)
    assert {(done, of) for _, done, of in steps} == {(0, 2), (1, 2)}


class FakeComparisons:
    """Comparisons of three architectures that come out as they are told: "same", "different" or interrupted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *outcomes: str) -> None:
        self.outcomes = iter(outcomes)
        self.compared: list[tuple[Any, ...]] = []
        self.acknowledged = self.trimmed = 0
        names = ("resnet18", "resnet34", "resnet50")
        monkeypatch.setattr(all_architectures, "ARCHITECTURES", {name: ARCHITECTURES[name] for name in names})
        monkeypatch.setattr(all_architectures, "model_pair", self.model_pair)
        monkeypatch.setattr(all_architectures, "compare", self.compare)
        monkeypatch.setattr(all_architectures, "trim_malloc", self.trim_malloc)
        monkeypatch.setattr("resnet_cli.measure.models.torchvision_models.version", lambda: "0")
        monkeypatch.setattr("resnet_cli.signals.acknowledge", self.acknowledge)

    def model_pair(self, spec: ModelSpec, seed: int) -> Any:
        model = nn.Linear(3, spec.num_classes)
        return SimpleNamespace(
            model=ModelUnderTest(model, spec.name, spec), reference=ModelUnderTest(model, "reference"), seed=seed
        )

    def compare(self, model: ModelUnderTest, reference: ModelUnderTest, config: ParityConfig, *, progress: Any) -> Any:
        self.compared.append((model.name, config.keep, config.seed))
        progress("checking")
        outcome = next(self.outcomes)
        if outcome == "interrupted outside":
            raise KeyboardInterrupt
        return replace(parity.stride(), same=outcome == "same", interrupted=outcome == "interrupted inside")

    def trim_malloc(self, model: nn.Module) -> None:
        self.trimmed += 1

    def acknowledge(self) -> None:
        self.acknowledged += 1


def test_one_that_differs_makes_the_family_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = FakeComparisons(monkeypatch, "same", "different", "same")
    steps: list[str] = []
    result = all_architectures.compare_all_architectures(
        replace(SMALL, seed=5, keep=True), 7, progress=lambda text, *_: steps.append(text)
    )
    assert [row.same for row in result.architectures] == [True, False, True]
    assert (result.same, result.interrupted, result.reference_version) == (False, False, "0")
    # Nobody needs our network any more, so it is not copied; and what the last pair had is given back.
    assert compared.compared == [(name, False, 5) for name in ("resnet18", "resnet34", "resnet50")]
    assert compared.trimmed == 3
    assert [row.parameters for row in result.architectures] == [4 * 7] * 3
    assert steps[:2] == ["resnet18: building both networks", "resnet18: checking"]


@pytest.mark.parametrize("how", ["interrupted inside", "interrupted outside"])
def test_an_interruption_keeps_the_members_that_are_whole(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = FakeComparisons(monkeypatch, "same", how)
    result = all_architectures.compare_all_architectures(SMALL)
    assert [row.name for row in result.architectures] == ["resnet18"]
    assert (result.same, result.interrupted, compared.acknowledged) == (False, True, 1)
    again = FakeComparisons(monkeypatch, how)
    with pytest.raises(KeyboardInterrupt):
        all_architectures.compare_all_architectures(SMALL)
    assert again.acknowledged == 0


def test_faults_in_resnet18_are_detected_and_diagnosed(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = ("missing-stem-relu", "stride-moved", "stride-in-1x1")
    monkeypatch.setattr(self_test, "FAULTS", tuple(fault for fault in FAULTS if fault.key in keys))
    pair = model_pair(ARCHITECTURES["resnet18"])
    result = self_test.self_test(pair.model, pair.reference, SMALL)
    assert {row.key for row in result.faults} == set(keys)
    assert [row.key for row in result.faults if not row.injected] == ["stride-in-1x1"]
    assert (result.injected, result.detected, result.diagnosed) == (2, 2, 2)
    assert result.same
    assert all(row.text for row in result.faults)
