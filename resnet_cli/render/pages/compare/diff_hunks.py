"""Two networks as a diff: what differs with its neighbours, what is equal in few rows. Nothing is drawn here."""

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
    """One row to draw: the head of a block (no line), a line, or a run of equal lines."""

    lines: tuple[AlignedOp, ...]
    ours: str  # a path; within an opened block what comes behind the block's own, such as ".conv1"
    theirs: str


def hunks(lines: Sequence[AlignedOp], levels: int, stands_out: Callable[[AlignedOp], bool]) -> Iterator[Hunk]:
    """What there is to draw, in order.

    Args:
        lines: both networks, operator by operator.
        levels: how deep equal parts are drawn.
        stands_out: a line that must be seen.
    """
    sides = _Side([line.model_path for line in lines]), _Side([line.reference_path for line in lines])
    equal: list[AlignedOp] = []
    for block, run in groupby(zip(lines, _blocks(lines, *sides), strict=True), key=lambda pair: pair[1]):
        members = [line for line, _ in run]
        shown = _shown([stands_out(line) for line in members])
        if not any(shown):
            equal += members
            continue
        yield from _folded(equal, levels, sides)
        equal = []
        yield from _opened(block, members, shown, sides)
    yield from _folded(equal, levels, sides)


class _Side:
    """The paths of one network, and how they hang together."""

    def __init__(self, paths: Sequence[str | None]) -> None:
        self.paths = [tuple(path.split(".")) if path else () for path in paths if path is not None]
        self.below: dict[tuple[str, ...], set[str]] = {}
        self.lines: dict[tuple[str, ...], int] = {}  # at or below a path
        for path in self.paths:
            for depth in range(len(path) + 1):
                self.lines[path[:depth]] = self.lines.get(path[:depth], 0) + 1
                self.below.setdefault(path[:depth], set()).add(path[depth] if depth < len(path) else "")

    def block(self, path: str) -> str:
        """The module that an operator belongs to: the parent of its own, or the one whose forward runs it."""
        parts = tuple(path.split(".")) if path else ()
        return path if self.below.get(parts, {""}) != {""} else path.rpartition(".")[0]

    def part(self, path: str | None, levels: int) -> tuple[str, ...]:
        """The part of the network that an equal line is drawn as; an only child is no level of its own."""
        parts = tuple(path.split(".")) if path else ()
        for depth in range(len(parts)):
            levels -= len(self.below[parts[:depth]]) > 1
            if levels < 0:
                return parts[:depth]
        return parts

    def label(self, paths: Sequence[str | None]) -> str:
        """One name for a run of lines: "l2", or "l2.block.ResIdentity1…4" where it is not all of l2."""
        found = [tuple(path.split(".")) if path else () for path in paths if path is not None]
        if not found:
            return ""
        common = _common(found)
        if self.lines[common] == len(found):
            return ".".join(common) or FORWARD
        inside = [path[len(common)] if len(path) > len(common) else FORWARD for path in found]
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


def _blocks(lines: Sequence[AlignedOp], ours: _Side, theirs: _Side) -> list[str]:
    """The block of ours that each line belongs to; a line of theirs alone goes with its neighbours there."""
    found = [None if line.model_path is None else ours.block(line.model_path) for line in lines]
    homes = [None if line.reference_path is None else theirs.block(line.reference_path) for line in lines]
    following: list[tuple[str | None, str | None]] = []
    after: tuple[str | None, str | None] = (None, None)
    for block, home in zip(reversed(found), reversed(homes), strict=True):
        after = after if block is None else (block, home)
        following.append(after)
    before: tuple[str | None, str | None] = (None, None)
    blocks = []
    for block, home, later in zip(found, homes, reversed(following), strict=True):
        if block is None:
            joins_later = before[0] is None or (home == later[1] and home != before[1])
            blocks.append((later[0] if joins_later else before[0]) or "")
        else:
            before = (block, home)
            blocks.append(block)
    return blocks


def _shown(marked: Sequence[bool]) -> list[bool]:
    """Which lines of a block are drawn: those that are marked, their neighbours, and gaps of a single line."""
    near = [any(marked[max(i - _CONTEXT, 0) : i + _CONTEXT + 1]) for i in range(len(marked))]
    if not any(near):
        return near
    last = len(near) - 1
    return [one or ((i == 0 or near[i - 1]) and (i == last or near[i + 1])) for i, one in enumerate(near)]


def _opened(
    block: str, lines: Sequence[AlignedOp], shown: Sequence[bool], sides: tuple[_Side, _Side]
) -> Iterator[Hunk]:
    ours, theirs = sides
    homes = [
        tuple(filter(None, theirs.block(line.reference_path).split(".")))
        for line in lines
        if line.reference_path is not None
    ]
    home = ".".join(_common(homes)) if homes else ""
    if block or home:
        yield Hunk((), block, home)
    for seen, run in groupby(zip(lines, shown, strict=True), key=lambda pair: pair[1]):
        members = tuple(line for line, _ in run)
        if seen:
            yield from (
                Hunk((line,), _inside(line.model_path, block), _inside(line.reference_path, home)) for line in members
            )
        else:
            names = (
                ours.label([line.model_path for line in members]),
                theirs.label([line.reference_path for line in members]),
            )
            yield Hunk(members, _inside(names[0], block), _inside(names[1], home))


def _inside(path: str | None, block: str) -> str:
    """A path as it reads below the head of its block."""
    if path is None:
        return ""
    if path == block:
        return FORWARD
    return path.removeprefix(block) if block and path.startswith(f"{block}.") else path


def _folded(lines: Sequence[AlignedOp], levels: int, sides: tuple[_Side, _Side]) -> Iterator[Hunk]:
    """Equal lines, a row for each part of the network."""
    ours, theirs = sides
    for _, run in groupby(lines, key=lambda line: ours.part(line.model_path, levels)):
        members = tuple(run)
        if len(members) == 1:
            yield Hunk(members, members[0].model_path or FORWARD, members[0].reference_path or FORWARD)
        else:
            yield Hunk(
                members,
                ours.label([line.model_path for line in members]),
                theirs.label([line.reference_path for line in members]),
            )
