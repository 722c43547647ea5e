"""Differences that are none: regions in which the networks are written otherwise and compute the same.

Two graphs are equal where operators, settings, parameters and inputs are; by induction from the image on, each region
between equal operators may be judged by itself. A region that differs by itself is judged once more together with the
operators that it reads: behind a ReLU, padding by zeros is the padding of a max pool.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from resnet_cli.measure.graph import alignment
from resnet_cli.measure.graph.diff import GraphDiff, diff_graphs
from resnet_cli.measure.graph.nodes import IMAGE, Graph, ParameterRef
from resnet_cli.measure.graph.regions import Key, Region, find_regions, keys
from resnet_cli.measure.graph.replay import ReplayError
from resnet_cli.measure.models import random_init
from resnet_cli.measure.parity.rewriting.layouts import possible_layouts
from resnet_cli.measure.parity.rewriting.region_pair import Mapped, RegionPair

_GROWTH = 2  # so many operators up, a region that differs is judged again
_TRIED_CALLS = 1500  # calls that are run to find which parameters of one region correspond


def doubtful(structure: GraphDiff, mapped: Mapped) -> set[int]:
    """Operators that look the same and read parameters that do not correspond, or are stored in another order."""
    numbers = set()
    for place, (node, reference) in enumerate(structure.pairs):
        if node and reference and structure.status[place] == "equal" and (node.leaves or reference.leaves):
            alike = node.leaves.keys() == reference.leaves.keys() and all(
                mapped.pairs.get(leaf.name) == reference.leaves[role].name
                and leaf.transposed == reference.leaves[role].transposed
                and _sizes(leaf) == _sizes(reference.leaves[role])
                for role, leaf in node.leaves.items()
            )
            if not alike:
                numbers.add(node.number)
    return numbers


def _sizes(leaf: ParameterRef) -> tuple[int, ...]:
    return tuple(size for size in leaf.shape if size > 1)


class Judge:
    """Judges regions of two networks, and maps the parameters that they read.

    Args:
        model: its parameters are read for their shapes alone.
        reference: likewise.
        mapped: parameters that correspond; gets those that were found by value, where a region computes the same with
            them.
        name: of the reference in sentences.

    Attributes:
        equal: operators of each region of the first graphs whose sides compute the same.
        different: operators of regions that differ in any of the graphs.
    """

    def __init__(self, model: nn.Module, reference: nn.Module, mapped: Mapped, name: str) -> None:
        self._mapped, self._name = mapped, name
        self._shapes = {path: tuple(tensor.shape) for path, tensor in random_init.tensors(model).items()}
        self._values = _RandomValues(reference)
        self._trainable = frozenset(path for path, _ in reference.named_parameters())
        self.equal: list[frozenset[Key]] = []
        self.different: set[Key] = set()

    @property
    def rewritten(self) -> list[frozenset[Key]]:
        """Operators of each region that computes the same wherever it was judged."""
        return [members for members in self.equal if not members & self.different]

    def judge(self, model: Graph, reference: Graph) -> None:
        """Judge all regions of two graphs, recorded with real tensors in the same mode and at the same size."""
        pairs = alignment.align_graphs(model, reference, self._mapped.pairs)
        equal, different = self._regions(diff_graphs(model, reference, pairs, self._name))
        self.equal = self.equal or equal
        self.different |= different

    def _regions(self, structure: GraphDiff) -> tuple[list[frozenset[Key]], set[Key]]:
        """Operators of each region that computes the same, and operators of the others."""
        names = keys(structure.model, is_model=True), keys(structure.reference_graph, is_model=False)

        def members(region: Region) -> frozenset[Key]:
            return frozenset({names[0][n] for n in region.model} | {names[1][n] for n in region.reference})

        taken = doubtful(structure, self._mapped)
        between = find_regions(structure, taken, between_pairs=True)
        equal = [members(region) for region in between if self._computes_the_same(region, structure)]
        settled: set[Key] = set().union(*equal)
        pending: list[frozenset[Key]] = []
        regions = find_regions(structure, taken)
        for growth in range(_GROWTH + 1):
            unequal = []
            for region in regions:
                inside = members(region) - settled
                if not inside or (growth and not any(each <= inside for each in pending)):
                    continue  # judged before
                if self._computes_the_same(region, structure):
                    equal.append(inside)
                    pending = [each for each in pending if not each <= inside]
                else:
                    unequal.append(region)
                    pending += [] if growth else [inside]
            growing = [region for region in unequal if not _is_one_operator(region, structure)]
            taken |= {number for region in growing for number, _ in region.inputs if number != IMAGE}
            if not growing or not pending or growth == _GROWTH:
                break
            regions = find_regions(structure, taken)
        return equal, set().union(*pending)

    def _computes_the_same(self, region: Region, structure: GraphDiff) -> bool:
        graphs = structure.model, structure.reference_graph
        try:
            pair = RegionPair(region, graphs, self._shapes, self._values, self._trainable)
        except ReplayError:
            return False
        transposed = (
            _transposed(structure.model, region.model),
            _transposed(structure.reference_graph, region.reference),
        )
        tries = max(1, _TRIED_CALLS // max(1, len(pair.model.calls)))
        for mapped in itertools.islice(self._mappings(pair, transposed), tries):
            if pair.agrees(mapped):
                self._mapped.pairs.update(mapped.pairs)
                self._mapped.layouts.update(mapped.layouts)
                return True
        return False

    def _mappings(self, pair: RegionPair, transposed: tuple[set[str], set[str]]) -> Iterator[Mapped]:
        """Ways to map the parameters that a region reads, those of the alignment first."""
        names, references = pair.model.parameters, pair.reference.parameters
        fixed = {name: self._mapped.pairs[name] for name in names if name in self._mapped.pairs}
        taken = set(self._mapped.pairs.values())
        free = [name for name in names if name not in fixed]
        partners = [name for name in references if name not in taken]
        if set(fixed.values()) - set(references) or len(fixed) + len(partners) != len(references):
            return
        # The reference may read more: running statistics in train mode, which only eval mode needs.
        if Counter(map(self._count, free)) <= Counter(math.prod(self._values.shape(name)) for name in partners):
            for pairs in self._assignments(free, partners):
                yield from self._with_layouts(fixed | pairs, free, transposed)

    def _assignments(self, free: Sequence[str], partners: Sequence[str]) -> Iterator[dict[str, str]]:
        """Ways to give each of some names a partner of as many values; there is at least one."""
        if not free:
            yield {}
            return
        for partner in partners:
            if self._count(free[0]) == math.prod(self._values.shape(partner)):
                for others in self._assignments(free[1:], [name for name in partners if name != partner]):
                    yield {free[0]: partner, **others}

    def _count(self, name: str) -> int:
        return math.prod(self._shapes[name])

    def _with_layouts(
        self, pairs: dict[str, str], free: Sequence[str], transposed: tuple[set[str], set[str]]
    ) -> Iterator[Mapped]:
        choices: list[list[tuple[int, ...] | None]] = []
        for name, partner in pairs.items():
            shapes = self._shapes[name], self._values.shape(partner)
            is_same_order = (name in transposed[0]) == (partner in transposed[1]) and _short(shapes[0]) == _short(
                shapes[1]
            )
            if name in self._mapped.layouts:
                choices.append([self._mapped.layouts[name]])
            elif name not in free and is_same_order:
                choices.append([None])
            else:
                choices.append(list(possible_layouts(*shapes)))
        for layouts in itertools.product(*choices):
            yield Mapped(
                pairs, {name: layout for name, layout in zip(pairs, layouts, strict=True) if layout is not None}
            )


def _is_one_operator(region: Region, structure: GraphDiff) -> bool:
    """Whether the sides are the same operator with other settings, which makes up for nothing beside it."""
    sides = (structure.model, region.model), (structure.reference_graph, region.reference)
    operators = [[graph.by_number[number].operator for number in numbers] for graph, numbers in sides]
    return len(region.model) == 1 and operators[0] == operators[1]


def _short(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(size for size in shape if size > 1)


def _transposed(graph: Graph, numbers: frozenset[int]) -> set[str]:
    return {leaf.name for number in numbers for leaf in graph.by_number[number].leaves.values() if leaf.transposed}


class _RandomValues(Mapping[str, Tensor]):
    """Random float64 values for parameters and buffers by name, drawn when they are first asked for.

    Those of one axis are positive, since variances are among them; counters are 3.
    """

    def __init__(self, model: nn.Module) -> None:
        self._tensors = random_init.tensors(model)
        self._seeds = {name: seed for seed, name in enumerate(self._tensors)}
        self._drawn: dict[str, Tensor] = {}

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._drawn:
            self._drawn[name] = self._draw(self._tensors[name], self._seeds[name])
        return self._drawn[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape, without drawing values."""
        return tuple(self._tensors[name].shape)

    @staticmethod
    def _draw(tensor: Tensor, seed: int) -> Tensor:
        shape = tuple(tensor.shape)
        if not tensor.is_floating_point():
            return torch.full(shape, 3, dtype=tensor.dtype)
        values = random_init.image(shape, seed, torch.float64)
        return values.abs() + 0.5 if tensor.dim() < 2 else values / math.sqrt(math.prod(shape[1:]))
