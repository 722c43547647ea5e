"""The two networks of a comparison: the built-in or the user's, and torchvision's, with weights from a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.graph.source_lines import with_constructors
from resnet_cli.measure.models import random_init, torchvision_models
from resnet_cli.measure.models.copies import build_on_meta, materialize_with
from resnet_cli.measure.models.inputs.fitting import called_with_image
from resnet_cli.measure.models.inputs.model_inputs import ModelInputs, images
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.models.naming.grammar import parse
from resnet_cli.measure.models.user_errors import prints_to_stderr
from resnet_cli.measure.models.user_model import load_model, load_with_examples
from resnet_cli.measure.parity import map_files
from resnet_cli.measure.parity.config import ParityConfig
from resnet_cli.measure.parity.graphs import graph_of
from resnet_cli.measure.parity.nearest import common_layers
from resnet_cli.measure.parity.setup import shapes
from resnet_cli.measure.system.silence import silenced
from resnet_cli.measure.weights.checkpoint import strip_wrapper_field
from resnet_cli.measure.weights.key_matching import KeyMatch, describe_mismatch, load_weights, match_keys
from resnet_cli.network.architectures import ARCHITECTURES, ModelSpec
from resnet_cli.network.resnet import build
from resnet_cli.results.common import Note


@dataclass(frozen=True, slots=True)
class ModelPair:
    """Both networks, with real tensors."""

    model: ModelUnderTest
    reference: ModelUnderTest
    architecture: str  # torchvision's name of the reference
    notes: tuple[Note, ...] = ()
    spec: ModelSpec | None = None  # of the reference; None where it was named


def model_pair(
    spec: ModelSpec,
    model: str | None = None,
    against: str | None = None,
    *,
    is_default: bool = False,
    arguments: Mapping[str, Any] = {},
    seed: int = 0,
    as_many_classes: bool = False,
    inputs_of: Callable[[ModelUnderTest], ModelInputs] = lambda _: images((1, 3, 224, 224)),
) -> ModelPair:
    """Build both networks.

    Args:
        spec: of the built-in network, and of the reference where `against` names no other.
        model: the user's network in place of the built-in one: FILE.py:NAME or package.module:NAME.
        against: any classification network of torchvision in place of the spec's.
        is_default: no architecture was named: the reference is then the one closest to the user's network.
        arguments: keyword arguments of the user's class or function.
        seed: of the initial weights.
        as_many_classes: the reference gets as many classes as the user's network has; False: as the spec says.
        inputs_of: the inputs of the user's network, which give its lazy modules their weights.

    Raises:
        ResnetCliError: no working torchvision, no such network, or the user's code fails.
    """
    with random_init.seeded(seed):
        if model is None:
            return _with_reference(ModelUnderTest(build(spec), spec.name, spec), spec, against, [])
        return _users_pair(spec, model, against, is_default, arguments, as_many_classes, inputs_of)


@prints_to_stderr()
def named_pair(
    reference: str, model: str, inputs_of: Callable[[ModelUnderTest], ModelInputs], seed: int = 0
) -> ModelPair:
    """Build any two networks.

    Args:
        reference: name of the network that the other one is compared with.
        model: name of the network under test.
        inputs_of: the inputs of a network, which give its lazy modules their weights.
        seed: of the initial weights.

    Raises:
        ResnetCliError: a name leads to no network, or the user's code fails.
    """
    built = []
    for text in (model, reference):
        with random_init.seeded(seed):
            built.append(_on_cpu(text, {}, {}, inputs_of))
    if built[0].name == built[1].name:
        built[1] = replace(built[1], name=f"{built[1].name} (reference)")
    return ModelPair(built[0], built[1], parse(reference).name)


def _on_cpu(
    name: str,
    offered: Mapping[str, Any],
    arguments: Mapping[str, Any],
    inputs_of: Callable[[ModelUnderTest], ModelInputs],
) -> ModelUnderTest:
    """A network by name, with real tensors on the CPU."""
    network, title, examples, _ = with_constructors(lambda: load_with_examples(name, offered, arguments))
    _put_on_cpu(network)
    subject = ModelUnderTest(
        network, title, rebuilt=lambda: load_model(name, offered, arguments)[0], example_inputs=examples
    )
    materialize_with(network, title, lambda: inputs_of(subject).random(0, torch.float32))
    return subject


@prints_to_stderr()
def _users_pair(
    spec: ModelSpec,
    path: str,
    against: str | None,
    is_default: bool,
    arguments: Mapping[str, Any],
    as_many_classes: bool,
    inputs_of: Callable[[ModelUnderTest], ModelInputs],
) -> ModelPair:
    notes: list[Note] = []
    model = _on_cpu(path, {"num_classes": spec.num_classes}, arguments, inputs_of)
    if as_many_classes and (classes := _classes(model, inputs_of)) not in (None, spec.num_classes):
        spec = replace(spec, num_classes=classes)
        text = f"compared with a network of {classes} classes, as the model has; choose with `num_classes`"
        notes.append(Note("note", text, "classes-of-model"))
    if is_default and against is None:
        closest, share = _closest(model.model, spec)
        spec = replace(
            closest,
            num_classes=spec.num_classes,
            in_channels=spec.in_channels,
            stem=spec.stem,
        )
        measure = "sizes of layers" if share else "parameter count"
        text = f"compared with {spec.name}, the closest by {measure}; choose another by depth or name"
        notes.append(Note("note", text, "closest-reference"))
    return _with_reference(model, spec, against, notes)


def _with_reference(model: ModelUnderTest, spec: ModelSpec, against: str | None, notes: Sequence[Note]) -> ModelPair:
    """The pair of a network and torchvision's."""
    if against is not None:
        name = against.strip().lower()
        network = torchvision_models.build_named(against, spec.num_classes, spec.in_channels)
        return ModelPair(model, ModelUnderTest(network, f"torchvision {name}"), name, tuple(notes))
    stem = "" if spec.stem == "imagenet" else f" with the {spec.stem} stem"
    reference = ModelUnderTest(torchvision_models.build_member(spec), f"torchvision {spec.name}{stem}")
    return ModelPair(model, reference, spec.name, tuple(notes), spec)


