"""How the calls of a module hang together: ranks, the longest way, and what runs beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from resnet_cli.render.charts.layer_roles import role_of, unwrap
from resnet_cli.results.summary import Layer

INPUT = -1
IDENTITY = "identity"
PROJECTION = "projection"


@dataclass(frozen=True, slots=True)
class Connections:
    """The edges of one module's calls.

    Args:
        layers: that run, in order.
        sources: of each, indices into `layers`, -1 for the module's input.
        ranks: steps from the input, by the longest way; 1 for what reads the input alone.
        main: the longest way from the input to the last call.
    """

    layers: tuple[Layer, ...]
    sources: tuple[tuple[int, ...], ...]
    ranks: tuple[int, ...]
    main: tuple[int, ...]


def connections(module: Layer) -> Connections:
    """Of what a module's forward calls; where the edges are not known, each call reads the one before."""
    kept = [index for index, layer in enumerate(module.children) if layer.output_shape is not None and layer.call > 0]
    number = {index: place for place, index in enumerate(kept)} | {INPUT: INPUT}
    layers = tuple(module.children[index] for index in kept)
    sources: list[tuple[int, ...]] = []
    ranks: list[int] = []
    for place, layer in enumerate(layers):
        known = layer.sources is not None
        earlier = {number[one] for one in layer.sources or () if one in number and number[one] < place}
        read = tuple(sorted(earlier)) if known else (place - 1,)
        sources.append(read)
        ranks.append(1 + max((ranks[one] if one != INPUT else 0 for one in read), default=0))
    return Connections(layers, tuple(sources), tuple(ranks), _longest(sources, ranks))


def _longest(sources: Sequence[tuple[int, ...]], ranks: Sequence[int]) -> tuple[int, ...]:
    """From the input to the last call; of two ways of one length the one that began first."""
    place = len(sources) - 1
    way = []
    while place != INPUT:
        way.append(place)
        before = sources[place]
        if not before:
            break
        place = max(before, key=lambda one: (ranks[one] if one != INPUT else 0, -one))
    return tuple(reversed(way))


def skip_of(module: Layer) -> str | None:
    """What a residual block adds to what it learns: its input ("identity"), or a "projection" of it; else None."""
    found = connections(unwrap(module))
    for place in reversed(range(len(found.layers))):
        layer, read = found.layers[place], found.sources[place]
        if len(read) < 2 or role_of(layer.layer_type) != "merge" or layer.layer_type == "cat":
            continue
        return IDENTITY if INPUT in read else PROJECTION
    return None
