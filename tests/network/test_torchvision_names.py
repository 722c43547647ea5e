"""Parameter names against both networks' own, and back again."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from resnet_cli.errors import ResnetCliError
from resnet_cli.network.architectures import ARCHITECTURES, Block, ModelSpec
from resnet_cli.network.resnet import build
from resnet_cli.network.torchvision_names import to_torchvision, torchvision_names

stages = st.tuples(*[st.integers(1, 20)] * 4)


@pytest.mark.parametrize("name", ["resnet34", "resnext50_32x4d", "resnet101"])
def test_names_and_shapes_of_both_networks(name: str) -> None:
    import torchvision

    models: Any = torchvision.models
    with torch.device("meta"):
        state = build(name).state_dict()
        expected = models.get_model(name).state_dict()
    names = torchvision_names(ARCHITECTURES[name])

    assert list(names) == list(state)
    assert list(names.values()) == list(expected)
    assert {names[key]: value.shape for key, value in state.items()} == {
        key: value.shape for key, value in expected.items()
    }


@settings(max_examples=10)
@given(st.sampled_from(["basic", "bottleneck"]), stages)
def test_every_name_goes_there_and_back(block: Block, repeat: tuple[int, int, int, int]) -> None:
    names = torchvision_names(ModelSpec("any", block, repeat))

    assert len(set(names.values())) == len(names)
    for ours, theirs in names.items():
        assert to_torchvision(ours, block) == theirs


@pytest.mark.parametrize(
    ("ours", "theirs", "block"),
    [
        ("head.conv.weight", "conv1.weight", "basic"),
        ("tail.lin.bias", "fc.bias", "bottleneck"),
        ("l0.block.ResIdentity0.conv1.weight", "layer1.0.conv1.weight", "basic"),
        ("l1.block.ResSkip.skip_conv1.weight", "layer2.0.downsample.0.weight", "basic"),
        ("l1.block.ResIdentity0.bn2.running_var", "layer2.1.bn2.running_var", "basic"),
        ("l0.block.BottleneckSkip.skip_bn1.bias", "layer1.0.downsample.1.bias", "bottleneck"),
        ("l2.block.BottleneckIdentity21.conv3.weight", "layer3.22.conv3.weight", "bottleneck"),
    ],
)
def test_names_written_out(ours: str, theirs: str, block: Block) -> None:
    assert to_torchvision(ours, block) == theirs


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("", "basic"),
        ("head.conv.bias", "basic"),
        ("conv1.weight", "basic"),
        ("l4.block.ResSkip.conv1.weight", "basic"),
        ("l0.block.ResSkip.conv1.weight", "basic"),
        ("l1.block.ResIdentity00.conv1.weight", "basic"),
        ("l1.block.ResIdentity0.conv3.weight", "basic"),
        ("l1.block.ResSkip.conv1.weight", "bottleneck"),
        ("l1.block.BottleneckSkip.conv1.weight", "basic"),
    ],
)
def test_names_that_are_not_of_the_built_in_network(name: str, block: Block) -> None:
    with pytest.raises(ResnetCliError, match="is not a parameter of a ResNet"):
        to_torchvision(name, block)
