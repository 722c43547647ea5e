"""Patterns in norms: missing, of another kind, or with statistics that are no buffers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from resnet_cli.measure.graph.diff import GraphDifference
from resnet_cli.measure.graph.nodes import Node
from resnet_cli.measure.ops.names import spoken
from resnet_cli.measure.ops.settings import NORMS
from resnet_cli.measure.parity.diagnosis.context import DiffContext, Match, in_blocks, match
from resnet_cli.measure.parity.diagnosis.residual_blocks import count_of


def replaced_norms(context: DiffContext) -> Iterator[Match]:
    """Norms of another kind than the reference's."""
    by_operator: dict[str, list[GraphDifference]] = defaultdict(list)
    for difference in context.of("replaced"):
        node, reference_node = difference.model_node, difference.reference_node
        if node is not None and reference_node is not None and {node.operator, reference_node.operator} <= NORMS:
            by_operator[node.operator].append(difference)
    for operator, differences in by_operator.items():
        nodes = [difference.model_node for difference in differences if difference.model_node is not None]
        reference_nodes = [d.reference_node for d in differences if d.reference_node is not None]
        count = f"{len(nodes)} {spoken(operator)}s are" if len(nodes) > 1 else f"a {spoken(operator)} is"
        text = f"{count} used where {context.reference} has {spoken(reference_nodes[0].operator)}"
        yield match(f"norm-{operator}", text, context.within(nodes, reference_nodes))


def instance_norm_on_some_channels(context: DiffContext) -> Iterator[Match]:
    """IBN-a by Pan et al. 2018 (arXiv 1807.09441): instance norm on some channels, batch norm on the others."""
    graph = context.model
    halves: list[list[Node]] = []
    for node in graph.nodes:
        above = [graph.by_number[number] for number in node.inputs if number in graph.by_number]
        if node.operator == "cat" and sorted(norm.operator for norm in above) == ["batch_norm", "instance_norm"]:
            splits = [graph.by_number[n] for norm in above for n in norm.inputs if n in graph.by_number]
            halves.append([node, *above, *(each for each in splits if each.operator in ("split", "slice"))])
    if halves:
        readers = [node for half in halves for node in context.readers.get(half[0].number, [])]
        partners = {context.structure.partner.get(node.number) for node in readers}
        expected = [
            context.structure.reference_graph.by_number[number]
            for node in context.structure.reference_graph.nodes
            if node.number in partners
            for number in node.inputs
            if number in context.structure.reference_graph.by_number
        ]
        norms = [node for node in expected if node.operator == "batch_norm"]
        text = (
            f"{len(halves)} norms are an instance norm on some channels and a batch norm on the others (IBN); "
            f"{context.reference} has batch norm on all"
        )
        yield match("split-norm", text, context.within([node for half in halves for node in half], norms))


def plain_statistics(context: DiffContext) -> Iterator[Match]:
    """Running statistics that the state dict does not have."""
    differences = context.of("setting", "batch_norm.statistics")
    if differences:
        text = (
            f"running statistics are plain attributes, no buffers, at {len(differences)} batch norms "
            f"({differences[0].finding.model_path}, …): they are not in the state dict, and `.to()` does not move them"
        )
        yield match("plain-statistics", text, differences)


def frozen_norms(context: DiffContext) -> Iterator[Match]:
    """Batch norms that stay in eval mode."""
    rows = context.settings("batch_norm.batch_statistics")
    frozen = [row for row in rows if not row[1].settings["batch_statistics"]]
    if frozen:
        norms = f"{len(frozen)} batch norms use" if len(frozen) > 1 else f"{frozen[0][1].label or 'a batch norm'} uses"
        text = (
            f"{norms} the running statistics in train mode too, as where norms are frozen or a network was traced in "
            f"eval mode; in {context.reference} they are those of the batch"
        )
        yield match("frozen-norms", text, [difference for difference, _, _ in frozen])


def no_norms(context: DiffContext) -> Iterator[Match]:
    """A network without any norm, whose convolutions then have biases."""
    missing = context.of("missing", "batch_norm")
    if len(missing) > 1 and not any(node.operator in NORMS for node in context.model.nodes):
        biases = context.of("setting", "conv.bias")
        text = f"there are no norms; {context.reference} has {len(missing)} batch norms"
        yield match("no-norms", text + (", and no biases before them" if biases else ""), [*missing, *biases])


def norms_without_weights(context: DiffContext) -> Iterator[Match]:
    """Batch norms without weight and bias."""
    plain = [row[0] for row in context.settings("batch_norm.affine") if not row[1].settings["affine"]]
    if plain:
        count = f"{len(plain)} batch norms have" if len(plain) > 1 else f"{plain[0].finding.model_path} has"
        yield match(
            "norm-affine-off", f"{count} no weight and bias (`affine=False`); {context.reference}'s have", plain
        )


def missing_norms(context: DiffContext) -> Iterator[Match]:
    """Convolutions that no batch norm follows, where one follows the reference's."""
    pairs = context.paired_blocks()
    missing = context.of("missing", "batch_norm")
    bare = [
        (block, reference)
        for block, reference in pairs
        if count_of(block.shortcut, "conv") and not count_of(block.shortcut, "batch_norm", *NORMS)
        if count_of(reference.shortcut, "batch_norm")
    ]
    projections: list[GraphDifference] = []
    for _, reference in bare:
        inside = context.within([], (*reference.shortcut, *reference.residual))
        norms = [difference for difference in missing if any(difference is each for each in inside)]
        in_shortcut = [each for each in norms if each.reference_node in reference.shortcut]
        projections += (in_shortcut or norms)[:1]
    if projections:
        where = in_blocks([block.label for block, _ in bare], len(pairs))
        norm = next(node for node in bare[0][1].shortcut if node.operator == "batch_norm")
        text = f"no batch norm behind the projection {where}; {context.reference} has {norm.label}"
        yield match("missing-projection-bn", text, projections)
    others = [each for each in missing if not any(each is row for row in projections) and _is_missing(context, each)]
    if others:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        text = f"a batch norm is missing: {context.reference} has {others[0].finding.reference_path}{more}"
        yield match("missing-bn", text, others)


def _is_missing(context: DiffContext, difference: GraphDifference) -> bool:
    """Whether the model has what the norm reads, and no norm behind it."""
    norm = difference.reference_node
    if norm is None:
        return False
    partners = [
        context.structure.partner_of[number] for number in norm.inputs if number in context.structure.partner_of
    ]
    behind = [reader for number in partners for reader in context.readers.get(number, [])]
    return bool(partners) and not any(reader.operator in NORMS for reader in behind)
