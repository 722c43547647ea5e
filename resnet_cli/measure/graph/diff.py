"""Differences of two aligned graphs: settings, operators and connections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from resnet_cli.measure.graph import sharing
from resnet_cli.measure.graph.alignment import Pair
from resnet_cli.measure.graph.nodes import IMAGE, Graph, Node
from resnet_cli.measure.graph.settings_text import settings_text, show_setting
from resnet_cli.measure.ops.names import spoken
from resnet_cli.results.compare import AlignedOp, Difference

_NEAR = 12  # operators between an extra and a missing one that are still the same one, moved
_WORDS = {
    "channels": "channels",
    "kernel": "kernel",
    "ceil_mode": "ceil_mode",
    "padding_mode": "padding mode",
    "track_running_stats": "running statistics",
    "batch_statistics": "batch statistics in train mode",
    "count_include_pad": "count_include_pad",
}


@dataclass(slots=True)
class GraphDifference:
    """A difference with the operators that it is about, for the patterns of `diagnosis`."""

    finding: Difference
    model_node: Node | None
    reference_node: Node | None


@dataclass(slots=True)
class GraphDiff:
    """Both graphs, aligned, and what is not the same."""

    model: Graph
    reference_graph: Graph
    pairs: list[Pair]
    reference: str  # its name in sentences: "torchvision"
    differences: list[GraphDifference] = field(default_factory=list)
    status: dict[int, str] = field(default_factory=dict)  # place in `pairs` -> status of the line
    partner: dict[int, int] = field(default_factory=dict)  # number in the model -> number in the reference
    partner_of: dict[int, int] = field(default_factory=dict)  # and back


def diff_graphs(model: Graph, reference_graph: Graph, pairs: list[Pair], reference: str) -> GraphDiff:
    """Everything in which the structures differ, in the order of the network."""
    structure = GraphDiff(model, reference_graph, pairs, reference)
    structure.partner = {a.number: b.number for a, b in pairs if a and b} | {IMAGE: IMAGE}
    structure.partner_of = {b: a for a, b in structure.partner.items()}
    moved = _moved(pairs)
    for place, (model_node, reference_node) in enumerate(pairs):
        if model_node and reference_node:
            differences = (
                _settings(structure, model_node, reference_node)
                if model_node.operator == reference_node.operator
                else [_replaced(structure, model_node, reference_node)]
            )
            differences += _wiring(structure, model_node, reference_node)
            kinds = {difference.finding.category for difference in differences}
            structure.status[place] = "replaced" if "replaced" in kinds else "setting" if kinds else "equal"
            structure.differences += differences
        elif place in moved:
            structure.status[place] = "moved"
            if model_node:
                counterpart = pairs[moved[place]][1]
                assert counterpart is not None
                structure.differences.append(_moved_finding(structure, model_node, counterpart))
        elif model_node:
            structure.status[place] = "extra"
            structure.differences.append(_extra(structure, model_node))
        elif reference_node:
            structure.status[place] = "missing"
            structure.differences.append(_missing(structure, reference_node))
    for path, uses in sharing.shared_modules(pairs).items():
        structure.differences.append(_shared(structure, path, uses))
    return structure


def _shared(structure: GraphDiff, path: str, uses: Sequence[sharing.Use]) -> GraphDifference:
    names = sharing.counterparts(path, uses)
    text = f"{path} is one module used {len(names)} times; {structure.reference} has {' and '.join(names)}"
    model_node, reference_node = uses[0]
    difference = _difference("shared", "module", model_node, reference_node, path, ", ".join(names), text)
    return replace(difference, finding=replace(difference.finding, model_path=path, reference_path=names[0]))


def _moved(pairs: Sequence[Pair]) -> dict[int, int]:
    """Places of an extra and a missing operator that are the same one elsewhere; each points at the counterpart."""
    extra = [(i, a) for i, (a, b) in enumerate(pairs) if a and b is None]
    missing = [(i, b) for i, (a, b) in enumerate(pairs) if b and a is None]
    counterparts: dict[int, int] = {}
    for i, model_node in extra:
        for j, reference_node in missing:
            same = model_node.operator == reference_node.operator and model_node.settings == reference_node.settings
            if same and j not in counterparts and abs(i - j) <= _NEAR:
                counterparts[i], counterparts[j] = j, i
                break
    return counterparts


def where(node: Node | None, name: str = "the network") -> str:
    """Where an operator stands, for a sentence."""
    return name if node is None else (node.label or name)


def _settings(structure: GraphDiff, model_node: Node, reference_node: Node) -> list[GraphDifference]:
    differences = []
    for key in model_node.settings.keys() | reference_node.settings.keys():
        if key == "statistics":
            a, b = (node.settings.get(key, "buffers") for node in (model_node, reference_node))
        elif key in model_node.settings and key in reference_node.settings:
            a, b = model_node.settings[key], reference_node.settings[key]
        elif model_node.composite is not None or reference_node.composite is not None:
            continue  # written by hand: settings that it does not name show in the values
        else:
            a, b = model_node.settings.get(key), reference_node.settings.get(key)
        by_hand = model_node.composite is not None and key == "momentum" and isinstance(b, float)
        if a == b or (by_hand and abs(a + b - 1) < 1e-12):  # the other convention: what is kept, not what is taken
            continue
        word = _WORDS.get(key, key)
        text = f"{where(model_node)}: {word} {show_setting(key, a)}, {structure.reference} has {show_setting(key, b)}"
        differences.append(
            _difference(
                "setting",
                f"{model_node.operator}.{key}",
                model_node,
                reference_node,
                show_setting(key, a),
                show_setting(key, b),
                text,
            )
        )
    for role in model_node.leaves.keys() & reference_node.leaves.keys():
        a, b = model_node.leaves[role].computed, reference_node.leaves[role].computed
        if a != b:
            text = f"{where(model_node)}: its {role} is computed by {', '.join(a) or 'nothing'}"
            text += f", in {structure.reference} by {', '.join(b)}" if b else ""
            differences.append(
                _difference(
                    "setting",
                    f"{model_node.operator}.{role}",
                    model_node,
                    reference_node,
                    ", ".join(a),
                    ", ".join(b),
                    text,
                )
            )
    return sorted(differences, key=lambda difference: difference.finding.subject)


def _difference(
    kind: str,
    subject: str,
    model_node: Node | None,
    reference_node: Node | None,
    model_value: str | None,
    reference_value: str | None,
    text: str,
) -> GraphDifference:
    finding = Difference(
        check="settings",
        category=kind,
        subject=subject,
        model_path=None if model_node is None else model_node.label,
        reference_path=None if reference_node is None else reference_node.label,
        model_value=model_value,
        reference_value=reference_value,
        text=text,
    )
    return GraphDifference(finding, model_node, reference_node)


def _replaced(structure: GraphDiff, model_node: Node, reference_node: Node) -> GraphDifference:
    text = f"{where(model_node)}: {spoken(model_node.operator)}, "
    text += f"{structure.reference} has {spoken(reference_node.operator)}"
    return _difference(
        "replaced",
        reference_node.operator,
        model_node,
        reference_node,
        model_node.operator,
        reference_node.operator,
        text,
    )


def _moved_finding(structure: GraphDiff, model_node: Node, reference_node: Node) -> GraphDifference:
    here, there = _after(structure.model, model_node), _after(structure.reference_graph, reference_node)
    text = f"{where(model_node)}: {spoken(model_node.operator)} comes after {here}, "
    text += f"in {structure.reference} after {there}"
    return _difference("moved", model_node.operator, model_node, reference_node, here, there, text)


def _after(graph: Graph, node: Node) -> str:
    inputs = [graph.by_number.get(i) for i in node.inputs]
    return " and ".join("the image" if i is None else named(i) for i in inputs) or "nothing"


def named(node: Node) -> str:
    """An operator and its place."""
    return f"{spoken(node.operator)} {node.label}".strip()


def _extra(structure: GraphDiff, model_node: Node) -> GraphDifference:
    behind = _after(structure.model, model_node)
    place = f"{model_node.label}: " if model_node.label else ""
    text = f"{place}{spoken(model_node.operator)} behind {behind}; {structure.reference} has none there"
    return _difference("extra", model_node.operator, model_node, None, model_node.operator, None, text)


def _missing(structure: GraphDiff, reference_node: Node) -> GraphDifference:
    above = resolve(structure.reference_graph, reference_node, structure.partner_of)
    nodes = [structure.model.by_number[i] for i in above if i in structure.model.by_number]
    behind = " and ".join(named(node) for node in nodes) or "the image"
    text = f"no {spoken(reference_node.operator)} behind {behind}; "
    text += f"{structure.reference} has {reference_node.label or 'one'}"
    return _difference("missing", reference_node.operator, None, reference_node, None, reference_node.operator, text)


def resolve(graph: Graph, node: Node, partners: Mapping[int, int]) -> list[int]:
    """Counterparts of what an operator reads, looking through operators that have none."""
    counterparts: list[int] = []
    waiting = list(reversed(node.inputs))
    seen: set[int] = set()
    while waiting:
        number = waiting.pop()
        if number in seen:
            continue
        seen.add(number)
        if number in partners:
            counterparts.append(partners[number])
        elif number in graph.by_number:
            waiting.extend(reversed(graph.by_number[number].inputs))
    return counterparts


def _joins_above(graph: Graph, node: Node, partners: Mapping[int, int]) -> bool:
    """Whether an operator of several inputs without a counterpart is directly above: it is a difference itself."""
    waiting = list(node.inputs)
    while waiting:
        number = waiting.pop()
        if number in partners or number not in graph.by_number:
            continue
        if len(graph.by_number[number].inputs) > 1:
            return True
        waiting.extend(graph.by_number[number].inputs)
    return False


def _wiring(structure: GraphDiff, model_node: Node, reference_node: Node) -> list[GraphDifference]:
    """Whether both read the same things."""
    inputs = set(resolve(structure.model, model_node, structure.partner))
    reference_inputs = set(
        resolve(structure.reference_graph, reference_node, {number: number for number in structure.partner_of})
    )
    if inputs == reference_inputs or _joins_above(structure.model, model_node, structure.partner):
        return []
    if _joins_above(structure.reference_graph, reference_node, structure.partner_of):
        return []
    extra, lacks = (
        [_at(structure.model, structure.partner_of[i]) for i in sorted(numbers)]
        for numbers in (inputs - reference_inputs, reference_inputs - inputs)
    )
    clauses = [f"reads {' and '.join(extra)}" if extra else "", f"does not read {' and '.join(lacks)}" if lacks else ""]
    place = f"{model_node.label}: " if model_node.label else ""
    text = f"{place}{spoken(model_node.operator)} {' and '.join(filter(None, clauses))}, unlike {structure.reference}"
    return [
        _difference("wiring", model_node.operator, model_node, reference_node, ", ".join(extra), ", ".join(lacks), text)
    ]


def _at(graph: Graph, number: int) -> str:
    """An operator, its place, and which call of its module it is."""
    if number not in graph.by_number:
        return "the image"
    node = graph.by_number[number]
    call = "" if node.site is None or node.site.call == 1 else f" (call {node.site.call})"
    return f"{named(node)}{call}"


def lines(structure: GraphDiff) -> list[AlignedOp]:
    """Both networks side by side."""
    rows = []
    for place, (model_node, reference_node) in enumerate(structure.pairs):
        rows.append(
            AlignedOp(
                model_path=None if model_node is None else model_node.label,
                reference_path=None if reference_node is None else reference_node.label,
                model_op=None if model_node is None else model_node.operator,
                reference_op=None if reference_node is None else reference_node.operator,
                model_settings="" if model_node is None else settings_text(model_node),
                reference_settings="" if reference_node is None else settings_text(reference_node),
                status=structure.status[place],
            )
        )
    return rows
