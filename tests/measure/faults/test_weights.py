"""Faults in the tensors of a network: which one they are in, and by how much it is off."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from resnet_cli.measure.faults import weights
from resnet_cli.measure.faults.op_capture import NotApplicableError
from tests.measure.faults.test_layers import MIDDLE, Plant, of, original, replaced, weight
from tests.measure.parity.test_diagnosis import IDENTITY, Block, basic, conv, network


def apart(plant: Plant, model: nn.Module | None = None) -> dict[str, Tensor]:
    """What was added to each tensor that is not what it was."""
    before, after = (model or original()).state_dict(), of(plant, model).state_dict()
    return {name: after[name] - tensor for name, tensor in before.items() if not torch.equal(after[name], tensor)}


def test_one_weight_moves_by_a_thousandth_of_the_largest() -> None:
    ((name, moved),) = apart(weights.one_weight).items()
    assert name == f"{MIDDLE}.0.weight"
    assert moved.flatten().nonzero().tolist() == [[8 * 8 * 9 // 2]]
    assert float(moved.sum()) == pytest.approx(1e-3 * float(original().state_dict()[name].abs().max()), rel=1e-3)


def test_one_buffer_moves_by_a_thousandth_of_the_largest_and_a_fresh_one_by_a_thousandth() -> None:
    ((name, moved),) = apart(weights.one_buffer).items()
    assert name == f"{MIDDLE}.1.running_mean"
    assert moved.nonzero().tolist() == [[4]]
    assert float(moved[4]) == pytest.approx(1e-3 * float(original().state_dict()[name].abs().max()), rel=1e-3)
    ((_, moved),) = apart(weights.one_buffer, network(None, basic(8, 8), basic(8, 8))).items()
    assert float(moved[4]) == pytest.approx(1e-3)


def test_two_convolutions_of_one_shape_change_places() -> None:
    faulty = of(weights.swapped_convs)
    first, second = f"{MIDDLE}.0", f"{MIDDLE}.3"
    assert set(apart(weights.swapped_convs)) == {f"{first}.weight", f"{second}.weight"}
    assert torch.equal(weight(faulty, first), weight(original(), second))
    assert torch.equal(weight(faulty, second), weight(original(), first))
    same = copy.deepcopy(original())
    with torch.no_grad():
        same.get_parameter(f"{second}.weight").copy_(
            weight(same, first)
        )  # exchanged with each other, nothing would change
    assert set(apart(weights.swapped_convs, same)) == {f"{first}.weight", "two.body.0.weight"}


def test_one_parameter_is_frozen() -> None:
    faulty = of(weights.frozen_parameter)
    assert [name for name, tensor in faulty.named_parameters() if not tensor.requires_grad] == [f"{MIDDLE}.0.weight"]


@pytest.mark.parametrize("plant", [weights.one_weight, weights.nan, weights.swapped_convs])
def test_weights_on_meta_are_left_to_themselves(plant: Plant) -> None:
    assert {tensor.device.type for tensor in plant(copy.deepcopy(original()).to("meta")).parameters()} == {"meta"}


class OwnNorm(nn.Module):
    """A norm of the user's, whose buffers are no nn.BatchNorm2d's."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(channels, dtype=torch.int64))
        self.register_buffer("grid", torch.ones(1, channels, 1, 1))
        self.register_buffer("mean", torch.full((channels,), 2.0))
        self.mean: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return x - self.mean.view(-1, 1, 1)


def test_a_norm_of_the_users_has_its_vector_moved() -> None:
    model = replaced(nn.BatchNorm2d, lambda norm: OwnNorm(norm.num_features))  # type: ignore[arg-type]
    ((name, moved),) = apart(weights.one_buffer, model).items()
    assert name == "two.body.4.mean"  # the middle one of ten
    assert moved.nonzero().tolist() == [[4]]
    assert float(moved[4]) == pytest.approx(2e-3, rel=1e-3)


def one_convolution() -> nn.Module:
    model = network(Block(conv(4, 4), IDENTITY))
    model.set_submodule("two", IDENTITY)
    model.set_submodule("fc", nn.Linear(4, 5))
    return model


def without_statistics(norm: nn.Module) -> nn.Module:
    return nn.BatchNorm2d(norm.num_features, track_running_stats=False)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("plant", "make"),
    [
        (weights.one_buffer, lambda: replaced(nn.BatchNorm2d, lambda _: nn.Identity())),
        (weights.one_buffer, lambda: replaced(nn.BatchNorm2d, without_statistics)),
        (weights.frozen_parameter, lambda: copy.deepcopy(original()).requires_grad_(False)),
        (weights.swapped_convs, one_convolution),
        (weights.swapped_convs, lambda: replaced(nn.Conv2d, weight_norm)),
        (weights.one_weight, lambda: replaced(nn.Conv2d, weight_norm)),
        (weights.one_weight, lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())),
    ],
)
def test_a_network_without_a_place_for_a_fault_says_so(plant: Plant, make: Callable[[], nn.Module]) -> None:
    with pytest.raises(NotApplicableError, match=r"^(no|the) "):
        of(plant, make())
