"""The role of a layer in a chart (its colour), its settings as a short text, and the stages and blocks of a network."""

from __future__ import annotations

import re

from resnet_cli import formatting
from resnet_cli.render.pages.layer_tree import PLAIN_CONTAINERS
from resnet_cli.results.summary import Layer

# Substrings of class and operator names, lower case without separators; the first match decides.
_ROLES = (
    ("norm", ("norm",)),
    ("pool", ("pool",)),
    ("conv", ("conv",)),
    ("linear", ("linear", "addmm", "matmul", "bmm", "attention")),
    (
        "activation",
        ("relu", "gelu", "silu", "sigmoid", "tanh", "softmax", "swish", "mish", "elu", "hardtanh", "dropout"),
    ),
    ("merge", ("add", "cat", "mul", "sub")),
)
LEGEND = {
    "conv": "convolution",
    "norm": "normalization",
    "activation": "activation",
    "pool": "pooling",
    "linear": "linear",
    "merge": "addition, concatenation",
    "other": "other",
    "container": "module",
}


def role_of(layer_type: str) -> str:
    """The role of a class ("Conv2d") or an operator ("add"): a key of `LEGEND`."""
    name = re.sub("[^a-z0-9]", "", layer_type.lower())
    return next((role for role, substrings in _ROLES if any(part in name for part in substrings)), "other")


def settings(layer: Layer) -> str:
    """Channels, kernel and stride: "64→128 3×3 /2"; "" for a layer without them."""
    parts = []
    role = role_of(layer.layer_type)
    if role in ("conv", "linear") and layer.input_shape and layer.output_shape and not layer.children:
        axis = 1 if role == "conv" and len(layer.output_shape) > 1 else -1
        parts.append(f"{layer.input_shape[axis]}→{layer.output_shape[axis]}")
    if layer.kernel_size:
        parts.append(formatting.dimensions(layer.kernel_size))
    if layer.stride and set(layer.stride) != {1}:
        parts.append(f"/{formatting.size(layer.stride)}")
    if layer.groups not in (None, 1):
        parts.append(f"g{layer.groups}")
    return " ".join(parts)


def shape_text(shape: tuple[int, ...] | None) -> str:
    """A shape without the batch: (1, 64, 56, 56) -> "64×56×56"."""
    return "" if not shape or len(shape) < 2 else formatting.dimensions(shape[1:])


def unwrap(layer: Layer) -> Layer:
    """The innermost module of a chain of wrappers, each of which has one child."""
    while len(layer.children) == 1 and layer.children[0].children:
        layer = layer.children[0]
    return layer


def stages(root: Layer) -> tuple[Layer, ...]:
    """The top-level modules and operators of a network in the order in which they run."""
    return tuple(layer for layer in unwrap(root).children if _runs(layer))


def blocks_of(stage: Layer) -> tuple[Layer, ...]:
    """The blocks of a stage if they run one after the other; else the stage itself."""
    inner = tuple(layer for layer in unwrap(stage).children if _runs(layer))
    if not (any(layer.children for layer in inner) and _is_chain(unwrap(stage))):
        return (stage,)
    blocks: list[Layer] = []
    for layer in inner:
        blocks += blocks_of(layer) if layer.layer_type in PLAIN_CONTAINERS else (layer,)
    return tuple(blocks)


def _is_chain(module: Layer) -> bool:
    """Whether each call reads only the output of the one before it, as far as that is known."""
    calls = [(index, layer.sources) for index, layer in enumerate(module.children) if _runs(layer)]
    return all(sources is None or sources == (index - 1,) for index, sources in calls)


def _runs(layer: Layer) -> bool:
    """Whether a forward in eval mode calls it; a module that only holds parameters has no output."""
    return layer.output_shape is not None and layer.call > 0
