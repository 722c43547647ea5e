"""Modules of the model that run in place of several of the reference: `[block] * n`, or `bn2` typed for `bn1`."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from math import prod

from resnet_cli.measure.graph.alignment import Pair
from resnet_cli.measure.graph.nodes import Node

Use = tuple[Node, Node]  # an operator of the model that reads parameters, and its counterpart


def shared_modules(pairs: Iterable[Pair]) -> dict[str, list[Use]]:
    """The uses of each module that stands for several modules of the reference, by the module's path.

    Where everything in a module is used several times, it is that module, not those inside of it.
    """
    uses: dict[str, list[Use]] = defaultdict(list)  # by the owner of the parameters
    for model_node, reference_node in pairs:
        if model_node is not None and reference_node is not None and _correspond(model_node, reference_node):
            uses[_owner(model_node)].append((model_node, reference_node))
    shared = {owner for owner, rows in uses.items() if len({_owner(row[1]) for row in rows}) > 1}
    by_path: dict[str, list[Use]] = defaultdict(list)
    for owner in shared:
        by_path[_outermost(owner, uses, shared)] += uses[owner]
    return {path: sorted(by_path[path], key=lambda row: row[0].number) for path in sorted(by_path)}


def _correspond(node: Node, reference: Node) -> bool:
    """Whether both are the same operator and read parameters of the same sizes; other pairs are replacements."""
    sizes = [{role: prod(leaf.shape) for role, leaf in each.leaves.items()} for each in (node, reference)]
    return node.operator == reference.operator and sizes[0] == sizes[1] != {}


def _outermost(owner: str, uses: Collection[str], shared: Collection[str]) -> str:
    """The outermost module around an owner of parameters in which all owners are shared, and more than in its own."""
    path, count = owner, 1
    parent = owner.rpartition(".")[0]
    while parent:
        inside = [each for each in uses if each.startswith(f"{parent}.")]
        if not all(each in shared for each in inside):
            break
        if len(inside) > count:
            path, count = parent, len(inside)
        parent = parent.rpartition(".")[0]
    return path


def counterparts(path: str, uses: Sequence[Use]) -> list[str]:
    """The reference's modules that a shared module stands for, in the order of their use."""
    by_owner: dict[str, list[str]] = defaultdict(list)
    for model_node, reference_node in uses:
        by_owner[_owner(model_node)].append(_owner(reference_node))
    rounds = zip(*(list(dict.fromkeys(owners)) for owners in by_owner.values()), strict=False)
    return list(dict.fromkeys(_common(owners) for owners in rounds)) or [path]


def _owner(node: Node) -> str:
    leaf = node.leaves.get("weight", next(iter(node.leaves.values())))
    return leaf.name.rpartition(".")[0]


def _common(paths: Sequence[str]) -> str:
    """The innermost module that holds them all."""
    parts = zip(*(path.split(".") for path in paths), strict=False)
    common = itertools.takewhile(lambda names: len(set(names)) == 1, parts)
    return ".".join(names[0] for names in common)
