"""Patterns of published variants of a block.

Squeeze-and-excitation by Hu et al. 2017 (arXiv 1709.01507); Res2Net by Gao et al. 2019 (arXiv 1904.01169); blur pooling
by Zhang 2019 (arXiv 1904.11486).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from resnet_cli.measure.graph.nodes import Graph, Node
from resnet_cli.measure.parity.diagnosis.context import DiffContext, Match, in_blocks, match
from resnet_cli.measure.parity.diagnosis.residual_blocks import count_of

_GATES = ("sigmoid", "hardsigmoid", "softmax", "tanh")
_POOLED = ("mean", "avg_pool", "adaptive_avg_pool", "max_pool", "amax")
_PRODUCTS = ("bmm", "baddbmm", "mm", "matmul")  # of two activations
_SPLITS = ("split", "split_with_sizes", "slice", "chunk", "unbind")


def split_convolutions(context: DiffContext) -> Iterator[Match]:
    """Channels in parts, each with a convolution of its own, put together again."""
    pairs = context.paired_blocks()
    split, differences, parts = [], [], 0
    for block, reference in pairs:
        convs, reference_convs = (count_of(each.residual, "conv") for each in (block, reference))
        if convs > reference_convs and count_of(block.residual, *_SPLITS) and count_of(block.residual, "cat"):
            split.append(block.label)
            parts = max(parts, convs - reference_convs + 1)
            differences += context.within(block.residual, reference.residual)
    if split:
        text = (
            f"{parts} convolutions on parts of the channels, as in Res2Net, {in_blocks(split, len(pairs))}; "
            f"{context.reference} has one on all of them"
        )
        yield match("split-convolutions", text, differences)


def attention(context: DiffContext) -> Iterator[Match]:
    """Products of activations with each other behind a softmax, in place of convolutions."""
    reference = context.structure.reference_graph
    blocks = [block for block in context.blocks.blocks if _attends(block.residual)]
    if blocks and not _attends(reference.nodes):
        where = in_blocks([block.label for block in blocks], len(context.blocks.blocks))
        nodes = [node for block in blocks for node in (block.addition, *block.residual)]
        yield match("attention", f"self-attention {where}; {context.reference} has none", context.within(nodes, []))


def _attends(nodes: Iterable[Node]) -> bool:
    products = [node for node in nodes if node.operator in _PRODUCTS and len(set(node.inputs)) > 1]
    return bool(products) and count_of(nodes, "softmax") > 0


def squeeze_excite(context: DiffContext) -> Iterator[Match]:
    """Gates: activations multiplied by what their own average over the image says."""
    reference = context.structure.reference_graph
    count = len(_gates(context.model)) - len(_gates(reference))
    gates = _gates(context.model)
    if count <= 0:
        return
    differences = context.within([node for gate in gates for node in gate], [])
    noun = "squeeze-and-excitation gate" + ("s" if count > 1 else "")
    others = len(_gates(reference))
    text = f"{count} {noun}; {context.reference} has none" if not others else f"{count} {noun} more than {others}"
    yield match("squeeze-excite", text, differences)


def _gates(graph: Graph) -> list[list[Node]]:
    """The operators of each gate: a product of an operator's output with a function of its average."""
    gates = []
    for node in graph.nodes:
        if node.operator == "mul" and len(set(node.inputs)) == 2:
            for gate, source in (node.inputs, node.inputs[::-1]):
                above = _gate(graph, gate, source)
                if above:
                    gates.append([node, *above])
                    break
    return gates


def _gate(graph: Graph, number: int, source: int) -> list[Node]:
    """The operators from a gate up to its source; nothing where they are no gate."""
    nodes: list[Node] = []
    while number != source and number in graph.by_number:
        nodes.append(graph.by_number[number])
        if len(nodes[-1].inputs) != 1:
            return []
        number = nodes[-1].inputs[0]
    operators = {node.operator for node in nodes}
    is_gate = (
        number == source and operators & set(_GATES) and operators & set(_POOLED) and operators & {"conv", "linear"}
    )
    return nodes if is_gate else []


def pooled_stride(context: DiffContext) -> Iterator[Match]:
    """An average pool in the residual branch in place of a convolution's stride."""
    residuals = context.blocks.residuals
    pools = [(difference, node) for difference, node in context.extra("avg_pool") if node.number in residuals]
    strides = [
        row
        for row in context.settings("conv.stride")
        if row[1].number in residuals and row[1].settings["stride"] < row[2].settings["stride"]
    ]
    pairs = [(pool, row) for pool in pools for row in strides if residuals[pool[1].number] is residuals[row[1].number]]
    if pairs:
        labels = [residuals[node.number].label for (_, node), _ in pairs]
        text = (
            f"the residual branch is average-pooled {in_blocks(labels, len(context.blocks.blocks))}, "
            f"where {context.reference}'s {pairs[0][1][2].label} strides"
        )
        yield match("pooled-stride", text, [each for (pool, _), row in pairs for each in (pool, row[0])])


def blur_pool(context: DiffContext) -> Iterator[Match]:
    """A depthwise convolution that strides in place of the layer before or behind it."""
    blurs = [
        (difference, node)
        for difference, node in context.extra("conv")
        if node.settings["groups"] == node.settings["channels"][0] > 1
        and node.settings["channels"][0] == node.settings["channels"][1]
        and max(node.settings["stride"]) > 1
    ]
    strides = [
        row[0]
        for operator in ("conv", "max_pool")
        for row in context.settings(f"{operator}.stride")
        if row[1].settings["stride"] < row[2].settings["stride"]
    ]
    if blurs and strides:
        numbers = {number for _, node in blurs for number in node.inputs}
        pads = [row for row in context.of("extra") if row.model_node is not None and row.model_node.number in numbers]
        text = (
            f"{len(blurs)} strides are in depthwise convolutions of their own (blur pooling, {blurs[0][1].label}); "
            f"{context.reference} has them in its layers"
        )
        yield match("blur-pool", text, [*(difference for difference, _ in blurs), *strides, *pads])
