"""Where the time goes: a layer's share of it beside its share of the MACs, so that what only moves bytes stands out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from resnet_cli import formatting
from resnet_cli.render.document import Cell, Column, Element, Paragraph, Row, Table, ViewOptions
from resnet_cli.render.pages.cells import counted, exact, scaled, seconds, share, text_cell
from resnet_cli.results.bench import LayerTime, LayerTimes

_TIME = Column("time_s", "time")
_SHARE = Column("share", "of time", bar=True, legend="a full bar is the largest share of either column")
_MACS = Column("macs_share", "of MACs", bar=True)
_RATE = Column("flops_per_s", "FLOP/s", priority=3)
_BANDWIDTH = Column("bytes_per_s", "B/s", priority=2, legend="bytes that the operators read and write, by their shapes")
_INTENSITY = Column("intensity", "op/B", priority=4, legend="operations per byte")
_BOUND = Column(
    "bound", "bound by", numeric=False, priority=1, legend="by operations per byte and the measured ceilings"
)


@dataclass(frozen=True, slots=True)
class _Branch:
    layer: LayerTime
    name: str
    children: tuple[_Branch, ...]


def layer_times(result: LayerTimes | None, view: ViewOptions) -> list[Element]:
    """By kind of layer and layer by layer; unfolded the layers alone, under their paths."""
    if result is None:
        return []
    branches = _branches(result.layers, view.collapse)
    widest = max((max(one.share, one.macs_share) for one in result.layers if one.path), default=1.0)
    tree = Table(
        "layers",
        f"layers at batch {result.batch_size:,}" if view.collapse else "",
        _columns(result, ("layer", "layer"), view.collapse),
        (*_tree(branches, 0, view, widest), _total(result)),
        tree=True,
        reveal="a wider terminal or --format json",
    )
    if not view.collapse:
        return [tree]
    return [_kinds(result), tree, Paragraph("dim", _cost(result))]


def _columns(result: LayerTimes, name: tuple[str, str], fold: bool) -> tuple[Column, ...]:
    known = any(one.bound is not None for one in result.layers)
    return (
        Column(*name, numeric=False, minimum=8, comfort=20),
        *([] if fold else [Column("kind", "kind", numeric=False), Column("call", "call")]),
        _TIME,
        *([] if fold else [Column("low_s", "from"), Column("high_s", "to")]),
        _SHARE,
        *([] if fold else [Column("macs", "MACs"), Column("bytes_moved", "moved")]),
        *(_MACS, _RATE, _BANDWIDTH, _INTENSITY),
        *([_BOUND] if known else []),
    )


def _cells(one: LayerTime, widest: float) -> dict[str, Cell]:
    bound = Cell("", None) if one.bound is None else text_cell(one.bound, "warning" if one.bound == "memory" else "")
    return {
        "kind": text_cell(one.layer_type, "dim"),
        "call": exact(one.call),
        "time_s": seconds(one.time_s),
        "low_s": seconds(one.ci_low_s),
        "high_s": seconds(one.ci_high_s),
        "share": share(one.share, widest),
        "macs": scaled(one.macs),
        "bytes_moved": scaled(one.bytes_moved, "B"),
        "macs_share": share(one.macs_share, widest),
        "flops_per_s": scaled(one.flops_per_s),
        "bytes_per_s": scaled(one.bytes_per_s),
        "intensity": Cell(
            formatting.ratio(one.arithmetic_intensity),
            one.arithmetic_intensity,
            "" if one.arithmetic_intensity else "dim",
        ),
        "bound": bound,
    }


# The tree


def _branches(layers: Sequence[LayerTime], fold: bool) -> tuple[_Branch, ...]:
    """The layers below the network itself as a tree; a wrapper is joined to the one module that it has."""
    inside = [one for one in layers if one.path]
    top = min((one.depth for one in inside), default=0)
    return tuple(_grown(inside, top, fold))


def _grown(layers: Sequence[LayerTime], depth: int, fold: bool) -> Iterator[_Branch]:
    starts = [index for index, one in enumerate(layers) if one.depth <= depth or not index]
    for start, end in pairwise([*starts, len(layers)]):
        layer = layers[start]
        children = tuple(_grown(layers[start + 1 : end], depth + 1, fold))
        name = layer.name if layer.call == 1 else f"{layer.name} #{layer.call}"
        if fold and len(children) == 1 and children[0].children:
            name, children = f"{name}.{children[0].name}", children[0].children
        yield _Branch(layer, name, children)


def _tree(branches: Sequence[_Branch], depth: int, view: ViewOptions, widest: float) -> Iterator[Row]:
    for branch in branches:
        role = "strong" if branch.children else ""
        yield Row({"layer": text_cell(branch.name, role, branch.layer.path), **_cells(branch.layer, widest)}, depth)
        if view.levels is None or depth + 1 < view.levels:
            yield from _tree(branch.children, depth + 1, view, widest)


def _total(result: LayerTimes) -> Row:
    """The forward, which holds what is outside of all layers too."""
    whole = sum(one.macs_share for one in result.layers if one.is_leaf)
    cells = {
        "layer": Cell("forward", "", "strong"),
        "time_s": seconds(result.instrumented_s),
        "share": share(1.0),
        "macs_share": share(whole),
    }
    return Row(cells, style="total")


# By kind


def _kinds(result: LayerTimes) -> Table:
    """The leaves added up by what they are: seldom is it the MACs alone that take the time."""
    kinds: dict[str, list[LayerTime]] = {}
    for one in result.layers:
        if one.is_leaf:
            kinds.setdefault(one.layer_type, []).append(one)
    whole = result.instrumented_s
    shares = {kind: sum(one.time_s for one in them) / whole if whole else 0.0 for kind, them in kinds.items()}
    macs = {kind: sum(one.macs_share for one in them) for kind, them in kinds.items()}
    outside = result.other_s / whole if whole else 0.0
    widest = max([*shares.values(), *macs.values(), outside], default=1.0)
    rows = [
        Row({**_sums(kinds[kind]), "share": share(shares[kind], widest), "macs_share": share(macs[kind], widest)})
        for kind in sorted(kinds, key=lambda kind: -shares[kind])
    ]
    beside = {
        "kind": Cell("outside of layers", None, "dim"),
        "time_s": seconds(result.other_s),
        "share": share(outside, widest),
    }
    columns = (
        Column("kind", "kind", numeric=False, minimum=8, comfort=20),
        Column("calls", "calls", priority=2),
        _TIME,
        _SHARE,
        _MACS,
        _RATE,
        _BANDWIDTH,
    )
    title = f"where the time goes, at batch {result.batch_size:,}"
    total = {**_total(result).cells, "kind": Cell("forward", "forward", "strong")}
    return Table("kinds", title, columns, (*rows, Row(beside), Row(total, style="total")))


def _sums(them: Sequence[LayerTime]) -> dict[str, Cell]:
    spent = sum(one.time_s for one in them)
    macs = sum(one.macs for one in them)
    return {
        "kind": text_cell(them[0].layer_type),
        "calls": exact(len(them)),
        "time_s": seconds(spent),
        "flops_per_s": scaled(2 * macs / spent if spent and macs else None),
        "bytes_per_s": scaled(sum(one.bytes_moved for one in them) / spent if spent else None),
    }


def _cost(result: LayerTimes) -> str:
    plain, clocked = formatting.seconds(result.forward_s), formatting.seconds(result.instrumented_s)
    return (
        f"median of {counted(result.forwards, 'forward')}; with a clock at each layer it takes {clocked}, "
        f"without one {plain}"
    )
