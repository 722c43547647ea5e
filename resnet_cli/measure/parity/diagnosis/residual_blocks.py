"""The residual blocks of a graph: what each addition joins, and where its two branches part."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from resnet_cli.measure.graph.nodes import IMAGE, Graph, Node


@dataclass(frozen=True, slots=True)
class ResidualBlock:
    """Two branches that begin at one operator and end in an addition.

    Args:
        addition: the operator that joins them.
        start: number of the operator whose output both read; `IMAGE` for the network's input.
        shortcut: operators of the branch with fewer convolutions.
        residual: operators of the other branch.
    """

    addition: Node
    start: int
    shortcut: tuple[Node, ...]
    residual: tuple[Node, ...]

    @property
    def label(self) -> str:
        """Where a reader finds it."""
        return self.addition.label or "the network"


@dataclass(slots=True)
class ResidualBlocks:
    """The residual blocks of a graph in order, without those inside of others.

    Args:
        blocks: the blocks.
        shortcuts: number of an operator → the block in whose shortcut it is.
        residuals: number of an operator → the block in whose other branch it is.
        stem: numbers of the operators before the first block.
    """

    blocks: list[ResidualBlock]
    shortcuts: dict[int, ResidualBlock]
    residuals: dict[int, ResidualBlock]
    stem: frozenset[int]


def residual_blocks(graph: Graph) -> ResidualBlocks:
    """Find the residual blocks of a graph."""
    above: dict[int, frozenset[int]] = {IMAGE: frozenset({IMAGE})}  # an operator and all that it depends on
    for node in sorted(graph.nodes, key=lambda node: node.number):  # an operator runs after what it reads
        above[node.number] = frozenset({node.number}).union(*(above.get(number, ()) for number in node.inputs))
    blocks: list[ResidualBlock] = []
    for node in sorted(graph.nodes, key=lambda node: node.number, reverse=True):
        inside = any(node.number in _numbers((*block.shortcut, *block.residual)) for block in blocks)
        if node.operator == "add" and len(set(node.inputs)) == 2 and not inside:
            first, second = (above.get(number, frozenset()) for number in dict.fromkeys(node.inputs))
            if common := first & second:
                start = max(common)
                blocks.append(_block(graph, node, start, [branch - above[start] for branch in (first, second)]))
    blocks.reverse()
    return ResidualBlocks(
        blocks,
        {node.number: block for block in blocks for node in block.shortcut},
        {node.number: block for block in blocks for node in block.residual},
        above[blocks[0].start] - {IMAGE} if blocks else frozenset(),
    )


def _block(graph: Graph, addition: Node, start: int, branches: Iterable[frozenset[int]]) -> ResidualBlock:
    nodes = [tuple(graph.by_number[number] for number in sorted(branch)) for branch in branches]
    shortcut, residual = sorted(nodes, key=lambda branch: (count_of(branch, "conv"), len(branch)))
    return ResidualBlock(addition, start, shortcut, residual)


def _numbers(nodes: Iterable[Node]) -> set[int]:
    return {node.number for node in nodes}


def count_of(nodes: Iterable[Node], *operators: str) -> int:
    """How many operators are of these kinds."""
    return sum(node.operator in operators for node in nodes)
