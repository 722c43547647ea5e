"""Patterns in the number of blocks, and in what is another architecture altogether."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

from resnet_cli.measure.graph.nodes import Node
from resnet_cli.measure.parity.diagnosis.context import DiffContext, Match, match
from resnet_cli.measure.parity.diagnosis.residual_blocks import ResidualBlocks

OTHER_ARCHITECTURE = "other-architecture"  # key of the diagnosis

# Least shares of the weights that have a counterpart, of the larger and of the smaller network: with fewer of them an
# alignment is chance. Half as many blocks still leave 0.3 of the larger network, and nearly all of the smaller one.
_OF_LARGER, _OF_SMALLER = 0.3, 0.65
_WIDTHS = frozenset({"conv.channels", "conv.groups", "batch_norm.channels", "linear.channels"})
_KERNELS = frozenset({"conv.kernel", "conv.padding"})
_BLOCK_TYPES = {((3, 3), (3, 3)): "basic", ((1, 1), (3, 3), (1, 1)): "bottleneck"}


def other_widths(context: DiffContext) -> Iterator[Match]:
    """The same layers with other numbers of channels, as in Wide ResNet and ResNeXt, or with other kernels."""
    differences = context.structure.differences
    if not differences or {row.finding.subject for row in differences} - _WIDTHS - _KERNELS:
        return
    kernels = context.of("setting", "conv.kernel")
    if len(kernels) < 2 and any(row.finding.subject in _KERNELS for row in differences):
        return
    widths = context.of("setting", "conv.channels")
    groups = context.settings("conv.groups")
    clauses = [f"with other widths ({widths[0].finding.text})"] if widths else []
    if groups:
        count = groups[0][1].settings["groups"]
        convolutions = f"{len(groups)} convolution{'s' if len(groups) > 1 else ''}"
        clauses.append(f"with {convolutions} in {count} {'groups' if count > 1 else 'group'}")
    if kernels:
        clauses.append(f"with other kernels in {len(kernels)} convolutions ({kernels[0].finding.text})")
    if clauses:
        yield match("other-widths", f"the same layers {', '.join(clauses)}", differences)


def other_block_type(context: DiffContext) -> Iterator[Match]:
    """Basic blocks in place of bottlenecks, or the other way round."""
    names = [_block_type(blocks) for blocks in (context.blocks, context.reference_blocks)]
    if all(names) and names[0] != names[1]:
        inside = {*context.blocks.residuals, *context.blocks.shortcuts, *context.blocks.stem}
        outside = sum(node.operator == "conv" and node.number not in inside for node in context.model.nodes)
        if outside:
            text = f"another architecture than {context.reference}'s: {outside} convolutions are in no residual block"
            yield match(OTHER_ARCHITECTURE, text, context.structure.differences)
            return
        counts = len(context.blocks.blocks), len(context.reference_blocks.blocks)
        text = (
            f"{counts[0]} {names[0]} blocks, where {context.reference} has {counts[1]} {names[1]} blocks: another depth"
        )
        yield match("other-block-type", text, context.structure.differences)


def _block_type(blocks: ResidualBlocks) -> str | None:
    """The type that all blocks have, by the kernels of their convolutions."""
    convs = [[node.settings for node in block.residual if node.operator == "conv"] for block in blocks.blocks]
    kernels = {tuple(settings["kernel"] for settings in block) for block in convs}
    if any(settings["groups"] > 1 for block in convs for settings in block):
        return None
    return _BLOCK_TYPES.get(kernels.pop()) if len(kernels) == 1 else None


def no_shortcuts(context: DiffContext) -> Iterator[Match]:
    """A network without any addition, and with other convolutions."""
    additions = len(context.reference_blocks.blocks)
    if additions > 1 and not context.blocks.blocks and context.of("missing", "conv"):
        text = f"no residual network: nothing is added anywhere, {context.reference} has {additions} additions"
        yield Match("no-shortcuts", text, context.differences)


def other_architecture(context: DiffContext) -> Iterator[Match]:
    """Hardly a weight with a counterpart: then the operators that differ say nothing."""
    counts = len(_layers(context.model.nodes)), len(_layers(context.structure.reference_graph.nodes))
    pairs = [(node, partner) for node, partner in context.structure.pairs if node is not None and partner is not None]
    mapped = sum(_size(node) == _size(partner) for node, partner in pairs if _layers([node]) and _layers([partner]))
    if mapped < _OF_LARGER * max(counts) or mapped < _OF_SMALLER * min(counts):
        text = (
            f"another architecture than {context.reference}'s: of {counts[0]} convolutions and linear layers, "
            f"{mapped} have a counterpart of the same size"
        )
        yield Match(OTHER_ARCHITECTURE, text, context.differences)


def _layers(nodes: Sequence[Node]) -> list[Node]:
    """Convolutions and linear layers."""
    return [node for node in nodes if node.operator in ("conv", "linear") and "weight" in node.leaves]


def _size(node: Node) -> int:
    return prod(node.leaves["weight"].shape)


def number_of_blocks(context: DiffContext) -> Iterator[Match]:
    """More or fewer residual blocks than the reference."""
    more = len(context.blocks.blocks) - len(context.reference_blocks.blocks)
    if not more:
        return
    category, key, word = ("extra", "block-more", "more") if more > 0 else ("missing", "block-fewer", "fewer")
    blocks = context.blocks if more > 0 else context.reference_blocks
    differences = []
    for difference in context.of(category):
        node = difference.model_node or difference.reference_node
        if node is not None and node.number not in blocks.stem:
            differences.append((difference, node))
    convs = [node for _, node in differences if node.operator == "conv" and node.number in blocks.residuals]
    if len(convs) >= abs(more):
        count = f"{abs(more)} blocks" if abs(more) > 1 else "one block"
        where = f" ({convs[0].label}{', …' if len(convs) > 1 else ''})"
        text = f"{count} {word} than {context.reference}{where}"
        yield match(key, text, [difference for difference, _ in differences])


def displaced_additions(context: DiffContext) -> Iterator[Match]:
    """As many weights, and additions that join other layers, so that no block corresponds to one."""
    count, expected = len(context.blocks.blocks), len(context.reference_blocks.blocks)
    has_other_convs = context.of("missing", "conv") and context.of("extra", "conv")
    if context.displaced_blocks() > count // 4 or (count != expected and has_other_convs):
        text = f"another architecture than {context.reference}'s: its {count} additions join other layers"
        yield Match(OTHER_ARCHITECTURE, text, context.differences)
