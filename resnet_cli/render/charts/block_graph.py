"""The calls inside one module as a graph: edges, ranks and the longest path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from resnet_cli.render.charts.layer_roles import role_of, unwrap
from resnet_cli.results.summary import Layer

INPUT = -1
IDENTITY = "identity"
PROJECTION = "projection"


@dataclass(frozen=True, slots=True)
class BlockGraph:
    """The calls of one module and the edges between them.

    Args:
        layers: the calls, in the order in which they run.
        sources: for each call the calls whose output it reads: indices into `layers`, `INPUT` for the module's input.
        ranks: for each call the length of the longest path from the input to it; 1 for one that only reads the input.
        main: the longest path from the input to the last call, as indices into `layers`.
    """

    layers: tuple[Layer, ...]
    sources: tuple[tuple[int, ...], ...]
    ranks: tuple[int, ...]
    main: tuple[int, ...]


def block_graph(module: Layer) -> BlockGraph:
    """The graph of what a module's forward calls; where edges are not known, each call reads the one before."""
    kept = [index for index, layer in enumerate(module.children) if layer.output_shape is not None and layer.call > 0]
    positions = {child: index for index, child in enumerate(kept)} | {INPUT: INPUT}
    layers = tuple(module.children[index] for index in kept)
    sources: list[tuple[int, ...]] = []
    ranks: list[int] = []
    for index, layer in enumerate(layers):
        if layer.sources is None:
            reads: tuple[int, ...] = (index - 1,)
        else:
            earlier = {positions[child] for child in layer.sources if positions.get(child, index) < index}
            reads = tuple(sorted(earlier))
        sources.append(reads)
        ranks.append(1 + max((_rank(ranks, source) for source in reads), default=0))
    return BlockGraph(layers, tuple(sources), tuple(ranks), _longest_path(sources, ranks))


def _rank(ranks: Sequence[int], index: int) -> int:
    return 0 if index == INPUT else ranks[index]


def _longest_path(sources: Sequence[tuple[int, ...]], ranks: Sequence[int]) -> tuple[int, ...]:
    """From the input to the last call; of two equally long paths the one whose calls run first."""
    index = len(sources) - 1
    path = []
    while index != INPUT:
        path.append(index)
        if not sources[index]:
            break
        index = max(sources[index], key=lambda source: (_rank(ranks, source), -source))
    return tuple(reversed(path))


def skip_of(module: Layer) -> str | None:
    """The skip connection of a residual block: `IDENTITY`, `PROJECTION`, or None for another module."""
    graph = block_graph(unwrap(module))
    for layer, reads in zip(reversed(graph.layers), reversed(graph.sources), strict=True):
        if len(reads) >= 2 and role_of(layer.layer_type) == "merge" and layer.layer_type != "cat":
            return IDENTITY if INPUT in reads else PROJECTION
    return None
