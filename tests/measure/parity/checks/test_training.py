"""The four checks of a training step: what they say of networks that differ in one thing alone."""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from resnet_cli.measure.faults.layers import BiasedBatchNorm2d
from resnet_cli.measure.parity.config import ParityConfig
from resnet_cli.measure.parity.setup import ParityRun, prepare
from resnet_cli.results.compare import BITWISE, DIFFERENT, NOT_COMPARABLE, ROUNDING, SKIPPED, Check
from tests.helpers.models import diagnoses, make, network

STEP = ("train", "statistics", "gradients", "step")


def trained(ours: nn.Module, theirs: nn.Module, checks: tuple[str, ...] = STEP, **asked: Any) -> ParityRun:
    """Both networks after a step, each with the weights that it has."""
    question = ParityConfig(shape=(2, 3, 8, 8), transfer="none", checks=checks, **asked)
    made = prepare(ours, theirs, question, names=("net", "torchvision net"))
    made.findings.clear()  # of the structure
    make(made, *(key for key in STEP if key in made.config.checks))
    return made


def by_key(made: ParityRun) -> dict[str, Check]:
    return {one.key: one for one in made.checks}


def verdicts(made: ParityRun) -> list[str]:
    assert [one.key for one in made.checks] == list(STEP)
    return [one.verdict for one in made.checks]


def test_the_same_network_is_equal_in_all_four() -> None:
    model = network()
    made = trained(model, copy.deepcopy(model))
    assert verdicts(made) == [BITWISE] * 4
    assert [(one.error, one.limit) for one in made.checks] == [(0.0, None)] * 4
    assert [one.text for one in made.checks] == [
        "float64 output is bitwise equal",
        "all 3 buffers after the step are bitwise equal",
        "all 7 float64 gradients are bitwise equal",  # six parameters and the image
        "all 6 parameters after the step are bitwise equal",
    ]
    assert not made.findings


@pytest.mark.parametrize("key", STEP)
def test_only_what_was_asked_for_is_checked(key: str) -> None:
    model = network()
    assert list(by_key(trained(model, copy.deepcopy(model), (key,)))) == [key]
    assert not trained(model, model, ("settings",)).checks


class Reordered(nn.Module):
    """The mean along one side and then along the other, which rounds otherwise."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(3, keepdim=True).mean(2, keepdim=True)


def test_rounding_is_no_difference() -> None:
    made = trained(network(average=Reordered()), network())
    assert verdicts(made) == [ROUNDING, BITWISE, ROUNDING, ROUNDING]
    checks = by_key(made)
    assert checks["train"].text == "float64 output differs by rounding"
    assert all(0 < (checks[key].error or 0) < 1e-12 and checks[key].limit == 1e-9 for key in ("train", "gradients"))
    equal = checks["gradients"].text.removeprefix("7 float64 gradients: ")
    assert equal.endswith(" bitwise equal, the others differ by rounding")
    assert 1 <= int(equal.split()[0]) < 7  # that of the last bias at least
    assert not made.findings


class Factor(nn.Module):
    """Multiplies, in double precision."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor if x.dtype == torch.float64 else x * 1.0


@pytest.mark.parametrize(("apart", "verdict"), [(1e-8, DIFFERENT), (1e-11, ROUNDING)])
def test_a_hundred_millionth_is_no_rounding(apart: float, verdict: str) -> None:
    ours, theirs = (network(flat=nn.Sequential(nn.Flatten(), Factor(1 + by))) for by in (apart, 0.0))
    assert by_key(trained(ours, theirs, ("train",)))["train"].verdict == verdict


class Single(nn.Module):
    """Works in single precision whatever it is given."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return (x.float() * self.factor).to(x.dtype)


@pytest.mark.parametrize("factor", [1.0, 1.00001, 1.001])
def test_a_cast_to_float32_is_judged_in_float64(factor: float) -> None:
    made = trained(network(relu=nn.Sequential(nn.ReLU(), Single(factor))), network())
    assert verdicts(made)[0] == (BITWISE if factor == 1 else DIFFERENT)
    assert [one.category for one in made.findings] == ([] if factor == 1 else ["train"])


class InFloat32(nn.Module):
    """Float32 meets the weights, which are float64 in the step."""

    def forward(self, x: Tensor) -> Tensor:
        return x.to(torch.float32)


@pytest.mark.parametrize("change", [0.0, 1e-6])
def test_a_cast_of_the_image_does_not_end_the_step(change: float) -> None:
    model = nn.Sequential(OrderedDict([("cast", InFloat32()), *network().named_children()]))
    with torch.no_grad():
        model.get_parameter("fc.bias").add_(change)
    made = trained(model, network())
    assert verdicts(made) == [DIFFERENT if change else BITWISE, BITWISE, BITWISE, DIFFERENT if change else BITWISE]
    assert "casts to float64" in by_key(made)["train"].text
    assert next(model.parameters()).dtype == torch.float32


class TrainingOnly(nn.Module):
    """Doubles what it is given while it trains."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if self.training else x


