"""The storages that a pass has made and that still live, with their bytes."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, UntypedStorage, nn

from resnet_cli.measure.tracing.storages import addresses_of, storages_of
from resnet_cli.measure.tracing.tensors import is_lazy, tensors_in


class LiveStorages:
    """Keeps account of the activations and gradients of a pass.

    Args:
        model: whose parameters and buffers do not count.
        inputs: of its forward; they do not count either.
        freed: called with the address of a storage that is gone; another one may get it.

    Attributes:
        live: bytes alive now.
        constants: addresses of the storages of parameters and buffers.
        inputs: addresses of those of the inputs.
        aside: addresses of all that does not count.
    """

    def __init__(self, model: nn.Module, inputs: Sequence[Any], freed: Callable[[int], object]) -> None:
        self.live = 0
        self._freed = freed
        self._known: dict[int, weakref.ref[Any]] = {}  # storages alive, by address
        # Kept alive, because the address of a freed storage may be reused: a forward may replace a buffer or its data.
        constants = (tensor for tensor in (*model.parameters(), *model.buffers()) if not is_lazy(tensor))
        self._held = [storage for tensor in constants for storage in storages_of(tensor)]
        self.constants = {storage._cdata for storage in self._held}
        self.inputs = {address for tensor in tensors_in(inputs) for address in addresses_of(tensor)}
        self.aside = self.constants | self.inputs

    def add(self, results: Sequence[Tensor], before: set[int]) -> int:
        """Bytes that an operator has allocated.

        Args:
            results: what it returned.
            before: addresses of the storages of its arguments, which may be older than the pass.
        """
        made = (storage for tensor in results for storage in storages_of(tensor) if storage._cdata not in before)
        return sum(map(self._born, made))

    def _born(self, storage: UntypedStorage) -> int:
        """Bytes of a storage if it is new, else 0."""
        address = storage._cdata
        if address in self._known or address in self.aside:
            return 0
        size = storage.nbytes()

        def gone(_: Any) -> None:
            self.live -= size
            self._known.pop(address, None)
            self._freed(address)

        self._known[address] = weakref.ref(storage, gone)
        self.live += size
        return size
