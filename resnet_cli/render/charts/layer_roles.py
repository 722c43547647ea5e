"""What a layer is to the eye: its role in a drawing, and its settings in a few words."""

from __future__ import annotations

import re

from resnet_cli import formatting
from resnet_cli.render.pages.layer_tree import PLAIN_CONTAINERS
from resnet_cli.results.summary import Layer

# Parts of the names of classes and operators, lower case without separators; the first that fits decides.
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
    "norm": "normalisation",
    "activation": "activation",
    "pool": "pooling",
    "linear": "linear",
    "merge": "addition",
    "other": "other",
    "container": "module",
}


def role_of(kind: str) -> str:
    """The role of a class ("Conv2d") or an operator ("add")."""
    name = re.sub("[^a-z0-9]", "", kind.lower())
    return next((role for role, blocks_of in _ROLES if any(part in name for part in blocks_of)), "other")


def settings(layer: Layer) -> str:
    """Channels, kernel and stride: "64→128 3×3 /2"; "" where there are none."""
    blocks_of = []
    role = role_of(layer.layer_type)
    if role in ("conv", "linear") and layer.input_shape and layer.output_shape and not layer.children:
        axis = 1 if role == "conv" and len(layer.output_shape) > 1 else -1
        blocks_of.append(f"{layer.input_shape[axis]}→{layer.output_shape[axis]}")
    if layer.kernel_size:
        blocks_of.append(formatting.dimensions(layer.kernel_size))
    if layer.stride and set(layer.stride) != {1}:
        blocks_of.append(f"/{formatting.size(layer.stride)}")
    if layer.groups not in (None, 1):
        blocks_of.append(f"g{layer.groups}")
    return " ".join(blocks_of)


def shape_text(shape: tuple[int, ...] | None) -> str:
    """A shape without the batch: (1, 64, 56, 56) -> "64×56×56"."""
    return "" if not shape or len(shape) < 2 else formatting.dimensions(shape[1:])


def unwrap(layer: Layer) -> Layer:
    """What a wrapper wraps, as far down as there is one child alone."""
    while len(layer.children) == 1 and layer.children[0].children:
        layer = layer.children[0]
    return layer


def stages(root: Layer) -> tuple[Layer, ...]:
    """What a network calls first of all, in order: the parts that its forward names."""
    return tuple(layer for layer in unwrap(root).children if _runs(layer))


def blocks_of(stage: Layer) -> tuple[Layer, ...]:
    """The blocks of a stage, where they follow each other; itself where it has none, or its calls run side by side."""
    inner = tuple(layer for layer in unwrap(stage).children if _runs(layer))
    if not (any(layer.children for layer in inner) and _is_chain(unwrap(stage))):
        return (stage,)
    found: list[Layer] = []
    for layer in inner:
        found += blocks_of(layer) if layer.layer_type in PLAIN_CONTAINERS else (layer,)
    return tuple(found)


def _is_chain(module: Layer) -> bool:
    """Whether each call reads the one before it and nothing else, as far as that is known."""
    known = [(index, layer.sources) for index, layer in enumerate(module.children) if _runs(layer)]
    return all(sources is None or sources == (index - 1,) for index, sources in known)


def _runs(layer: Layer) -> bool:
    """Whether a forward in eval mode calls it: a module that only holds parameters has no output."""
    return layer.output_shape is not None and layer.call > 0