def test_an_output_that_differs_in_train_mode_is_one_finding() -> None:
    made = trained(network(relu=nn.Sequential(nn.ReLU(), TrainingOnly())), network())
    assert verdicts(made)[0] == DIFFERENT
    assert by_key(made)["train"].text == "float64 output differs"
    assert [(one.check, one.category, one.text) for one in made.findings] == [
        ("train", "train", "the forward differs in train mode only")
    ]
    # What follows from it accuses nothing.
    assert verdicts(made)[2:] == [DIFFERENT] * 2
    assert (
        by_key(made)["gradients"].text == "5 of 7 float64 gradients differ"
    )  # not those of the biases in front of a norm and at the end


class Detached(nn.Module):
    """Lets values through and no gradient."""

    def forward(self, x: Tensor) -> Tensor:
        return x.detach()


class Scaled(torch.autograd.Function):
    """Values as they are, the gradient doubled."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * 2


class Doubling(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = Scaled.apply(x)
        return out


def test_a_gradient_that_is_cut_off_is_a_finding_for_each_parameter() -> None:
    made = trained(network(relu=nn.Sequential(nn.ReLU(), Detached())), network())
    assert verdicts(made) == [BITWISE, BITWISE, DIFFERENT, DIFFERENT]
    assert by_key(made)["gradients"].error is None  # infinitely far
    gone = ["conv.weight", "conv.bias", "norm.weight", "norm.bias"]
    assert sorted(one.model_path or "" for one in made.findings) == sorted(gone)  # and none for the step that follows
    assert {(one.check, one.category) for one in made.findings} == {("gradients", "gradients")}
    assert {one.subject for one in made.findings} == {"weight", "bias"}
    assert {(one.model_value, one.reference_value) for one in made.findings} == {("no gradient", "a gradient")}
    (diagnosis,) = diagnoses(made)
    assert diagnosis.key == "cut-gradients"
    assert "4 parameters get no gradient" in diagnosis.text
    assert diagnosis.text.endswith("the last is norm.bias")


class Checkpointed(nn.Module):
    """Runs its layers once more in the backward pass."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return self.layers(x)  # type: ignore[no-any-return]
        return checkpoint(self.layers, x, use_reentrant=False)  # type: ignore[no-any-return]


def test_norms_that_run_twice_in_a_step_are_one_row() -> None:
    layers = [nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4)) for _ in range(2)]
    made = trained(network(relu=Checkpointed(layers[0])), network(relu=layers[1]), STEP)
    assert [one.key for one in diagnoses(made)] == ["repeated-norms"]
    assert diagnoses(made)[0].text.startswith("2 batch norms run 2 times in a training step")
    assert len(diagnoses(made)[0].differences) == len(made.findings) == 6


def test_a_gradient_that_is_wrong_is_told_with_its_error() -> None:
    made = trained(network(relu=nn.Sequential(nn.ReLU(), Doubling())), network())
    texts = {one.model_path: one.text for one in made.findings}
    assert texts["conv.weight"] == (
        "conv.weight: its gradient differs although the outputs agree (relative error 1.0e+00)"
    )
    assert by_key(made)["gradients"].error == pytest.approx(1.0)
    assert by_key(made)["step"].verdict == DIFFERENT
    assert {one.category for one in made.findings} == {"gradients"}
    only = trained(network(relu=nn.Sequential(nn.ReLU(), Doubling())), network(), ("step",))
    assert {one.category for one in only.findings} == {"step"}
    assert all(
        f"{one.model_path}: its value after the step differs although the outputs agree" in one.text
        for one in only.findings
    )


