"""The comparison as a whole: it says yes to the same network however it is written, and no with a name to any other."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from functools import cache

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.resnet import Bottleneck
from torchvision.models.resnet import ResNet as TheirResNet

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.faults.catalog import FAULTS, Fault, NotApplicableError
from resnet_cli.measure.faults.self_test import is_diagnosed
from resnet_cli.measure.models import random_init, torchvision_models
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
from tests.helpers.equivalent_resnets import HARMLESS, truth

SMALL = ParityConfig(shape=(2, 3, 64, 64), keep=True)


pytestmark = pytest.mark.usefixtures("one_thread")


# A tenth of the weights of ResNet-50: copies and the training step take most of the time.
SHALLOW = ModelSpec("shallow", "bottleneck", (1, 2, 2, 1), width_per_group=16, num_classes=10)
RESNET14 = ModelSpec("resnet14", "basic", (2, 2, 1, 1))
SPECS = {0: SHALLOW, 14: RESNET14, 18: ARCHITECTURES["resnet18"]}


@cache
def theirs(depth: int) -> ModelUnderTest:
    spec = SPECS[depth]
    return ModelUnderTest(torchvision_models.build_member(spec), f"torchvision {spec.name}")


@cache
def sound(depth: int) -> ModelUnderTest:
    """Ours with the reference's weights: what a fault is planted in."""
    spec = SPECS[depth]
    made = prepare(build(spec), theirs(depth).model, SMALL, names=("ours", "theirs"))
    return ModelUnderTest(made.model, spec.name, spec)


def question(**options: object) -> ParityConfig:
    return replace(SMALL, **options)  # type: ignore[arg-type]


def norm(model: nn.Module, path: str) -> nn.BatchNorm2d:
    found = model.get_submodule(path)
    assert isinstance(found, nn.BatchNorm2d)
    return found


def check(result: CompareResult, key: str) -> Check:
    return next(one for one in result.checks if one.key == key)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_our_keys_are_mapped_as_their_names_say(name: str) -> None:
    """Without arithmetic: names and alignment know nothing of each other."""
    spec = ARCHITECTURES[name]
    with torch.device("meta"):
        ours, other = build(spec), getattr(torchvision.models, name)()
    made = prepare(ours, other, question(transfer="none", keep=False), names=("ours", "theirs"))
    assert made.pairs == torchvision_names(spec)
    assert not made.findings
    assert made.unmapped == ((), ())


@pytest.mark.parametrize("depth", [18, 0])
def test_our_network_is_torchvisions_bit_for_bit(depth: int) -> None:
    spec = SPECS[depth]
    result = compare(ModelUnderTest(build(spec), spec.name, spec), theirs(depth), SMALL)
    assert {one.verdict for one in result.checks} == {BITWISE}
    assert result.same
    assert result.verdict == BITWISE
    assert not result.differences
    assert not result.diagnoses
    assert all(line.cumulative == line.isolated == 0 and line.status == "equal" for line in result.aligned_ops)
    assert from_json(to_json(result)) == result


def test_counts_are_those_that_torchvision_publishes() -> None:
    meta = torchvision.models.get_model_weights("resnet18").DEFAULT.meta
    result = compare(sound(18), theirs(18), question(checks=("parameters",)))
    assert f"{meta['num_params']:,} parameters" in check(result, "parameters").text
    assert "as torchvision publishes" in check(result, "parameters").text


@pytest.mark.parametrize("name", HARMLESS)
def test_no_false_alarm(name: str) -> None:
    depth = 18 if name == "timm" else 14
    result = compare(ModelUnderTest(HARMLESS[name](depth), name), theirs(depth), SMALL)
    assert result.same, [one.text for one in result.differences]
    assert result.verdict in (BITWISE, ROUNDING)
    assert not result.differences
    expected = truth(name, depth)
    mapped = dict(result.mapping.pairs)
    assert {ours: other for ours, other in expected.items() if ours in mapped} == mapped
    assert result.mapping.mapped_tensors == result.mapping.model_tensors == result.mapping.reference_tensors


@pytest.mark.parametrize("fault", FAULTS, ids=lambda one: one.key)
def test_every_fault_is_found_and_called_by_its_name(fault: Fault) -> None:
    depth = 14 if fault.key == "stride-moved" else 0
    faulty = fault.apply(copy.deepcopy(sound(depth).model))
    result = compare(ModelUnderTest(faulty, "faulty"), theirs(depth), question(transfer="none"))
    assert not result.same
    assert result.verdict != ROUNDING
    assert result.differences
    assert is_diagnosed(fault, result), result.differences
    assert sum(line.is_first_difference for line in result.aligned_ops) <= 1
    assert from_json(to_json(result)) == result


