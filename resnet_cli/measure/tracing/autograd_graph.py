"""The nodes of the autograd graph of a pass: which module call made each, and what they save for the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import Tensor

from resnet_cli.measure.tracing.storages import storages_of
from resnet_cli.measure.tracing.tensors import tensors_in
from resnet_cli.measure.tracing.trace import ModuleCall

_CLAIMED = "resnet_cli"  # key in the metadata of a node: the root call of its trace, and its own call


def claim(node: Any, root: ModuleCall, call: ModuleCall, arrived: Callable[[Any], None]) -> None:
    """Assign the nodes behind `node` to a module call, except those that belong to another call already.

    The marks are on the nodes themselves: a reference to a node would keep alive what it saves.

    Args:
        node: None, or the `grad_fn` of a tensor.
        root: of the trace; marks of other traces do not count.
        call: that made the nodes.
        arrived: called when the backward pass comes to one of them.
    """
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if node is not None and node.metadata.get(_CLAIMED, (None,))[0] is not root:
            node.metadata[_CLAIMED] = (root, call)
            node.register_prehook(arrived)
            waiting.extend(following for following, _ in node.next_functions)


class SavedTensors:
    """What autograd holds at the end of a forward, each storage counted once, for the first call that saved it.

    Args:
        aside: addresses of storages that do not count: those of parameters, buffers and inputs.
    """

    def __init__(self, aside: set[int]) -> None:
        self._aside = aside
        # What is None when autograd has let go of the tensor; address and bytes of a storage; calls that were running.
        self._entries: list[tuple[Callable[[], object], int, int, tuple[ModuleCall, ...]]] = []

    def note(self, tensor: Tensor, holds: Callable[[], object], calls: Sequence[ModuleCall]) -> None:
        """A tensor is saved.

        Args:
            tensor: that is saved.
            holds: returns None when autograd has let go of it, such as a weak reference to what it holds.
            calls: that are running.
        """
        for storage in storages_of(tensor):
            if storage._cdata not in self._aside:
                self._entries.append((holds, storage._cdata, storage.nbytes(), tuple(calls)))

    def note_graph(self, outputs: Iterable[Tensor], root: ModuleCall) -> None:
        """What the nodes behind the outputs have saved, where torch allows no hooks on saving.

        Under activation checkpointing this would run the forward again.
        """
        seen: set[Any] = set()
        waiting: list[Any] = [tensor.grad_fn for tensor in outputs]
        while waiting:
            node = waiting.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            waiting += [following for following, _ in node.next_functions]
            calls = [node.metadata.get(_CLAIMED, (None, root))[1]]
            while calls[-1].parent is not None:
                calls.append(calls[-1].parent)
            names = [name for name in dir(node) if name.startswith("_saved_") or name == "saved_tensors"]
            for tensor in tensors_in([getattr(node, name) for name in names]):
                self.note(tensor, lambda: True, calls)

    def settle(self) -> int:
        """The forward has ended: add the bytes to the calls, and return their sum."""
        sizes: dict[int, int] = {}
        for holds, address, size, calls in self._entries:
            if address in sizes or holds() is None:
                continue
            sizes[address] = size
            for call in calls:
                call.saved += size
        self._entries.clear()
        return sum(sizes.values())
