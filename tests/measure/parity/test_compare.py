"""The comparison as a whole: it says yes to the same network however it is written, and no with a name to any other."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.resnet import Bottleneck, ResNet

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.faults.catalog import FAULTS, Fault
from resnet_cli.measure.faults.self_test import is_diagnosed
from resnet_cli.measure.models import torchvision_models
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.parity import train_step
from resnet_cli.measure.parity.compare import compare, difference_key
from resnet_cli.measure.parity.config import ParityConfig
from resnet_cli.measure.parity.setup import prepare
from resnet_cli.network.architectures import ARCHITECTURES, ModelSpec
from resnet_cli.network.resnet import build
from resnet_cli.network.torchvision_names import torchvision_names
from resnet_cli.results.compare import BITWISE, DIFFERENT, ROUNDING, Check, CompareResult
from resnet_cli.results.serialization import from_json, to_json
from tests.helpers.equivalent_resnets import HARMLESS, narrow, truth

SMALL = ParityConfig(shape=(2, 3, 64, 64), keep=True)
TINY = ParityConfig(shape=(2, 3, 32, 32), keep=True)


pytestmark = pytest.mark.usefixtures("one_thread")


RESNET12 = ModelSpec("resnet12", "basic", (2, 1, 1, 1))


@cache
def torchvision_resnet18() -> ModelUnderTest:
    return ModelUnderTest(torchvision_models.build_member(ARCHITECTURES["resnet18"]), "torchvision resnet18")


@cache
def narrow_reference() -> ModelUnderTest:
    """A network of torchvision's with an eighth of the channels."""
    return ModelUnderTest(narrow(torchvision_models.build_member(RESNET12)), "torchvision resnet12")


@cache
def sound() -> ModelUnderTest:
    """The built-in network, narrow, with the reference's weights."""
    run = prepare(narrow(build(RESNET12)), narrow_reference().model, TINY, names=("ours", "theirs"))
    return ModelUnderTest(run.model, "resnet12", RESNET12)


@cache
def small_pair(depth: int) -> tuple[ModelUnderTest, ModelUnderTest]:
    """The smallest networks in which a fault has a place, the first for faults to be injected into."""
    model, reference = (narrow(HARMLESS["plain"](depth)) for _ in range(2))
    run = prepare(model, reference, TINY, names=("small", "reference"))
    return ModelUnderTest(run.model, "small"), ModelUnderTest(reference, "reference")


def norm(model: nn.Module, path: str) -> nn.BatchNorm2d:
    layer = model.get_submodule(path)
    assert isinstance(layer, nn.BatchNorm2d)
    return layer


def check(result: CompareResult, key: str) -> Check:
    return next(check for check in result.checks if check.key == key)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_parameters_are_mapped_as_torchvision_names_them(name: str) -> None:
    """Names and alignment know nothing of each other."""
    spec = ARCHITECTURES[name]
    with torch.device("meta"):
        model, reference = build(spec), getattr(torchvision.models, name)()
    run = prepare(model, reference, replace(TINY, transfer="none", keep=False), names=("ours", "theirs"))
    assert run.pairs == torchvision_names(spec)
    assert not run.findings
    assert run.unmapped == ((), ())


def test_the_built_in_network_is_bitwise_equal_to_torchvisions() -> None:
    spec = ARCHITECTURES["resnet18"]
    model = build(spec).eval()
    before = copy.deepcopy(model.state_dict())
    result = compare(ModelUnderTest(model, spec.name, spec), torchvision_resnet18(), SMALL)
    assert {check.verdict for check in result.checks} == {BITWISE}
    assert result.same
    assert not result.differences
    assert not result.diagnoses
    assert all(line.cumulative == line.isolated == 0 and line.status == "equal" for line in result.aligned_ops)
    assert from_json(to_json(result)) == result
    published = torchvision.models.get_model_weights("resnet18").DEFAULT.meta["num_params"]
    assert f"{published:,} parameters" in check(result, "parameters").text
    assert "as torchvision publishes" in check(result, "parameters").text
    # The network of the user is left as it was.
    assert not model.training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("name", HARMLESS)
