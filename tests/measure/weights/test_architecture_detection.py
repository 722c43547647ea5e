"""The network of a state dict, by its names and shapes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.models.copies import build_on_meta
from resnet_cli.measure.weights.architecture_detection import detect_architecture
from resnet_cli.network.architectures import ARCHITECTURES, MOST_BLOCKS, ModelSpec
from resnet_cli.network.resnet import build
from resnet_cli.network.torchvision_names import torchvision_names


def built_in_state(spec: ModelSpec) -> dict[str, Tensor]:
    return build_on_meta(lambda: build(spec)).state_dict()


def torchvision_state(spec: ModelSpec) -> dict[str, Tensor]:
    names = torchvision_names(spec)
    return {names[name]: tensor for name, tensor in built_in_state(spec).items()}


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnext50_32x4d", "resnext101_64x4d", "wide_resnet50_2"])
def test_architectures_under_either_naming(name: str) -> None:
    import torchvision

    models: Any = torchvision.models
    with torch.device("meta"):
        real: dict[str, Tensor] = models.get_model(name).state_dict()
    state = built_in_state(ARCHITECTURES[name])
    for naming, tensors in (("torchvision", real), ("resnet-cli", state)):
        detected = detect_architecture(tensors)
        assert detected.spec == ARCHITECTURES[name]
        assert detected.naming == naming
        assert detected.shapes() == {key: tuple(tensor.shape) for key, tensor in tensors.items()}
        assert list(detected.names("resnet-cli").values()) == list(state)
        assert list(detected.names("torchvision").values()) == list(real)
        assert list(detected.names("resnet-cli")) == list(tensors)


specs = st.builds(
    ModelSpec,
    st.just(""),
    st.sampled_from(["basic", "bottleneck"]),
    st.tuples(*[st.integers(1, 2)] * 4),
    stem=st.sampled_from(["imagenet", "cifar"]),
    in_channels=st.sampled_from([1, 3, 4]),
    num_classes=st.sampled_from([1, 2, 10, 1000]),
)
cardinalities = st.sampled_from([(1, 64), (32, 4), (2, 16), (1, 128), (64, 1)])


@settings(max_examples=12)
@given(specs, cardinalities)
def test_networks_of_other_depths_and_widths(spec: ModelSpec, cardinality: tuple[int, int]) -> None:
    if spec.block == "bottleneck":
        spec = replace(spec, groups=cardinality[0], width_per_group=cardinality[1])
    for tensors in (built_in_state(spec), torchvision_state(spec)):
        detected = detect_architecture(tensors)
        assert replace(detected.spec, name="") == spec
        assert detected.shapes() == {key: tuple(tensor.shape) for key, tensor in tensors.items()}


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        (replace(ARCHITECTURES["resnet18"], num_classes=7, stem="cifar", in_channels=1), "resnet18"),
        (replace(ARCHITECTURES["resnet18"], repeat=(2, 2, 2, 3)), "resnet18 with repeat 2,2,2,3"),
        (replace(ARCHITECTURES["resnext50_32x4d"], repeat=(1, 1, 1, 1)), "resnext50_32x4d with repeat 1,1,1,1"),
        (
            replace(ARCHITECTURES["resnet50"], groups=2, width_per_group=16),
            "bottleneck 3,4,6,3, groups=2, width_per_group=16",
        ),
        (replace(ARCHITECTURES["resnet50"], width_per_group=1), "bottleneck 3,4,6,3, groups=1, width_per_group=1"),
    ],
)
def test_the_name(spec: ModelSpec, name: str) -> None:
    assert detect_architecture(torchvision_state(spec)).spec.name == name


def test_other_tensors_are_ignored() -> None:
    spec = replace(ARCHITECTURES["resnet18"], stem="cifar")
    for state in (built_in_state(spec), torchvision_state(spec)):
        assert detect_architecture({"teacher.weight": torch.empty(1, device="meta"), **state}).spec == spec


@pytest.mark.parametrize("shape", [(64,), (64, 64), (100, 48, 3, 3), (64, 0, 3, 3), (10**9, 64, 3, 3), (0, 64, 3, 3)])
def test_a_convolution_that_none_of_the_kind_has_says_nothing_about_groups(shape: tuple[int, ...]) -> None:
    state = {**torchvision_state(ARCHITECTURES["resnet50"]), "layer1.0.conv2.weight": torch.empty(shape, device="meta")}
    assert detect_architecture(state).spec == ARCHITECTURES["resnet50"]


def test_a_missing_block_is_no_shorter_stage() -> None:
    state = {
        key: value
        for key, value in torchvision_state(ARCHITECTURES["resnet34"]).items()
        if not key.startswith("layer3.4.")
    }
    assert detect_architecture(state).spec.repeat == (3, 4, 6, 3)


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["features.0.weight", "classifier.bias"],
        ["conv1.weight"],
        ["conv1.weight", *(f"layer{stage}.0.conv1.weight" for stage in (1, 3, 4))],
        ["head.conv.weight", "tail.lin.weight"],
        ["conv1.weight", *(f"layer{stage}.{MOST_BLOCKS}.conv1.weight" for stage in range(1, 5))],
        ["conv1.weight", *(f"layer{stage}.99999999999999999999.conv1.weight" for stage in range(1, 5))],
        ["\x1b[2J"],
    ],
)
def test_weights_of_other_networks(names: list[str]) -> None:
    with pytest.raises(ResnetCliError, match="not the weights of a ResNet"):
        detect_architecture({name: torch.empty(1, device="meta") for name in names})


GROUPED = replace(ARCHITECTURES["resnext50_32x4d"], repeat=(1, 1, 1, 1))
sizes = st.lists(st.sampled_from([0, 1, 2, 3, 7, 64, 1000, 10**8]), max_size=5)


@settings(max_examples=15)
@given(st.dictionaries(st.sampled_from(list(torchvision_state(GROUPED))), sizes, max_size=5))
def test_any_shapes_give_a_network_that_can_be_built(shapes: dict[str, list[int]]) -> None:
    assume(all(math.prod(shape) < 2**62 for shape in shapes.values()))  # torch itself has none with more elements
    tensors = torchvision_state(GROUPED)
    tensors |= {name: torch.empty((), device="meta").expand(shape) for name, shape in shapes.items()}
    detected = detect_architecture(tensors)
    assert detected.naming == "torchvision"
    assert set(detected.shapes()) == set(torchvision_names(detected.spec).values())
