"""Patterns in single layers: strides, settings of batch norms, biases, padding.

ResNet v1 and v1.5 by the note at `torchvision.models.resnet.Bottleneck`; eps 1e-3 and 1.001e-5 are the defaults of
Keras's BatchNormalization and of its ResNet.
"""

from __future__ import annotations

from collections.abc import Iterator

from resnet_cli.measure.graph.diff import GraphDifference
from resnet_cli.measure.graph.nodes import Node
from resnet_cli.measure.ops.names import spoken
from resnet_cli.measure.ops.settings import CUMULATIVE_AVERAGE
from resnet_cli.measure.parity.diagnosis.context import DiffContext, Match, in_blocks, match, place
from resnet_cli.measure.parity.diagnosis.residual_blocks import ResidualBlock

_KERAS_EPS = ((1e-3, "the default of TensorFlow and Keras"), (1.001e-5, "that of Keras's own ResNet"))
_Setting = tuple[GraphDifference, Node, Node]  # with the operators of model and reference
_TENSORFLOW_MOMENTA = (0.9, 0.99, 0.01)  # or the complement of its default


def stride_position(context: DiffContext) -> Iterator[Match]:
    """The stride is in another convolution of the block than in the reference."""
    smaller, larger = _strides(context)
    pairs = [(more, less) for more in larger for less in smaller if _in_one_block(context, more, less)]
    if not pairs:
        return
    (first_larger, strided, _), (first_smaller, _, strided_in_reference) = pairs[0]
    kernels = strided.settings["kernel"], strided_in_reference.settings["kernel"]
    if strided.number < pairs[0][1][1].number and kernels == ((1, 1), (3, 3)):
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
    moved = {id(row[0]): row[0] for pair in pairs for row in pair}
    yield match(key, text, moved.values())


def _in_one_block(context: DiffContext, first: _Setting, second: _Setting) -> bool:
    """Whether two convolutions are in the residual branch of one block, in the model and in the reference."""
    blocks = [context.blocks.residuals.get(row[1].number) for row in (first, second)]
    blocks += [context.reference_blocks.residuals.get(row[2].number) for row in (first, second)]
    return None not in blocks and blocks[0] is blocks[1] and blocks[2] is blocks[3]


def stride_in_other_blocks(context: DiffContext) -> Iterator[Match]:
    """Other blocks stride than in the reference."""
    smaller, larger = _strides(context)
    pairs = context.paired_blocks()
    more, less = (
        [block.label for block, _ in pairs if any(row[1].number in _numbers(block) for row in rows)]
        for rows in (larger, smaller)
    )
    if more and less:
        text = f"other blocks stride: {', '.join(more)}, and not {', '.join(less)}, which stride in {context.reference}"
        numbers = {number for block, _ in pairs for number in _numbers(block)}
        yield match("stride-in-other-blocks", text, [row[0] for row in larger + smaller if row[1].number in numbers])


def dilated_blocks(context: DiffContext) -> Iterator[Match]:
    """Dilated convolutions in place of strides, as segmentation uses them (Yu et al. 2017, arXiv 1705.09914)."""
    dilated = [row for row in context.settings("conv.dilation") if max(row[1].settings["dilation"]) > 1]
    smaller, _ = _strides(context)
    blocks = context.blocks.residuals
    labels = list(dict.fromkeys(blocks[row[1].number].label for row in dilated if row[1].number in blocks))
    if labels and smaller and all(row[1].number in blocks for row in dilated):
        nodes = [row[1] for row in [*dilated, *smaller]]
        rate = max(max(row[1].settings["dilation"]) for row in dilated)
        where = in_blocks(labels, len(context.blocks.blocks))
        text = f"convolutions are dilated by up to {rate} {where}, in place of a stride that {context.reference} has"
        yield match("dilated-blocks", text, context.within(nodes, [], "setting"))


def other_strides(context: DiffContext) -> Iterator[Match]:
    """Blocks whose layers stride less or more than the reference's."""
    smaller, larger = _strides(context)
    pairs = context.paired_blocks()
    numbers = {number for block, _ in pairs for number in _numbers(block)}
    for rows, word in ((smaller, "less"), (larger, "more")):
        labels = [block.label for block, _ in pairs if any(row[1].number in _numbers(block) for row in rows)]
        if labels and all(row[1].number in numbers for row in rows):
            where = in_blocks(labels, len(pairs))
            text = f"layers stride {word} than {context.reference}'s {where}"
            yield match(f"strides-{word}", text, [row[0] for row in rows])


