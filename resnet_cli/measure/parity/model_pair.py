"""The two networks of a comparison: ours or the user's, and torchvision's, with the weights of a file if need be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from resnet_cli.measure.models import random_init, torchvision_models
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.models.user_model import load_model
from resnet_cli.measure.ops.fast_meta import build_on_meta
from resnet_cli.measure.parity import map_files
from resnet_cli.measure.parity.config import ParityConfig
from resnet_cli.measure.system.silence import silenced
from resnet_cli.measure.weights.checkpoint import strip_wrapper_field
from resnet_cli.measure.weights.key_matching import KeyMatch, describe_mismatch, load_weights, match_keys
from resnet_cli.network.architectures import FAMILY, ModelSpec
from resnet_cli.network.resnet import build
from resnet_cli.results.common import Note


@dataclass(frozen=True, slots=True)
class ModelPair:
    """Both networks, with real tensors."""

    ours: ModelUnderTest
    theirs: ModelUnderTest
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
) -> ModelPair:
    """Build both.

    Args:
        spec: of our network, and of the reference where `against` names no other.
        model: the user's network in place of ours: FILE.py:NAME or package.module:NAME.
        against: any classification network of torchvision in place of the spec's.
        is_default: the user named no architecture: a network of theirs is held against the nearest of the family.
        arguments: that the user's class or function has to take.
        seed: of the weights that they begin with, whose spread is looked at.

    Raises:
        ResnetCliError: no working torchvision, no such network, or the user's code fails.
    """
    with random_init.seeded(seed):
        return _model_pair(spec, model, against, is_default, arguments)


def _model_pair(
    spec: ModelSpec, model: str | None, against: str | None, is_default: bool, arguments: Mapping[str, Any]
) -> ModelPair:
    notes: list[Note] = []
    if model is None:
        ours = ModelUnderTest(build(spec), spec.name, spec)
    else:
        network, name = load_model(model, {"num_classes": spec.num_classes}, arguments)
        ours = ModelUnderTest(_on_cpu(network), name)
        if is_default and against is None:
            spec = replace(_closest(ours.model, spec), num_classes=spec.num_classes)
            notes.append(
                Note(
                    "note",
                    f"held against {spec.name}, the nearest by its parameters; --depth or --against choose another",
                )
            )
    if against is not None:
        name = against.strip().lower()
        theirs = ModelUnderTest(torchvision_models.build_named(against, spec.num_classes), f"torchvision {name}")
        return ModelPair(ours, theirs, name, tuple(notes))
    theirs = ModelUnderTest(torchvision_models.build_member(spec), f"torchvision {spec.name}")
    return ModelPair(ours, theirs, spec.name, tuple(notes), spec)


def _on_cpu(network: nn.Module) -> nn.Module:
    """Where both sides are given their weights; a network on `meta` gets real ones, which the probe fills."""
    if any(tensor.is_meta for tensor in network.parameters()):
        network = network.to_empty(device="cpu")
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.reset_running_stats()
    if any(tensor.device.type != "cpu" for tensor in (*network.parameters(), *network.buffers())):
        network = network.to("cpu")
    return network


def _closest(network: nn.Module, default: ModelSpec) -> ModelSpec:
    """The member of the family with the number of parameters that is nearest in proportion."""
    count = sum(parameter.numel() for parameter in network.parameters())
    if not count:
        return default

    def distance(spec: ModelSpec) -> float:
        member = build_on_meta(lambda: build(replace(spec, num_classes=default.num_classes)))
        size = sum(parameter.numel() for parameter in member.parameters())
        return max(size / count, count / size)

    return min(FAMILY.values(), key=distance)


def loaded(pair: ModelPair, path: str, question: ParityConfig) -> ParityConfig:
    """Load a file of weights into the side whose names it has; the key map carries them to the other one.

    Raises:
        ResnetCliError: the file cannot be read, or fits neither.
    """
    state = load_weights(path)
    fits = _fits(pair, state)
    if not any(one.exact for one in fits.values()):
        inside = strip_wrapper_field(state)
        if any(one.exact for one in _fits(pair, inside).values()):
            state, fits = inside, _fits(pair, inside)
    if fits["torchvision"].exact:
        _load(pair.theirs.model, state)
    if fits["ours"].exact:
        _load(pair.ours.model, state)
    if not any(one.exact for one in fits.values()):
        raise describe_mismatch(path, state, {_naming(pair): fits["ours"], "torchvision's names": fits["torchvision"]})
    transfer = "to ours" if fits["torchvision"].exact else "to theirs"
    if all(one.exact for one in fits.values()):
        transfer = "none"
    return replace(question, weights=path, transfer=transfer)


def _fits(pair: ModelPair, state: Mapping[str, Tensor]) -> dict[str, KeyMatch]:
    return {
        "ours": match_keys(state, _shapes(pair.ours.model)),
        "torchvision": match_keys(state, _shapes(pair.theirs.model)),
    }


def _naming(pair: ModelPair) -> str:
    return f"{pair.ours.name}'s names" if pair.ours.spec is None else "resnet-cli's names"


def _shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def _load(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    with silenced(), torch.no_grad():
        model.load_state_dict(dict(state), strict=False)  # what is missing may only be counters: `fit` has looked


def overruled(pair: ModelPair, path: str, question: ParityConfig) -> ParityConfig:
    """The map of a file in place of the alignment's.

    Raises:
        ResnetCliError: the file is none, or names tensors that there are none of.
    """
    mapping = map_files.read_map(path)
    ours, theirs = (
        {name: tuple(tensor.shape) for name, tensor in random_init.tensors(model).items()}
        for model in (pair.ours.model, pair.theirs.model)
    )
    map_files.check_map(mapping, ours, theirs)
    return replace(question, key_map=mapping, map_source=path)
