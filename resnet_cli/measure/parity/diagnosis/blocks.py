"""Patterns in blocks, shortcuts and the stem.

The C and D variants by He et al. 2018 (arXiv 1812.01187); squeeze-and-excitation by Hu et al. 2017 (arXiv 1709.01507).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from resnet_cli.measure.graph.diff import GraphDifference
from resnet_cli.measure.graph.nodes import IMAGE, Graph, Node
from resnet_cli.measure.parity.diagnosis.context import (
    DiffContext,
    Match,
    match,
    operators_after,
    path_to_image,
    place,
)

_ARITHMETIC = ("sub", "div", "mul", "add", "rsub")


def additions_of_blocks(differences: Sequence[GraphDifference]) -> list[GraphDifference]:
    """The additions among extra or missing operators, if as many convolutions go with them: those of whole blocks."""
    additions = [difference for difference in differences if difference.finding.subject == "add"]
    convs = sum(difference.finding.subject == "conv" for difference in differences)
    return additions if convs >= len(additions) else []


def number_of_blocks(context: DiffContext) -> Iterator[Match]:
    """More or fewer blocks than the reference."""
    for category, key, word in (("missing", "block-fewer", "fewer"), ("extra", "block-more", "more")):
        differences = context.of(category)
        if additions := additions_of_blocks(differences):
            convs = [difference for difference in differences if difference.finding.subject == "conv"]
            count = f"{len(additions)} blocks" if len(additions) > 1 else "one block"
            node = convs[0].model_node or convs[0].reference_node
            where = "" if node is None else f" ({node.label}{', …' if len(convs) > 1 else ''})"
            yield match(key, f"{count} {word} than {context.reference}{where}", differences)


def dropped_shortcut(context: DiffContext) -> Iterator[Match]:
    """A block without its addition."""
    additions = context.of("missing", "add")
    if additions and not context.of("missing", "conv"):
        path = additions[0].finding.reference_path
        yield match("dropped-identity", f"the block at {path} has no shortcut: nothing is added to it", additions)


def scaled_shortcut(context: DiffContext) -> Iterator[Match]:
    """A factor on a summand of the addition."""
    factors = [
        (difference, node)
        for difference, node in context.extra("mul", "div")
        if "add" in operators_after(context.readers, node) and len(node.inputs) == 1
    ]
    scaled = [difference for difference, _ in factors]
    scaled += [difference for difference in context.structure.differences if difference.finding.subject == "add.alpha"]
    if scaled:
        factor = next((node.settings["other"] for _, node in factors if "other" in node.settings), None)
        by = f" by {factor:g}" if isinstance(factor, (int, float)) else ""
        text = f"a summand is scaled{by} at {place(scaled[0])}; {context.reference} adds it unscaled"
        yield match("scaled-identity", text, scaled)


def resnet_d(context: DiffContext) -> Iterator[Match]:
    """An average pool before the 1×1 of the shortcut."""
    pooled = [
        difference
        for difference, node in context.extra("avg_pool")
        if any(
            reader.operator == "conv" and reader.settings["kernel"] == (1, 1) for reader in context.readers[node.number]
        )
    ]
    if pooled:
        strides = [row[0] for row in context.settings("conv.stride") if row[1].settings["kernel"] == (1, 1)]
        text = f"this is ResNet-D: the shortcut is average-pooled before its 1×1, where {context.reference} strides"
        yield match("resnet-d", text, pooled + strides)


def squeeze_excite(context: DiffContext) -> Iterator[Match]:
    """Gates from pooled activations."""
    extra = context.of("extra")
    gates = context.extra("sigmoid", "hardsigmoid")
    if gates and context.extra("mean") and context.extra("mul"):
        text = f"{len(gates)} squeeze-and-excitation gates; {context.reference} has none"
        yield match("squeeze-excite", text, extra)


def input_normalization(context: DiffContext) -> Iterator[Match]:
    """Arithmetic on the image before the first layer."""
    differences = [
        difference for difference, node in context.extra(*_ARITHMETIC) if _reads_image_only(context.model, node)
    ]
    if differences:
        text = f"the network normalizes its input itself; {context.reference} expects it normalized"
        yield match("input-normalization", text, differences)


def _reads_image_only(graph: Graph, node: Node) -> bool:
    """Whether no layer is above an operator."""
    numbers = list(node.inputs)
    while numbers:
        number = numbers.pop()
        if number == IMAGE:
            continue
        above = graph.by_number.get(number)
        if above is None or above.operator not in _ARITHMETIC:
            return False
        numbers.extend(above.inputs)
    return True


def deep_stem(context: DiffContext) -> Iterator[Match]:
    """Several convolutions before the first pool."""
    stem = [difference for difference, node in context.extra("conv") if _is_in_stem(context.model, node)]
    if stem:
        text = f"the stem has {len(stem) + 1} convolutions (ResNet-C), {context.reference}'s has one"
        yield match("deep-stem", text, stem)


def _is_in_stem(graph: Graph, node: Node) -> bool:
    """Whether a convolution is before the first pool or addition."""
    above = path_to_image(graph, node)
    return above is not None and not any(node.operator in ("max_pool", "avg_pool", "add") for node in above)
