"""Two graphs side by side: which operator is which, and so which parameter is which.

Global alignment of two sequences with gap costs (Needleman and Wunsch 1970). The sequences are in an order that
depends on the data flow alone (`graph.Graph`), so the alignment is at once the structural difference and the map
of the keys; names play no part in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from resnet_cli.measure.graph.nodes import Graph, Node
from resnet_cli.measure.ops.settings import ACTIVATIONS, NORMS, POOLS

Pair = tuple[Node | None, Node | None]

_GAP = -1.0
_NEVER = -1e9
_PLAIN_CELLS = 1_500_000  # up to here the whole table is filled
_BAND = 200  # beyond it, so many cells on either side of the diagonal

# One may stand where the other is, which reads better than one missing and one more.
_KINDS = (ACTIVATIONS, POOLS, NORMS, frozenset({"conv", "linear"}), frozenset({"sub", "add"}))


def align(ours: Sequence[Node], theirs: Sequence[Node], known: Mapping[str, str] | None = None) -> list[Pair]:
    """Pairs of operators in order; None stands for no counterpart.

    Args:
        ours: operators of one graph, in its order.
        theirs: of the other one.
        known: parameters that are known to be each other's; operators that read them belong together, and those
            that read others do not.
    """
    known = known or {}
    kinds: dict[object, int] = {}
    a = [_kind(node, kinds) for node in ours]
    b = [_kind(node, kinds) for node in theirs]
    if known:  # an operator is then known by its parameters too
        a = [_named(kind, [known.get(n, n) for n in _names(node)], kinds) for kind, node in zip(a, ours, strict=True)]
        b = [_named(kind, _names(node), kinds) for kind, node in zip(b, theirs, strict=True)]
    start = 0
    while start < min(len(a), len(b)) and a[start] == b[start]:
        start += 1
    end = 0
    while end < min(len(a), len(b)) - start and a[-1 - end] == b[-1 - end]:
        end += 1
    # An exact match is worth the most, so equal ends are never better aligned in another way.
    middle = _table(ours[start : len(ours) - end], theirs[start : len(theirs) - end], known)
    head = list(zip(ours[:start], theirs[:start], strict=True))
    tail = list(zip(ours[len(ours) - end :], theirs[len(theirs) - end :], strict=True))
    return [*head, *middle, *tail]


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


def compatible(ours: str, theirs: str) -> bool:
    """Whether one operator may be said to stand in the other's place."""
    return ours == theirs or any(ours in kind and theirs in kind for kind in _KINDS)


def _score(ours: Node, theirs: Node, known: Mapping[str, str]) -> float:
    """What it is worth to say that two operators are each other's."""
    if not compatible(ours.operator, theirs.operator):
        return _NEVER
    if known and (ours.leaves or theirs.leaves):
        mapped = {known[leaf.name] for leaf in ours.leaves.values() if leaf.name in known}
        if mapped and not mapped & {leaf.name for leaf in theirs.leaves.values()}:
            return _NEVER
    if ours.operator != theirs.operator:
        if ours.leaves and theirs.leaves:
            return 1.5 if _numbers(ours) == _numbers(theirs) else 0.2
        return 0.3
    common = ours.leaves.keys() & theirs.leaves.keys()
    if ours.leaves or theirs.leaves:
        if not common:
            return 0.3
        if any(prod(ours.leaves[role].shape) != prod(theirs.leaves[role].shape) for role in common):
            return 0.4
        worth = 5.0
    else:
        worth = 1.5
    return worth + (ours.settings == theirs.settings) + 0.5 * (ours.shape == theirs.shape)


def _numbers(node: Node) -> int:
    return max(prod(leaf.shape) for leaf in node.leaves.values())


