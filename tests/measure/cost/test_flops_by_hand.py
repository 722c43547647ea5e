"""What `flops` says beside its counts: publications that apply, what the paper saves, walks, what is not counted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.cost import flops, other_counters
from resnet_cli.measure.cost.conventions import Figure
from resnet_cli.measure.models.inputs.model_inputs import images
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.models.runner import ForwardRunner
from resnet_cli.network.architectures import ARCHITECTURES, ModelSpec
from resnet_cli.results.common import Shape
from resnet_cli.results.flops import Convention, FlopsResult
from tests.helpers.models import IMAGE, flops_of, subject, summary_of


def published(spec: ModelSpec | None, shape: Shape = IMAGE, name: str | None = None) -> tuple[Figure, Figure]:
    """What torchvision and the papers say."""
    asked = ModelUnderTest(nn.ReLU(), name or (spec.name if spec else "net"), spec)
    return flops._torchvision(asked, images(shape)), flops._paper(asked, images(shape))


def test_published_figures_are_per_image() -> None:
    """torchvision's metadata has 1.814, He et al. 2015 1.8x10^9 for ResNet-18."""
    for count in (1, 3):
        theirs, paper = published(ARCHITECTURES["resnet18"], (count, 3, 224, 224))
        assert (theirs.value, theirs.rounding) == (count * 1_814_000_000, count * 1e6)
        assert (paper.value, paper.rounding) == (count * 1_800_000_000, count * 1e8)


def test_how_weights_begin_changes_no_count() -> None:
    spec = replace(ARCHITECTURES["resnet18"], zero_init_residual=True, initialization="torchvision")
    assert published(spec) == published(ARCHITECTURES["resnet18"])


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        (ARCHITECTURES["resnet18"], (1, 3, 224, 256)),
        (ARCHITECTURES["resnet18"], (1, 1, 224, 224)),
        (replace(ARCHITECTURES["resnet18"], num_classes=10), IMAGE),
        (replace(ARCHITECTURES["resnet18"], name="resnet19"), IMAGE),
        (None, IMAGE),
    ],
)
def test_of_anything_else_nothing_is_published(spec: ModelSpec | None, shape: Shape) -> None:
    for figure in published(spec, shape, "resnet18" if spec is None else None):
        assert (figure.value, figure.rounding) == (None, None)


def test_not_every_network_is_in_a_paper() -> None:
    theirs, paper = published(ARCHITECTURES["wide_resnet50_2"])
    assert theirs.value == 11_398_000_000
    assert paper.value is None
    assert paper.reason


@pytest.mark.parametrize(
    ("name", "saved"),
    [
        # Three projections from c to 2c channels at half the side: all of one size.
        ("resnet18", 3 * 64 * 128 * 28**2),
        ("resnet34", 3 * 64 * 128 * 28**2),
        # In three blocks the first 1x1, from 4c to 2c channels, runs on a quarter of the pixels: all of one size again.
        ("resnet50", 3 * 256 * 128 * (56**2 - 28**2)),
        ("resnext50_32x4d", 0),
    ],
)
def test_what_the_paper_saves(name: str, saved: int) -> None:
    asked = subject(ARCHITECTURES[name])
    with ForwardRunner(asked, images(IMAGE), torch.float32) as runner:
        inference = runner.inference()
    part = flops._saved_by_paper(asked, inference)
    assert part is not None
    assert (part.symbol, part.value) == ("S", saved)
    assert flops._saved_by_paper(ModelUnderTest(asked.model, name), inference) is None


