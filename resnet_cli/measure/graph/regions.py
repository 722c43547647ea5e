"""Regions in which two aligned graphs differ: maximal sets of operators between operators that correspond.

A region is judged by what it computes (`parity.rewriting`), so it has the same inputs and outputs in both graphs: the
operators around it correspond.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from resnet_cli.measure.graph.diff import GraphDiff
from resnet_cli.measure.graph.nodes import IMAGE, Graph

Key = tuple[bool, str, str, int]  # whether it is the model's, path, operator, how many of them came before
_END = -2  # what the network returns, as an operator
_COMMUTATIVE = frozenset({"add", "mul", "maximum", "minimum"})


@dataclass(frozen=True, slots=True)
class Region:
    """Operators of both graphs that stand for each other.

    Args:
        model: numbers of the model's operators; none where it has nothing there.
        reference: those of the reference.
        inputs: numbers of the operators that are read, of model and reference.
        outputs: numbers of the operators that are read by others; one that is an input is handed through.
    """

    model: frozenset[int]
    reference: frozenset[int]
    inputs: tuple[tuple[int, int], ...]
    outputs: tuple[tuple[int, int], ...]


def keys(graph: Graph, *, is_model: bool) -> dict[int, Key]:
    """A name for each operator, which it has in every graph of the same network: at other sizes, in eval mode."""
    counts: Counter[tuple[str, str]] = Counter()
    names: dict[int, Key] = {}
    for node in graph.nodes:
        counts[node.path, node.operator] += 1
        names[node.number] = (is_model, node.path, node.operator, counts[node.path, node.operator])
    return names


def find_regions(structure: GraphDiff, doubtful: Collection[int], *, between_pairs: bool = False) -> list[Region]:
    """The regions, in the order of the model.

    Args:
        structure: two aligned graphs and their differences.
        doubtful: numbers of the model's operators that are taken into regions though they look the same.
        between_pairs: pairs with different settings are outside of regions too, so that what is beside such a pair is
            judged without it.
    """
    statuses = ("equal", "setting", "replaced") if between_pairs else ("equal",)
    return _Finder(structure, doubtful, statuses).regions()


class _Finder:
    """Joins operators that differ until all others read the same on both sides."""

    def __init__(self, structure: GraphDiff, doubtful: Collection[int], statuses: Collection[str]) -> None:
        self._graphs = structure.model, structure.reference_graph
        self._partner = {IMAGE: IMAGE}  # of the operators that correspond
        for place, (model_node, reference_node) in enumerate(structure.pairs):
            corresponds = structure.status[place] in statuses
            if model_node and reference_node and corresponds and model_node.number not in doubtful:
                self._partner[model_node.number] = reference_node.number

    def regions(self) -> list[Region]:
        """All regions; none where the networks return different numbers of tensors."""
        if len(self._graphs[0].ends) != len(self._graphs[1].ends):
            return []
        while demoted := [a for a, b in self._partner.items() if a != IMAGE and self._unlike(a, b) is None]:
            for number in demoted:
                del self._partner[number]
        outputs: list[tuple[int, int]] = []
        for number, reference in [*self._partner.items(), (_END, _END)]:
            unlike = self._unlike(number, reference)
            if unlike is None:
                return []  # what is returned is another operator
            outputs += unlike
        return self._joined(list(dict.fromkeys(outputs)))

    def _inputs(self, side: int, number: int) -> tuple[int, ...]:
        if number == _END:
            return self._graphs[side].ends
        node = self._graphs[side].by_number.get(number)
        return () if node is None else node.inputs

    def _unlike(self, number: int, reference: int) -> list[tuple[int, int]] | None:
        """What two operators read in place of each other where that does not correspond; None if it is unclear."""
        left, right = list(self._inputs(0, number)), list(self._inputs(1, reference))
        node = self._graphs[0].by_number.get(number)
        commutes = node is not None and node.operator in _COMMUTATIVE
        if commutes:
            for item in tuple(left):
                if self._partner.get(item, _END) in right:
                    left.remove(item)
                    right.remove(self._partner[item])
        if len(left) != len(right) or (commutes and len(left) > 1):
            return None
        unlike = [(a, b) for a, b in zip(left, right, strict=True) if self._partner.get(a, _END) != b]
        taken = set(self._partner.values()) if unlike else set()
        return None if any(a in self._partner and b in taken for a, b in unlike) else unlike

    def _joined(self, outputs: list[tuple[int, int]]) -> list[Region]:
        """One region for all operators that feed each other or are read in place of each other."""
        partner_of = {b: a for a, b in self._partner.items()}
        known: tuple[Collection[int], Collection[int]] = self._partner, partner_of
        groups = _Groups()
        for side, graph in enumerate(self._graphs):
            for node in graph.nodes:
                if node.number not in known[side]:
                    groups.join((side, node.number), (side, node.number))
                    for number in node.inputs:
                        if number not in known[side]:
                            groups.join((side, node.number), (side, number))
        for a, b in outputs:
            ends = [(side, number) for side, number in enumerate((a, b)) if number not in known[side]]
            groups.join(ends[0], ends[-1])
        return [self._region(members, outputs, partner_of) for members in groups.sets()]

    def _region(self, members: set[_Item], outputs: list[tuple[int, int]], partner_of: dict[int, int]) -> Region:
        own = [pair for pair in outputs if (0, pair[0]) in members or (1, pair[1]) in members]
        read = {(side, number) for side, reader in members for number in self._inputs(side, reader)}
        read |= {(side, number) for pair in own for side, number in enumerate(pair)}
        inputs = {(number, self._partner[number]) for side, number in read if side == 0 and number in self._partner}
        inputs |= {(partner_of[number], number) for side, number in read if side == 1 and number in partner_of}
        model = frozenset(number for side, number in members if side == 0)
        reference = frozenset(number for side, number in members if side == 1)
        return Region(model, reference, tuple(sorted(inputs)), tuple(own))


_Item = tuple[int, int]  # 0 for the model or 1 for the reference, number of an operator


class _Groups:
    """Sets that are joined where they share a member."""

    def __init__(self) -> None:
        self._set_of: dict[_Item, set[_Item]] = {}

    def join(self, first: _Item, second: _Item) -> None:
        """Put two into one set."""
        sets = [self._set_of.setdefault(item, {item}) for item in (first, second)]
        small, large = sorted(sets, key=len)
        if small is not large:
            large |= small
            self._set_of.update(dict.fromkeys(small, large))

    def sets(self) -> list[set[_Item]]:
        """All sets, in the order of their first members."""
        return list({id(members): members for members in self._set_of.values()}.values())
