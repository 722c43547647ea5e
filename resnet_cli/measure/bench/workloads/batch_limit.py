"""The largest batch that fits: by trying, and as predicted from traces at two small batches.

On an accelerator the allocator refuses what does not fit. Linux instead kills processes, so on the processor a call
runs under a limit on its storages: it fails at the first operator whose result exceeds what is free.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import scaled
from resnet_cli.measure.bench.timing.batch_timing import OUT_OF_MEMORY, as_not_run
from resnet_cli.measure.bench.timing.sampling import Progress
from resnet_cli.measure.bench.workloads.mixed_precision import TRAIN
from resnet_cli.measure.bench.workloads.workload import Workload
from resnet_cli.measure.bench.workloads.workload_cost import WorkloadCost
from resnet_cli.measure.system.devices.backend import DeviceBackend
from resnet_cli.measure.tracing.storages import storages_of
from resnet_cli.measure.tracing.tensors import tensors_in
from resnet_cli.results.bench import BatchLimit

COUNTED, ALLOCATED = "counted", "allocated"
_LARGEST = 1 << 20  # images
_RESOLUTION = 32  # the answer is within a 32nd of the largest batch that fits


class MemoryLimit(TorchDispatchMode):
    """Runs operators on the processor as if it had so much memory: storages beyond raise torch.OutOfMemoryError.

    Args:
        limit: bytes of all storages that are alive at once.
        held: tensors that are alive already.

    Attributes:
        peak: the most bytes that were alive.
    """

    def __init__(self, limit: int, held: Iterable[Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._limit = limit
        self._live = self.peak = 0
        self._known: dict[int, weakref.ref[Any]] = {}  # storages alive, by address
        self._count(held)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operator.

        Raises:
            torch.OutOfMemoryError: its result exceeds the limit.
        """
        output = func(*args, **(kwargs or {}))
        self._count(tensors_in(output))
        return output

    def _count(self, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            for storage in storages_of(tensor):
                address, size = storage._cdata, storage.nbytes()
                if address not in self._known:
                    self._known[address] = weakref.ref(storage, self._freed(address, size))
                    self._live += size
        self.peak = max(self.peak, self._live)
        if self._live > self._limit:
            raise torch.OutOfMemoryError(f"{scaled(self._live, 'B')} of {scaled(self._limit, 'B')}")

    def _freed(self, address: int, size: int) -> Callable[[Any], None]:
        def freed(_: Any) -> None:
            self._live -= size
            self._known.pop(address, None)  # the address may be reused

        return freed


def find_batch_size(
    workload: Workload, cost: WorkloadCost, backend: DeviceBackend, capacity: int, progress: Progress
) -> BatchLimit:
    """Try batches until the largest one that fits is known to a 32nd.

    Args:
        workload: the network and its input.
        cost: of a call, which predicts where to begin.
        backend: of the device.
        capacity: bytes that the call may take, its weights included.
        progress: called with a line of text before each try.

    Raises:
        ResnetCliError: the inputs have no batch axis, not even the smallest batch fits, or a call fails otherwise.
    """
    if workload.inputs.batch_size is None:
        raise ResnetCliError("the largest batch is not defined: the inputs have no batch axis")
    least = 2 if workload.mode == TRAIN else 1  # batch norms may not train on one image
    expected = cost.largest_batch(capacity)
    predicted = _LARGEST if expected is None else min(expected, _LARGEST)
    peaks: dict[int, int] = {}

    def fits(batch_size: int) -> bool:
        if batch_size not in peaks:
            progress(f"largest batch: trying {batch_size:,}")
            peaks[batch_size] = _peak(workload, batch_size, backend, capacity)
        return peaks[batch_size] > 0

    found = largest(fits, max(predicted, least), least)
    if found is None:
        raise ResnetCliError(f"not even a batch of {least} fits into {scaled(capacity, 'B')}")
    kind = ALLOCATED if backend.is_accelerator else COUNTED
    return BatchLimit(found, predicted, capacity, peaks[found], kind, len(peaks))


def largest(fits: Callable[[int], bool], start: int, least: int) -> int | None:
    """The largest batch that fits, to a 32nd of it; None: not even the least one.

    Args:
        fits: whether a batch does; if one does, all smaller ones do.
        start: where to begin, doubling or halving from there.
        least: the smallest batch to try.
    """
    low, high = 0, _LARGEST + 1  # fits, does not fit
    size = start
    while low < least or high > _LARGEST:
        if fits(size):
            low = size
            if size >= _LARGEST:
                return size
            size = min(2 * size, _LARGEST)
        else:
            high = size
            if size <= least:
                return None
            size = max(size // 2, least)
        if low and high <= _LARGEST:
            break
    while high - low > max(1, low // _RESOLUTION):
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _peak(workload: Workload, batch_size: int, backend: DeviceBackend, capacity: int) -> int:
    """Peak bytes of two calls, the second of which has what an optimizer keeps; 0 where they do not fit.

    Raises:
        ResnetCliError: they fail for another reason.
    """
    limit: AbstractContextManager[object] = nullcontext()
    counted = None
    if not backend.is_accelerator:
        tensors = [*workload.model.parameters(), *workload.model.buffers()]
        counted = limit = MemoryLimit(capacity, tensors)
    workload.model.zero_grad(set_to_none=True)
    backend.empty_cache()
    backend.reset_peak_memory()
    try:
        with workload.running(), limit:
            call = workload.call(batch_size)
            for _ in range(2):
                call()
                backend.synchronize()
    except Exception as error:
        failure = as_not_run(error, backend)
        if failure.status == OUT_OF_MEMORY:
            return 0
        raise ResnetCliError(f"`batch_size={batch_size}`: {failure.reason}") from error
    finally:
        workload.model.zero_grad(set_to_none=True)
    if counted is not None:
        return counted.peak
    peak = backend.peak_memory()
    return 1 if peak is None else peak[0]
