"""Patterns in activations and in the order of operators. Pre-activation by He et al. 2016, arXiv 1603.05027."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from resnet_cli.measure.graph.diff import GraphDifference, resolve
from resnet_cli.measure.graph.nodes import Graph, Node
from resnet_cli.measure.ops.names import spoken
from resnet_cli.measure.ops.settings import ACTIVATIONS
from resnet_cli.measure.parity.diagnosis.context import (
    DiffContext,
    Match,
    in_blocks,
    match,
    operators_after,
    operators_before,
    path_to_image,
    place,
    places,
)
from resnet_cli.measure.parity.diagnosis.residual_blocks import count_of


def pre_activation(context: DiffContext) -> Iterator[Match]:
    """Batch norm and ReLU before the convolutions."""
    if _is_pre_activated(context):
        bare = [reference for block, reference in context.paired_blocks() if count_of(reference.shortcut, "batch_norm")
                and count_of(block.shortcut, "conv") and not count_of(block.shortcut, "batch_norm")]  # fmt: skip
        missing = context.of("missing")
        # As many are left as projections have no norm: that is a difference of its own.
        own = [row for row in missing if row.finding.subject == "batch_norm"][: len(bare)]
        differences = context.of("moved") + context.of("wiring") + context.of("extra") + missing
        explained = [
            row
            for row in differences
            if (row.finding.category in ("moved", "wiring") or row.finding.subject in ("batch_norm", *ACTIVATIONS))
            and not any(row is each for each in own)
        ]
        text = (
            "this is pre-activation (ResNet v2): batch norm and ReLU come before the convolution; "
            f"{context.reference} has them after it"
        )
        yield match("pre-activation", text + _moved_norms(context), explained)


def _moved_norms(context: DiffContext) -> str:
    """Clauses about the norm of the stem and the one behind the last block, where the reference has another."""
    stem, last = (_norms_at_the_ends(graph) for graph in (context.structure.reference_graph, context.model))
    clauses = []
    if stem[0] is not None and last[0] is None:
        clauses.append(f"the stem has no batch norm, where {context.reference} has {stem[0].label}")
    if last[1] is not None and stem[1] is None:
        clauses.append(f"the last block has one behind its addition ({last[1].label or 'in the network'})")
    return "".join(f"; {clause}" for clause in clauses)


def _norms_at_the_ends(graph: Graph) -> tuple[Node | None, Node | None]:
    """The batch norm that reads the first convolution, and the one that reads the last addition."""
    nodes = sorted(graph.nodes, key=lambda node: node.number)
    first = next((node.number for node in nodes if node.operator == "conv"), None)
    last = next((node.number for node in reversed(nodes) if node.operator == "add"), None)
    norms = [node for node in nodes if node.operator == "batch_norm"]
    stem, end = (next((node for node in norms if number in node.inputs), None) for number in (first, last))
    return stem, end


def _is_pre_activated(context: DiffContext) -> bool:
    count, expected = (
        _norms_of_shortcuts(graph, readers)
        for graph, readers in (
            (context.model, context.readers),
            (context.structure.reference_graph, context.reference_readers),
        )
    )
    return count > expected


def _norms_of_shortcuts(graph: Graph, readers: Mapping[int, Sequence[Node]]) -> int:
    """Number of batch norms that read a sum, also behind a ReLU, which something else reads too: the next shortcut."""
    count = 0
    for node in graph.nodes:
        if node.operator == "batch_norm":
            above = [graph.by_number[number] for number in node.inputs if number in graph.by_number]
            sums = [
                each
                for each in above
                if each.operator == "add" or (each.operator == "relu" and "add" in operators_before(graph, each))
            ]
            count += any(len(readers[each.number]) > 1 for each in sums)
    return count


def norms_of_sums(context: DiffContext) -> Iterator[Match]:
    """The last batch norm of a block behind its addition, not in front of it."""
    pairs = [] if _is_pre_activated(context) else context.paired_blocks()
    late, differences = [], []
    for block, reference in pairs:
        norms = [node for node in context.readers.get(block.addition.number, []) if node.operator == "batch_norm"]
        expected = [
            node
            for node in reference.residual
            if node.operator == "batch_norm" and reference.addition in context.reference_readers.get(node.number, [])
        ]
        is_fewer = count_of(block.residual, "batch_norm") < count_of(reference.residual, "batch_norm")
        if norms and expected and is_fewer:
            late.append(block.label)
            sides = [block.addition, *norms], [reference.addition, *expected]
            differences += context.within(*sides, "moved", "wiring", "missing", "extra")
    if late:
        where = in_blocks(late, len(pairs))
        text = f"the batch norm is behind the addition {where}; {context.reference} has it before the addition"
        yield match("bn-after-add", text, differences)


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
        where = places([place(difference) for difference in swapped])
        yield match("bn-relu-swapped", f"batch norm and ReLU are swapped {where}: the ReLU comes first", swapped)
    if early:
        where = in_blocks([place(difference) for difference in early], len(context.blocks.blocks))
        text = f"the ReLU is before the addition {where}; {context.reference} adds first"
        yield match("relu-before-add", text, early)


def missing_activations(context: DiffContext) -> Iterator[Match]:
    """ReLUs that the model does not have: one row for those behind additions, and one for those inside of blocks."""
    graph = context.structure.reference_graph
    by_place: dict[str, list[GraphDifference]] = defaultdict(list)
    for difference in context.of("missing"):
        node = difference.reference_node
        if node is None or node.operator not in ACTIVATIONS or not _is_missing(context, node):
            continue
        if _is_in_stem(graph, node):
            by_place["stem"].append(difference)
        else:
            by_place["addition" if "add" in operators_before(graph, node) else "block"].append(difference)
    total = len(context.reference_blocks.blocks)
    for where, key, text in (
        ("stem", "missing-stem-relu", "the ReLU of the stem is missing"),
        ("addition", "missing-relu", "the ReLU behind the addition is missing"),
        ("block", "missing-inner-relu", "a ReLU inside the block is missing"),
    ):
        differences = by_place[where]
        labels = list(dict.fromkeys(str(difference.finding.reference_path) for difference in differences))
        nodes = [difference.reference_node for difference in differences]
        if not differences:
            continue
        if where == "stem":
            yield match(key, text, differences)
        elif (
            nodes[-1] is not None
            and len(nodes) == 1
            and "mean" in operators_after(context.reference_readers, nodes[-1])
        ):
            yield match(
                "missing-last-relu", "the last ReLU is missing: the classifier sees negative features", differences
            )
        elif where == "addition":
            yield match(key, f"{text} {in_blocks(labels, total)}", differences)
        else:
            yield match(key, f"{text} {places(labels)}", differences)


def _is_missing(context: DiffContext, activation: Node) -> bool:
    """Whether the model has what the activation reads, and no activation behind it."""
    partners = context.structure.partner_of
    numbers = resolve(context.structure.reference_graph, activation, partners)
    behind = [reader.operator for number in numbers for reader in context.readers.get(number, [])]
    return bool(numbers) and not ACTIVATIONS & set(behind)


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


def extra_activations(context: DiffContext) -> Iterator[Match]:
    """Activations where the reference has none."""
    by_place: dict[tuple[str, str], list[tuple[GraphDifference, Node]]] = defaultdict(list)
    for difference, node in context.extra(*ACTIVATIONS):
        branch = "residual" if node.number in context.blocks.residuals else "shortcut"
        if node.number in context.blocks.shortcuts or "add" in operators_after(context.readers, node):
            by_place[node.operator, branch].append((difference, node))
        else:
            by_place[node.operator, ""].append((difference, node))
    for (operator, branch), rows in by_place.items():
        blocks = context.blocks.residuals if branch == "residual" else context.blocks.shortcuts
        labels = [blocks[node.number].label if node.number in blocks else place(row) for row, node in rows]
        labels = list(dict.fromkeys(labels))
        where = {"residual": "before the addition", "shortcut": "in the shortcut"}.get(branch)
        where = f"{where} {in_blocks(labels, len(context.blocks.blocks))}" if where else places(labels)
        text = f"a {spoken(operator)} more {where}; {context.reference} has none there"
        yield match("extra-activation", text, [difference for difference, _ in rows])