def test_a_network_written_otherwise_is_the_same(name: str) -> None:
    result = compare(ModelUnderTest(narrow(HARMLESS[name](12)), name), narrow_reference(), TINY)
    assert result.same, [difference.text for difference in result.differences]
    assert result.verdict in (BITWISE, ROUNDING)
    assert not result.differences
    expected = truth(name, 12)
    mapped = dict(result.mapping.pairs)
    assert {ours: other for ours, other in expected.items() if ours in mapped} == mapped
    assert result.mapping.mapped_tensors == result.mapping.model_tensors == result.mapping.reference_tensors


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.key)
def test_every_fault_is_detected_and_diagnosed(fault: Fault) -> None:
    sound_model, reference = small_pair(17 if fault.key == "stride-in-1x1" else 8)
    faulty = fault.apply(copy.deepcopy(sound_model.model))
    result = compare(ModelUnderTest(faulty, "faulty"), reference, replace(TINY, transfer="none"))
    assert not result.same
    assert result.verdict != ROUNDING
    assert is_diagnosed(fault, result), result.differences
    assert sum(line.is_first_difference for line in result.aligned_ops) <= 1
    assert from_json(to_json(result)) == result


def test_three_faults_are_three_differences() -> None:
    """Everything behind the first one differs; by themselves only the three do."""
    model = copy.deepcopy(sound().model)
    norm(model, "l0.block.ResIdentity0.bn1").eps = 2e-5
    with torch.no_grad():
        model.get_parameter("l0.block.ResIdentity1.conv2.weight")[0, 0, 0, 0] += 0.5
        model.get_buffer("l2.block.ResSkip.bn2.running_mean")[3] += 0.5
    result = compare(ModelUnderTest(model, "three"), narrow_reference(), replace(TINY, transfer="none"))
    places = ["l0.block.ResIdentity0.bn1", "l0.block.ResIdentity1.conv2", "l2.block.ResSkip.bn2"]
    assert [line.model_path for line in result.aligned_ops if line.isolated] == places
    assert sum(bool(line.cumulative) for line in result.aligned_ops) > 30
    assert [line.model_path for line in result.aligned_ops if line.is_first_difference] == places[:1]
    assert [(difference.category, difference.model_path) for difference in result.differences] == [
        ("setting", places[0]), ("value", f"{places[1]}.weight"), ("value", f"{places[2]}.running_mean"),
    ]  # fmt: skip


class Token(nn.Module):
    """A parameter that is put beside an activation and not multiplied with one."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.token = nn.Parameter(torch.zeros(1, 4, 1))
        self.norm = nn.LayerNorm(4)
        self.lin = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).flatten(2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 2).transpose(1, 2)
        out: Tensor = self.lin(self.norm(x)[:, 0])
        return out


def test_parameters_that_are_put_beside_activations_are_mapped_too() -> None:
    result = compare(ModelUnderTest(Token(), "ours"), ModelUnderTest(Token(), "theirs"), TINY)
    assert result.verdict == BITWISE
    assert dict(result.mapping.pairs)["token"] == "token"


class ChannelsLast(nn.Module):
    """The same network in another memory layout."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.network(x.contiguous(memory_format=torch.channels_last))
        return out


