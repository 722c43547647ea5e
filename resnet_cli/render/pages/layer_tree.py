"""The tree of layers as every table draws it: identical neighbours in one row, wrappers joined to what they wrap."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from itertools import chain, groupby
from typing import Any, Generic, Protocol, Self, TypeVar, cast

from resnet_cli.results.common import marked_fields

PLAIN_CONTAINERS = ("Sequential", "ModuleList", "ModuleDict")
# What "(own)" does not have: a place in the image, an output, a moment of its own.
_NOWHERE = {"receptive_field": None, "total_stride": None, "output_shape": None, "peak_bytes": 0}
OWN = "(own)"  # what a module has that none of its children has, such as a parameter of its own


class Node(Protocol):
    """A dataclass that holds a layer and those below it; `call` and `is_operator` where it has them."""

    @property
    def path(self) -> str:
        """From the network to the layer."""

    @property
    def name(self) -> str:
        """The last part of the path."""

    @property
    def layer_type(self) -> str:
        """Class of the module, or name of the operator."""

    @property
    def children(self) -> tuple[Self, ...]:
        """In the order of their first call."""


N = TypeVar("N", bound=Node)


@dataclass(frozen=True, slots=True)
class LayerRow(Generic[N]):
    """One drawn row: the layers that it stands for, and the rows below it."""

    members: tuple[N, ...]  # one, or identical neighbours in order; figures are summed over them
    name: str
    path: str
    depth: int  # 0 for the children of the network
    children: tuple[LayerRow[N], ...]

    def __iter__(self) -> Iterator[LayerRow[N]]:
        """This row and all below it, in drawing order."""
        yield self
        for child in self.children:
            yield from child


def layer_tree(root: N, *, collapse: bool, levels: int | None = None) -> tuple[LayerRow[N], ...]:
    """Every row of the tree below the network itself, in drawing order.

    Args:
        root: the network.
        collapse: identical neighbours become one row, and a wrapper is joined to the one child that it has.
        levels: how many levels are drawn; a row that is cut stands for all below it.
    """
    return tuple(chain.from_iterable(_below((root,), 0, collapse, levels)))


def _below(parents: tuple[N, ...], depth: int, collapse: bool, levels: int | None) -> tuple[LayerRow[N], ...]:
    """The children of layers that are drawn as one, so each child is drawn as one with its counterparts."""
    if levels is not None and depth >= levels:
        return ()
    counterparts = list(zip(*map(complete, parents), strict=True))
    if not collapse:
        return tuple(_row([layers], depth, collapse, levels) for layers in counterparts)
    runs = groupby(counterparts, key=lambda layers: signature(layers[0]))
    return tuple(_row(list(run), depth, collapse, levels) for _, run in runs)


def _row(run: list[tuple[N, ...]], depth: int, collapse: bool, levels: int | None) -> LayerRow[N]:
    members = tips = tuple(chain.from_iterable(run))
    names = [span(tips[0].name, run[-1][-1].name) if len(run) > 1 else tips[0].name]
    if getattr(tips[0], "call", 1) > 1:
        names[0] += f" #{getattr(tips[0], 'call', 1)}"
    path = tips[0].path if len(run) == 1 else tips[0].path.removesuffix(tips[0].name) + names[0]
    while collapse and only_wraps(tips[0]):
        tips = tuple(tip.children[0] for tip in tips)
        names.append(tips[0].name)
        path = f"{path}.{tips[0].name}"
        members = tips if members[0].layer_type in PLAIN_CONTAINERS else members
    times = f" ×{len(tips)}" if len(tips) > 1 else ""
    return LayerRow(
        members=members,
        name=".".join(names) + times,
        path=path + times,
        depth=depth,
        children=_below(tips, depth + 1, collapse, levels) if tips[0].children else (),
    )


def only_wraps(layer: N) -> bool:
    """Whether a container and its one child would say the same thing in two rows."""
    if len(layer.children) != 1 or len(complete(layer)) != 1:
        return False
    child = layer.children[0]
    if getattr(child, "is_operator", False) or getattr(child, "call", 1) != 1:
        return False
    return layer.layer_type in PLAIN_CONTAINERS or child.layer_type in PLAIN_CONTAINERS


def complete(layer: N) -> tuple[N, ...]:
    """The children, and what they leave to their parent: together they add up to it.

    A network (path "") without children leaves everything to itself; any other layer without children has no rows.
    """
    if not layer.children and layer.path:
        return ()
    left: dict[str, int] = {}
    for name in marked_fields(type(layer), "additive"):
        whole = getattr(layer, name, None)
        parts: list[int | None] = [getattr(child, name, None) for child in layer.children]
        known = [part for part in parts if part is not None]
        if whole is not None and len(known) == len(parts):
            left[name] = whole - sum(known)
    if not any(left.values()) or min(left.values()) < 0:
        return layer.children
    nowhere = {name: value for name, value in _NOWHERE.items() if hasattr(layer, name)}
    own: Any = replace(
        cast("Any", layer), name=OWN, path=_join(layer.path, OWN), layer_type="", children=(), **left, **nowhere
    )
    return (*layer.children, own)


def signature(layer: N) -> tuple[object, ...]:
    """Equal for two layers of the same type, settings, shapes and costs, all the way down."""
    positional = marked_fields(type(layer), "positional")
    own = tuple(getattr(layer, each.name) for each in fields(cast("Any", layer)) if each.name not in positional)
    return (own, tuple((child.name, signature(child)) for child in layer.children))


def span(first: str, last: str) -> str:
    """Two names as a span: "ResIdentity0" and "ResIdentity4" -> "ResIdentity0…4"."""
    stems = [re.fullmatch(r"(.*?)([0-9]+)", name, re.DOTALL) for name in (first, last)]
    if stems[0] and stems[1] and stems[0][1] == stems[1][1]:
        return f"{first}…{stems[1][2]}"
    return f"{first}…{last}"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
