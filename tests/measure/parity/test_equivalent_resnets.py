"""The networks that must pass are torchvision's, or the tests that lean on them prove nothing."""

from __future__ import annotations

import copy
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from tests.helpers.equivalent_resnets import BLOCKS, HARMLESS, load, narrow, randomise, truth
from tests.helpers.models import torchvision_models

CASES = [(name, depth) for name in HARMLESS for depth in (12, 17)]


pytestmark = pytest.mark.usefixtures("one_thread")


@cache
def reference(depth: int) -> nn.Module:
    torch.manual_seed(0)
    resnet = torchvision_models().resnet
    block = resnet.Bottleneck if depth == 17 else resnet.BasicBlock
    return randomise(narrow(resnet.ResNet(block, BLOCKS[depth]))).eval()


@cache
def images() -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@cache
def logits(depth: int) -> Tensor:
    with torch.no_grad():
        out: Tensor = reference(depth)(images())
    return out


def near(value: Tensor, expected: Tensor, tolerance: float) -> bool:
    return float((value - expected).abs().max()) <= tolerance * float(expected.abs().max())


@pytest.mark.parametrize(("name", "depth"), CASES)
def test_logits_are_torchvisions(name: str, depth: int) -> None:
    pairs = truth(name, depth)
    network = load(narrow(HARMLESS[name](depth)).eval(), pairs, reference(depth))
    with torch.no_grad():
        assert near(network(images()), logits(depth), 1e-5)
    names = set(reference(depth).state_dict())
    assert names >= set(pairs.values()) >= {key for key in names if not key.endswith("num_batches_tracked")}
    assert len(set(pairs.values())) == len(pairs)


@pytest.mark.parametrize("name", ["functional", "own-norm", "everything"])
def test_own_batch_norms_learn_the_same_statistics(name: str) -> None:
    expected = copy.deepcopy(reference(12)).double().train()
    pairs = truth(name, 12)
    network = load(narrow(HARMLESS[name](12)).double().train(), pairs, expected)
    network(images().double())
    expected(images().double())
    state = expected.state_dict()
    for key, tensor in network.state_dict().items():
        if key in pairs and "running" in pairs[key]:
            assert near(tensor, state[pairs[key]], 1e-10), key
