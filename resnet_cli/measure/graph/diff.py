"""An alignment read as findings: every setting, operator and connection that is not the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from resnet_cli.measure.graph.alignment import Pair
from resnet_cli.measure.graph.nodes import IMAGE, Graph, Node
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
    """Findings with the operators that they are about, for the patterns that `diagnosis` knows."""

    finding: Difference
    mine: Node | None
    other: Node | None


@dataclass(slots=True)
class GraphDiff:
    """Both graphs, aligned, and what is not the same."""

    ours: Graph
    theirs: Graph
    pairs: list[Pair]
    reference: str  # what the sentences call it: "torchvision"
    differences: list[GraphDifference] = field(default_factory=list)
    status: dict[int, str] = field(default_factory=dict)  # place in `pairs` -> status of the line
    partner: dict[int, int] = field(default_factory=dict)  # number of ours -> number of theirs
    partner_of: dict[int, int] = field(default_factory=dict)  # and back


def diff_graphs(ours: Graph, theirs: Graph, pairs: list[Pair], reference: str) -> GraphDiff:
    """Everything in which the structures differ, in the order of the network."""
    found = GraphDiff(ours, theirs, pairs, reference)
    found.partner = {a.number: b.number for a, b in pairs if a and b} | {IMAGE: IMAGE}
    found.partner_of = {b: a for a, b in found.partner.items()}
    moved = _moved(pairs)
    for place, (mine, other) in enumerate(pairs):
        if mine and other:
            texts = (
                _settings(found, mine, other) if mine.operator == other.operator else [_replaced(found, mine, other)]
            )
            texts += _wiring(found, mine, other)
            kinds = {one.finding.category for one in texts}
            found.status[place] = "replaced" if "replaced" in kinds else "setting" if kinds else "equal"
            found.differences += texts
        elif place in moved:
            found.status[place] = "moved"
            if mine:
                counterpart = pairs[moved[place]][1]
                assert counterpart is not None
                found.differences.append(_moved_finding(found, mine, counterpart))
        elif mine:
            found.status[place] = "extra"
            found.differences.append(_extra(found, mine))
        elif other:
            found.status[place] = "missing"
            found.differences.append(_missing(found, other))
    return found


def _moved(pairs: Sequence[Pair]) -> dict[int, int]:
    """Places of an extra and a missing operator that are the same one elsewhere; each points at the other."""
    extra = [(i, a) for i, (a, b) in enumerate(pairs) if a and b is None]
    missing = [(i, b) for i, (a, b) in enumerate(pairs) if b and a is None]
    found: dict[int, int] = {}
    for i, mine in extra:
        for j, other in missing:
            same = mine.operator == other.operator and mine.settings == other.settings
            if same and j not in found and abs(i - j) <= _NEAR:
                found[i], found[j] = j, i
                break
    return found


def show(value: Any) -> str:
    """A setting as people write it: 3×3, 2, on, off."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (tuple, list)):
        if len(value) == 2 and value[0] == value[1]:
            return str(value[0])
        return "×".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def _show(key: str, value: Any) -> str:
    if key == "kernel":
        return "×".join(map(str, value))
    if key == "channels" and isinstance(value, tuple):
        return "→".join(map(str, value))
    return show(value)


def where(node: Node | None, name: str = "the network") -> str:
    """Where an operator stands, for a sentence."""
    return name if node is None else (node.label or name)


