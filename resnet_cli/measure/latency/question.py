"""What is asked of a benchmark, and the networks for it."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn

from resnet_cli import resnet
from resnet_cli.architectures import ModelSpec
from resnet_cli.errors import ResnetCliError
from resnet_cli.measure import probe, reference
from resnet_cli.measure.latency.sampling import Limits
from resnet_cli.measure.latency.workload import INFERENCE
from resnet_cli.measure.networks import Subject
from resnet_cli.parameter_names import torchvision_names
from resnet_cli.results import Shape


@dataclass(frozen=True, slots=True)
class Question:
    """What to measure, and how.

    Args:
        image: (C, H, W).
        batch_sizes: a row each.
        device: where.
        dtype: of weights and input.
        mode: "inference" or "train".
        limits: when sampling ends; the time is for each batch size, and again for the ladder and the layers.
        threads: of the processor; None: as many as torch takes.
        seed: of weights and inputs.
        levers: rungs of the ladder; None: no ladder.
        layers: where the time goes, too.
        ceiling: hold it against what the machine can do.
    """

    image: Shape
    batch_sizes: tuple[int, ...]
    device: torch.device
    dtype: torch.dtype = torch.float32
    mode: str = INFERENCE
    limits: Limits = field(default_factory=Limits)
    threads: int | None = None
    seed: int = 0
    levers: tuple[str, ...] | None = None
    layers: bool = False
    ceiling: bool = True


@dataclass(frozen=True, slots=True)
class Opponent:
    """What it is held against, call by call."""

    model: nn.Module
    name: str


def build(spec: ModelSpec, seed: int) -> Subject:
    """A network of ours with real weights."""
    with probe.seeded(seed):
        return Subject(resnet.build(spec), spec.name, spec)


def torchvision(name: str, spec: ModelSpec, seed: int) -> Opponent:
    """Torchvision's network: "torchvision" is the one of the spec, with the weights of ours; else one by its name.

    Raises:
        ResnetCliError: no working torchvision, or none of that name.
    """
    if name.strip().lower() == "torchvision":
        model = reference.build_member(spec)
        weights = build(spec, seed).model.state_dict()
        model.load_state_dict({theirs: weights[ours] for ours, theirs in torchvision_names(spec).items()})
        return Opponent(model, f"torchvision {spec.name}")
    if (spec.stem, spec.in_channels) != ("imagenet", 3):
        raise ResnetCliError("torchvision's networks have the imagenet stem and 3 channels", "leave --stem out")
    model = reference.build_named(name, spec.num_classes)
    probe.randomise(model, seed)
    return Opponent(model, f"torchvision {name.strip().lower()}")
