"""Faults in the tensors of a network: which one they are in, and by how much it is off."""

from __future__ import annotations

import copy

import pytest
import torch
from test_diagnosis import basic, network
from test_faults_layers import MIDDLE, Plant, of, original, weight
from torch import Tensor, nn

from resnet_cli.measure import faults_weights


def apart(plant: Plant, model: nn.Module | None = None) -> dict[str, Tensor]:
    """What was added to each tensor that is not what it was."""
    before, after = (model or original()).state_dict(), of(plant, model).state_dict()
    return {name: after[name] - tensor for name, tensor in before.items() if not torch.equal(after[name], tensor)}


def test_one_weight_moves_by_a_thousandth_of_the_largest() -> None:
    ((name, moved),) = apart(faults_weights.one_weight).items()
    assert name == f"{MIDDLE}.0.weight"
    assert moved.flatten().nonzero().tolist() == [[8 * 8 * 9 // 2]]
    assert float(moved.sum()) == pytest.approx(1e-3 * float(original().state_dict()[name].abs().max()), rel=1e-3)


def test_one_buffer_moves_by_a_thousandth_of_the_largest_and_a_fresh_one_by_a_thousandth() -> None:
    ((name, moved),) = apart(faults_weights.one_buffer).items()
    assert name == f"{MIDDLE}.1.running_mean"
    assert moved.nonzero().tolist() == [[4]]
    assert float(moved[4]) == pytest.approx(1e-3 * float(original().state_dict()[name].abs().max()), rel=1e-3)
    ((_, moved),) = apart(faults_weights.one_buffer, network(None, basic(8, 8), basic(8, 8))).items()
    assert float(moved[4]) == pytest.approx(1e-3)


def test_one_weight_is_no_number() -> None:
    ((name, moved),) = apart(faults_weights.nan).items()
    assert name == f"{MIDDLE}.0.weight"
    assert torch.isnan(moved.flatten()).nonzero().tolist() == [[8 * 8 * 9 // 2]]


def test_two_convolutions_of_one_shape_change_places() -> None:
    faulty = of(faults_weights.swapped_convs)
    one, other = f"{MIDDLE}.0", f"{MIDDLE}.3"
    assert set(apart(faults_weights.swapped_convs)) == {f"{one}.weight", f"{other}.weight"}
    assert torch.equal(weight(faulty, one), weight(original(), other))
    assert torch.equal(weight(faulty, other), weight(original(), one))
    same = copy.deepcopy(original())
    with torch.no_grad():
        same.get_parameter(f"{other}.weight").copy_(
            weight(same, one)
        )  # exchanged with each other, nothing would change
    assert set(apart(faults_weights.swapped_convs, same)) == {f"{one}.weight", "two.body.0.weight"}


def test_one_parameter_is_frozen() -> None:
    faulty = of(faults_weights.frozen_parameter)
    assert [name for name, one in faulty.named_parameters() if not one.requires_grad] == [f"{MIDDLE}.0.weight"]


@pytest.mark.parametrize("plant", [faults_weights.one_weight, faults_weights.nan, faults_weights.swapped_convs])
def test_weights_on_meta_are_left_to_themselves(plant: Plant) -> None:
    assert {one.device.type for one in plant(copy.deepcopy(original()).to("meta")).parameters()} == {"meta"}