def _settings(structure: GraphDiff, mine: Node, other: Node) -> list[GraphDifference]:
    found = []
    for key in mine.settings.keys() | other.settings.keys():
        if key in mine.settings and key in other.settings:
            a, b = mine.settings[key], other.settings[key]
        elif mine.composite is not None or other.composite is not None:
            continue  # written by hand: what it does not call by a name, the figures tell
        else:
            a, b = mine.settings.get(key), other.settings.get(key)
        by_hand = mine.composite is not None and key == "momentum"
        if a == b or (by_hand and abs(a + b - 1) < 1e-12):  # the other convention: what is kept, not what is taken
            continue
        word = _WORDS.get(key, key)
        text = f"{where(mine)}: {word} {_show(key, a)}, {structure.reference} has {_show(key, b)}"
        found.append(_difference("setting", f"{mine.operator}.{key}", mine, other, _show(key, a), _show(key, b), text))
    for role in mine.leaves.keys() & other.leaves.keys():
        a, b = mine.leaves[role].computed, other.leaves[role].computed
        if a != b:
            text = f"{where(mine)}: its {role} is computed by {', '.join(a) or 'nothing'}"
            text += f", in {structure.reference} by {', '.join(b)}" if b else ""
            found.append(
                _difference("setting", f"{mine.operator}.{role}", mine, other, ", ".join(a), ", ".join(b), text)
            )
    return sorted(found, key=lambda one: one.finding.subject)


def _difference(
    kind: str, subject: str, mine: Node | None, other: Node | None, ours: str | None, theirs: str | None, text: str
) -> GraphDifference:
    finding = Difference(
        check="settings",
        category=kind,
        subject=subject,
        model_path=None if mine is None else mine.label,
        reference_path=None if other is None else other.label,
        model_value=ours,
        reference_value=theirs,
        text=text,
    )
    return GraphDifference(finding, mine, other)


def _replaced(structure: GraphDiff, mine: Node, other: Node) -> GraphDifference:
    text = f"{where(mine)}: {spoken(mine.operator)}, {structure.reference} has {spoken(other.operator)}"
    return _difference("replaced", other.operator, mine, other, mine.operator, other.operator, text)


def _moved_finding(structure: GraphDiff, mine: Node, other: Node) -> GraphDifference:
    here, there = _after(structure.ours, mine), _after(structure.theirs, other)
    text = f"{where(mine)}: {spoken(mine.operator)} stands behind {here}, in {structure.reference} behind {there}"
    return _difference("moved", mine.operator, mine, other, here, there, text)


def _after(graph: Graph, node: Node) -> str:
    inputs = [graph.by_number.get(i) for i in node.inputs]
    return " and ".join("the image" if i is None else named(i) for i in inputs) or "nothing"


def named(node: Node) -> str:
    """An operator and its place."""
    return f"{spoken(node.operator)} {node.label}".strip()


def _extra(structure: GraphDiff, mine: Node) -> GraphDifference:
    behind = _after(structure.ours, mine)
    place = f"{mine.label}: " if mine.label else ""
    text = f"{place}{spoken(mine.operator)} behind {behind}; {structure.reference} has none there"
    return _difference("extra", mine.operator, mine, None, mine.operator, None, text)


def _missing(structure: GraphDiff, other: Node) -> GraphDifference:
    above = resolve(structure.theirs, other, structure.partner_of)
    ours = [structure.ours.by_number[i] for i in above if i in structure.ours.by_number]
    behind = " and ".join(named(node) for node in ours) or "the image"
    text = f"no {spoken(other.operator)} behind {behind}; {structure.reference} has {other.label or 'one'}"
    return _difference("missing", other.operator, None, other, None, other.operator, text)


def resolve(graph: Graph, node: Node, partners: Mapping[int, int]) -> list[int]:
    """Counterparts of what an operator reads, looking through operators that have none."""
    found: list[int] = []
    waiting = list(reversed(node.inputs))
    seen: set[int] = set()
    while waiting:
        number = waiting.pop()
        if number in seen:
            continue
        seen.add(number)
        if number in partners:
            found.append(partners[number])
        elif number in graph.by_number:
            waiting.extend(reversed(graph.by_number[number].inputs))
    return found


