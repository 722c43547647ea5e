"""Patterns of findings that have a name: ResNet v1, pre-activation, TensorFlow's eps.

Names and facts: ResNet v1 and v1.5 by the note at `torchvision.models.resnet.Bottleneck`; pre-activation by He et
al. 2016 (arXiv 1603.05027); the C and D variants by He et al. 2018 (arXiv 1812.01187); squeeze-and-excitation by Hu
et al. 2017 (arXiv 1709.01507); eps 1e-3 and 1.001e-5 are the defaults of Keras's BatchNormalization and of its
ResNet.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from resnet_cli.measure.graph.diff import GraphDiff, GraphDifference
from resnet_cli.measure.graph.nodes import IMAGE, Graph, Node
from resnet_cli.measure.ops.names import spoken
from resnet_cli.measure.ops.settings import ACTIVATIONS
from resnet_cli.results.compare import Diagnosis, Difference

Match = tuple[str, str, list[GraphDifference]]  # key, sentence, what it explains


@dataclass(slots=True)
class DiffContext:
    """What the patterns look at."""

    structure: GraphDiff
    our_readers: dict[int, list[Node]]
    their_readers: dict[int, list[Node]]

    def of(self, kind: str, subject: str | None = None) -> list[GraphDifference]:
        """Differences of a kind."""
        found = [one for one in self.structure.differences if one.finding.category == kind]
        return found if subject is None else [one for one in found if one.finding.subject == subject]

    @property
    def reference(self) -> str:
        """What sentences call the other network."""
        return self.structure.reference


def _readers(graph: Graph) -> dict[int, list[Node]]:
    found: dict[int, list[Node]] = defaultdict(list)
    for node in graph.nodes:
        for number in set(node.inputs):
            found[number].append(node)
    return found


def diagnose(structure: GraphDiff, findings: Sequence[Difference]) -> list[Diagnosis]:
    """Every pattern that is there, with the findings that it explains.

    Args:
        structure: both graphs and their differences.
        findings: all findings of the comparison; those of the structure are the same objects.
    """
    case = DiffContext(structure, _readers(structure.ours), _readers(structure.theirs))
    places = {id(finding): index for index, finding in enumerate(findings)}
    found = []
    for pattern in _PATTERNS:
        for key, text, explained in pattern(case):
            indices = sorted(places[id(one.finding)] for one in explained if id(one.finding) in places)
            found.append(Diagnosis(key, text, tuple(indices)))
    return found


def _strides(case: DiffContext) -> Iterator[Match]:
    """A stride that stands in another convolution of the block."""
    found = case.of("setting", "conv.stride")
    gone = [
        one for one in found if one.mine and one.other and one.mine.settings["stride"] < one.other.settings["stride"]
    ]
    come = [
        one for one in found if one.mine and one.other and one.mine.settings["stride"] > one.other.settings["stride"]
    ]
    if not gone or not come:
        return
    kernel = come[0].mine.settings["kernel"] if come[0].mine else ()
    is_earlier = found.index(come[0]) < found.index(gone[0])
    if is_earlier and kernel == (1, 1) and gone[0].other and gone[0].other.settings["kernel"] == (3, 3):
        yield (
            "resnet-v1",
            f"this is ResNet v1: the stride stands in the first 1×1 convolution; {case.reference} puts it in the 3×3 "
            "(v1.5)",
            [*come, *gone],
        )
    else:
        yield (
            "stride-moved",
            f"the stride stands in another convolution of the block: {_place(come[0])} has it, in {case.reference} "
            f"{gone[0].finding.reference_path} has it",
            [*come, *gone],
        )


def _place(one: GraphDifference) -> str:
    return one.finding.model_path or one.finding.reference_path or "the network"


def _pool(case: DiffContext) -> Iterator[Match]:
    padding, ceil = case.of("setting", "max_pool.padding"), case.of("setting", "max_pool.ceil_mode")
    if padding and ceil:
        yield (
            "caffe-pool",
            f"this is Caffe's pooling: no padding and sizes rounded up; {case.reference} pads by 1 and rounds down",
            [*padding, *ceil],
        )
    for one in case.of("replaced", "max_pool"):
        yield "average-pool-stem", f"the stem pools by {one.finding.model_value}, not by maximum", [one]


def _eps(case: DiffContext) -> Iterator[Match]:
    found = case.of("setting", "batch_norm.eps")
    for value, origin in ((1e-3, "the default of TensorFlow and Keras"), (1.001e-5, "that of Keras's own ResNet")):
        these = [one for one in found if one.mine and one.mine.settings["eps"] == value]
        if these:
            yield (
                "keras-eps",
                f"eps {value:g} is {origin}; {case.reference} has {these[0].finding.reference_value}",
                these,
            )
    momenta = [one for one in case.of("setting", "batch_norm.momentum") if one.mine]
    if momenta and (kept := momenta[0].mine) is not None and kept.settings["momentum"] in (0.9, 0.99, 0.01):
        m = kept.settings["momentum"]
        text = (
            f"a momentum of {m:g} is what TensorFlow calls {1 - m:g}: torch counts how much of the new value is taken, "
            "TensorFlow how much of the old one is kept"
        )
        yield "momentum-convention", text, momenta


def _operator(graph: Graph, number: int) -> str:
    return "image" if number == IMAGE else graph.by_number[number].operator if number in graph.by_number else ""


def _order(case: DiffContext) -> Iterator[Match]:
    """The same operators in another order."""
    ours, theirs = case.structure.ours, case.structure.theirs
    swapped, early = [], []
    for one in case.of("moved"):
        mine, other = one.mine, one.other
        if mine is None or other is None:
            continue
        reads = {_operator(ours, i) for i in mine.inputs}
        expected = {_operator(theirs, i) for i in other.inputs}
        if mine.operator in ACTIVATIONS and "add" in expected and "add" in _next(case.our_readers, mine):
            early.append(one)
        elif (mine.operator in ACTIVATIONS and reads == {"conv"} and expected == {"batch_norm"}) or (
            mine.operator == "batch_norm" and reads <= ACTIVATIONS and expected == {"conv"}
        ):
            swapped.append(one)
    if swapped and not _is_preactivated(case):
        place = _place(swapped[0])
        yield "bn-relu-swapped", f"batch norm and ReLU are swapped at {place}: the ReLU comes first", swapped
    if early:
        yield (
            "relu-before-add",
            f"the ReLU stands before the addition at {_place(early[0])}; {case.reference} adds first",
            early,
        )


def _next(readers: dict[int, list[Node]], node: Node) -> set[str]:
    return {reader.operator for reader in readers.get(node.number, [])}


def _activations(case: DiffContext) -> Iterator[Match]:
    has_fewer_blocks = bool(_block_adds(case.of("missing")))
    for one in case.of("missing"):
        if one.other is None or one.other.operator not in ACTIVATIONS:
            continue
        after = _next(case.their_readers, one.other)
        before = {_operator(case.structure.theirs, i) for i in one.other.inputs}
        is_in_stem = _is_stem(case.structure.theirs, one.other)
        if has_fewer_blocks and not is_in_stem:
            continue  # it went with its block
        if "mean" in after:
            yield "missing-last-relu", "the last ReLU is missing: the classifier sees negative features", [one]
        elif is_in_stem:
            yield "missing-stem-relu", "the ReLU of the stem is missing", [one]
        elif "add" in before:
            yield "missing-relu", f"the ReLU behind an addition is missing ({one.finding.reference_path})", [one]
        else:
            yield "missing-inner-relu", f"a ReLU inside a block is missing ({one.finding.reference_path})", [one]
    by_kind: dict[str, list[GraphDifference]] = defaultdict(list)
    for one in case.of("replaced"):
        if one.mine and one.mine.operator in ACTIVATIONS:  # and theirs is one too: nothing else stands in its place
            by_kind[one.mine.operator].append(one)
    for kind, these in by_kind.items():
        other = these[0].other
        name = "" if other is None else spoken(other.operator)
        yield f"activation-{kind}", f"{spoken(kind)} stands where {case.reference} has {name}", these


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


def _norms(case: DiffContext) -> Iterator[Match]:
    theirs = case.structure.theirs
    projections: list[GraphDifference] = []
    others: list[GraphDifference] = []
    for one in case.of("missing", "batch_norm"):
        if one.other is None:
            continue
        (projections if _is_projection(theirs, case.their_readers, one.other) else others).append(one)
    blocks = sum(one.finding.subject == "add" for one in case.of("missing"))
    if projections and not blocks:
        yield (
            "missing-projection-bn",
            f"no batch norm behind the projection: {case.reference} has {projections[0].finding.reference_path}",
            projections,
        )
    if others and not blocks:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        yield (
            "missing-bn",
            f"a batch norm is missing: {case.reference} has {others[0].finding.reference_path}{more}",
            others,
        )


def _is_projection(graph: Graph, readers: dict[int, list[Node]], norm: Node) -> bool:
    """Its convolution reads what the block reads, and it goes straight into the addition."""
    convs = [graph.by_number[i] for i in norm.inputs if i in graph.by_number]
    return any(
        conv.operator == "conv" and any(len(readers.get(i, [])) > 1 for i in conv.inputs) for conv in convs
    ) and "add" in _next(readers, norm)


def _is_preactivated(case: DiffContext) -> bool:
    """A batch norm reads a sum, or what the stem gives."""
    ours, theirs = case.structure.ours, case.structure.theirs

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

    return count(ours) > count(theirs)


def _preactivation(case: DiffContext) -> Iterator[Match]:
    if _is_preactivated(case):
        these = [one for one in case.of("moved") + case.of("missing") + case.of("extra") if _normal(one)]
        text = (
            f"this is pre-activation (ResNet v2): batch norm and ReLU stand before the convolution; {case.reference} "
        )
        yield "pre-activation", text + "has them behind it", these


def _normal(one: GraphDifference) -> bool:
    return one.finding.subject in ("batch_norm", *ACTIVATIONS)


def _shortcut(case: DiffContext) -> Iterator[Match]:
    convs = case.of("missing", "conv")
    adds = case.of("missing", "add")
    if adds and not convs:
        yield (
            "dropped-identity",
            f"nothing is added to the block at {adds[0].finding.reference_path}: its shortcut is lost",
            adds,
        )
    scaled = [
        one
        for one in case.of("extra")
        if one.mine
        and one.mine.operator in ("mul", "div")
        and "add" in _next(case.our_readers, one.mine)
        and len(one.mine.inputs) == 1
    ]
    scaled += [one for one in case.structure.differences if one.finding.subject == "add.alpha"]
    if scaled:
        factor = next(
            (one.mine.settings.get("other") for one in scaled if one.mine and "other" in one.mine.settings), None
        )
        by = f" by {factor:g}" if isinstance(factor, (int, float)) else ""
        yield (
            "scaled-identity",
            f"what is added is scaled{by} at {_place(scaled[0])}; {case.reference} adds it as it is",
            scaled,
        )
    pooled = [
        one
        for one in case.of("extra", "avg_pool")
        if one.mine
        and any(r.operator == "conv" and r.settings["kernel"] == (1, 1) for r in case.our_readers[one.mine.number])
    ]
    if pooled:
        strides = [
            one for one in case.of("setting", "conv.stride") if one.mine and one.mine.settings["kernel"] == (1, 1)
        ]
        yield (
            "resnet-d",
            f"this is ResNet-D: the shortcut is average-pooled before its 1×1, where {case.reference} strides",
            [*pooled, *strides],
        )


def _block_adds(these: Sequence[GraphDifference]) -> list[GraphDifference]:
    """The additions of whole blocks among extra or missing operators: convolutions go with them."""
    adds = [one for one in these if one.finding.subject == "add"]
    convs = sum(one.finding.subject == "conv" for one in these)
    return adds if convs >= len(adds) else []


def _blocks(case: DiffContext) -> Iterator[Match]:
    for kind, key, word in (("missing", "block-fewer", "fewer"), ("extra", "block-more", "more")):
        these = case.of(kind)
        if adds := _block_adds(these):
            convs = [one for one in these if one.finding.subject == "conv"]
            count = f"{len(adds)} blocks" if len(adds) > 1 else "one block"
            node = convs[0].mine or convs[0].other
            place = "" if node is None else f" ({node.label}{', …' if len(convs) > 1 else ''})"
            yield key, f"{count} {word} than {case.reference}{place}", these


def _additions(case: DiffContext) -> Iterator[Match]:
    """Operators that the reference has none of."""
    extra = case.of("extra")
    gates = [one for one in extra if one.finding.subject in ("sigmoid", "hardsigmoid")]
    pools = [one for one in extra if one.finding.subject == "mean"]
    if gates and pools and any(one.finding.subject == "mul" for one in extra):
        yield "squeeze-excite", f"{len(gates)} squeeze-and-excitation gates, which {case.reference} has not", extra
    dropouts = case.of("extra", "dropout")
    if dropouts:
        last = [one for one in dropouts if one.mine and "linear" in _next(case.our_readers, one.mine)]
        told = (last or dropouts)[0]
        p = told.mine.settings.get("p") if told.mine else None
        place = "before the classifier" if last else f"at {_place(told)}"
        yield "dropout", f"dropout{f' of {p:g}' if p is not None else ''} {place}; {case.reference} has none", dropouts
    first = [
        one
        for one in extra
        if one.mine
        and one.mine.operator in ("sub", "div", "mul", "add", "rsub")
        and _only_image(case.structure.ours, one.mine)
    ]
    if first:
        yield (
            "input-normalisation",
            f"the network normalises its input itself; {case.reference} expects it normalised",
            first,
        )
    stem = [one for one in case.of("extra", "conv") if one.mine and _is_stem_conv(case.structure.ours, one.mine)]
    if stem:
        yield "deep-stem", f"the stem has {len(stem) + 1} convolutions (ResNet-C), {case.reference}'s has one", stem


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


def _biases(case: DiffContext) -> Iterator[Match]:
    these = [one for one in case.of("setting", "conv.bias") if one.mine and one.mine.settings["bias"]]
    if these:
        count = "a convolution has a bias" if len(these) == 1 else f"{len(these)} convolutions have a bias"
        yield "conv-bias", f"{count}; {case.reference} leaves it to the batch norm", these
    head = [one for one in case.of("setting", "linear.bias") if one.mine and not one.mine.settings["bias"]]
    if head:
        yield "no-head-bias", f"the classifier has no bias; {case.reference}'s has one", head


def _reflect(case: DiffContext) -> Iterator[Match]:
    these = case.of("setting", "conv.padding_mode")
    these += [one for one in case.of("extra") if one.finding.subject in ("reflection_pad", "replication_pad")]
    if these:
        mode = these[0].finding.model_value or ""
        mode = {"reflection_pad": "reflect", "replication_pad": "replicate"}.get(mode, mode)
        yield "padding-mode", f"convolutions pad by {mode}; {case.reference} pads with zeros", these


_PATTERNS: tuple[Callable[[DiffContext], Iterator[Match]], ...] = (
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
    _reflect,
)
