"""Patterns in single layers: strides, pooling, batch norm, biases, padding, dropout.

ResNet v1 and v1.5 by the note at `torchvision.models.resnet.Bottleneck`; eps 1e-3 and 1.001e-5 are the defaults of
Keras's BatchNormalization and of its ResNet.
"""

from __future__ import annotations

from collections.abc import Iterator

from resnet_cli.measure.graph.diff import GraphDifference
from resnet_cli.measure.graph.nodes import Graph, Node
from resnet_cli.measure.parity.diagnosis.context import DiffContext, Match, match, operators_after, place

_KERAS_EPS = ((1e-3, "the default of TensorFlow and Keras"), (1.001e-5, "that of Keras's own ResNet"))
_TENSORFLOW_MOMENTA = (0.9, 0.99, 0.01)  # or the complement of its default


def stride_position(context: DiffContext) -> Iterator[Match]:
    """The stride is in another convolution of the block than in the reference."""
    strides = context.settings("conv.stride")
    smaller = [row for row in strides if row[1].settings["stride"] < row[2].settings["stride"]]
    larger = [row for row in strides if row[1].settings["stride"] > row[2].settings["stride"]]
    if not smaller or not larger:
        return
    (first_larger, strided, _), (first_smaller, _, strided_in_reference) = larger[0], smaller[0]
    kernels = strided.settings["kernel"], strided_in_reference.settings["kernel"]
    if strides.index(larger[0]) < strides.index(smaller[0]) and kernels == ((1, 1), (3, 3)):
        key = "resnet-v1"
        text = (
            f"this is ResNet v1: the stride is in the first 1×1 convolution; {context.reference} has it in the "
            "3×3 (v1.5)"
        )
    else:
        key = "stride-moved"
        text = (
            f"the stride is in another convolution of the block: in {place(first_larger)}; in {context.reference} it "
            f"is in {first_smaller.finding.reference_path}"
        )
    yield match(key, text, [difference for difference, _, _ in larger + smaller])


def max_pool(context: DiffContext) -> Iterator[Match]:
    """The max pool of Caffe, or an average pool in its place."""
    padding, ceil = context.of("setting", "max_pool.padding"), context.of("setting", "max_pool.ceil_mode")
    if padding and ceil:
        text = (
            f"this is Caffe's pooling: no padding and sizes rounded up; {context.reference} pads by 1 and rounds down"
        )
        yield match("caffe-pool", text, padding + ceil)
    for difference in context.of("replaced", "max_pool"):
        text = f"the stem pools by {difference.finding.model_value}, not by maximum"
        yield match("average-pool-stem", text, [difference])


def keras_eps(context: DiffContext) -> Iterator[Match]:
    """The eps of Keras."""
    for value, origin in _KERAS_EPS:
        differences = [row[0] for row in context.settings("batch_norm.eps") if row[1].settings["eps"] == value]
        if differences:
            text = f"eps {value:g} is {origin}; {context.reference} has {differences[0].finding.reference_value}"
            yield match("keras-eps", text, differences)


def momentum_convention(context: DiffContext) -> Iterator[Match]:
    """A momentum in the convention of TensorFlow."""
    differences = context.settings("batch_norm.momentum")
    if differences and (momentum := differences[0][1].settings["momentum"]) in _TENSORFLOW_MOMENTA:
        text = (
            f"a momentum of {momentum:g} is what TensorFlow calls {1 - momentum:g}: torch counts how much of the new "
            "value is taken, TensorFlow how much of the old one is kept"
        )
        yield match("momentum-convention", text, [difference for difference, _, _ in differences])


def missing_norms(context: DiffContext) -> Iterator[Match]:
    """Batch norms that the model does not have, unless whole blocks are missing."""
    if context.of("missing", "add"):
        return
    projections: list[GraphDifference] = []
    others: list[GraphDifference] = []
    for difference in context.of("missing", "batch_norm"):
        norm = difference.reference_node
        if norm is not None:
            is_projection = _is_in_projection(context.structure.reference_graph, context.reference_readers, norm)
            (projections if is_projection else others).append(difference)
    if projections:
        path = projections[0].finding.reference_path
        text = f"no batch norm behind the projection: {context.reference} has {path}"
        yield match("missing-projection-bn", text, projections)
    if others:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        text = f"a batch norm is missing: {context.reference} has {others[0].finding.reference_path}{more}"
        yield match("missing-bn", text, others)


def _is_in_projection(graph: Graph, readers: dict[int, list[Node]], norm: Node) -> bool:
    """Whether its convolution reads the input of the block, and the addition reads its output."""
    convs = [graph.by_number[number] for number in norm.inputs if number in graph.by_number]
    reads_block_input = any(
        conv.operator == "conv" and any(len(readers.get(number, [])) > 1 for number in conv.inputs) for conv in convs
    )
    return reads_block_input and "add" in operators_after(readers, norm)


def biases(context: DiffContext) -> Iterator[Match]:
    """Convolutions with a bias, or a classifier without one."""
    convs = [row[0] for row in context.settings("conv.bias") if row[1].settings["bias"]]
    if convs:
        count = "a convolution has a bias" if len(convs) == 1 else f"{len(convs)} convolutions have a bias"
        yield match("conv-bias", f"{count}; {context.reference} leaves it to the batch norm", convs)
    heads = [row[0] for row in context.settings("linear.bias") if not row[1].settings["bias"]]
    if heads:
        yield match("no-head-bias", f"the classifier has no bias; {context.reference}'s has one", heads)


def padding_mode(context: DiffContext) -> Iterator[Match]:
    """Padding by anything but zeros."""
    modes = {"reflection_pad": "reflect", "replication_pad": "replicate"}
    differences = context.of("setting", "conv.padding_mode")
    differences += [difference for difference in context.of("extra") if difference.finding.subject in modes]
    if differences:
        value = differences[0].finding.model_value or ""
        text = f"convolutions pad by {modes.get(value, value)}; {context.reference} pads with zeros"
        yield match("padding-mode", text, differences)


def dropout(context: DiffContext) -> Iterator[Match]:
    """Dropout that the reference does not have."""
    dropouts = context.extra("dropout")
    if not dropouts:
        return
    last = [row for row in dropouts if "linear" in operators_after(context.readers, row[1])]
    difference, node = (last or dropouts)[0]
    p = node.settings.get("p")
    where = "before the classifier" if last else f"at {place(difference)}"
    text = f"dropout{f' of {p:g}' if p is not None else ''} {where}; {context.reference} has none"
    yield match("dropout", text, [difference for difference, _ in dropouts])