def _joins_above(graph: Graph, node: Node, partners: Mapping[int, int]) -> bool:
    """Whether something without a counterpart, and with several inputs, stands right above: it is a finding itself."""
    waiting = list(node.inputs)
    while waiting:
        number = waiting.pop()
        if number in partners or number not in graph.by_number:
            continue
        if len(graph.by_number[number].inputs) > 1:
            return True
        waiting.extend(graph.by_number[number].inputs)
    return False


def _wiring(structure: GraphDiff, mine: Node, other: Node) -> list[GraphDifference]:
    """Whether both read the same things."""
    ours = set(resolve(structure.ours, mine, structure.partner))
    theirs = set(resolve(structure.theirs, other, {number: number for number in structure.partner_of}))
    if ours == theirs or _joins_above(structure.ours, mine, structure.partner):
        return []
    if _joins_above(structure.theirs, other, structure.partner_of):
        return []
    extra = [_at(structure.ours, structure.partner_of[i]) for i in sorted(ours - theirs)]
    lacks = [_at(structure.ours, structure.partner_of[i]) for i in sorted(theirs - ours)]
    said = [f"reads {' and '.join(extra)}" if extra else "", f"does not read {' and '.join(lacks)}" if lacks else ""]
    place = f"{mine.label}: " if mine.label else ""
    text = f"{place}{spoken(mine.operator)} {' and '.join(filter(None, said))}, unlike {structure.reference}"
    return [_difference("wiring", mine.operator, mine, other, ", ".join(extra), ", ".join(lacks), text)]


def _at(graph: Graph, number: int) -> str:
    return named(graph.by_number[number]) if number in graph.by_number else "the image"


def lines(structure: GraphDiff) -> list[AlignedOp]:
    """Both networks side by side."""
    found = []
    for place, (mine, other) in enumerate(structure.pairs):
        found.append(
            AlignedOp(
                model_path=None if mine is None else mine.label,
                reference_path=None if other is None else other.label,
                model_op=None if mine is None else mine.operator,
                reference_op=None if other is None else other.operator,
                model_settings="" if mine is None else settings_text(mine),
                reference_settings="" if other is None else settings_text(other),
                status=structure.status[place],
            )
        )
    return found


def settings_text(node: Node) -> str:
    """The settings of an operator in a few words, those at their usual value left out."""
    s = node.settings
    parts: list[str] = []
    if node.operator == "conv":
        parts = [_show("channels", s["channels"]), _show("kernel", s["kernel"])]
        parts += [f"stride {show(s['stride'])}"] if s["stride"] != (1, 1) else []
        parts += [f"padding {show(s['padding'])}"] if s["padding"] != (0, 0) else []
        parts += [f"dilation {show(s['dilation'])}"] if s["dilation"] != (1, 1) else []
        parts += [f"groups {s['groups']}"] if s["groups"] != 1 else []
        parts += ["bias"] if s["bias"] else []
        parts += [str(s["padding_mode"])] if s["padding_mode"] != "zeros" else []
    elif node.operator == "batch_norm":
        parts = [str(s["channels"])]
        parts += [f"eps {show(s['eps'])}"] if s.get("eps", 1e-5) != 1e-5 else []
        parts += [f"momentum {show(s['momentum'])}"] if s.get("momentum", 0.1) != 0.1 else []
        parts += ["no affine"] if not s["affine"] else []
        parts += ["no running statistics"] if not s["track_running_stats"] else []
        parts += ["frozen statistics"] if s.get("batch_statistics") is False else []
    elif node.operator in ("max_pool", "avg_pool"):
        parts = [_show("kernel", s["kernel"]), f"stride {show(s['stride'])}"]
        parts += [f"padding {show(s['padding'])}"] if s["padding"] != (0, 0) else []
        parts += ["ceil_mode"] if s["ceil_mode"] else []
    elif node.operator == "linear":
        parts = [_show("channels", s["channels"])] + ([] if s["bias"] else ["no bias"])
    else:
        parts = [f"{key} {show(value)}" for key, value in s.items() if value not in (None, "spatial")]
    return " ".join(parts)
