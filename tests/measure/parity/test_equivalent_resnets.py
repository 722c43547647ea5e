"""The networks that must pass are torchvision's, or the tests that lean on them prove nothing."""

from __future__ import annotations

import copy
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from tests.helpers.equivalent_resnets import HARMLESS, load, randomise, truth
from tests.helpers.models import torchvision_models

CASES = [(name, depth) for name in HARMLESS for depth in (18, 50)]


pytestmark = pytest.mark.usefixtures("one_thread")


@cache
def reference(depth: int) -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module = randomise(torchvision_models().get_model(f"resnet{depth}"))
    return network.eval()


@cache
def images() -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@cache
def logits(depth: int) -> Tensor:
    with torch.no_grad():
        out: Tensor = reference(depth)(images())
    return out


def near(ours: Tensor, theirs: Tensor, tolerance: float) -> bool:
    return float((ours - theirs).abs().max()) <= tolerance * float(theirs.abs().max())


@pytest.mark.parametrize(("name", "depth"), CASES)
def test_logits_are_torchvisions(name: str, depth: int) -> None:
    pairs = truth(name, depth)
    # Initialising what the next line overwrites would take most of the time.
    with torch.device("meta"):
        empty = HARMLESS[name](depth)
    network = load(empty.to_empty(device="cpu").eval(), pairs, reference(depth))
    with torch.no_grad():
        assert near(network(images()), logits(depth), 1e-5)


@pytest.mark.parametrize("name", HARMLESS)
def test_every_tensor_of_torchvision_has_its_counterpart(name: str) -> None:
    for depth in (18, 50):
        theirs = set(truth(name, depth).values())
        assert theirs >= {key for key in reference(depth).state_dict() if not key.endswith("num_batches_tracked")}
        assert theirs <= set(reference(depth).state_dict())
        assert len(theirs) == len(truth(name, depth))


@pytest.mark.parametrize("name", ["functional-norm", "own-norm", "everything"])
def test_own_batch_norms_learn_the_same_statistics(name: str) -> None:
    theirs = copy.deepcopy(reference(18)).double().train()
    pairs = truth(name, 18)
    ours = load(HARMLESS[name](18).double().train(), pairs, theirs)
    ours(images().double())
    theirs(images().double())
    state = theirs.state_dict()
    for key, tensor in ours.state_dict().items():
        if key in pairs and "running" in pairs[key]:
            assert near(tensor, state[pairs[key]], 1e-10), key