class OddLinear(nn.Linear):
    """The gradient of its weight is doubled."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, Scaled.apply(self.weight), self.bias)


def test_a_wrong_gradient_and_the_step_that_follows_are_one_finding() -> None:
    odd = OddLinear(4, 5)
    odd.load_state_dict(network().get_submodule("fc").state_dict())
    made = trained(network(fc=odd), network())
    assert [(one.category, one.model_path) for one in made.findings] == [("gradients", "fc.weight")]
    assert by_key(made)["step"].text == "1 of 6 parameters after the step differ"


def test_a_network_without_buffers_has_none_that_differ() -> None:
    made = trained(network(norm=nn.Identity()), network(norm=nn.Identity()))
    assert (by_key(made)["statistics"].verdict, by_key(made)["statistics"].error) == (BITWISE, 0.0)


def test_other_running_statistics_are_findings() -> None:
    made = trained(network(norm=nn.BatchNorm2d(4, momentum=0.2)), network())
    assert verdicts(made) == [BITWISE, DIFFERENT, BITWISE, BITWISE]
    assert by_key(made)["statistics"].text == "2 of 3 buffers after the step differ"
    assert [(one.check, one.model_path) for one in made.findings] == [
        ("statistics", "norm.running_mean"), ("statistics", "norm.running_var")
    ]  # fmt: skip
    assert not diagnoses(made)


def explained(ours: nn.Module, theirs: nn.Module) -> ParityRun:
    """After a step, with what the structure and the values have told before."""
    question = ParityConfig(shape=(2, 3, 8, 8), transfer="none", checks=STEP)
    made = prepare(nn.Sequential(ours), nn.Sequential(theirs), question, names=("net", "torchvision net"))
    make(made, "parameters")
    made.checks.clear()
    make(made, *(key for key in STEP if key in made.config.checks))
    return made


def behind(norm: nn.Module) -> nn.Module:
    return nn.Sequential(nn.ReLU(), norm)


def test_what_a_setting_explains_is_no_finding_of_its_own() -> None:
    made = explained(network(norm=nn.BatchNorm2d(4, momentum=0.2)), network())
    assert [one.category for one in made.findings] == ["setting"]
    assert by_key(made)["statistics"].verdict == DIFFERENT
    made = explained(network(norm=nn.BatchNorm2d(4, eps=0.1)), network())
    assert [one.category for one in made.findings] == ["setting"]
    assert by_key(made)["train"].verdict == DIFFERENT


def test_what_is_frozen_explains_the_gradient_that_is_not_there() -> None:
    ours = network()
    ours.get_parameter("conv.weight").requires_grad_(False)
    made = explained(ours, network())
    assert [(one.category, one.model_path) for one in made.findings] == [("frozen", "0.conv.weight")]
    assert by_key(made)["gradients"].text == "1 of 7 float64 gradients differ"


def test_a_setting_explains_its_own_norm_alone() -> None:
    ours = network(norm=nn.BatchNorm2d(4, momentum=0.2), relu=behind(BiasedBatchNorm2d(nn.BatchNorm2d(4))))
    made = explained(ours, network(relu=behind(nn.BatchNorm2d(4))))
    assert [(one.category, one.subject, one.model_path) for one in made.findings if one.category != "setting"] == [
        ("statistics", "running_var", "0.relu.1.running_var")
    ]
    assert [one.key for one in diagnoses(made)] == ["biased-running-variance"]
    assert diagnoses(made)[0].differences == (len(made.findings) - 1,)


def test_a_biased_variance_has_a_name() -> None:
    made = trained(network(norm=BiasedBatchNorm2d(nn.BatchNorm2d(4))), network())
    assert verdicts(made) == [ROUNDING, DIFFERENT, ROUNDING, ROUNDING]
    assert [one.model_path for one in made.findings] == ["norm.running_var"]
    (diagnosis,) = diagnoses(made)
    assert (diagnosis.key, diagnosis.differences) == ("biased-running-variance", (0,))
    assert diagnosis.text.startswith("norm.running_var is updated with the biased variance")


class Own(nn.Module):
    """Raises in train mode, or for batches of a size."""

    def __init__(self, takes: Callable[[Tensor], bool]) -> None:
        super().__init__()
        self.takes = takes

    def forward(self, x: Tensor) -> Tensor:
        if self.training and not x.is_meta and not self.takes(x):
            raise ValueError("not\nsuch  a batch")
        return x


def test_a_reference_that_cannot_be_trained_compares_with_nothing() -> None:
    made = trained(network(), network(relu=nn.Sequential(nn.ReLU(), Own(lambda x: False))))
    assert verdicts(made) == [SKIPPED] * 4
    assert {one.text for one in made.checks} == {
        "torchvision's network cannot be trained on such images: not such a batch"
    }
    assert not made.findings
    assert {(one.error, one.limit) for one in made.checks} == {(None, None)}


def test_a_reference_that_needs_whole_images_gets_them() -> None:
    """The step is made with images of up to 40 pixels, and of the shape that was asked for where that fails."""
    seen = SimpleNamespace(shapes=[])  # what the network holds is put back

    def takes(x: Tensor) -> bool:
        seen.shapes.append(tuple(x.shape))
        return x.shape[-1] > 40

    ours, theirs = network(), network(relu=nn.Sequential(nn.ReLU(), Own(takes)))
    question = ParityConfig(shape=(3, 3, 48, 48), transfer="none", checks=STEP)
    made = prepare(ours, theirs, question, names=("net", "torchvision net"))
    make(made, *(key for key in STEP if key in made.config.checks))
    assert verdicts(made) == [BITWISE] * 4
    assert seen.shapes == [(4, 4, 38, 38), (2, 4, 46, 46)]


def test_a_model_that_cannot_be_trained_is_a_difference_and_one_only() -> None:
    made = trained(network(relu=nn.Sequential(nn.ReLU(), Own(lambda x: False))), network())
    assert verdicts(made) == [DIFFERENT, SKIPPED, SKIPPED, SKIPPED]
    assert "a training step with images of 2×3×8×8 failed" in by_key(made)["train"].text
    assert [(found.category, found.subject) for found in made.findings] == [("train", "step")]
    assert not diagnoses(made)


class OfOneSize(nn.Module):
    """A classifier that reads each place of maps of one size."""

    def __init__(self, side: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4 * (side - 2) ** 2, 5)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc(self.conv(x).flatten(1))
        return out


def test_a_model_of_one_size_is_trained_at_this_size() -> None:
    made = prepare(OfOneSize(48), OfOneSize(48), ParityConfig(shape=(2, 3, 48, 48)), names=("net", "torchvision net"))
    make(made, *STEP)
    assert verdicts(made) == [BITWISE] * 4
    assert made.training_step is not None
    assert made.training_step.shape == (2, 3, 48, 48)


class Statistics(nn.Module):
    """Keeps a mean as a plain attribute, replaced or changed in place in train mode."""

    def __init__(self, *, in_place: bool) -> None:
        super().__init__()
        self.mean, self.in_place = torch.zeros(4), in_place

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.in_place:
            self.mean += 1
        elif self.training:
            self.mean = self.mean + x.detach().mean((0, 2, 3))
        return x - self.mean[:, None, None]


@pytest.mark.parametrize("in_place", [True, False])
def test_plain_attributes_are_afterwards_as_they_were(*, in_place: bool) -> None:
    model = network(relu=Statistics(in_place=in_place))
    made = trained(model, network(relu=Statistics(in_place=in_place)))
    assert verdicts(made) == [BITWISE] * 4
    mean = made.model.get_submodule("relu").mean
    assert torch.equal(mean, torch.zeros(4))  # type: ignore[arg-type]


class Heads(nn.Module):
    """So many outputs."""

    def __init__(self, count: int, last: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)
        self.factors = [1.0] * (count - 1) + [last]

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.conv(x).mean((2, 3))
        return [self.fc(x) * factor for factor in self.factors]


def test_another_number_of_outputs_is_a_difference_and_another_shape_too() -> None:
    made = trained(Heads(2), Heads(1))
    assert (by_key(made)["train"].verdict, by_key(made)["train"].error) == (DIFFERENT, None)
    assert by_key(trained(Heads(1), Heads(1)))["train"].verdict == BITWISE
    assert by_key(trained(Heads(2, 1.5), Heads(2)))["train"].error == pytest.approx(0.5)
    made = trained(network(flat=nn.Sequential(nn.Flatten(0), nn.Unflatten(0, (1, -1, 4)))), network())
    assert by_key(made)["train"].error is None


def weighted(*, factor: float) -> ParityRun:
    ours, theirs = network(), network()
    with torch.no_grad():
        ours.get_parameter("fc.weight").mul_(factor)
    return trained(ours, theirs, rtol=1e-2)


def test_a_tolerance_of_the_user_holds_for_all_four() -> None:
    made = weighted(factor=1.001)
    assert set(verdicts(made)) == {ROUNDING, BITWISE}
    assert by_key(made)["train"].limit == 1e-2
    assert verdicts(weighted(factor=1.1))[0] == DIFFERENT


def test_an_absolute_tolerance_makes_no_difference_of_rounding() -> None:
    made = trained(network(average=Reordered()), network(), atol=1e-3)
    assert verdicts(made) == [ROUNDING, BITWISE, ROUNDING, ROUNDING]
    assert verdicts(trained(network(average=Reordered()), network(), rtol=0.0))[0] == DIFFERENT


def test_values_without_a_counterpart_make_a_difference_not_comparable() -> None:
    made = trained(network(relu=nn.PReLU()), network())
    assert verdicts(made)[0] == NOT_COMPARABLE
    assert by_key(made)["train"].text == "relu.weight of the model has no counterpart, so its values are arbitrary"
    assert by_key(made)["train"].limit == 1e-9
    assert not made.findings
    assert math.isfinite(by_key(made)["train"].error or 0.0)
