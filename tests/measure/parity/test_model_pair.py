"""The two networks of a comparison: which reference is taken, and whose weights a file holds."""

from __future__ import annotations

import copy
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.models.inputs.model_inputs import images
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.parity import model_pair as module
from resnet_cli.measure.parity.compare import compare
from resnet_cli.measure.parity.config import ParityConfig
from resnet_cli.measure.parity.model_pair import ModelPair, model_pair, with_map, with_weights
from resnet_cli.network.architectures import ARCHITECTURES, ModelSpec
from resnet_cli.network.resnet import build

TINY = ModelSpec("tiny", "basic", (1, 1, 1, 1), num_classes=3)

NETS = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, num_classes=1000, width=2):
        super().__init__(nn.Conv2d(3, width, 1), nn.BatchNorm2d(width), nn.Linear(width, num_classes))

def on_meta():
    return Net().to("meta")

def of_seven():
    return nn.Sequential(nn.Conv2d(1, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 7))
"""


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(NETS, encoding="utf-8")


def count(model: nn.Module) -> int:
    return sum(one.numel() for one in model.parameters())


def test_ours_is_held_against_torchvisions_of_the_same_spec() -> None:
    state = torch.random.get_rng_state()
    pair = model_pair(TINY)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert (pair.model.name, pair.reference.name, pair.architecture) == ("tiny", "torchvision tiny", "tiny")
    assert (pair.model.spec, pair.spec, pair.notes) == (TINY, TINY, ())
    assert count(pair.model.model) == count(pair.reference.model)
    assert not any(one.is_meta for one in (*pair.model.model.parameters(), *pair.reference.model.buffers()))


def test_the_weights_that_a_network_begins_with_come_from_the_seed() -> None:
    first, second, other = (
        next(model_pair(TINY, "nets.py:Net", "squeezenet1_1", seed=seed).model.model.parameters()) for seed in (0, 0, 1)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_any_network_of_torchvision_may_be_named() -> None:
    pair = model_pair(TINY, "nets.py:Net", " SqueezeNet1_1 ", is_default=True, arguments={"width": 4})
    assert (pair.model.name, pair.reference.name, pair.architecture) == (
        "Net", "torchvision squeezenet1_1", "squeezenet1_1"
    )  # fmt: skip
    assert (pair.spec, pair.model.spec, pair.notes) == (None, None, ())
    assert [tuple(one.shape) for one in pair.model.model.parameters()] == [(4, 3, 1, 1), (4,), (4,), (4,), (3, 4), (3,)]
    assert type(pair.reference.model).__name__ == "SqueezeNet"
    assert [tuple(one.shape) for one in pair.reference.model.parameters()][-1] == (3,)  # as many classes as ours


@pytest.mark.parametrize("against", [None, "squeezenet1_1"])
def test_the_reference_has_the_classes_of_the_model_where_nobody_says_how_many(against: str | None) -> None:
    spec = replace(TINY, in_channels=1)
    of_channels = [lambda _, channels=channels: images((1, channels, 32, 32)) for channels in (1, 3)]
    pair = model_pair(spec, "nets.py:of_seven", against, as_many_classes=True, inputs_of=of_channels[0])
    assert pair.reference.model.eval()(torch.zeros(1, 1, 32, 32)).shape == (1, 7)
    assert [note.key for note in pair.notes] == ["classes-of-model"]
    assert not model_pair(spec, "nets.py:of_seven", against).notes
    refused = model_pair(spec, "nets.py:of_seven", against, as_many_classes=True, inputs_of=of_channels[1])
    assert not refused.notes  # it takes no such image


@pytest.mark.parametrize("changes", [{"stem": "cifar"}, {"in_channels": 1}, {"stem": "cifar", "in_channels": 4}])
def test_the_built_in_network_equals_the_reference_with_other_channels_and_stem(changes: dict[str, Any]) -> None:
    spec = replace(TINY, **changes)
    pair = model_pair(spec)
    config = ParityConfig(shape=(2, spec.in_channels, 16, 16), checks=("parameters", "settings", "eval"))
    result = compare(pair.model, pair.reference, config)
    assert result.same
    assert not result.diagnoses


@pytest.fixture
def small_family(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two members, of 4.9 and 9.6 million parameters."""
    deep = ModelSpec("deep", "basic", (1, 1, 1, 2))
    monkeypatch.setattr(module, "ARCHITECTURES", {"small": ModelSpec("small", "basic", (1, 1, 1, 1)), "deep": deep})


@pytest.mark.parametrize(
    ("parameters", "nearest"),
    [(1, "small"), (4_000_000, "small"), (6_700_000, "small"), (7_200_000, "deep"), (30_000_000, "deep")],
)
def test_a_network_is_held_against_the_nearest_in_proportion(parameters: int, nearest: str, small_family: None) -> None:
    class Sized(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.empty(parameters, device="meta"))

    assert module._closest(Sized(), TINY)[0].name == nearest


def test_layers_in_common_go_before_the_number_of_parameters(small_family: None) -> None:
    network = nn.Sequential(build(ModelSpec("small", "basic", (1, 1, 1, 1))), nn.Linear(2_000, 2_400))
    assert module._closest(network, TINY)[0].name == "small"
    assert module._closest(network, TINY)[1] == 12 / 14  # but for the classifier and the layer behind it


def test_the_nearest_is_chosen_where_nothing_was_named_and_it_is_told(small_family: None) -> None:
    pair = model_pair(TINY, "nets.py:Net", is_default=True)
    assert pair.spec == ModelSpec("small", "basic", (1, 1, 1, 1), num_classes=3)
    assert pair.reference.name == "torchvision small"
    (note,) = pair.notes
    assert note.text.startswith("compared with small, the closest by parameter count")
    pair = model_pair(TINY, "nets.py:Net")
    assert (pair.spec, pair.notes) == (TINY, ())


