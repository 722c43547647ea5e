"""Patterns in the shortcuts of residual blocks.

The D variant by He et al. 2018 (arXiv 1812.01187); the options of a shortcut that changes the number of channels by He
et al. 2015 (arXiv 1512.03385): A pads with zeros, B projects.
"""

from __future__ import annotations

from collections.abc import Iterator

from resnet_cli.measure.parity.diagnosis.context import (
    DiffContext,
    Match,
    in_blocks,
    match,
    operators_after,
    place,
    places,
)
from resnet_cli.measure.parity.diagnosis.residual_blocks import count_of


def shortcut_start(context: DiffContext) -> Iterator[Match]:
    """A shortcut that begins behind the first layers of its block instead of at the block's input."""
    partners = context.structure.partner
    pairs = context.paired_blocks()
    late, differences = [], []
    for block, reference in pairs:
        expected = context.reference_blocks.residuals.get(partners.get(block.start, block.start))
        if expected is reference and not block.shortcut and not reference.shortcut:
            late.append(block)
            nodes, reference_nodes = ((each.addition, *each.residual) for each in (block, reference))
            differences += context.within(nodes, reference_nodes)
    if late:
        start = context.model.by_number[late[0].start]
        where = in_blocks([block.label for block in late], len(pairs))
        text = f"the shortcut starts behind {start.label or start.operator} {where}; {context.reference}'s starts at "
        yield match("late-shortcut", f"{text}the input of the block", differences)


def padded_shortcut(context: DiffContext) -> Iterator[Match]:
    """Option A: channels of zeros in place of a projection."""
    pairs = context.paired_blocks()
    padded, differences = [], []
    for block, reference in pairs:
        has_zeros = count_of(block.shortcut, "constant_pad", "cat") and not count_of(block.shortcut, "conv")
        if has_zeros and count_of(reference.shortcut, "conv"):
            padded.append(block.label)
            differences += context.within(block.shortcut, reference.shortcut, "extra", "missing", "moved", "replaced")
    if padded:
        where = in_blocks(padded, len(pairs))
        text = f"option A: the shortcut is padded with zeros {where}; {context.reference} has a projection"
        yield match("padded-shortcut", text, differences)


def projected_identity(context: DiffContext) -> Iterator[Match]:
    """A projection where the reference adds the input as it is."""
    pairs = context.paired_blocks()
    projected, differences = [], []
    for block, reference in pairs:
        if count_of(block.shortcut, "conv") and not reference.shortcut:
            projected.append(block.label)
            differences += context.within(block.shortcut, [])
    if projected:
        text = f"the shortcut is a projection {in_blocks(projected, len(pairs))}; {context.reference} has the identity"
        yield match("projected-identity", text, differences)


def joined_otherwise(context: DiffContext) -> Iterator[Match]:
    """Branches that are multiplied or concatenated in place of the addition."""
    additions = context.of("missing", "add")
    for operator, verb in (("mul", "multiplied"), ("cat", "concatenated")):
        joins = [(row, node) for row, node in context.extra(operator) if len(set(node.inputs)) == 2]
        if joins and additions and len(joins) == len(additions):
            where = in_blocks([place(row) for row, _ in joins], len(context.reference_blocks.blocks))
            text = f"both branches are {verb} {where}; {context.reference} adds them"
            yield match("joined-otherwise", text, [*additions, *(row for row, _ in joins)])
    subtracted = [row for row in context.of("replaced", "add") if row.model_node and row.model_node.operator == "sub"]
    if subtracted:
        where = in_blocks([place(row) for row in subtracted], len(context.reference_blocks.blocks))
        text = f"one branch is subtracted from the other {where}; {context.reference} adds them"
        yield match("joined-otherwise", text, subtracted)


def dropped_shortcut(context: DiffContext) -> Iterator[Match]:
    """A block without its addition."""
    additions = context.of("missing", "add")
    missing = [row.reference_node for row in context.of("missing", "conv")]
    projections = [node for node in missing if node is not None and node.number in context.reference_blocks.shortcuts]
    if not additions or len(projections) < len(missing):
        return
    total = len(context.reference_blocks.blocks)
    where = in_blocks([place(difference) for difference in additions], total)
    text = f"no shortcut {where}: nothing is added to the output of the last convolution"
    yield match("dropped-identity", text, additions + context.within([], projections))


def scaled_shortcut(context: DiffContext) -> Iterator[Match]:
    """A factor on a summand of the addition."""
    factors = [
        (difference, node)
        for difference, node in context.extra("mul", "div")
        if "add" in operators_after(context.readers, node) and len(node.inputs) == 1
    ]
    scaled = [difference for difference, _ in factors]
    scaled += context.of("setting", "add.alpha")
    labels = list(dict.fromkeys(map(place, scaled)))
    if scaled:
        factor = next((node.settings["other"] for _, node in factors if "other" in node.settings), None)
        by = f" by {factor:g}" if isinstance(factor, (int, float)) else ""
        where = places(labels) if len(labels) == 1 else in_blocks(labels, len(context.blocks.blocks))
        text = f"a summand is scaled{by} {where}; {context.reference} adds it unscaled"
        yield match("scaled-identity", text, scaled)


def resnet_d(context: DiffContext) -> Iterator[Match]:
    """An average pool before the 1×1 of the shortcut."""
    shortcuts = context.blocks.shortcuts
    pooled = [
        (difference, shortcuts[node.number])
        for difference, node in context.extra("avg_pool")
        if node.number in shortcuts and count_of(shortcuts[node.number].shortcut, "conv")
    ]
    if pooled:
        strides = [row[0] for row in context.settings("conv.stride") if row[1].number in shortcuts]
        text = f"this is ResNet-D: the shortcut is average-pooled before its 1×1, where {context.reference} strides"
        yield match("resnet-d", text, [difference for difference, _ in pooled] + strides)
