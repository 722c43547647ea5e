"""Two networks as the hunks of a diff: differences with their neighbours, equal parts in few rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from resnet_cli.render.pages.layer_tree import span
from resnet_cli.results.compare import AlignedOp

_CONTEXT = 2  # equal neighbours that are drawn on either side of a difference, within its block
FORWARD = "(forward)"  # an operator of the forward itself, without a module of its own


@dataclass(frozen=True, slots=True)
class Hunk:
    """One row to draw: the head of a block (no operators), an aligned pair, or a run of equal pairs."""

    ops: tuple[AlignedOp, ...]
    model: str  # a path; in an opened block relative to the block's, such as ".conv1"
    reference: str


def hunks(ops: Sequence[AlignedOp], levels: int, stands_out: Callable[[AlignedOp], bool]) -> Iterator[Hunk]:
    """The rows to draw, in order.

    Args:
        ops: both networks, operator by operator.
        levels: how deep equal parts are drawn.
        stands_out: whether a pair must be drawn in a row of its own.
    """
    sides = _Side([op.model_path for op in ops]), _Side([op.reference_path for op in ops])
    equal: list[AlignedOp] = []
    for block, run in groupby(zip(ops, _blocks(ops, *sides), strict=True), key=lambda pair: pair[1]):
        members = [op for op, _ in run]
        shown = _shown([stands_out(op) for op in members])
        if not any(shown):
            equal += members
            continue
        yield from _collapsed(equal, levels, sides)
        equal = []
        yield from _opened(block, members, shown, sides)
    yield from _collapsed(equal, levels, sides)


class _Side:
    """The paths of one network, and how they hang together."""

    def __init__(self, paths: Sequence[str | None]) -> None:
        self.paths = [tuple(path.split(".")) if path else () for path in paths if path is not None]
        self.below: dict[tuple[str, ...], set[str]] = {}
        self.ops: dict[tuple[str, ...], int] = {}  # number of operators at or below a path
        for path in self.paths:
            for depth in range(len(path) + 1):
                self.ops[path[:depth]] = self.ops.get(path[:depth], 0) + 1
                self.below.setdefault(path[:depth], set()).add(path[depth] if depth < len(path) else "")

    def block(self, path: str) -> str:
        """The module that an operator belongs to: the parent of its own, or the one whose forward runs it."""
        parts = tuple(path.split(".")) if path else ()
        return path if self.below.get(parts, {""}) != {""} else path.rpartition(".")[0]

    def part(self, path: str | None, levels: int) -> tuple[str, ...]:
        """The part of the network that an equal operator is drawn as; an only child is not a level of its own."""
        parts = tuple(path.split(".")) if path else ()
        for depth in range(len(parts)):
            levels -= len(self.below[parts[:depth]]) > 1
            if levels < 0:
                return parts[:depth]
        return parts

    def label(self, paths: Sequence[str | None]) -> str:
        """One name for a run of operators: "l2", or "l2.block.ResIdentity1…4" where it is not all of l2."""
        split = [tuple(path.split(".")) if path else () for path in paths if path is not None]
        if not split:
            return ""
        common = _common(split)
        if self.ops[common] == len(split):
            return ".".join(common) or FORWARD
        inside = [path[len(common)] if len(path) > len(common) else FORWARD for path in split]
        return ".".join((*common, _range(inside)))


def _range(names: Sequence[str]) -> str:
    """Neighbours as one: "ResIdentity1…4", and "conv1…conv2" where it is not conv alone."""
    first, last = names[0], names[-1]
    if first == last:
        return first
    return span(first, last) if len({name.rstrip("0123456789") for name in names}) == 1 else f"{first}…{last}"


def _common(paths: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The longest path that all of them start with."""
    first, last = min(paths), max(paths)
    depth = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:depth]


def _blocks(ops: Sequence[AlignedOp], model: _Side, reference: _Side) -> list[str]:
    """The block of the model that each pair belongs to.

    An operator of the reference alone goes with the neighbours that share its block in the reference.
    """
    own = [None if op.model_path is None else model.block(op.model_path) for op in ops]
    other = [None if op.reference_path is None else reference.block(op.reference_path) for op in ops]
    nowhere: tuple[str | None, str | None] = (None, None)  # block in the model, block in the reference
    following: list[tuple[str | None, str | None]] = []
    after = nowhere
    for pair in zip(reversed(own), reversed(other), strict=True):
        after = after if pair[0] is None else pair
        following.append(after)
    before = nowhere
    blocks = []
    for block, reference_block, later in zip(own, other, reversed(following), strict=True):
        if block is None:
            joins_later = before[0] is None or (reference_block == later[1] and reference_block != before[1])
            blocks.append((later[0] if joins_later else before[0]) or "")
        else:
            before = (block, reference_block)
            blocks.append(block)
    return blocks


def _shown(marked: Sequence[bool]) -> list[bool]:
    """Which pairs of a block are drawn: the marked ones, their neighbours, and gaps of a single pair."""
    near = [any(marked[max(i - _CONTEXT, 0) : i + _CONTEXT + 1]) for i in range(len(marked))]
    if not any(near):
        return near
    last = len(near) - 1
    return [is_near or ((i == 0 or near[i - 1]) and (i == last or near[i + 1])) for i, is_near in enumerate(near)]


def _opened(block: str, ops: Sequence[AlignedOp], shown: Sequence[bool], sides: tuple[_Side, _Side]) -> Iterator[Hunk]:
    """A block with a difference: its head, then its operators."""
    reference = sides[1]
    homes = [
        tuple(filter(None, reference.block(op.reference_path).split(".")))
        for op in ops
        if op.reference_path is not None
    ]
    home = ".".join(_common(homes)) if homes else ""
    if block or home:
        yield Hunk((), block, home)
    for is_shown, run in groupby(zip(ops, shown, strict=True), key=lambda pair: pair[1]):
        members = tuple(op for op, _ in run)
        if is_shown:
            yield from (
                Hunk((op,), _relative(op.model_path, block), _relative(op.reference_path, home)) for op in members
            )
        else:
            names = _labels(members, sides)
            yield Hunk(members, _relative(names[0], block), _relative(names[1], home))


def _labels(ops: Sequence[AlignedOp], sides: tuple[_Side, _Side]) -> tuple[str, str]:
    """The names of a run of operators in the model and in the reference."""
    model, reference = sides
    return model.label([op.model_path for op in ops]), reference.label([op.reference_path for op in ops])


def _relative(path: str | None, block: str) -> str:
    """A path as it reads below the head of its block."""
    if path is None:
        return ""
    if path == block:
        return FORWARD
    return path.removeprefix(block) if block and path.startswith(f"{block}.") else path


def _collapsed(ops: Sequence[AlignedOp], levels: int, sides: tuple[_Side, _Side]) -> Iterator[Hunk]:
    """Equal operators, a row for each part of the network."""
    for _, run in groupby(ops, key=lambda op: sides[0].part(op.model_path, levels)):
        members = tuple(run)
        if len(members) == 1:
            yield Hunk(members, members[0].model_path or FORWARD, members[0].reference_path or FORWARD)
        else:
            yield Hunk(members, *_labels(members, sides))