def test_a_network_on_meta_gets_real_tensors() -> None:
    pair = model_pair(TINY, "nets.py:on_meta", "squeezenet1_1")
    assert not any(one.is_meta for one in (*pair.model.model.parameters(), *pair.model.model.buffers()))
    assert torch.equal(pair.model.model.get_buffer("1.running_var"), torch.ones(2))
    assert int(pair.model.model.get_buffer("1.num_batches_tracked")) == 0
    half = nn.Sequential(nn.Conv2d(3, 2, 1).to("meta"), nn.Conv2d(2, 2, 1))
    module._put_on_cpu(half)
    assert not any(one.is_meta for one in half.parameters())
    model = nn.BatchNorm2d(2)
    model.running_var.fill_(7.0)  # type: ignore[union-attr]
    module._put_on_cpu(model)
    assert torch.equal(model.running_var, torch.full((2,), 7.0))  # type: ignore[arg-type]


# Weights and maps of files -------------------------------------------------------------------------------------------


def net(*names: str) -> nn.Module:
    """A convolution, a norm and a linear layer under these names."""
    torch.manual_seed(len("".join(names)))
    layers = (nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.Linear(2, 3))
    return nn.Sequential(OrderedDict(zip(names, layers, strict=True)))


def pair_of(ours: nn.Module, theirs: nn.Module) -> ModelPair:
    return ModelPair(ModelUnderTest(ours, "Net"), ModelUnderTest(theirs, "torchvision net"), "net")


def filed(state: dict[str, Tensor]) -> str:
    torch.save(state, "weights.pth")
    return "weights.pth"


def same(model: nn.Module, state: dict[str, Tensor]) -> bool:
    own = model.state_dict()
    return own.keys() == state.keys() and all(torch.equal(own[name], tensor) for name, tensor in state.items())


OURS, THEIRS = ("first", "second", "last"), ("conv1", "bn1", "fc")


@pytest.mark.parametrize(("source", "transfer"), [(THEIRS, "to model"), (OURS, "to reference")])
@pytest.mark.parametrize("field", ["", "model."])
def test_a_file_is_loaded_into_the_side_whose_names_it_has(source: tuple[str, ...], transfer: str, field: str) -> None:
    ours, theirs, other = net(*OURS), net(*THEIRS), net(*source).double().float()
    with torch.no_grad():
        for one in other.parameters():
            one.add_(1)
    state = copy.deepcopy(other.state_dict())
    before = copy.deepcopy((ours if source == THEIRS else theirs).state_dict())
    question = with_weights(
        pair_of(ours, theirs), filed({f"{field}{k}": v for k, v in state.items()}), ParityConfig(seed=5)
    )
    assert (question.weights, question.transfer, question.seed) == ("weights.pth", transfer, 5)
    assert same(theirs if source == THEIRS else ours, state)
    assert same(ours if source == THEIRS else theirs, before)


def test_a_file_that_fits_both_is_loaded_into_both() -> None:
    ours, theirs, other = net(*THEIRS), net(*THEIRS), net("a", "b", "c")
    state = dict(zip(ours.state_dict(), other.state_dict().values(), strict=True))
    question = with_weights(pair_of(ours, theirs), filed(state), ParityConfig())
    assert question.transfer == "none"
    assert same(ours, state)
    assert same(theirs, state)


def test_a_file_that_fits_neither_is_refused_by_the_names_that_are_nearest() -> None:
    ours, theirs = net(*OURS), net(*THEIRS)
    before = copy.deepcopy((ours.state_dict(), theirs.state_dict()))
    state = net(*OURS).state_dict()
    state.popitem()
    with pytest.raises(ResnetCliError, match=r"weights\.pth does not fit \(Net's names\): 1 tensor is missing"):
        with_weights(pair_of(ours, theirs), filed(state), ParityConfig())
    assert same(ours, before[0])
    assert same(theirs, before[1])
    built = ModelPair(
        ModelUnderTest(ours, "resnet18", ARCHITECTURES["resnet18"]), ModelUnderTest(theirs, "t"), "resnet18"
    )
    with pytest.raises(ResnetCliError, match="resnet-cli's names"):
        with_weights(built, filed(state), ParityConfig())
    with pytest.raises(ResnetCliError, match=r"weights\.pth matches neither Net's names nor torchvision's names"):
        with_weights(pair_of(ours, theirs), filed(net("x", "y", "z").state_dict()), ParityConfig())


def mapped(text: str, **question: Any) -> ParityConfig:
    Path("map.toml").write_text(f"[parameters]\n{text}\n", encoding="utf-8")
    return with_map(pair_of(net(*OURS), net(*THEIRS)), "map.toml", ParityConfig(**question))


def test_a_map_of_a_file_goes_into_the_question() -> None:
    question = mapped('"first.weight" = "conv1.weight"\n"second.running_var" = "bn1.running_mean"', seed=3)
    assert question.key_map == {"first.weight": "conv1.weight", "second.running_var": "bn1.running_mean"}
    assert (question.map_source, question.seed) == ("map.toml", 3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('"frist.weight" = "conv1.weight"', "frist.weight, which does not exist in the model"),
        ('"first.weight" = "first.weight"', "first.weight, which does not exist in the reference"),
        ('"first.weight" = "fc.bias"', "cannot be the same tensor"),
    ],
)
def test_a_map_that_cannot_be_followed_is_refused(text: str, said: str) -> None:
    with pytest.raises(ResnetCliError, match=said):
        mapped(text)