def _numbers(block: ResidualBlock) -> set[int]:
    return {node.number for node in (*block.shortcut, *block.residual)}


def _strides(context: DiffContext) -> tuple[list[_Setting], list[_Setting]]:
    """Convolutions that stride less than the reference's, and those that stride more."""
    strides = context.settings("conv.stride")
    smaller = [row for row in strides if row[1].settings["stride"] < row[2].settings["stride"]]
    return smaller, [row for row in strides if row[1].settings["stride"] > row[2].settings["stride"]]


def keras_eps(context: DiffContext) -> Iterator[Match]:
    """The eps of Keras."""
    for value, origin in _KERAS_EPS:
        differences = [row[0] for row in context.settings("batch_norm.eps") if row[1].settings["eps"] == value]
        if differences:
            text = f"eps {value:g} is {origin}; {context.reference} has {differences[0].finding.reference_value}"
            yield match("keras-eps", text, differences)


def momentum_convention(context: DiffContext) -> Iterator[Match]:
    """No momentum, or one in the convention of TensorFlow."""
    differences = context.settings("batch_norm.momentum")
    cumulative = [row[0] for row in differences if row[1].settings["momentum"] == CUMULATIVE_AVERAGE]
    if cumulative:
        text = (
            f"a momentum of None makes running statistics the average of all batches, at {_counted(len(cumulative))}; "
            f"{context.reference} has a momentum of {cumulative[0].finding.reference_value}"
        )
        yield match("cumulative-average", text, cumulative)
    elif differences and (momentum := differences[0][1].settings["momentum"]) in _TENSORFLOW_MOMENTA:
        text = (
            f"a momentum of {momentum:g} is what TensorFlow calls {1 - momentum:g}: torch counts how much of the new "
            "value is taken, TensorFlow how much of the old one is kept"
        )
        yield match("momentum-convention", text, [difference for difference, _, _ in differences])


def _counted(norms: int) -> str:
    return f"{norms} batch norms" if norms > 1 else "one batch norm"


def biases(context: DiffContext) -> Iterator[Match]:
    """Convolutions with a bias, or a classifier without one."""
    convs = [row[0] for row in context.settings("conv.bias") if row[1].settings["bias"]]
    if convs:
        count = "a convolution has a bias" if len(convs) == 1 else f"{len(convs)} convolutions have a bias"
        yield match("conv-bias", f"{count}; {context.reference} leaves it to the batch norm", convs)
    heads = [row[0] for row in context.settings("linear.bias") if not row[1].settings["bias"]]
    if heads:
        yield match("no-head-bias", f"the classifier has no bias; {context.reference}'s has one", heads)


def computed_weights(context: DiffContext) -> Iterator[Match]:
    """Weights that are computed from parameters, as by weight normalization (arXiv 1602.07868)."""
    computed = [
        (difference, node)
        for operator in ("conv", "linear")
        for difference, node, reference_node in context.settings(f"{operator}.weight")
        if node.leaves["weight"].computed and not reference_node.leaves["weight"].computed
    ]
    if computed:
        node = computed[0][1]
        names = [name.strip("_").removesuffix("_interface") for name in node.leaves["weight"].computed]
        operators = ", ".join(map(spoken, dict.fromkeys(names)))
        place = f"{len(computed)} layers ({node.path}, …)" if len(computed) > 1 else node.path or "a layer"
        text = (
            f"the weight of {place} is computed by {operators} from parameters, which are what is trained; in "
            f"{context.reference} it is a parameter itself"
        )
        yield match("computed-weights", text, [difference for difference, _ in computed])


def padding_mode(context: DiffContext) -> Iterator[Match]:
    """Padding by anything but zeros."""
    modes = {"reflection_pad": "reflect", "replication_pad": "replicate"}
    differences = context.of("setting", "conv.padding_mode")
    # A pad in front of a convolution that the reference has too, and that does not pad itself.
    differences += [
        difference
        for difference, node in context.extra(*modes)
        if any(
            reader.operator == "conv" and reader.number in context.structure.partner
            for reader in context.readers[node.number]
        )
    ]
    if differences:
        value = differences[0].finding.model_value or ""
        text = f"convolutions pad by {modes.get(value, value)}; {context.reference} pads with zeros"
        yield match("padding-mode", text, differences)
