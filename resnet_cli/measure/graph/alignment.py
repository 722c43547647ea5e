"""Alignment of two operator graphs: which operators correspond, and so which parameters do.

Global alignment of two sequences with gap costs (Needleman and Wunsch 1970). The sequences are in an order that
depends on the data flow alone (`graph.Graph`), so the alignment is at once the structural difference and the map
of the keys; names play no part in it.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from resnet_cli.measure.graph.nodes import Graph, Node
from resnet_cli.measure.ops.settings import ACTIVATIONS, NORMS, POOLS

Pair = tuple[Node | None, Node | None]

_GAP = -1.0
_NEVER = -1e9
_PLAIN_CELLS = 1_500_000  # up to here the whole table is filled
_BAND = 200  # beyond it, so many cells on either side of the diagonal, and twice as many while the way leads along them

# Operators of one set may be paired as a replacement, which reads better than one missing and one extra.
_KINDS = (ACTIVATIONS, POOLS, NORMS, frozenset({"conv", "linear"}), frozenset({"sub", "add"}))


def align(model: Sequence[Node], reference: Sequence[Node], known: Mapping[str, str] | None = None) -> list[Pair]:
    """Pairs of operators in order; None stands for no counterpart.

    Args:
        model: operators of the model, in the order of its graph.
        reference: those of the reference.
        known: names of corresponding parameters, model to reference; operators that read them correspond, and those
            that read others do not.
    """
    known = known or {}
    kinds: dict[object, int] = {}
    a = [_kind(node, kinds) for node in model]
    b = [_kind(node, kinds) for node in reference]
    if known:  # an operator is then known by its parameters too
        a = [_named(kind, [known.get(n, n) for n in _names(node)], kinds) for kind, node in zip(a, model, strict=True)]
        b = [_named(kind, _names(node), kinds) for kind, node in zip(b, reference, strict=True)]
    start = 0
    while start < min(len(a), len(b)) and a[start] == b[start]:
        start += 1
    end = 0
    while end < min(len(a), len(b)) - start and a[-1 - end] == b[-1 - end]:
        end += 1
    # An exact match is worth the most, so equal ends are never better aligned in another way.
    middle = _table(model[start : len(model) - end], reference[start : len(reference) - end], known)
    head = list(zip(model[:start], reference[:start], strict=True))
    tail = list(zip(model[len(model) - end :], reference[len(reference) - end :], strict=True))
    pairs: list[Pair] = [*head, *middle, *tail]
    if middle and end:  # the common end was taken off first, so that a gap before it may stand early
        _put_gaps_late(pairs, 0, a)
        _put_gaps_late(pairs, 1, b)
    return pairs


def _put_gaps_late(pairs: list[Pair], side: int, kinds: Sequence[int]) -> None:
    """Of equal operators of one network, leave the last one without a counterpart.

    Args:
        pairs: changed in place.
        side: whose operators are left alone: 0 for the model, 1 for the reference.
        kinds: of all operators of this side, in order; equal for operators that are equal.
    """
    waiting: deque[tuple[int, int]] = deque()  # place and kind of neighbours of this side without a counterpart
    numbers = itertools.count()
    for place, pair in enumerate(pairs):
        own, other = pair[side], pair[1 - side]
        kind = None if own is None else kinds[next(numbers)]
        if kind is not None and other is None:
            waiting.append((place, kind))
        elif kind is None or not waiting or waiting[0][1] != kind:
            waiting.clear()
        else:
            first, _ = waiting.popleft()
            alone = pairs[first][side]
            pairs[first] = (alone, other) if side == 0 else (other, alone)
            pairs[place] = (own, None) if side == 0 else (None, own)
            waiting.append((place, kind))


def _shapes(node: Node) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple(sorted((role, leaf.shape) for role, leaf in node.leaves.items()))


def _names(node: Node) -> list[str]:
    return sorted(leaf.name for leaf in node.leaves.values())


def _kind(node: Node, seen: dict[object, int]) -> int:
    """A number for all operators that are equal in everything that an alignment looks at."""
    key = (node.operator, _shapes(node), node.shape, tuple(sorted((k, str(v)) for k, v in node.settings.items())))
    return seen.setdefault(key, len(seen))


def _named(kind: int, names: Iterable[str], seen: dict[object, int]) -> int:
    return seen.setdefault((kind, tuple(sorted(names))), len(seen))


def compatible(model: str, reference: str) -> bool:
    """Whether one operator may be a replacement for the other."""
    return model == reference or any(model in kind and reference in kind for kind in _KINDS)


def _score(model: Node, reference: Node, known: Mapping[str, str]) -> float:
    """Score of pairing two operators."""
    if not compatible(model.operator, reference.operator):
        return _NEVER
    if known and (model.leaves or reference.leaves):
        mapped = {known[leaf.name] for leaf in model.leaves.values() if leaf.name in known}
        if mapped and not mapped & {leaf.name for leaf in reference.leaves.values()}:
            return _NEVER
    if model.operator != reference.operator:
        if model.leaves and reference.leaves:
            return 1.5 if _numbers(model) == _numbers(reference) else 0.2
        return 0.3
    common = model.leaves.keys() & reference.leaves.keys()
    if model.leaves or reference.leaves:
        if not common:
            return 0.3
        if any(prod(model.leaves[role].shape) != prod(reference.leaves[role].shape) for role in common):
            return 0.4
        worth = 5.0
    else:
        worth = 1.5
    return worth + (model.settings == reference.settings) + 0.5 * (model.shape == reference.shape)


def _numbers(node: Node) -> int:
    return max(prod(leaf.shape) for leaf in node.leaves.values())


def _table(model: Sequence[Node], reference: Sequence[Node], known: Mapping[str, str]) -> list[Pair]:
    """The best alignment; filled from the end and read from the start, so that ties put gaps late."""
    rows, columns = len(model), len(reference)
    if not rows or not columns:
        return [*((node, None) for node in model), *((None, node) for node in reference)]
    width = columns if rows * columns <= _PLAIN_CELLS else abs(rows - columns) + _BAND
    kinds: dict[object, int] = {}
    a = [_kind(node, kinds) for node in model]
    b = [_kind(node, kinds) for node in reference]
    if known:
        a = [_named(kind, _names(node), kinds) for kind, node in zip(a, model, strict=True)]
        b = [_named(kind, _names(node), kinds) for kind, node in zip(b, reference, strict=True)]
    scores: dict[tuple[int, int], float] = {}

    def score(i: int, j: int) -> float:
        pair = (a[i], b[j])
        worth = scores.get(pair)
        if worth is None:
            worth = scores[pair] = _score(model[i], reference[j], known)
        return worth

    while True:
        steps, firsts = _filled(rows, columns, width, score)
        pairs, is_at_edge = _read(model, reference, steps, firsts)
        if not is_at_edge or width >= columns:
            return pairs
        width *= 2


def _filled(
    rows: int, columns: int, width: int, score: Callable[[int, int], float]
) -> tuple[list[bytearray], list[int]]:
    """The steps within a band of the table, and the first column of each row."""
    slope = columns / rows
    # steps[i][j - first]: 0 pairs them, 1 leaves the model's alone, 2 the reference's
    steps: list[bytearray] = []
    firsts: list[int] = []
    below = [_GAP * (columns - j) for j in range(columns + 1)]
    for i in range(rows - 1, -1, -1):
        first, last = max(0, int(i * slope) - width), min(columns, int(i * slope) + width)
        row = [_NEVER] * (columns + 1)
        step = bytearray(last - first + 1)
        if last == columns:
            row[columns] = _GAP * (rows - i)
        for j in range(min(last, columns - 1), first - 1, -1):
            together, down, right = below[j + 1] + score(i, j), below[j] + _GAP, row[j + 1] + _GAP
            if together >= down and together >= right:
                row[j] = together
            elif down >= right:
                row[j] = down
                step[j - first] = 1
            else:
                row[j] = right
                step[j - first] = 2
        below = row
        steps.append(step)
        firsts.append(first)
    steps.reverse()
    firsts.reverse()
    return steps, firsts


def _read(
    model: Sequence[Node], reference: Sequence[Node], steps: list[bytearray], firsts: list[int]
) -> tuple[list[Pair], bool]:
    """The pairs on the best way, and whether it leads along an edge of the band: a better one may lie beyond."""
    pairs: list[Pair] = []
    is_at_edge = False
    i = j = 0
    while i < len(model) and j < len(reference):
        last = firsts[i] + len(steps[i]) - 1
        is_at_edge |= (j == firsts[i] > 0) or (j == last < len(reference))
        step = steps[i][j - firsts[i]]
        if step == 0:
            pairs.append((model[i], reference[j]))
            i, j = i + 1, j + 1
        elif step == 1:
            pairs.append((model[i], None))
            i += 1
        else:
            pairs.append((None, reference[j]))
            j += 1
    return [*pairs, *((node, None) for node in model[i:]), *((None, node) for node in reference[j:])], is_at_edge


@dataclass(frozen=True, slots=True)
class KeyMap:
    """Corresponding parameters and buffers."""

    pairs: dict[str, str]  # model -> reference
    clashes: tuple[tuple[str, str], ...]  # of corresponding operators, but of different sizes


def key_map(
    pairs: Iterable[Pair], model: Mapping[str, tuple[int, ...]], reference: Mapping[str, tuple[int, ...]]
) -> KeyMap:
    """Parameters and buffers follow the operators that read them.

    Args:
        pairs: as `align` gives them.
        model: shapes of all tensors of the model's state dict, by name.
        reference: those of the reference.
    """
    mapping: dict[str, str] = {}
    taken: set[str] = set()
    clashes: list[tuple[str, str]] = []
    owners: dict[str, str] = {}
    for model_node, reference_node in pairs:
        if model_node is None or reference_node is None:
            continue
        for role, leaf in model_node.leaves.items():
            target = reference_node.leaves.get(role)
            if target is None or leaf.name in mapping or target.name in taken:
                continue
            if leaf.name not in model or target.name not in reference:
                continue
            if prod(model[leaf.name]) != prod(reference[target.name]):
                clashes.append((leaf.name, target.name))
                continue
            mapping[leaf.name] = target.name
            taken.add(target.name)
            owners.setdefault(leaf.name.rpartition(".")[0], target.name.rpartition(".")[0])
    # What no operator of one shape reads (num_batches_tracked) belongs to its siblings.
    for name, shape in model.items():
        owner, _, last = name.rpartition(".")
        if name in mapping or owner not in owners:
            continue
        near = [key for key in reference if key.rpartition(".")[0] == owners[owner] and key not in taken]
        same = [key for key in near if key.rpartition(".")[2] == last and reference[key] == shape]
        counters = [key for key in near if reference[key] == shape == ()]
        for sibling in same or (counters if len(counters) == 1 else []):
            mapping[name] = sibling
            taken.add(sibling)
    return KeyMap(mapping, tuple(clashes))


def align_graphs(model: Graph, reference: Graph, known: Mapping[str, str] | None = None) -> list[Pair]:
    """`align`, for whole graphs."""
    return align(model.nodes, reference.nodes, known)
