"""The networks of a benchmark: whose weights they have, and by which names those are network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.bench.workloads.models import build, give_weights, torchvision, users_own
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.network.architectures import resolve
from resnet_cli.network.torchvision_names import torchvision_names

SPEC = resolve(repeat="1,1,1,1", num_classes=3)
IMAGE = torch.linspace(-1, 1, 3 * 32 * 32).reshape(1, 3, 32, 32)

NETWORKS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=2):
        super().__init__()
        self.layer = nn.Linear(width, 1)

    def forward(self, x):
        return self.layer(x)

def empty():
    return Net().to("meta")

def half_empty():
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    net[1].running_mean = net[1].running_mean.to("meta")
    return net
"""


def logits(model: nn.Module) -> Tensor:
    with torch.inference_mode():
        output: Tensor = model.eval()(IMAGE)
        return output


def same(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(*pair) for pair in pairs)


def shapes(model: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(parameter.shape) for parameter in model.parameters()]


def test_weights_are_those_of_the_seed_and_nothing_else_is_seeded() -> None:
    before = torch.random.get_rng_state()
    first = build(SPEC, 4)
    assert same(first.model, build(SPEC, 4).model)
    assert not same(first.model, build(SPEC, 5).model)
    assert torch.equal(before, torch.random.get_rng_state())
    assert (first.name, first.spec) == (SPEC.name, SPEC)


def test_torchvision_s_own_has_our_weights() -> None:
    competitor = torchvision(" TorchVision", SPEC, 4)
    assert competitor.name == f"torchvision {SPEC.name}"
    torch.testing.assert_close(logits(competitor.model), logits(build(SPEC, 4).model))


def test_others_of_torchvision_have_weights_of_the_seed_and_our_classes() -> None:
    competitor = torchvision("SqueezeNet1_1 ", SPEC, 4)
    assert competitor.name == "torchvision squeezenet1_1"
    assert logits(competitor.model).shape == (1, 3)
    assert same(competitor.model, torchvision("squeezenet1_1", SPEC, 4).model)
    assert not same(competitor.model, torchvision("squeezenet1_1", SPEC, 5).model)


@pytest.mark.parametrize("odd", [{"stem": "cifar"}, {"in_channels": 1}])
def test_torchvision_s_others_take_what_photographs_are(odd: dict[str, object]) -> None:
    with pytest.raises(ResnetCliError, match="the imagenet stem and 3 channels"):
        torchvision("resnet18", resolve(repeat="1,1,1,1", **odd), 0)  # type: ignore[arg-type]


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "net.py"
    path.write_text(NETWORKS, encoding="ascii")
    return str(path)


def test_a_user_s_network_is_built_as_it_was_asked_for(file: str) -> None:
    network = users_own(f"{file}:Net", {"width": 5}, 4)
    assert (network.name, network.spec) == ("Net", None)
    assert shapes(network.model) == [(1, 5), (1,)]
    assert same(network.model, users_own(f"{file}:Net", {"width": 5}, 4).model)
    assert not same(network.model, users_own(f"{file}:Net", {"width": 5}, 6).model)
    assert network.rebuilt is not None
    again = network.rebuilt()
    assert again is not network.model
    assert shapes(again) == [(1, 5), (1,)]


@pytest.mark.parametrize("name", ["empty", "half_empty"])
def test_a_user_s_network_without_weights_is_refused(name: str, file: str) -> None:
    with pytest.raises(ResnetCliError, match=f"{name} is on the meta device") as caught:
        users_own(f"{file}:{name}", {}, 0)
    assert caught.value.hint == "build it on the CPU"


@pytest.mark.parametrize("theirs", [False, True])
@pytest.mark.parametrize("counters", [False, True])
def test_a_file_is_loaded_under_our_names_or_torchvision_s(theirs: bool, counters: bool, tmp_path: Path) -> None:
    saved = build(SPEC, 1).model
    names = torchvision_names(SPEC) if theirs else {name: name for name in saved.state_dict()}
    path = str(tmp_path / "weights.pth")
    torch.save(
        {
            names[name]: tensor
            for name, tensor in saved.state_dict().items()
            if counters or not name.endswith("num_batches_tracked")  # as old files are
        },
        path,
    )
    subject = build(SPEC, 2)
    give_weights(subject, path)
    assert same(subject.model, saved)


def test_a_user_s_network_has_its_own_names_alone(file: str, tmp_path: Path) -> None:
    path = str(tmp_path / "weights.pth")
    torch.save({"layer.weight": torch.full((1, 2), 0.5), "layer.bias": torch.ones(1)}, path)
    subject = users_own(f"{file}:Net", {}, 0)
    give_weights(subject, path)
    assert subject.model.state_dict()["layer.weight"].tolist() == [[0.5, 0.5]]
    for unlike in (users_own(f"{file}:Net", {"width": 3}, 0), ModelUnderTest(nn.Linear(2, 1), "Other"), build(SPEC, 0)):
        with pytest.raises(ResnetCliError, match=r"weights\.pth"):
            give_weights(unlike, path)