def _table(ours: Sequence[Node], theirs: Sequence[Node], known: Mapping[str, str]) -> list[Pair]:
    """The best alignment; filled from the end and read from the start, so that ties put gaps late."""
    rows, columns = len(ours), len(theirs)
    if not rows or not columns:
        return [*((node, None) for node in ours), *((None, node) for node in theirs)]
    width = columns if rows * columns <= _PLAIN_CELLS else abs(rows - columns) + _BAND
    slope = columns / rows
    scores: dict[tuple[int, int], float] = {}
    kinds: dict[object, int] = {}
    a = [_kind(node, kinds) for node in ours]
    b = [_kind(node, kinds) for node in theirs]
    if known:
        a = [_named(kind, _names(node), kinds) for kind, node in zip(a, ours, strict=True)]
        b = [_named(kind, _names(node), kinds) for kind, node in zip(b, theirs, strict=True)]
    # steps[i][j - first]: 0 pairs them, 1 leaves ours alone, 2 leaves theirs alone
    steps: list[bytearray] = []
    firsts: list[int] = []
    below = [_GAP * (columns - j) for j in range(columns + 1)]
    for i in range(rows - 1, -1, -1):
        first, last = max(0, int(i * slope) - width), min(columns, int(i * slope) + width)
        row = [_NEVER] * (columns + 1)
        step = bytearray(last - first + 1)
        if last == columns:
            row[columns] = _GAP * (rows - i)
        kind, node = a[i], ours[i]
        for j in range(min(last, columns - 1), first - 1, -1):
            pair = (kind, b[j])
            worth = scores.get(pair)
            if worth is None:
                worth = scores[pair] = _score(node, theirs[j], known)
            together, alone, other = below[j + 1] + worth, below[j] + _GAP, row[j + 1] + _GAP
            if together >= alone and together >= other:
                row[j] = together
            elif alone >= other:
                row[j] = alone
                step[j - first] = 1
            else:
                row[j] = other
                step[j - first] = 2
        below = row
        steps.append(step)
        firsts.append(first)
    steps.reverse()
    firsts.reverse()
    return _read(ours, theirs, steps, firsts)


def _read(ours: Sequence[Node], theirs: Sequence[Node], steps: list[bytearray], firsts: list[int]) -> list[Pair]:
    found: list[Pair] = []
    i = j = 0
    while i < len(ours) and j < len(theirs):
        step = steps[i][j - firsts[i]]
        if step == 0:
            found.append((ours[i], theirs[j]))
            i, j = i + 1, j + 1
        elif step == 1:
            found.append((ours[i], None))
            i += 1
        else:
            found.append((None, theirs[j]))
            j += 1
    return [*found, *((node, None) for node in ours[i:]), *((None, node) for node in theirs[j:])]


@dataclass(frozen=True, slots=True)
class KeyMap:
    """Which parameter or buffer is which."""

    pairs: dict[str, str]  # ours -> theirs
    clashes: tuple[tuple[str, str], ...]  # of operators that belong together, with another number of values


def key_map(
    pairs: Iterable[Pair], ours: Mapping[str, tuple[int, ...]], theirs: Mapping[str, tuple[int, ...]]
) -> KeyMap:
    """Parameters and buffers follow the operators that read them.

    Args:
        pairs: as `align` gives them.
        ours: shapes of all tensors of our state, by name.
        theirs: those of the reference.
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    clashes: list[tuple[str, str]] = []
    owners: dict[str, str] = {}
    for mine, other in pairs:
        if mine is None or other is None:
            continue
        for role, leaf in mine.leaves.items():
            target = other.leaves.get(role)
            if target is None or leaf.name in found or target.name in taken:
                continue
            if leaf.name not in ours or target.name not in theirs:
                continue
            if prod(ours[leaf.name]) != prod(theirs[target.name]):
                clashes.append((leaf.name, target.name))
                continue
            found[leaf.name] = target.name
            taken.add(target.name)
            owners.setdefault(leaf.name.rpartition(".")[0], target.name.rpartition(".")[0])
    # What no operator of one shape reads (num_batches_tracked) belongs to its siblings.
    for name, shape in ours.items():
        owner, _, last = name.rpartition(".")
        if name in found or owner not in owners:
            continue
        near = [key for key in theirs if key.rpartition(".")[0] == owners[owner] and key not in taken]
        same = [key for key in near if key.rpartition(".")[2] == last and theirs[key] == shape]
        counters = [key for key in near if theirs[key] == shape == ()]
        for sibling in same or (counters if len(counters) == 1 else []):
            found[name] = sibling
            taken.add(sibling)
    return KeyMap(found, tuple(clashes))


def align_graphs(ours: Graph, theirs: Graph, known: Mapping[str, str] | None = None) -> list[Pair]:
    """`align`, for whole graphs."""
    return align(ours.nodes, theirs.nodes, known)
