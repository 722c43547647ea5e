"""The tree of layers as it is drawn: identical neighbours in one branch, wrappers joined to what they wrap."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from itertools import chain, groupby
from typing import Any, Generic, TypeVar

from resnet_cli.results.flops import ModuleFlops
from resnet_cli.results.summary import Layer

PLAIN_CONTAINERS = ("Sequential", "ModuleList", "ModuleDict")
# What follows from a layer's place alone does not make it another layer. To the place belongs what it saves:
# an input that the layer before saved already is not counted again.
_OF_THE_PLACE = {
    *("path", "name", "depth", "receptive_field", "total_stride", "peak_bytes"),
    *("saved_for_backward_bytes", "sources", "children"),
}
_ADDITIVE = (
    "trainable_parameters",
    "frozen_parameters",
    "buffers",
    "parameter_bytes",
    "buffer_bytes",
    "macs",
    "flops",
    "ops",
    "backward_macs",
    "activation_bytes",
    "saved_for_backward_bytes",
    "bytes_moved",
    "torch_flops",
    "fvcore",
)
_NOWHERE = {"receptive_field": None, "total_stride": None, "output_shape": None, "peak_bytes": 0}
OWN = "(own)"  # what a module has that none of its children has, such as a parameter of its own

N = TypeVar("N", Layer, ModuleFlops)


@dataclass(frozen=True, slots=True)
class LayerRow(Generic[N]):
    """One drawn row: the layers that it stands for, and the branches below it."""

    members: tuple[N, ...]  # one, or identical neighbours in order; figures are summed over them
    name: str
    path: str
    depth: int  # 0 for the children of the network
    children: tuple[LayerRow[N], ...]

    def __iter__(self) -> Iterator[LayerRow[N]]:
        """This branch and all below it, in drawing order."""
        yield self
        for child in self.children:
            yield from child


def layer_tree(root: N, *, fold: bool, levels: int | None = None) -> tuple[LayerRow[N], ...]:
    """The branches below the network itself.

    Args:
        root: the network.
        fold: identical neighbours become one branch, and a wrapper is joined to the one child that it has.
        levels: how many levels are drawn; a branch that is cut stands for all below it.
    """
    return _below((root,), 0, fold, levels)


def _below(parents: tuple[N, ...], depth: int, fold: bool, levels: int | None) -> tuple[LayerRow[N], ...]:
    """The children of layers that are drawn as one, so each child is drawn as one with its counterparts."""
    if levels is not None and depth >= levels:
        return ()
    counterparts = list(zip(*map(_complete, parents), strict=True))
    if not fold:
        return tuple(_branch([layers], depth, fold, levels) for layers in counterparts)
    runs = groupby(counterparts, key=lambda layers: signature(layers[0]))
    return tuple(_branch(list(run), depth, fold, levels) for _, run in runs)


def _branch(run: list[tuple[N, ...]], depth: int, fold: bool, levels: int | None) -> LayerRow[N]:
    faces = tips = tuple(chain.from_iterable(run))
    names = [span(tips[0].name, run[-1][-1].name) if len(run) > 1 else tips[0].name]
    if getattr(tips[0], "call", 1) > 1:
        names[0] += f" #{getattr(tips[0], 'call', 1)}"
    path = tips[0].path if len(run) == 1 else tips[0].path.removesuffix(tips[0].name) + names[0]
    while fold and only_wraps(tips[0]):
        tips = tuple(tip.children[0] for tip in tips)
        names.append(tips[0].name)
        path = f"{path}.{tips[0].name}"
        faces = tips if faces[0].layer_type in PLAIN_CONTAINERS else faces
    times = f" ×{len(tips)}" if len(tips) > 1 else ""
    return LayerRow(
        members=faces,
        name=".".join(names) + times,
        path=path + times,
        depth=depth,
        children=_below(tips, depth + 1, fold, levels) if tips[0].children else (),
    )


def only_wraps(layer: N) -> bool:
    """Whether a container and its one child would say the same thing in two rows."""
    if len(layer.children) != 1 or len(_complete(layer)) != 1:
        return False
    child = layer.children[0]
    if getattr(child, "is_operator", False) or getattr(child, "call", 1) != 1:
        return False
    return layer.layer_type in PLAIN_CONTAINERS or child.layer_type in PLAIN_CONTAINERS


def _complete(layer: N) -> tuple[N, ...]:
    """The children, and what they leave to their parent: together they add up to it."""
    if not layer.children:
        return ()
    left: dict[str, int] = {}
    for name in _ADDITIVE:
        whole = getattr(layer, name, None)
        parts: list[int | None] = [getattr(child, name, None) for child in layer.children]
        known = [part for part in parts if part is not None]
        if whole is not None and len(known) == len(parts):
            left[name] = whole - sum(known)
    if not any(left.values()) or min(left.values()) < 0:
        return layer.children
    figures: dict[str, Any] = {**left, **_NOWHERE} if isinstance(layer, Layer) else left
    own = replace(layer, name=OWN, path=_join(layer.path, OWN), layer_type="", children=(), **figures)
    return (*layer.children, own)


def signature(layer: N) -> tuple[object, ...]:
    """What makes two layers the same: kind, settings, shapes and figures, all the way down."""
    own = tuple(getattr(layer, each.name) for each in fields(layer) if each.name not in _OF_THE_PLACE)
    return (own, tuple((child.name, signature(child)) for child in layer.children))


def span(first: str, last: str) -> str:
    """Two names as a span: "ResIdentity0" and "ResIdentity4" -> "ResIdentity0…4"."""
    stems = [re.fullmatch(r"(.*?)([0-9]+)", name, re.DOTALL) for name in (first, last)]
    if stems[0] and stems[1] and stems[0][1] == stems[1][1]:
        return f"{first}…{stems[1][2]}"
    return f"{first}…{last}"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
