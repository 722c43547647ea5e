"""Patterns in activations and in the order of operators. Pre-activation by He et al. 2016, arXiv 1603.05027."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from resnet_cli.measure.graph.diff import GraphDifference
from resnet_cli.measure.graph.nodes import Graph, Node
from resnet_cli.measure.ops.names import spoken
from resnet_cli.measure.ops.settings import ACTIVATIONS
from resnet_cli.measure.parity.diagnosis.blocks import additions_of_blocks
from resnet_cli.measure.parity.diagnosis.context import (
    DiffContext,
    Match,
    match,
    operators_after,
    operators_before,
    path_to_image,
    place,
)


def pre_activation(context: DiffContext) -> Iterator[Match]:
    """Batch norm and ReLU before the convolutions."""
    if _is_pre_activated(context):
        differences = context.of("moved") + context.of("missing") + context.of("extra")
        explained = [row for row in differences if row.finding.subject in ("batch_norm", *ACTIVATIONS)]
        text = (
            "this is pre-activation (ResNet v2): batch norm and ReLU come before the convolution; "
            f"{context.reference} has them after it"
        )
        yield match("pre-activation", text, explained)


def _is_pre_activated(context: DiffContext) -> bool:
    return _norms_of_sums(context.model) > _norms_of_sums(context.structure.reference_graph)


def _norms_of_sums(graph: Graph) -> int:
    """Number of batch norms that read a sum or the stem's output, also behind a ReLU."""
    count = 0
    for node in graph.nodes:
        if node.operator == "batch_norm":
            above = operators_before(graph, node)
            if "relu" in above:
                above = above.union(*(operators_before(graph, graph.by_number[number]) for number in node.inputs))
            count += bool(above & {"add", "max_pool"})
    return count


def swapped_activations(context: DiffContext) -> Iterator[Match]:
    """ReLU before its batch norm, or before the addition."""
    swapped, early = [], []
    for difference in context.of("moved"):
        node, reference_node = difference.model_node, difference.reference_node
        if node is None or reference_node is None:
            continue
        before = operators_before(context.model, node)
        expected = operators_before(context.structure.reference_graph, reference_node)
        is_activation = node.operator in ACTIVATIONS
        if is_activation and "add" in expected and "add" in operators_after(context.readers, node):
            early.append(difference)
        elif (is_activation and before == {"conv"} and expected == {"batch_norm"}) or (
            node.operator == "batch_norm" and before <= ACTIVATIONS and expected == {"conv"}
        ):
            swapped.append(difference)
    if swapped and not _is_pre_activated(context):
        text = f"batch norm and ReLU are swapped at {place(swapped[0])}: the ReLU comes first"
        yield match("bn-relu-swapped", text, swapped)
    if early:
        text = f"the ReLU is before the addition at {place(early[0])}; {context.reference} adds first"
        yield match("relu-before-add", text, early)


def missing_activations(context: DiffContext) -> Iterator[Match]:
    """ReLUs that the model does not have, except those of missing blocks."""
    graph = context.structure.reference_graph
    has_fewer_blocks = bool(additions_of_blocks(context.of("missing")))
    for difference in context.of("missing"):
        node, path = difference.reference_node, difference.finding.reference_path
        if node is None or node.operator not in ACTIVATIONS:
            continue
        is_in_stem = _is_in_stem(graph, node)
        if has_fewer_blocks and not is_in_stem:
            continue
        if "mean" in operators_after(context.reference_readers, node):
            key, text = "missing-last-relu", "the last ReLU is missing: the classifier sees negative features"
        elif is_in_stem:
            key, text = "missing-stem-relu", "the ReLU of the stem is missing"
        elif "add" in operators_before(graph, node):
            key, text = "missing-relu", f"the ReLU behind an addition is missing ({path})"
        else:
            key, text = "missing-inner-relu", f"a ReLU inside a block is missing ({path})"
        yield match(key, text, [difference])


def _is_in_stem(graph: Graph, node: Node) -> bool:
    """Whether at most one convolution is above it."""
    above = path_to_image(graph, node)
    return above is not None and sum(node.operator == "conv" for node in above) <= 1


def replaced_activations(context: DiffContext) -> Iterator[Match]:
    """Another activation than the reference's."""
    by_operator: dict[str, list[GraphDifference]] = defaultdict(list)
    for difference in context.of("replaced"):
        # The alignment pairs an activation with nothing but another activation.
        if difference.model_node is not None and difference.model_node.operator in ACTIVATIONS:
            by_operator[difference.model_node.operator].append(difference)
    for operator, differences in by_operator.items():
        node = differences[0].reference_node
        name = "" if node is None else spoken(node.operator)
        yield match(
            f"activation-{operator}", f"{spoken(operator)} is used where {context.reference} has {name}", differences
        )
