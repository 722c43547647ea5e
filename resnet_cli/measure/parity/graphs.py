"""The operator graphs of the networks of a comparison, in train mode and in eval mode."""

from __future__ import annotations

import torch
from torch import nn

from resnet_cli.errors import ResnetCliError, attempt
from resnet_cli.measure.graph.nodes import Graph
from resnet_cli.measure.graph.operator_graph import record
from resnet_cli.measure.models import random_init
from resnet_cli.measure.models.inputs.errors import USUAL_SIZES, image_channels
from resnet_cli.measure.models.substitutes import on_device, on_meta
from resnet_cli.measure.models.user_errors import user_error
from resnet_cli.results.common import Shape

_OTHER_SEEDS = range(1, 9)  # of two equally likely paths, all eight take the first one in one case of 256


def graph_of(model: nn.Module, shape: Shape, *, training: bool, name: str, real: bool = False) -> Graph:
    """The graph of a network, recorded without arithmetic where that is possible.

    Raises:
        ResnetCliError: its forward fails.
    """
    return _record(model, shape, training=training, name=name, real=real)[0]


def _record(
    model: nn.Module, shape: Shape, *, training: bool, name: str, real: bool = False, seed: int = 0
) -> tuple[Graph, bool]:
    """The graph of a network, and whether its forward drew random numbers."""
    if not real:
        with attempt("a forward on meta"), random_init.seeded(seed) as has_drawn, on_meta(model):
            return record(model, (torch.empty(shape, device="meta"),), training=training), has_drawn()
    try:
        with random_init.seeded(seed) as has_drawn, on_device(model):
            return record(model, (random_init.image(shape, 0),), training=training), has_drawn()
    except ResnetCliError:
        raise
    except Exception as error:
        failure = user_error(error, f"the forward of {name}")
        hint = failure.hint or _working_image(model, shape, training)
        raise ResnetCliError(failure.message, hint, detail=failure.detail) from error


def _working_image(model: nn.Module, shape: Shape, training: bool) -> str | None:
    """The arguments of an image that a network takes, as a hint; None where none is known."""
    channels = image_channels(model) or shape[1]
    sizes = dict.fromkeys([shape[2:], *((size, size) for size in USUAL_SIZES)])
    for size in sizes:
        with attempt(f"a forward of {size}"), random_init.seeded(0), on_meta(model):
            record(model, (torch.empty((shape[0], channels, *size), device="meta"),), training=training)
            arguments = [f"`in_channels={channels}`"] if channels != shape[1] else []
            arguments += [f"`image_size={size[0]}`"] if size != shape[2:] else []
            return f"{' with '.join(arguments)} works" if arguments else None
    return None


def training_graph(model: nn.Module, shape: Shape, name: str) -> Graph | None:
    """The graph in train mode; None where other random numbers lead to other operators, as in stochastic depth."""
    graph, has_drawn = _record(model, shape, training=True, name=name)
    if not has_drawn:
        return graph
    others = (_record(model, shape, training=True, name=name, seed=seed)[0] for seed in _OTHER_SEEDS)
    return graph if all(other.calls == graph.calls for other in others) else None