def test_faults_without_a_place_say_so() -> None:
    (mutation,) = (one for one in FAULTS if one.key == "stride-in-1x1")
    with pytest.raises(NotApplicableError, match="bottleneck"):
        mutation.apply(copy.deepcopy(sound(18).model))


def test_three_faults_are_three_findings_and_no_more() -> None:
    """Everything behind the first one differs; by themselves only the three do."""
    model = copy.deepcopy(sound(18).model)
    norm(model, "l0.block.ResIdentity0.bn1").eps = 2e-5
    with torch.no_grad():
        model.get_submodule("l1.block.ResIdentity0.conv2").weight[0, 0, 0, 0] += 0.5  # type: ignore[index, operator]
        model.get_submodule("l2.block.ResSkip.bn2").running_mean[3] += 0.5  # type: ignore[index, operator]
    result = compare(ModelUnderTest(model, "three"), theirs(18), question(transfer="none"))
    apart = [line.model_path for line in result.aligned_ops if line.isolated]
    assert apart == ["l0.block.ResIdentity0.bn1", "l1.block.ResIdentity0.conv2", "l2.block.ResSkip.bn2"]
    assert sum(bool(line.cumulative) for line in result.aligned_ops) > 40
    assert [line.model_path for line in result.aligned_ops if line.is_first_difference] == ["l0.block.ResIdentity0.bn1"]
    assert [(one.category, one.model_path) for one in result.differences] == [
        ("setting", "l0.block.ResIdentity0.bn1"),
        ("value", "l1.block.ResIdentity0.conv2.weight"),
        ("value", "l2.block.ResSkip.bn2.running_mean"),
    ]


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
    result = compare(ModelUnderTest(Token(), "ours"), ModelUnderTest(Token(), "theirs"), SMALL)
    assert result.verdict == BITWISE
    assert dict(result.mapping.pairs)["token"] == "token"


class Channels(nn.Module):
    """The same network in another memory layout."""

    def __init__(self) -> None:
        super().__init__()
        self.network = torchvision.models.resnet18().to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.network(x.contiguous(memory_format=torch.channels_last))
        return out


class Looking(nn.Module):
    """Decides by a value, which no network on `meta` can."""

    def __init__(self) -> None:
        super().__init__()
        self.network = torchvision.models.resnet18()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.network(x if float(x.abs().sum()) >= 0 else -x)
        return out


@pytest.mark.parametrize("kind", [Channels, Looking])
def test_other_harmless_networks(kind: type[nn.Module]) -> None:
    result = compare(ModelUnderTest(kind(), kind.__name__), theirs(18), SMALL)
    assert result.same, [one.text for one in result.differences]


def test_another_number_of_threads_is_harmless() -> None:
    torch.set_num_threads(2)
    try:
        assert compare(sound(18), theirs(18), SMALL).same
    finally:
        torch.set_num_threads(1)


class Detached(nn.Module):
    """Its forward is right and its gradient is not."""

    def __init__(self) -> None:
        super().__init__()
        self.network = torchvision.models.resnet18()

    def forward(self, x: Tensor) -> Tensor:
        n = self.network
        x = n.layer1(n.maxpool(n.relu(n.bn1(n.conv1(x)))))
        x = n.layer4(n.layer3(n.layer2(x.detach())))
        out: Tensor = n.fc(functional.adaptive_avg_pool2d(x, 1).flatten(1))
        return out


def test_a_gradient_that_is_cut_off_is_found_although_the_outputs_agree() -> None:
    result = compare(ModelUnderTest(Detached(), "Detached"), theirs(18), SMALL)
    assert [check(result, key).verdict for key in ("settings", "eval", "train", "statistics")] == [BITWISE] * 4
    assert check(result, "gradients").verdict == DIFFERENT
    assert {one.category for one in result.differences} == {"gradients", "step"} or {
        one.category for one in result.differences
    } == {"gradients"}
    assert "n.conv1.weight" not in result.mapping.unmatched_model


def test_a_network_of_another_kind_is_refused() -> None:
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.odd = nn.GroupNorm(1, 3)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.odd(x)
            return out

    with pytest.raises(ResnetCliError, match="no parameter of Flat has a counterpart") as caught:
        compare(ModelUnderTest(Flat(), "Flat"), theirs(18), SMALL)
    assert caught.value.exit_code == 2