class ValueDependent(nn.Module):
    """Decides by a value, which no network on `meta` can."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.network(x if float(x.abs().sum()) >= 0 else -x)
        return out


@pytest.mark.parametrize("wrapper", [ChannelsLast, ValueDependent])
def test_a_wrapped_network_is_the_same(wrapper: Callable[[nn.Module], nn.Module]) -> None:
    model = wrapper(narrow(torchvision_models.build_member(RESNET12)))
    result = compare(ModelUnderTest(model, "wrapped"), narrow_reference(), TINY)
    assert result.same, [difference.text for difference in result.differences]


def test_another_number_of_threads_is_harmless() -> None:
    # A reference of its own: the statistics that it is given are rounded as so many threads add them up.
    reference = ModelUnderTest(copy.deepcopy(narrow_reference().model), "reference")
    torch.set_num_threads(2)
    try:
        assert compare(sound(), reference, TINY).same
    finally:
        torch.set_num_threads(1)


def test_a_frozen_network_is_the_same_function_in_one_row() -> None:
    model = copy.deepcopy(sound().model)
    frozen = [parameter for name, parameter in model.named_parameters() if "conv" in name]
    for parameter in frozen:
        parameter.requires_grad_(False)
    result = compare(ModelUnderTest(model, "frozen"), narrow_reference(), replace(TINY, transfer="none"))
    assert not result.same
    (diagnosis,) = result.diagnoses
    assert (diagnosis.key, len(diagnosis.differences)) == ("frozen-parameter", len(frozen))
    assert "same function" in diagnosis.text


class Detached(nn.Module):
    """Its forward is right and its gradient is not."""

    def __init__(self) -> None:
        super().__init__()
        self.network = narrow(torchvision_models.build_member(RESNET12))

    def forward(self, x: Tensor) -> Tensor:
        n: Any = self.network
        x = n.layer1(n.maxpool(n.relu(n.bn1(n.conv1(x)))))
        x = n.layer4(n.layer3(n.layer2(x.detach())))
        out: Tensor = n.fc(functional.adaptive_avg_pool2d(x, 1).flatten(1))
        return out


def test_a_gradient_that_is_cut_off_is_found_although_the_outputs_agree() -> None:
    result = compare(ModelUnderTest(Detached(), "Detached"), narrow_reference(), TINY)
    assert [check(result, key).verdict for key in ("settings", "eval", "train", "statistics")] == [BITWISE] * 4
    assert check(result, "gradients").verdict == DIFFERENT
    assert {difference.category for difference in result.differences} - {"step"} == {"gradients"}


def test_a_network_of_another_kind_is_refused() -> None:
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.odd = nn.GroupNorm(1, 3)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.odd(x)
            return out

    with pytest.raises(ResnetCliError, match="no parameter of Flat has a counterpart") as caught:
        compare(ModelUnderTest(Flat(), "Flat"), narrow_reference(), TINY)
    assert caught.value.exit_code == 2
    assert "no network of torchvision is near" in caught.value.message


def test_a_forward_that_runs_another_network_is_told() -> None:
    original = torchvision.models.squeezenet1_1(num_classes=10)
    model = copy.deepcopy(original)
    forward = original.forward
    model.forward = lambda x: forward(x)
    with pytest.raises(ResnetCliError, match=r"26 modules with weights are held in .* a function"):
        compare(ModelUnderTest(model, "patched"), narrow_reference(), TINY)


def test_another_architecture_comes_with_the_nearest_network_of_torchvision() -> None:
    for model, text in (
        (
            torchvision.models.squeezenet1_1(num_classes=10),
            "the nearest network of torchvision is squeezenet1_1: 96% of the layers",
        ),
        (nn.Sequential(nn.Conv2d(3, 8, 7), nn.Conv2d(8, 6, 3), nn.Conv2d(6, 9, 3)), "no network of torchvision is"),
    ):
        result = compare(ModelUnderTest(model, "net"), narrow_reference(), replace(TINY, checks=("settings",)))
        assert [diagnosis.key for diagnosis in result.diagnoses] == ["other-architecture"]
        (note,) = (note for note in result.notes if note.key == "nearest-reference")
        assert note.text.startswith(text)


def test_intended_changes_are_let_through_and_nothing_else() -> None:
    model = copy.deepcopy(sound().model)
    norm(model, "l1.block.ResSkip.bn1").eps = 1e-3
    changed, config = ModelUnderTest(model, "changed"), replace(TINY, checks=("settings", "eval"))
    result = compare(changed, narrow_reference(), config)
    keys = [difference_key(difference) for difference in result.differences]
    assert keys == ["setting batch_norm.eps l1.block.ResSkip.bn1 = 0.001"]
    assert not result.same
    assert compare(changed, narrow_reference(), config, expected=keys).same
    norm(model, "l1.block.ResSkip.bn2").eps = 1e-3
    assert not compare(changed, narrow_reference(), config, expected=keys).same
    result = compare(sound(), narrow_reference(), config, expected=keys)
    assert result.same
    assert "expected-not-present" in {note.key for note in result.notes}


def test_the_tolerance_may_be_set() -> None:
    model = copy.deepcopy(sound().model)
    norm(model, "l1.block.ResSkip.bn1").eps = 1.1e-5
    changed, config = ModelUnderTest(model, "changed"), replace(TINY, checks=("eval",), transfer="none")
    strict = compare(changed, narrow_reference(), config)
    assert check(strict, "eval").verdict == DIFFERENT  # float64 sees it where float32's noise would hide it
    loose = compare(changed, narrow_reference(), replace(config, rtol=1e-3))
    assert check(loose, "eval").verdict == ROUNDING


def test_the_reference_comes_out_of_a_training_step_as_it_went_in() -> None:
    before = copy.deepcopy(narrow_reference().model.state_dict())
    config = replace(TINY, transfer="none", checks=("train", "statistics", "gradients", "step"))
    compare(sound(), narrow_reference(), config)
    after = narrow_reference().model.state_dict()
    assert all(torch.equal(before[key], value) and value.dtype == before[key].dtype for key, value in after.items())


def test_hundreds_of_operators_are_aligned() -> None:
    spec = replace(ARCHITECTURES["resnet50"], repeat=(12, 12, 12, 11))
    with torch.device("meta"):
        model, reference = narrow(build(spec)), narrow(ResNet(Bottleneck, [12, 12, 12, 12]))
    run = prepare(model, reference, replace(TINY, transfer="none", keep=False), names=("ours", "theirs"))
    assert len(run.graphs[0].nodes) > 400
    kinds = [(difference.category, difference.subject) for difference in run.findings]
    assert sorted(kinds) == sorted(
        [("missing", kind) for kind in ("conv", "batch_norm", "relu") * 3] + [("missing", "add")]
    )


def test_an_infinite_error_is_null_in_json() -> None:
    model = copy.deepcopy(sound().model)
    with torch.no_grad():
        model.get_parameter("tail.lin.bias")[0] = float("nan")
    config = replace(TINY, transfer="none", checks=("parameters", "eval"))
    result = compare(ModelUnderTest(model, "nan"), narrow_reference(), config)
    assert check(result, "eval").error is None
    assert check(result, "eval").verdict == DIFFERENT
    assert json.loads(to_json(result))["schema"] == "resnet-cli/compare-torchvision/2"


def test_a_step_in_pieces_is_that_of_torchs_sgd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_step, "_PIECE", 3)
    generator = torch.Generator().manual_seed(0)
    p, g, q, h = (torch.randn(2, 5, generator=generator, dtype=torch.float64) for _ in range(4))
    after = []
    for value, gradient in ((p, g), (q, h)):
        parameter = nn.Parameter(value.clone())
        parameter.grad = gradient.clone()
        torch.optim.SGD([parameter], lr=0.1, momentum=0.9, weight_decay=1e-4).step()
        after.append(parameter.detach())
    expected = float((after[0] - after[1]).abs().max() / after[1].abs().max())
    assert train_step._step_error(p, g, q, h) == expected
    assert train_step._step_error(p, g, p, g) == 0.0


def test_ctrl_c_can_end_a_backward_pass_at_every_parameter() -> None:
    """Without a hook in Python, Ctrl-C waits for the whole pass."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3), nn.Linear(3, 3))
    parameters = list(model.parameters())
    seen = SimpleNamespace(hooks=[])  # what the network holds is put back

    class Looking(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.hooks += [len(parameter._post_accumulate_grad_hooks or ()) for parameter in model.parameters()]
            return x

    train_step.run(model.append(Looking()), torch.ones(2, 3, 2, 2), 0)
    assert seen.hooks == [1] * len(parameters)
    assert not any(parameter._post_accumulate_grad_hooks for parameter in parameters)
