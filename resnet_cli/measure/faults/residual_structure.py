"""The parts of a residual network by their function, whatever their names: stem, blocks, shortcuts, head.

A block is an addition of two branches with a common input; the branch with more convolutions is its body, the other
its shortcut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from torch import nn

from resnet_cli.measure.faults.op_capture import FunctionCall, NotApplicableError, capture_ops

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Block:
    """A residual block, its operators in order of execution."""

    entry: FunctionCall
    body: tuple[FunctionCall, ...]
    shortcut: tuple[FunctionCall, ...]
    add: FunctionCall
    body_argument: int  # which argument of the addition is the body
    relu: FunctionCall | None  # behind the addition

    def convs(self) -> tuple[FunctionCall, ...]:
        """The convolutions of the body."""
        return _of(self.body, "conv")

    def norms(self) -> tuple[FunctionCall, ...]:
        """The batch norms of the body."""
        return _of(self.body, "norm")

    def relus(self) -> tuple[FunctionCall, ...]:
        """The ReLUs of the body, without one behind the addition."""
        return _of(self.body, "relu")

    def strided(self) -> bool:
        """Whether one of its convolutions strides."""
        return any(max(op.pair("stride")) > 1 for op in self.convs())

    def projects(self) -> bool:
        """Whether the shortcut holds a convolution."""
        return bool(_of(self.shortcut, "conv"))


class ResidualStructure:
    """The operators of one forward, and the blocks that they make.

    Args:
        network: it runs once in eval mode and is left as it was.

    Raises:
        NotApplicableError: it does not run on a small image.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.ops = tuple(capture_ops(network))
        self._above = _ancestors(self.ops)

    def of(self, kind: str) -> tuple[FunctionCall, ...]:
        """All operators of a kind."""
        return _of(self.ops, kind)

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The residual blocks in order of execution.

        Raises:
            NotApplicableError: nothing adds two branches of which one convolves.
        """
        blocks = tuple(block for op in self.of("add") if (block := self._block(op)) is not None)
        if not blocks:
            raise NotApplicableError("no addition of a convolved branch to its input was found")
        return blocks

    @property
    def stem(self) -> FunctionCall:
        """The first convolution."""
        return first(self.of("conv"), "convolution by torch's conv2d")

    @property
    def head(self) -> FunctionCall:
        """The linear layer that ends the network."""
        return first(tuple(reversed(self.of("linear"))), "linear layer")

    def before_blocks(self, kind: str) -> tuple[FunctionCall, ...]:
        """The operators of a kind in the stem."""
        return tuple(op for op in self.of(kind) if op.index <= self.blocks[0].entry.index)

    def identity_blocks(self) -> tuple[Block, ...]:
        """The blocks whose shortcut is the input itself."""
        return tuple(block for block in self.blocks if not block.shortcut)

    def middle_convs(self, kernel: int | None = None) -> tuple[FunctionCall, ...]:
        """The convolutions of the blocks, from the middle block outwards, those without a stride first."""
        blocks = by_distance_from_middle(self.blocks)
        convs = [op for block in blocks for op in block.convs() if kernel is None or op.kernel == kernel]
        return tuple(sorted(convs, key=lambda op: max(op.pair("stride"))))

    def _block(self, add: FunctionCall) -> Block | None:
        if len(add.inputs) != 2:
            return None
        left, right = (self._above[index] | {index} for index in add.inputs)
        entry = max(left & right, default=None)
        if entry is None:
            return None
        outside = self._above[entry] | {entry}
        branches = [tuple(self.ops[index] for index in sorted(side - outside)) for side in (left, right)]
        convs = [len(_of(branch, "conv")) for branch in branches]
        if convs[0] == convs[1]:
            return None
        body = int(convs[1] > convs[0])
        return Block(self.ops[entry], branches[body], branches[1 - body], add, body, self._relu_of(add))

    def _relu_of(self, add: FunctionCall) -> FunctionCall | None:
        readers = [op for op in self.ops if add.index in op.inputs]
        return readers[0] if readers and readers[0].kind == "relu" else None


def first(ops: Sequence[FunctionCall], noun: str) -> FunctionCall:
    """The first of some operators.

    Raises:
        NotApplicableError: there is none; `noun` names it.
    """
    if not ops:
        raise NotApplicableError(f"no {noun} was found")
    return ops[0]


def by_distance_from_middle(items: Sequence[T]) -> list[T]:
    """Sort by distance from the middle index."""
    middle = len(items) // 2
    return [items[index] for index in sorted(range(len(items)), key=lambda index: (abs(index - middle), index))]


def _of(ops: Sequence[FunctionCall], kind: str) -> tuple[FunctionCall, ...]:
    return tuple(op for op in ops if op.kind == kind)


def _ancestors(ops: Sequence[FunctionCall]) -> list[frozenset[int]]:
    above: list[frozenset[int]] = []
    for op in ops:
        above.append(frozenset(op.inputs).union(*(above[index] for index in op.inputs)))
    return above


def conv_of(network: nn.Module, op: FunctionCall) -> nn.Conv2d:
    """The module of a convolution.

    Raises:
        NotApplicableError: the convolution is a function with a weight of its own.
    """
    owner = network.get_submodule(op.owner)
    if not isinstance(owner, nn.Conv2d):
        raise NotApplicableError("the convolution is not an nn.Conv2d")
    return owner


def norms_of_blocks(network: nn.Module) -> list[nn.BatchNorm2d]:
    """The batch norms of the bodies, from the middle block outwards.

    Raises:
        NotApplicableError: none is an nn.BatchNorm2d.
    """
    blocks = by_distance_from_middle(ResidualStructure(network).blocks)
    owners = [network.get_submodule(norm.owner) for block in blocks for norm in block.norms()]
    norms = [owner for owner in owners if isinstance(owner, nn.BatchNorm2d)]
    if not norms:
        raise NotApplicableError("no block holds an nn.BatchNorm2d")
    return norms