def test_intended_changes_are_let_through_and_nothing_else() -> None:
    model = copy.deepcopy(sound(18).model)
    norm(model, "l1.block.ResSkip.bn1").eps = 1e-3
    changed = ModelUnderTest(model, "changed")
    only = question(checks=("settings", "eval"))
    found = compare(changed, theirs(18), only)
    keys = [difference_key(one) for one in found.differences]
    assert keys == ["setting batch_norm.eps l1.block.ResSkip.bn1 = 0.001"]
    assert not found.same
    assert compare(changed, theirs(18), only, expected=keys).same
    norm(model, "l1.block.ResSkip.bn2").eps = 1e-3
    assert not compare(changed, theirs(18), only, expected=keys).same
    gone = compare(sound(18), theirs(18), only, expected=keys)
    assert gone.same
    assert "expected-not-present" in {note.key for note in gone.notes}


def test_the_tolerance_may_be_set() -> None:
    model = copy.deepcopy(sound(18).model)
    norm(model, "l1.block.ResSkip.bn1").eps = 1.1e-5
    changed = ModelUnderTest(model, "changed")
    strict = compare(changed, theirs(18), question(checks=("eval",), transfer="none"))
    assert check(strict, "eval").verdict == DIFFERENT  # float64 sees it where float32's noise would hide it
    loose = compare(changed, theirs(18), question(checks=("eval",), transfer="none", rtol=1e-3))
    assert check(loose, "eval").verdict == ROUNDING


def test_checks_that_were_not_asked_for_are_skipped() -> None:
    result = compare(sound(18), theirs(18), question(checks=("settings",)))
    assert [one.key for one in result.checks if one.verdict != "skipped"] == ["settings"]


def test_the_networks_are_left_as_they_are() -> None:
    ours = build("resnet18")
    before = copy.deepcopy(ours.state_dict())
    ours.eval()
    compare(ModelUnderTest(ours, "ours"), theirs(18), SMALL)
    assert not ours.training
    assert all(torch.equal(before[key], value) for key, value in ours.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in ours.modules())


def test_the_reference_comes_out_of_a_training_step_as_it_went_in() -> None:
    before = copy.deepcopy(theirs(18).model.state_dict())
    compare(sound(18), theirs(18), question(checks=("train", "statistics", "gradients", "step")))
    after = theirs(18).model.state_dict()
    assert all(torch.equal(before[key], value) and value.dtype == before[key].dtype for key, value in after.items())


def test_a_thousand_operators_are_aligned() -> None:
    spec = replace(ARCHITECTURES["resnet50"], repeat=(30, 30, 30, 29))
    with torch.device("meta"):
        ours, other = build(spec), TheirResNet(Bottleneck, [30, 30, 30, 30])
    made = prepare(ours, other, question(transfer="none", keep=False), names=("ours", "theirs"))
    assert len(made.graphs[0].nodes) > 1000
    kinds = [(one.category, one.subject) for one in made.findings]
    assert sorted(kinds) == sorted(
        [("missing", kind) for kind in ("conv", "batch_norm", "relu") * 3] + [("missing", "add")]
    )


def test_a_fresh_probe_hides_nothing() -> None:
    """No scale, offset or statistic is left where it would make a norm the identity."""
    model = torchvision.models.resnet18()
    random_init.randomize_parameters(model, 0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            for tensor, idle in (
                (module.weight, 1),
                (module.bias, 0),
                (module.running_mean, 0),
                (module.running_var, 1),
            ):
                assert not bool((tensor == idle).all())
    with torch.no_grad():
        out = model.eval()(random_init.image((2, 3, 64, 64), 1))
    assert 0.1 < float(out.std()) < 100
    again = torchvision.models.resnet18()
    random_init.randomize_parameters(again, 0)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))


def test_json_is_plain(tmp_path: object) -> None:
    model = copy.deepcopy(sound(18).model)
    with torch.no_grad():
        model.get_submodule("tail.lin").bias[0] = float("nan")  # type: ignore[operator]
    result = compare(ModelUnderTest(model, "nan"), theirs(18), question(transfer="none", checks=("parameters", "eval")))
    assert check(result, "eval").error is None
    assert check(result, "eval").verdict == DIFFERENT
    assert json.loads(to_json(result))["schema"] == "resnet-cli/compare-torchvision/2"


def test_a_step_in_pieces_is_the_step_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_backward_pass_is_heard_in_at_every_parameter() -> None:
    """Without a hook in Python, Ctrl-C waits for the whole pass."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3), nn.Linear(3, 3))
    parameters = list(model.parameters())
    seen: list[int] = []

    class Looking(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.extend(len(parameter._post_accumulate_grad_hooks or ()) for parameter in parameters)
            return x

    train_step.run(model.append(Looking()), torch.ones(2, 3, 2, 2), 0)
    assert seen == [1] * len(parameters)
    assert not any(parameter._post_accumulate_grad_hooks for parameter in parameters)
