"""Patterns in the number of blocks, and in what is another architecture altogether."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from resnet_cli.measure.graph.nodes import Graph
from resnet_cli.measure.parity.diagnosis.context import DiffContext, Match, match

_RELATED = 0.3  # least share of the weights that have a counterpart, where a comparison by operators says something


def other_architecture(context: DiffContext) -> Iterator[Match]:
    """Hardly a weight with a counterpart: then the operators that differ say nothing."""
    total = max(_weights(context.model), _weights(context.structure.reference_graph))
    mapped = sum(
        prod(model_leaf.shape) == prod(reference_leaf.shape)
        for model_node, reference_node in context.structure.pairs
        if model_node is not None and reference_node is not None
        and (model_leaf := model_node.leaves.get("weight")) is not None
        and (reference_leaf := reference_node.leaves.get("weight")) is not None
    )  # fmt: skip
    if total > 1 and mapped < _RELATED * total:
        text = (
            f"another architecture than {context.reference}'s: of {_weights(context.model)} layers with weights, "
            f"{mapped} have a counterpart of the same size"
        )
        yield Match("other-architecture", text, context.differences)


def _weights(graph: Graph) -> int:
    return sum("weight" in node.leaves for node in graph.nodes)


def number_of_blocks(context: DiffContext) -> Iterator[Match]:
    """More or fewer residual blocks than the reference."""
    more = len(context.blocks.blocks) - len(context.reference_blocks.blocks)
    if not more:
        return
    category, key, word = ("extra", "block-more", "more") if more > 0 else ("missing", "block-fewer", "fewer")
    stem = context.blocks.stem if more > 0 else context.reference_blocks.stem
    differences = []
    for difference in context.of(category):
        node = difference.model_node or difference.reference_node
        if node is not None and node.number not in stem:
            differences.append((difference, node))
    convs = [node for _, node in differences if node.operator == "conv"]
    if len(convs) < abs(more):
        return
    count = f"{abs(more)} blocks" if abs(more) > 1 else "one block"
    where = f" ({convs[0].label}{', …' if len(convs) > 1 else ''})"
    text = f"{count} {word} than {context.reference}{where}"
    yield match(key, text, [difference for difference, _ in differences])