class Net(nn.Module):
    """Pools of two sizes, an addition."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.conv, self.norm, self.lin = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x))
        x = nn.functional.max_pool2d(nn.functional.max_pool2d(x, 3, 1, 1), 2)
        out: Tensor = self.lin(self.pool(x + x).flatten(1))
        return out


SHAPE: Shape = (2, 3, 4, 4)


@pytest.fixture(scope="module")
def result() -> FlopsResult:
    return flops_of(Net(), SHAPE, backward=True)


def by_key(result: FlopsResult) -> dict[str, Convention]:
    return {row.key: row for row in result.conventions}


def test_totals_and_parts_by_hand(result: FlopsResult) -> None:
    pixels, parts = 2 * 16, {part.symbol: part.value for part in result.terms}
    assert parts == {
        "C": pixels * 12,
        "L": 2 * 20,
        "b": 2 * 5,
        "k": pixels * 4,
        "B": pixels * 4,
        "P": 2 * 8,
        "R": 0,
        "A": 2 * 4 * 4,
        "M": 2 * pixels * 4,
        "m": pixels * 4 + 2 * 4 * 4,
        "G": 2 * 4 * 4,
        "g": 2 * 4,
        "V": 0,
        "v": 0,
        "N": 0,
        "U": 0,
        "u": 0,
        "E": 0,
    }
    assert (result.macs, result.flops) == (pixels * 12 + 40, 2 * (pixels * 12 + 40))
    comparisons = 8 * pixels * 4 + 3 * 2 * 4 * 4
    additions = parts["b"] + parts["k"] + 2 * parts["B"] + parts["A"] + parts["G"]
    assert result.ops == result.flops + comparisons + additions
    assert [by_key(result)[key].verdict for key in ("resnet-cli-ops", "torch", "torchinfo", "fvcore")] == ["exact"] * 4
    # Towards both weights, and to the linear layer's input; the image needs no gradient.
    assert (result.backward_macs, result.backward_flops) == (pixels * 12 + 80, 2 * (pixels * 12 + 80))


def test_without_a_backward_pass_there_is_no_figure_of_it() -> None:
    found = flops_of(Net(), SHAPE)
    assert (found.backward_macs, found.backward_flops, found.root.backward_macs) == (None, None, None)
    assert {row.phase for row in found.operators} == {"forward"}


class Unknown(nn.Module):
    """Sorts, which nobody counts, and takes a matrix exponential if asked, which multiplies."""

    def __init__(self, *, solves: bool) -> None:
        super().__init__()
        self.lin, self.solves = nn.Linear(4, 4), solves

    def forward(self, x: Tensor) -> Tensor:
        x = self.lin(x[:, 0]).sort(1)[0].topk(4)[0]
        return torch.linalg.matrix_exp(x @ x.mT) @ x if self.solves else x


def test_uncounted_operators_are_named() -> None:
    sorts = flops_of(Unknown(solves=False), SHAPE)
    assert (sorts.uncounted, sorts.uncounted_macs) == (("sort", "topk"), ())
    assert (by_key(sorts)["resnet-cli-ops"].verdict, by_key(sorts)["torch"].verdict) == ("lower_bound", "exact")
    assert "uncounted-operators" in {note.key for note in sorts.notes}
    solves = flops_of(Unknown(solves=True), SHAPE)
    assert solves.uncounted == ("linalg_matrix_exp", "sort", "topk")
    assert solves.uncounted_macs == ("linalg_matrix_exp",)
    verdicts = {row.verdict for row in solves.conventions}
    assert "lower_bound" in verdicts
    assert not verdicts & {"exact", "rounded", "differs"}
    assert [note.key for note in solves.notes][:2] == ["uncounted-macs", "uncounted-operators"]
    step = summary_of(Unknown(solves=True), SHAPE)
    assert step.backward_uncounted_macs == ("linalg_matrix_exp",)
    assert "uncounted-backward-macs" in {note.key for note in step.notes}


@pytest.mark.parametrize(
    ("layers", "comparisons"), [((3,), 8), ((2,), 3), ((), 8)], ids=["three by three", "two by two", "none"]
)
def test_comparisons_of_a_maximum(layers: tuple[int, ...], comparisons: int) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), *(nn.MaxPool2d(size) for size in layers))
    operations = by_key(flops_of(model, (1, 3, 6, 6)))["resnet-cli-ops"]
    assert dict(operations.coefficients)["m"] == comparisons
    assert operations.verdict == "exact"


def test_walks_are_the_usual_ones_or_those_that_were_asked_for(result: FlopsResult) -> None:
    assert [(walk.start, walk.end) for walk in result.reconciliations] == [
        ("torch", "resnet-cli"),
        ("torchinfo", "resnet-cli"),
        ("fvcore", "resnet-cli"),
    ]
    asked = flops_of(Net(), SHAPE, reconciliations=(("thop", "fvcore"), ("resnet-cli", "thop"))).reconciliations
    assert [(walk.start, walk.end) for walk in asked] == [("thop", "fvcore"), ("resnet-cli", "thop")]
    (fewer, pooled) = asked[0].steps
    assert (fewer.symbol, fewer.operators, fewer.difference) == ("B", ("batch_norm",), -2 * 2 * 16 * 4)
    assert (pooled.symbol, pooled.operators) == ("g", ("mean",))


def test_a_walk_from_what_is_not_known_of_this_network_is_an_error() -> None:
    with pytest.raises(ResnetCliError, match="'paper' has no count"):
        flops_of(Net(), SHAPE, reconciliations=(("paper", "resnet-cli"),))


def test_a_step_that_the_users_own_code_refuses_names_the_place() -> None:
    class Refusing(Net):
        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                raise ValueError("never")
            return super().forward(x)

    with pytest.raises(ResnetCliError, match="a training step of net") as raised:
        flops_of(Refusing(), SHAPE, backward=True)
    assert "never" in str(raised.value.message) + str(raised.value.detail)


@pytest.mark.parametrize("tool", ["torchinfo", "fvcore"])
def test_why_a_tool_gave_no_figure_is_said(tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = other_counters.TorchinfoReport if tool == "torchinfo" else other_counters.FvcoreReport
    monkeypatch.setattr(other_counters, tool, lambda *_, **__: kind("1.0", failure="it broke"))
    found = flops_of(Net(), SHAPE)
    row = by_key(found)[tool]
    assert (row.verdict, row.note, row.version) == ("unavailable", "it broke", "1.0")
    assert [note.key for note in found.notes] == [f"no-{tool}"]
    assert row.predicted == by_key(flops_of(Net(), SHAPE))[tool].predicted


def test_that_torch_knows_no_groups_backward_is_said(result: FlopsResult) -> None:
    model = nn.Sequential(*(nn.Conv2d(4, 4, 1, groups=groups, bias=False) for groups in (1, 2)))
    (note,) = flops_of(model, (1, 4, 2, 2), backward=True).notes
    # 4 pixels x 4 channels: x 4 for the first weight; x 2 for the second's input and as much for its weight, which
    # torch takes for one of 4 each.
    assert note.key == "torch-ignores-groups"
    assert "320" in note.text
    assert "256" in note.text
    assert result.notes == ()


def test_what_a_tool_says_against_its_formula_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def odd(*args: Any, **kwargs: Any) -> Any:
        return replace(usual(*args, **kwargs), multiply_adds=7)

    usual = other_counters.torchinfo
    monkeypatch.setattr(other_counters, "torchinfo", odd)
    found = flops_of(Net(), SHAPE)
    assert by_key(found)["torchinfo"].verdict == "differs"
    (note,) = (note for note in found.notes if note.level == "warning")
    assert note.key == "torchinfo-differs-from-formula"


class Resizing(nn.Module):
    """Averages of all kinds, norms over a sample, and interpolation."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.AvgPool2d(2), nn.GroupNorm(2, 4), nn.Upsample(scale_factor=2), nn.Conv2d(4, 4, 1)
        )
        self.norm, self.lin = nn.LayerNorm(4), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.interpolate(self.body(x), scale_factor=2.0, mode="bilinear")
        out: Tensor = self.lin(self.norm(x.mean((2, 3)))) + self.lin(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))
        return out


def test_other_tools_count_averages_norms_and_interpolation_by_their_formulas() -> None:
    verdicts = {row.key: row.verdict for row in flops_of(Resizing(), (2, 3, 6, 6)).conventions}
    assert {verdicts[key] for key in ("resnet-cli-ops", "torch", "fvcore")} == {"exact"}


class Attention(nn.Module):
    """Attention with four heads among nine tokens of the image."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(8, 24)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.project(x.flatten(2).transpose(1, 2)).view(-1, 9, 3, 4, 2).permute(2, 0, 3, 1, 4)
        return nn.functional.scaled_dot_product_attention(query, key, value)


def test_both_figures_of_the_backward_of_attention_are_said() -> None:
    result = flops_of(Attention(), (2, 8, 3, 3), backward=True)
    (note,) = [note for note in result.notes if note.key == "fused-attention-backward"]
    product = 2 * 4 * 9 * 9 * 2
    linear = 2 * 9 * 8 * 24  # the weight's gradient; the input needs none
    assert result.backward_macs == 5 * product + linear
    assert f"{4 * product + linear:,}" in note.text
