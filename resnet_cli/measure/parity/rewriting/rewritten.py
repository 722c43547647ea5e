"""Regions that compute the same, taken out of the differences of two graphs, and described."""

from __future__ import annotations

from collections.abc import Sequence

from resnet_cli.measure.graph.alignment import Pair
from resnet_cli.measure.graph.diff import GraphDiff
from resnet_cli.measure.graph.nodes import Graph, Node
from resnet_cli.measure.graph.regions import Key, keys
from resnet_cli.measure.ops.names import spoken
from resnet_cli.results.compare import Rewriting


def set_aside(structure: GraphDiff, rewritten: Sequence[frozenset[Key]]) -> list[tuple[list[Node], list[Node]]]:
    """Take the differences of rewritten regions out of the structure; returns the operators of each region.

    Args:
        structure: both graphs and their differences.
        rewritten: operators of each region that computes the same.
    """
    names = keys(structure.model, is_model=True), keys(structure.reference_graph, is_model=False)
    region_of = {key: place for place, members in enumerate(rewritten) for key in members}
    operators: dict[int, tuple[list[Node], list[Node]]] = {}

    def region(side: int, node: Node | None) -> int | None:
        return None if node is None else region_of.get(names[side][node.number])

    structure.differences = [
        each
        for each in structure.differences
        if any(
            node is not None and region(side, node) is None
            for side, node in enumerate((each.model_node, each.reference_node))
        )
    ]
    for place, pair in enumerate(structure.pairs):
        regions = [region(side, node) for side, node in enumerate(pair) if node is not None]
        if structure.status[place] == "equal" or None in regions:
            continue
        structure.status[place] = "rewritten"
        for side, node in enumerate(pair):
            if node is not None and (found := region(side, node)) is not None:
                operators.setdefault(found, ([], []))[side].append(node)
    return list(operators.values())


def without_rewritten(
    structure: GraphDiff,
    regions: Sequence[tuple[list[Node], list[Node]]],
    graphs: tuple[Graph, Graph],
    pairs: list[Pair],
) -> list[Pair]:
    """Pairs of other graphs of the same networks without those inside rewritten regions, whose values differ.

    Args:
        structure: in which the regions were set aside.
        regions: as `set_aside` gives them.
        graphs: of model and reference, in eval mode for example.
        pairs: their alignment.
    """
    rewritten: set[Key] = set()
    for side, graph in enumerate((structure.model, structure.reference_graph)):
        own = keys(graph, is_model=side == 0)
        rewritten |= {own[node.number] for region in regions for node in region[side]}
    names = [keys(graph, is_model=side == 0) for side, graph in enumerate(graphs)]
    return [
        pair
        for pair in pairs
        if not any(node and names[side][node.number] in rewritten for side, node in enumerate(pair))
    ]


def describe(nodes: Sequence[Node], references: Sequence[Node]) -> Rewriting:
    """A region in words: its operators in the model, and those in the reference."""
    path = nodes[-1].label if nodes else None
    counterpart = references[-1].label if references else None
    place = path or counterpart or "forward"
    text = f"{place}: {_listed(nodes) or 'nothing'} in place of {_listed(references) or 'nothing'}"
    return Rewriting(path, counterpart, _operators(nodes), _operators(references), text)


def _operators(nodes: Sequence[Node]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(node.operator for node in nodes))


def _listed(nodes: Sequence[Node]) -> str:
    return ", ".join(map(spoken, _operators(nodes)))
