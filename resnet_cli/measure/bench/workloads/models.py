"""The networks of a benchmark, built with weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.models import random_init, torchvision_models
from resnet_cli.measure.models.inputs.model_inputs import ModelInputs
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.models.user_model import load_model, load_with_examples
from resnet_cli.measure.weights.key_matching import describe_mismatch, load_weights, match_keys
from resnet_cli.network import resnet
from resnet_cli.network.architectures import ModelSpec
from resnet_cli.network.torchvision_names import torchvision_names


@dataclass(frozen=True, slots=True)
class OtherModel:
    """The reference of an interleaved comparison.

    Args:
        model: with weights.
        name: shown in results.
        takes_image: it takes one image and nothing else; False: what the model takes.
    """

    model: nn.Module
    name: str
    takes_image: bool = True

    def inputs_of(self, inputs: ModelInputs) -> ModelInputs:
        """Its own inputs, from those of the model.

        Raises:
            ResnetCliError: it takes one image, and the inputs have none.
        """
        return inputs.image_only() if self.takes_image else inputs


def build(spec: ModelSpec, seed: int) -> ModelUnderTest:
    """A built-in network with random weights."""
    with random_init.seeded(seed):
        return ModelUnderTest(resnet.build(spec), spec.name, spec)


def users_own(model: str, arguments: Mapping[str, Any], seed: int) -> ModelUnderTest:
    """The user's network with random weights, on the CPU.

    Args:
        model: FILE.py:NAME or package.module:NAME; this runs the user's code.
        arguments: keyword arguments of the class or function.
        seed: of the random weights.

    Raises:
        ResnetCliError: the name does not lead to a network, or the user's code fails.
    """
    with random_init.seeded(seed):
        network, name, examples, _ = load_with_examples(model, given=arguments)
    if any(tensor.is_meta for tensor in (*network.parameters(), *network.buffers())):
        raise ResnetCliError(f"{name} is on the meta device and has no weights", "build it on the CPU")
    network.to("cpu")  # a network's own may return anything
    return ModelUnderTest(network, name, rebuilt=lambda: load_model(model, given=arguments)[0], example_inputs=examples)


def give_weights(subject: ModelUnderTest, path: str) -> None:
    """Load a weight file into a network, under its own names or, for a built-in network, torchvision's.

    Raises:
        ResnetCliError: the file cannot be read, or does not fit.
    """
    state = load_weights(path)
    names = {name: name for name in subject.model.state_dict()}
    torchvision_keys = {} if subject.spec is None else torchvision_names(subject.spec)
    candidates = {subject.name: names, **({"torchvision": torchvision_keys} if torchvision_keys else {})}
    shapes = {name: tuple(tensor.shape) for name, tensor in subject.model.state_dict().items()}
    fits = {
        naming: match_keys(state, {key: shapes[name] for name, key in keys.items()})
        for naming, keys in candidates.items()
    }
    for naming, keys in candidates.items():
        if fits[naming].exact:
            tensors = {name: state[key] for name, key in keys.items() if key in state}
            subject.model.load_state_dict(tensors, strict=False)  # files of old versions lack num_batches_tracked
            return
    raise describe_mismatch(path, state, fits)


def torchvision(name: str, spec: ModelSpec, seed: int) -> OtherModel:
    """A torchvision model: "torchvision" is the one that equals the spec, with the same weights; else it is a name.

    Raises:
        ResnetCliError: torchvision does not work, or has no such model.
    """
    if name.strip().lower() == "torchvision":
        model = torchvision_models.build_member(spec)
        weights = build(spec, seed).model.state_dict()
        model.load_state_dict({key: weights[name] for name, key in torchvision_names(spec).items()})
        return OtherModel(model, f"torchvision {spec.name}")
    if (spec.stem, spec.in_channels) != ("imagenet", 3):
        raise ResnetCliError("torchvision's networks have the imagenet stem and 3 channels", "leave `stem` out")
    model = torchvision_models.build_named(name, spec.num_classes)
    random_init.randomize_parameters(model, seed)
    return OtherModel(model, f"torchvision {name.strip().lower()}")