def _classes(model: ModelUnderTest, inputs_of: Callable[[ModelUnderTest], ModelInputs]) -> int | None:
    """Values per image of a network's only output; None where it has none, or fails."""
    try:
        inputs = inputs_of(model)
        image = inputs.image_only().args[0]
        with nullcontext() if inputs.is_image else called_with_image(model.model, inputs, 0):
            outputs = graph_of(model.model, tuple(image.shape), training=False, name=model.name).outputs
    except ResnetCliError:  # which the comparison reports
        return None
    return outputs[0][1] if len(outputs) == 1 and len(outputs[0]) == 2 else None


def _put_on_cpu(network: nn.Module) -> None:
    """Where both sides are given their weights; a network on `meta` gets real ones, which the probe fills."""
    if any(tensor.is_meta for tensor in network.parameters()):
        network.to_empty(device="cpu")
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.reset_running_stats()
    if any(tensor.device.type != "cpu" for tensor in (*network.parameters(), *network.buffers())):
        network.to("cpu")


def _closest(network: nn.Module, default: ModelSpec) -> tuple[ModelSpec, float]:
    """The member of the family with the most layers in common, and their share; of equal ones, the nearest in size."""
    count = sum(parameter.numel() for parameter in network.parameters())
    if not count:
        return default, 0.0

    def distance(spec: ModelSpec) -> tuple[float, float]:
        member = build_on_meta(lambda: build(replace(spec, num_classes=default.num_classes)))
        size = sum(parameter.numel() for parameter in member.parameters())
        return -common_layers(network, member), max(size / count, count / size)

    distances = {name: distance(spec) for name, spec in ARCHITECTURES.items()}
    name = min(distances, key=lambda name: distances[name])
    return ARCHITECTURES[name], -distances[name][0]


def with_weights(pair: ModelPair, path: str, config: ParityConfig) -> ParityConfig:
    """Load a file of weights into the network whose names it has; the key map copies them to the other one.

    Raises:
        ResnetCliError: the file cannot be read, or fits neither.
    """
    state = load_weights(path)
    fits = _fits(pair, state)
    if not any(fit.exact for fit in fits.values()):
        inside = strip_wrapper_field(state)
        if any(fit.exact for fit in _fits(pair, inside).values()):
            state, fits = inside, _fits(pair, inside)
    if fits["reference"].exact:
        _load(pair.reference.model, state)
    if fits["model"].exact:
        _load(pair.model.model, state)
    if not any(fit.exact for fit in fits.values()):
        raise describe_mismatch(path, state, {_naming(pair): fits["model"], "torchvision's names": fits["reference"]})
    transfer = "to model" if fits["reference"].exact else "to reference"
    if all(fit.exact for fit in fits.values()):
        transfer = "none"
    return replace(config, weights=path, transfer=transfer)


def load_into(subject: ModelUnderTest, path: str) -> None:
    """Load a file of weights into one network.

    Raises:
        ResnetCliError: the file cannot be read, or does not fit.
    """
    state = load_weights(path)
    for candidate in (state, strip_wrapper_field(state)):
        fit = match_keys(candidate, _state_shapes(subject.model))
        if fit.exact:
            _load(subject.model, candidate)
            return
    raise describe_mismatch(path, state, {f"{subject.name}'s names": match_keys(state, _state_shapes(subject.model))})


def _fits(pair: ModelPair, state: Mapping[str, Tensor]) -> dict[str, KeyMatch]:
    return {
        "model": match_keys(state, _state_shapes(pair.model.model)),
        "reference": match_keys(state, _state_shapes(pair.reference.model)),
    }


def _naming(pair: ModelPair) -> str:
    return f"{pair.model.name}'s names" if pair.model.spec is None else "resnet-cli's names"


def _state_shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def _load(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    with silenced(), torch.no_grad():
        model.load_state_dict(dict(state), strict=False)  # what is missing may only be counters: `fit` has looked


def with_map(pair: ModelPair, path: str, config: ParityConfig) -> ParityConfig:
    """The configuration with the key map of a file in place of the alignment's.

    Raises:
        ResnetCliError: the file is not a map, or names tensors that do not exist.
    """
    key_map = map_files.read_map(path)
    map_files.check_map(key_map, shapes(pair.model.model), shapes(pair.reference.model))
    return replace(config, key_map=key_map, map_source=path)
