"""Patterns in the stem and before it. The C variant by He et al. 2018 (arXiv 1812.01187)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from resnet_cli.measure.graph.nodes import IMAGE, Graph, Node
from resnet_cli.measure.graph.settings_text import settings_text
from resnet_cli.measure.ops.names import spoken
from resnet_cli.measure.parity.diagnosis.context import DiffContext, Match, match
from resnet_cli.measure.parity.diagnosis.residual_blocks import count_of

_ARITHMETIC = ("sub", "div", "mul", "add", "rsub")


def input_normalization(context: DiffContext) -> Iterator[Match]:
    """Arithmetic on the image before the first layer."""
    differences = [
        difference for difference, node in context.extra(*_ARITHMETIC) if _reads_image_only(context.model, node)
    ]
    if differences:
        text = f"the network normalizes its input itself; {context.reference} expects it normalized"
        yield match("input-normalization", text, differences)


def reordered_input(context: DiffContext) -> Iterator[Match]:
    """The image's channels or pixels in another order before the first layer, as from RGB to BGR."""
    for difference, node in context.extra("index", "index_select", "flip", "roll", "transpose", "permute"):
        if node.inputs == (IMAGE,):
            text = f"the network reorders its input ({spoken(node.operator)}); {context.reference} takes it as it is"
            yield match("reordered-input", text, [difference])


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
    """Several convolutions in the stem."""
    nodes, expected = (
        _before_pool(graph, blocks.stem)
        for graph, blocks in (
            (context.model, context.blocks),
            (context.structure.reference_graph, context.reference_blocks),
        )
    )
    convs = [node for node in nodes if node.operator == "conv"]
    if len(convs) > 1 and count_of(expected, "conv") == 1:
        is_c = [conv.settings["kernel"] for conv in convs] == [(3, 3)] * 3
        text = f"the stem has {len(convs)} convolutions{' (ResNet-C)' if is_c else ''}, {context.reference}'s has one"
        yield match("deep-stem", text, context.within(nodes, []) + context.of("moved", "max_pool"))


def _before_pool(graph: Graph, stem: Iterable[int]) -> list[Node]:
    """The stem's operators up to its first pool."""
    nodes = [graph.by_number[number] for number in sorted(stem)]
    return list(itertools.takewhile(lambda node: node.operator not in ("max_pool", "avg_pool"), nodes))


def cifar_stem(context: DiffContext) -> Iterator[Match]:
    """A 3×3 convolution without stride and no pool, for images of 32 pixels."""
    graph = context.model
    convs = [graph.by_number[n] for n in sorted(context.blocks.stem) if graph.by_number[n].operator == "conv"]
    strides = [row for row in context.settings("conv.stride") if row[1].number in context.blocks.stem]
    pools = context.of("missing", "max_pool")
    if len(convs) != 1 or not strides or not pools:
        return
    (conv,) = convs
    if (conv.settings["kernel"], conv.settings["stride"]) == ((3, 3), (1, 1)):
        text = (
            f"this is the stem for CIFAR: {conv.label} is 3×3 with stride 1, and there is no max pool; "
            f"{context.reference}'s stem is for images of 224 pixels"
        )
        yield match("cifar-stem", text, [*context.within([conv], []), *pools])


def max_pool(context: DiffContext) -> Iterator[Match]:
    """The max pool of Caffe, or another pool in its place."""
    padding, ceil = context.settings("max_pool.padding"), context.settings("max_pool.ceil_mode")
    if any(row[1].settings["padding"] == (0, 0) for row in padding) and any(
        row[1].settings["ceil_mode"] for row in ceil
    ):
        text = (
            f"this is Caffe's pooling: no padding and sizes rounded up; {context.reference} pads by 1 and rounds down"
        )
        yield match("caffe-pool", text, [row[0] for row in padding + ceil])
    else:
        yield from _other_pool(context)
    for difference in context.of("replaced", "max_pool"):
        node = difference.model_node
        if node is not None and node.number in context.blocks.stem:
            text = f"the stem pools by {spoken(node.operator)}, not by maximum"
            yield match("average-pool-stem", text, [difference])


def _other_pool(context: DiffContext) -> Iterator[Match]:
    """A max pool of the stem in which several settings differ."""
    names = "kernel", "stride", "padding", "dilation", "ceil_mode"
    rows = [row for name in names for row in context.settings(f"max_pool.{name}")]
    pools = {row[1].number for row in rows}
    if len(rows) > 1 and len(pools) == 1 and pools <= context.blocks.stem:
        _, node, reference_node = rows[0]
        text = f"the max pool is {settings_text(node)}, {context.reference}'s {settings_text(reference_node)}"
        yield match("other-max-pool", text, [row[0] for row in rows])
