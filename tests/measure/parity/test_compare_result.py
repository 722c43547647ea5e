"""What a comparison makes of its checks and findings: a verdict, a list of what was intended, predictions, a row."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import torch
import torchvision
from torch import Tensor, nn

from resnet_cli import signals
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.parity import compare as parity
from resnet_cli.measure.parity.checks import CHECKS
from resnet_cli.measure.parity.compare import compare, difference_key
from resnet_cli.measure.parity.config import ParityConfig
from resnet_cli.results.compare import (
    BITWISE,
    DIFFERENT,
    SKIPPED,
    CompareResult,
    Difference,
)
from tests.helpers.models import network

STATIC = ("parameters", "settings")


def compared(
    ours: nn.Module, theirs: nn.Module, *, progress: Callable[[str], None] = lambda _: None, **asked: Any
) -> CompareResult:
    expected = asked.pop("expected", None)
    question = ParityConfig(shape=(2, 3, 16, 16), **asked)
    return compare(
        ModelUnderTest(ours, "net"), ModelUnderTest(theirs, "theirs"), question, expected=expected, progress=progress
    )


def test_all_checks_of_equal_networks() -> None:
    result = compared(network(), network())
    assert [one.key for one in result.checks] == list(CHECKS)
    assert {one.verdict for one in result.checks} == {BITWISE}
    assert (result.verdict, result.same, result.interrupted) == (BITWISE, True, False)
    assert (result.network.name, result.reference) == ("net", "theirs")
    assert (result.reference_version or "").startswith(torchvision.__version__.partition("+")[0])
    mapping = result.mapping
    assert (mapping.mapped_tensors, mapping.model_tensors, mapping.reference_tensors) == (
        8,
        8,
        8,
    )  # the counter is not read
    assert len(mapping.pairs) == 9
    assert mapping.source == "alignment"
    assert (mapping.unmatched_model, mapping.unmatched_reference, mapping.unused_model) == ((), (), ())
    probe = result.test_inputs
    assert (probe.seed, probe.weights, probe.noise_floor) == (0, "random", None)
    assert (probe.shape, probe.training_shape) == ((2, 3, 16, 16), (4, 3, 16, 16))
    assert probe.other_shapes == ((2, 3, 97, 161), (2, 3, 32, 32), (1, 3, 16, 16))
    assert (result.image, result.predictions) == (None, ())
    assert len(result.aligned_ops) == 5


def test_what_is_not_asked_for_is_skipped_and_says_why() -> None:
    result = compared(network(), network(), checks=STATIC)
    skipped = [one for one in result.checks if one.verdict == SKIPPED]
    assert [one.key for one in skipped] == [key for key in CHECKS if key not in STATIC]
    assert {(one.error, one.limit, one.text) for one in skipped} == {(None, None, "not selected")}
    assert {one.title for one in skipped} >= {"forward, eval mode", "other sizes", "running statistics"}
    assert result.verdict == BITWISE


def test_tensors_that_are_not_mapped_are_counted() -> None:
    ours = network(norm=nn.GroupNorm(1, 4), relu=nn.PReLU())
    result = compared(ours, network(), transfer="none", checks=STATIC, weights="w.pth")
    assert (result.mapping.mapped_tensors, result.mapping.model_tensors, result.mapping.reference_tensors) == (6, 7, 8)
    assert result.mapping.unmatched_model == ("relu.weight",)
    assert result.mapping.unmatched_reference == ("norm.running_mean", "norm.running_var")
    assert result.test_inputs.weights == "w.pth"


class Chatty(nn.Module):
    """Warns as it runs, and holds what nobody reads."""

    def __init__(self) -> None:
        super().__init__()
        self.renamed, self.spare = network(), nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        warnings.warn("of something that the user cannot change", stacklevel=1)
        out: Tensor = self.renamed(x) * torch.rand(()).mul(0).add(1)
        return out


def test_a_comparison_says_nothing_aside_and_draws_nothing() -> None:
    state = torch.random.get_rng_state()
    with torch.random.fork_rng(devices=[]):
        ours, theirs = Chatty(), Chatty()
    result = compared(ours, theirs, checks=(*STATIC, "eval"))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert result.mapping.unused_model == ("spare.weight",)
    result = compared(ours, network(), checks=STATIC)
    assert (result.mapping.mapped_tensors, result.mapping.model_tensors) == (8, 8)


def test_the_noise_floor_is_told_where_it_was_measured() -> None:
    doubled = nn.Sequential(nn.Linear(4, 5), nn.Threshold(-1e9, 1.0))
    result = compared(network(fc=doubled), network(), checks=("eval",))
    assert result.test_inputs.noise_floor is None or result.test_inputs.noise_floor < 1e-5
    wrong = network()
    with torch.no_grad():
        wrong.get_parameter("fc.weight").mul_(2)
    result = compared(wrong, network(), checks=("eval",), transfer="none")
    assert result.test_inputs.noise_floor is not None
    assert 1e-9 < result.test_inputs.noise_floor < 1e-5


class At:
    """Ctrl-C at the step that says so."""

    def __init__(self, step: str) -> None:
        self.step = step

    def __call__(self, said: str) -> None:
        if said.startswith(self.step):
            raise KeyboardInterrupt


def test_ctrl_c_keeps_the_checks_that_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[bool] = []
    monkeypatch.setattr(signals, "acknowledge", lambda: heard.append(True))
    result = compared(network(), network(), progress=At("training one step"))
    assert [one.key for one in result.checks if one.verdict != SKIPPED] == ["parameters", "settings", "eval"]
    assert {one.text for one in result.checks if one.verdict == SKIPPED} == {"interrupted"}
    assert (result.verdict, result.same, result.interrupted) == (BITWISE, False, True)
    assert heard == [True]
    result = compared(network(), network(), progress=At("trying other sizes"))
    assert result.checks[-2].verdict == BITWISE
    with pytest.raises(KeyboardInterrupt):
        compared(network(), network(), progress=At("comparing"), checks=("eval",))
    with pytest.raises(KeyboardInterrupt):
        compared(network(), network(), progress=At("aligning"))
    assert len(heard) == 2


def changed(**norm: Any) -> nn.Module:
    return network(norm=nn.BatchNorm2d(4, **norm))


KEY = "setting batch_norm.eps norm = 0.001"


def test_what_is_intended_makes_networks_the_same() -> None:
    result = compared(changed(eps=1e-3), network(), checks=("settings", "eval"), expected=[KEY])
    assert (result.verdict, result.same) == (DIFFERENT, True)
    assert [one.expected for one in result.differences] == [True]
    assert not result.notes or all("expected" not in note.text for note in result.notes)
    result = compared(changed(eps=1e-3, momentum=0.2), network(), checks=STATIC, expected=[KEY])
    assert not result.same
    assert [one.expected for one in result.differences] == [True, False]
    assert not compared(changed(eps=1e-3), network(), checks=STATIC, expected=[]).same


def test_what_was_expected_and_is_not_there_is_told_in_order() -> None:
    result = compared(network(), network(), checks=STATIC, transfer="none", expected=["b", KEY, "a"])
    assert [(one.level, one.text) for one in result.notes if "expected" in one.text] == [
        ("warning", f"expected but not present: {key}") for key in ("a", "b", KEY)
    ]  # fmt: skip
    assert result.same


def test_a_difference_without_a_finding_is_not_intended() -> None:
    wrong = network()
    with torch.no_grad():
        wrong.get_parameter("fc.weight").mul_(2)
    assert not compared(
        wrong, network(), checks=("train",), transfer="none", expected=["train train output (None)"]
    ).same


def test_a_diagnosis_of_the_structure_stands_before_one_of_values() -> None:
    wrong = network(conv=nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"))
    with torch.no_grad():
        wrong.get_parameter("fc.weight").mul_(2)
    other = network(conv=nn.Conv2d(3, 4, 3, padding=1))
    wrong.get_submodule("conv").load_state_dict(other.get_submodule("conv").state_dict())
    result = compared(wrong, other, checks=STATIC, transfer="none")
    assert [one.key for one in result.diagnoses] == ["padding-mode", "weight-values"]
    assert [[result.differences[i].category for i in one.differences] for one in result.diagnoses] == [
        ["setting"],
        ["value"],
    ]


def found(**values: str | None) -> Difference:
    given: dict[str, str | None] = {
        "model_path": "a", "reference_path": "b", "model_value": None, "reference_value": None, **values,
    }  # fmt: skip
    return Difference("settings", "setting", "conv.stride", text="", **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("finding", "key"),
    [
        (found(), "setting conv.stride a"),
        (found(model_value="2", reference_value="1"), "setting conv.stride a = 2"),
        (found(model_value=""), "setting conv.stride a = "),
        (found(model_path=None), "setting conv.stride (b)"),
        (found(model_path=""), "setting conv.stride "),
    ],
)
def test_a_finding_is_called_by_what_it_is_and_where(finding: Difference, key: str) -> None:
    assert difference_key(finding) == key


def test_a_row_of_the_family_is_a_comparison_in_short() -> None:
    result = compared(changed(eps=1e-3), network(), checks=STATIC)
    row = parity.architecture_result(result, "net", 123)
    assert (row.name, row.verdict, row.same, row.parameters) == ("net", DIFFERENT, False, 123)
    assert (row.mapped, row.tensors, row.differences) == (8, 8, 1)
    assert row.checks == result.checks
    assert row.first_difference == result.diagnoses[0].text
    assert parity.architecture_result(
        compared(changed(eps=1e-4), network(), checks=STATIC), "net", 1
    ).first_difference == ("norm: eps 0.0001, torchvision has 1e-05")
    assert parity.architecture_result(compared(network(), network(), checks=STATIC), "net", 1).first_difference is None


class Says(nn.Module):
    """Gives the same logits to every image: so much to each of some classes."""

    def __init__(self, classes: int, logits: dict[int, float]) -> None:
        super().__init__()
        self.logits = torch.full((classes,), -100.0)
        for index, value in logits.items():
            self.logits[index] = value

    def forward(self, x: Tensor) -> Tensor:
        assert not self.training
        assert x.shape == (1, 3, 224, 224)
        return self.logits.expand(len(x), -1)


def test_predictions_are_the_five_most_likely_classes(tmp_path: Path) -> None:
    """The odds of e to 1 are a probability of 0.731."""
    path = tmp_path / "image.png"
    PIL.Image.new("RGB", (300, 250), (200, 10, 10)).save(path)
    labels = torchvision.models.ResNet18_Weights.DEFAULT.meta["categories"]
    ours, theirs = Says(1000, {7: 1.0, 3: 0.0, 5: -40.0}), Says(1001, {1000: 2.0, 0: 2.0 - 40})
    rows = parity.predict(ours.train(), theirs, str(path), "resnet18")
    assert [one.rank for one in rows] == [1, 2, 3, 4, 5]
    assert [one.model_label for one in rows][:3] == [labels[7], labels[3], labels[5]]
    assert [one.model_probability for one in rows[:2]] == pytest.approx([0.7310585786, 0.2689414214], rel=1e-6)
    assert [one.reference_label for one in rows][:2] == ["1000", labels[0]]
    assert rows[0].reference_probability == pytest.approx(1.0)
    assert copy.copy(rows[0]) == rows[0]
