"""Recognizes well-known mistakes and variants in the differences: ResNet v1, pre-activation, Keras's eps.

Names and facts: ResNet v1 and v1.5 by the note at `torchvision.models.resnet.Bottleneck`; pre-activation by He et
al. 2016 (arXiv 1603.05027); the C and D variants by He et al. 2018 (arXiv 1812.01187); squeeze-and-excitation by Hu
et al. 2017 (arXiv 1709.01507); eps 1e-3 and 1.001e-5 are the defaults of Keras's BatchNormalization and of its
ResNet.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from resnet_cli.measure.graph.diff import GraphDiff, GraphDifference
from resnet_cli.measure.graph.nodes import IMAGE, Graph, Node
from resnet_cli.measure.ops.names import spoken
from resnet_cli.measure.ops.settings import ACTIVATIONS
from resnet_cli.results.compare import Diagnosis, Difference


@dataclass(frozen=True, slots=True)
class Match:
    """One pattern that was recognized."""

    key: str  # "resnet-v1"
    text: str
    explains: Sequence[GraphDifference | Difference]


@dataclass(slots=True)
class DiffContext:
    """What the patterns look at.

    Args:
        structure: both graphs, aligned, and their differences.
        findings: all differences of the comparison.
        biased_variances: running variances that the model updates with the biased variance of the batch.
        readers: operators of the model by the number of the operator whose output they read.
        reference_readers: the same for the reference.
    """

    structure: GraphDiff
    findings: Sequence[Difference]
    biased_variances: Collection[str]
    readers: dict[int, list[Node]]
    reference_readers: dict[int, list[Node]]

    def of(self, category: str, subject: str | None = None) -> list[GraphDifference]:
        """Structural differences of a category."""
        differences = [one for one in self.structure.differences if one.finding.category == category]
        return differences if subject is None else [one for one in differences if one.finding.subject == subject]

    @property
    def reference(self) -> str:
        """The name of the reference in sentences."""
        return self.structure.reference


Pattern = Callable[[DiffContext], Iterator[Match]]


def _readers(graph: Graph) -> dict[int, list[Node]]:
    readers: dict[int, list[Node]] = defaultdict(list)
    for node in graph.nodes:
        for number in set(node.inputs):
            readers[number].append(node)
    return readers


def diagnose(
    structure: GraphDiff, findings: Sequence[Difference], biased_variances: Collection[str] = ()
) -> list[Diagnosis]:
    """Every pattern that is recognized, with the differences that it explains.

    Args:
        structure: both graphs and their differences.
        findings: all differences of the comparison; those of the structure are the same objects.
        biased_variances: running variances that the model updates with the biased variance of the batch.
    """
    context = DiffContext(
        structure, findings, biased_variances, _readers(structure.model), _readers(structure.reference_graph)
    )
    places = {id(finding): index for index, finding in enumerate(findings)}
    diagnoses = []
    for pattern in PATTERNS:
        for match in pattern(context):
            explained = [one.finding if isinstance(one, GraphDifference) else one for one in match.explains]
            indices = sorted(places[id(one)] for one in explained if id(one) in places)
            diagnoses.append(Diagnosis(match.key, match.text, tuple(indices)))
    return diagnoses


def _strides(context: DiffContext) -> Iterator[Match]:
    """A stride that stands in another convolution of the block."""
    found = context.of("setting", "conv.stride")
    gone = [
        one
        for one in found
        if one.model_node
        and one.reference_node
        and one.model_node.settings["stride"] < one.reference_node.settings["stride"]
    ]
    come = [
        one
        for one in found
        if one.model_node
        and one.reference_node
        and one.model_node.settings["stride"] > one.reference_node.settings["stride"]
    ]
    if not gone or not come:
        return
    kernel = come[0].model_node.settings["kernel"] if come[0].model_node else ()
    is_earlier = found.index(come[0]) < found.index(gone[0])
    if (
        is_earlier
        and kernel == (1, 1)
        and gone[0].reference_node
        and gone[0].reference_node.settings["kernel"] == (3, 3)
    ):
        yield Match(
            "resnet-v1",
            f"this is ResNet v1: the stride is in the first 1×1 convolution; {context.reference} has it in the "
            "3×3 (v1.5)",
            [*come, *gone],
        )
    else:
        yield Match(
            "stride-moved",
            f"the stride stands in another convolution of the block: {_place(come[0])} has it, in {context.reference} "
            f"{gone[0].finding.reference_path} has it",
            [*come, *gone],
        )


def _place(one: GraphDifference) -> str:
    return one.finding.model_path or one.finding.reference_path or "the network"


def _pool(context: DiffContext) -> Iterator[Match]:
    padding, ceil = context.of("setting", "max_pool.padding"), context.of("setting", "max_pool.ceil_mode")
    if padding and ceil:
        yield Match(
            "caffe-pool",
            f"this is Caffe's pooling: no padding and sizes rounded up; {context.reference} pads by 1 and rounds down",
            [*padding, *ceil],
        )
    for one in context.of("replaced", "max_pool"):
        yield Match("average-pool-stem", f"the stem pools by {one.finding.model_value}, not by maximum", [one])


def _eps(context: DiffContext) -> Iterator[Match]:
    found = context.of("setting", "batch_norm.eps")
    for value, origin in ((1e-3, "the default of TensorFlow and Keras"), (1.001e-5, "that of Keras's own ResNet")):
        these = [one for one in found if one.model_node and one.model_node.settings["eps"] == value]
        if these:
            yield Match(
                "keras-eps",
                f"eps {value:g} is {origin}; {context.reference} has {these[0].finding.reference_value}",
                these,
            )
    momenta = [one for one in context.of("setting", "batch_norm.momentum") if one.model_node]
    if momenta and (kept := momenta[0].model_node) is not None and kept.settings["momentum"] in (0.9, 0.99, 0.01):
        m = kept.settings["momentum"]
        text = (
            f"a momentum of {m:g} is what TensorFlow calls {1 - m:g}: torch counts how much of the new value is taken, "
            "TensorFlow how much of the old one is kept"
        )
        yield Match("momentum-convention", text, momenta)


def _operator(graph: Graph, number: int) -> str:
    return "image" if number == IMAGE else graph.by_number[number].operator if number in graph.by_number else ""


def _order(context: DiffContext) -> Iterator[Match]:
    """The same operators in another order."""
    model, reference = context.structure.model, context.structure.reference_graph
    swapped, early = [], []
    for one in context.of("moved"):
        model_node, reference_node = one.model_node, one.reference_node
        if model_node is None or reference_node is None:
            continue
        reads = {_operator(model, i) for i in model_node.inputs}
        expected = {_operator(reference, i) for i in reference_node.inputs}
        if model_node.operator in ACTIVATIONS and "add" in expected and "add" in _next(context.readers, model_node):
            early.append(one)
        elif (model_node.operator in ACTIVATIONS and reads == {"conv"} and expected == {"batch_norm"}) or (
            model_node.operator == "batch_norm" and reads <= ACTIVATIONS and expected == {"conv"}
        ):
            swapped.append(one)
    if swapped and not _is_preactivated(context):
        place = _place(swapped[0])
        yield Match("bn-relu-swapped", f"batch norm and ReLU are swapped at {place}: the ReLU comes first", swapped)
    if early:
        yield Match(
            "relu-before-add",
            f"the ReLU stands before the addition at {_place(early[0])}; {context.reference} adds first",
            early,
        )


def _next(readers: dict[int, list[Node]], node: Node) -> set[str]:
    return {reader.operator for reader in readers.get(node.number, [])}


def _activations(context: DiffContext) -> Iterator[Match]:
    has_fewer_blocks = bool(_block_adds(context.of("missing")))
    for one in context.of("missing"):
        if one.reference_node is None or one.reference_node.operator not in ACTIVATIONS:
            continue
        after = _next(context.reference_readers, one.reference_node)
        before = {_operator(context.structure.reference_graph, i) for i in one.reference_node.inputs}
        is_in_stem = _is_stem(context.structure.reference_graph, one.reference_node)
        if has_fewer_blocks and not is_in_stem:
            continue  # it went with its block
        if "mean" in after:
            yield Match("missing-last-relu", "the last ReLU is missing: the classifier sees negative features", [one])
        elif is_in_stem:
            yield Match("missing-stem-relu", "the ReLU of the stem is missing", [one])
        elif "add" in before:
            yield Match("missing-relu", f"the ReLU behind an addition is missing ({one.finding.reference_path})", [one])
        else:
            yield Match("missing-inner-relu", f"a ReLU inside a block is missing ({one.finding.reference_path})", [one])
    by_kind: dict[str, list[GraphDifference]] = defaultdict(list)
    for one in context.of("replaced"):
        if (
            one.model_node and one.model_node.operator in ACTIVATIONS
        ):  # and theirs is one too: nothing else stands in its place
            by_kind[one.model_node.operator].append(one)
    for kind, these in by_kind.items():
        other = these[0].reference_node
        name = "" if other is None else spoken(other.operator)
        yield Match(f"activation-{kind}", f"{spoken(kind)} stands where {context.reference} has {name}", these)


def _is_stem(graph: Graph, node: Node) -> bool:
    """Whether only one convolution stands above it."""
    convs = 0
    number = node.number
    while number in graph.by_number:
        current = graph.by_number[number]
        convs += current.operator == "conv"
        if len(current.inputs) != 1 or convs > 1:
            return False
        number = current.inputs[0]
    return number == IMAGE


def _norms(context: DiffContext) -> Iterator[Match]:
    reference = context.structure.reference_graph
    projections: list[GraphDifference] = []
    others: list[GraphDifference] = []
    for one in context.of("missing", "batch_norm"):
        if one.reference_node is None:
            continue
        (projections if _is_projection(reference, context.reference_readers, one.reference_node) else others).append(
            one
        )
    blocks = sum(one.finding.subject == "add" for one in context.of("missing"))
    if projections and not blocks:
        yield Match(
            "missing-projection-bn",
            f"no batch norm behind the projection: {context.reference} has {projections[0].finding.reference_path}",
            projections,
        )
    if others and not blocks:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        yield Match(
            "missing-bn",
            f"a batch norm is missing: {context.reference} has {others[0].finding.reference_path}{more}",
            others,
        )


def _is_projection(graph: Graph, readers: dict[int, list[Node]], norm: Node) -> bool:
    """Its convolution reads what the block reads, and it goes straight into the addition."""
    convs = [graph.by_number[i] for i in norm.inputs if i in graph.by_number]
    return any(
        conv.operator == "conv" and any(len(readers.get(i, [])) > 1 for i in conv.inputs) for conv in convs
    ) and "add" in _next(readers, norm)


def _is_preactivated(context: DiffContext) -> bool:
    """A batch norm reads a sum, or what the stem gives."""
    model, reference = context.structure.model, context.structure.reference_graph

    def count(graph: Graph) -> int:
        # The sum may have been rectified already: what makes it pre-activation is the norm behind it.
        found = 0
        for node in graph.nodes:
            if node.operator == "batch_norm":
                above = {_operator(graph, i) for i in node.inputs}
                if above & {"relu"}:
                    above |= {_operator(graph, j) for i in node.inputs for j in graph.by_number[i].inputs}
                found += bool(above & {"add", "max_pool"})
        return found

    return count(model) > count(reference)


def _preactivation(context: DiffContext) -> Iterator[Match]:
    if _is_preactivated(context):
        these = [one for one in context.of("moved") + context.of("missing") + context.of("extra") if _normal(one)]
        text = (
            f"this is pre-activation (ResNet v2): batch norm and ReLU come before the convolution; {context.reference} "
        )
        yield Match("pre-activation", text + "has them after it", these)


def _normal(one: GraphDifference) -> bool:
    return one.finding.subject in ("batch_norm", *ACTIVATIONS)


def _shortcut(context: DiffContext) -> Iterator[Match]:
    convs = context.of("missing", "conv")
    adds = context.of("missing", "add")
    if adds and not convs:
        yield Match(
            "dropped-identity",
            f"nothing is added to the block at {adds[0].finding.reference_path}: its shortcut is lost",
            adds,
        )
    scaled = [
        one
        for one in context.of("extra")
        if one.model_node
        and one.model_node.operator in ("mul", "div")
        and "add" in _next(context.readers, one.model_node)
        and len(one.model_node.inputs) == 1
    ]
    scaled += [one for one in context.structure.differences if one.finding.subject == "add.alpha"]
    if scaled:
        factor = next(
            (
                one.model_node.settings.get("other")
                for one in scaled
                if one.model_node and "other" in one.model_node.settings
            ),
            None,
        )
        by = f" by {factor:g}" if isinstance(factor, (int, float)) else ""
        yield Match(
            "scaled-identity",
            f"what is added is scaled{by} at {_place(scaled[0])}; {context.reference} adds it as it is",
            scaled,
        )
    pooled = [
        one
        for one in context.of("extra", "avg_pool")
        if one.model_node
        and any(r.operator == "conv" and r.settings["kernel"] == (1, 1) for r in context.readers[one.model_node.number])
    ]
    if pooled:
        strides = [
            one
            for one in context.of("setting", "conv.stride")
            if one.model_node and one.model_node.settings["kernel"] == (1, 1)
        ]
        yield Match(
            "resnet-d",
            f"this is ResNet-D: the shortcut is average-pooled before its 1×1, where {context.reference} strides",
            [*pooled, *strides],
        )


def _block_adds(these: Sequence[GraphDifference]) -> list[GraphDifference]:
    """The additions of whole blocks among extra or missing operators: convolutions go with them."""
    adds = [one for one in these if one.finding.subject == "add"]
    convs = sum(one.finding.subject == "conv" for one in these)
    return adds if convs >= len(adds) else []


def _blocks(context: DiffContext) -> Iterator[Match]:
    for kind, key, word in (("missing", "block-fewer", "fewer"), ("extra", "block-more", "more")):
        these = context.of(kind)
        if adds := _block_adds(these):
            convs = [one for one in these if one.finding.subject == "conv"]
            count = f"{len(adds)} blocks" if len(adds) > 1 else "one block"
            node = convs[0].model_node or convs[0].reference_node
            place = "" if node is None else f" ({node.label}{', …' if len(convs) > 1 else ''})"
            yield Match(key, f"{count} {word} than {context.reference}{place}", these)


def _additions(context: DiffContext) -> Iterator[Match]:
    """Operators that the reference has none of."""
    extra = context.of("extra")
    gates = [one for one in extra if one.finding.subject in ("sigmoid", "hardsigmoid")]
    pools = [one for one in extra if one.finding.subject == "mean"]
    if gates and pools and any(one.finding.subject == "mul" for one in extra):
        yield Match("squeeze-excite", f"{len(gates)} squeeze-and-excitation gates, {context.reference} has none", extra)
    dropouts = context.of("extra", "dropout")
    if dropouts:
        last = [one for one in dropouts if one.model_node and "linear" in _next(context.readers, one.model_node)]
        told = (last or dropouts)[0]
        p = told.model_node.settings.get("p") if told.model_node else None
        place = "before the classifier" if last else f"at {_place(told)}"
        yield Match(
            "dropout", f"dropout{f' of {p:g}' if p is not None else ''} {place}; {context.reference} has none", dropouts
        )
    first = [
        one
        for one in extra
        if one.model_node
        and one.model_node.operator in ("sub", "div", "mul", "add", "rsub")
        and _only_image(context.structure.model, one.model_node)
    ]
    if first:
        yield Match(
            "input-normalisation",
            f"the network normalises its input itself; {context.reference} expects it normalised",
            first,
        )
    stem = [
        one
        for one in context.of("extra", "conv")
        if one.model_node and _is_stem_conv(context.structure.model, one.model_node)
    ]
    if stem:
        yield Match(
            "deep-stem", f"the stem has {len(stem) + 1} convolutions (ResNet-C), {context.reference}'s has one", stem
        )


def _only_image(graph: Graph, node: Node) -> bool:
    """Whether no layer stands above it."""
    waiting = list(node.inputs)
    while waiting:
        number = waiting.pop()
        if number == IMAGE:
            continue
        above = graph.by_number.get(number)
        if above is None or above.operator not in ("sub", "div", "mul", "add", "rsub"):
            return False
        waiting.extend(above.inputs)
    return True


def _is_stem_conv(graph: Graph, node: Node) -> bool:
    """A convolution above the first pool or addition."""
    number = node.number
    while number in graph.by_number:
        current = graph.by_number[number]
        if current.operator in ("max_pool", "avg_pool", "add") or len(current.inputs) != 1:
            return False
        number = current.inputs[0]
    return number == IMAGE


def _biases(context: DiffContext) -> Iterator[Match]:
    these = [one for one in context.of("setting", "conv.bias") if one.model_node and one.model_node.settings["bias"]]
    if these:
        count = "a convolution has a bias" if len(these) == 1 else f"{len(these)} convolutions have a bias"
        yield Match("conv-bias", f"{count}; {context.reference} leaves it to the batch norm", these)
    head = [
        one for one in context.of("setting", "linear.bias") if one.model_node and not one.model_node.settings["bias"]
    ]
    if head:
        yield Match("no-head-bias", f"the classifier has no bias; {context.reference}'s has one", head)


def _padding_mode(context: DiffContext) -> Iterator[Match]:
    these = context.of("setting", "conv.padding_mode")
    these += [one for one in context.of("extra") if one.finding.subject in ("reflection_pad", "replication_pad")]
    if these:
        mode = these[0].finding.model_value or ""
        mode = {"reflection_pad": "reflect", "replication_pad": "replicate"}.get(mode, mode)
        yield Match("padding-mode", f"convolutions pad by {mode}; {context.reference} pads with zeros", these)


def _wiring(context: DiffContext) -> Iterator[Match]:
    for finding in context.findings:
        if finding.check == "eval" and finding.category == "wiring":
            yield Match("wiring", finding.text, [finding])


def _biased_variances(context: DiffContext) -> Iterator[Match]:
    biased = [
        one for one in context.findings if one.category == "statistics" and one.model_path in context.biased_variances
    ]
    if biased:
        text = (
            f"{biased[0].model_path} is updated with the biased variance (divided by n); torch uses the unbiased one "
            "(n − 1)"
        )
        yield Match("biased-running-variance", text, biased)


_VALUES = {
    ("value", "nan"): "nan",
    ("value", "swapped"): "swapped-weights",
    ("value", "weight"): "weight-values",
    ("value", "buffer"): "buffer-values",
    ("frozen", "requires_grad"): "frozen-parameter",
}


def _values(context: DiffContext) -> Iterator[Match]:
    for (category, subject), key in _VALUES.items():
        alike = [one for one in context.findings if (one.category, one.subject) == (category, subject)]
        if alike:
            more = f"; {len(alike) - 1} more like it" if len(alike) > 1 else ""
            yield Match(key, alike[0].text + more, alike)


# To recognize one more mistake, add a pattern here and a fault that proves it to `faults.catalog`.
PATTERNS: tuple[Pattern, ...] = (
    _blocks,
    _preactivation,
    _strides,
    _pool,
    _eps,
    _order,
    _activations,
    _norms,
    _shortcut,
    _additions,
    _biases,
    _padding_mode,
    _wiring,
    _biased_variances,
    _values,
)
