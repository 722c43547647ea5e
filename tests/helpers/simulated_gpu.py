"""A GPU in virtual time that runs real networks: what a call takes on it is known, and its values are a GPU's.

Within `with gpu:` every operator on CPU tensors is a kernel of the simulated GPU: it is launched asynchronously and
takes the time that its arithmetic or its memory traffic needs. The first call of a kernel is cold, convolutions try
algorithms with workspaces first, products of float32 round to TF32 where that is on, and memory ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import flop_registry

from resnet_cli.measure.system.devices.registry import KINDS
from resnet_cli.measure.system.precision import TF32
from tests.helpers.fake_clock import SimulatedBackend, SimulatedClock

aten = torch.ops.aten
CONVOLUTIONS = (aten.convolution, aten.convolution_backward)
_WAITING = (aten._local_scalar_dense, aten.equal, aten.is_nonzero)  # the host needs their value
_TF32_BITS = 13  # of 23 in the mantissa that TF32 has not


def rounded_to_tf32(values: Tensor) -> Tensor:
    """Float32 with a mantissa of 10 bits, rounded to the nearest."""
    if values.dtype != torch.float32:
        return values
    bits = values.contiguous().view(torch.int32)
    half = 1 << (_TF32_BITS - 1)
    return ((bits + half) & ~((1 << _TF32_BITS) - 1)).view(torch.float32).view_as(values)


@dataclass
class GpuSpec:
    """What a simulated GPU can do: slow by default, since every kernel is computed for each that is timed.

    Args:
        flops_per_s: of float32 with all its bits; TF32 and half precision are eight times as fast.
        bytes_per_s: of its memory.
        least_s: device time of the smallest kernel.
        enqueue_s: host time of a launch.
        latency_s: from a launch until an idle device begins.
        cold_s: host time of the first call of a kernel.
        trials: algorithms that a convolution tries in its first call, each with a workspace.
        workspace: bytes of it.
        memory: bytes in all.
        depth: kernels that its queue takes.
    """

    flops_per_s: float = 5e9
    bytes_per_s: float = 1e9
    least_s: float = 2e-3
    enqueue_s: float = 1e-3
    latency_s: float = 1e-3
    cold_s: float = 0.05
    trials: int = 5
    workspace: int = 1 << 20
    memory: int = 1 << 34
    depth: int = 1024


@dataclass
class Allocator:
    """Counts the storages that operators have made; the weights were there before."""

    limit: int
    peak: int = 0
    _storages: dict[StorageWeakRef, int] = field(default_factory=dict)

    @property
    def live(self) -> int:
        """Bytes of storages that exist."""
        for storage in [storage for storage in self._storages if storage.expired()]:  # type: ignore[no-untyped-call]
            del self._storages[storage]
        return sum(self._storages.values())

    def reserve(self, size: int) -> None:
        """Memory for a workspace or a result.

        Raises:
            torch.OutOfMemoryError: there is not so much.
        """
        total = self.live + size
        if total > self.limit:
            raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {size} bytes.")
        self.peak = max(self.peak, total)

    def keep(self, tensor: Tensor) -> None:
        """A result of an operator."""
        storage = tensor.untyped_storage()
        reference = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
        if reference not in self._storages:
            self.reserve(storage.nbytes())
            self._storages[reference] = storage.nbytes()


class SimulatedGpu(TorchDispatchMode):
    """The GPU as a context.

    Args:
        spec: what it can do.

    Attributes:
        clock: of the host and the device.
        settings: of convolutions and products, as `fp32_precision`; convolutions are in TF32, as torch has it.
        kernels_s: device time of each kernel so far, by its operator.
        waits: operators so far whose value the host waited for.
        fails_at: number of the kernel in which an assertion fails; nothing works from then on.
    """

    def __init__(self, spec: GpuSpec | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.spec = spec or GpuSpec()
        self.clock = SimulatedClock(latency_s=self.spec.latency_s, depth=self.spec.depth)
        self.allocator = Allocator(self.spec.memory)
        self.settings = (SimpleNamespace(fp32_precision=TF32), SimpleNamespace(fp32_precision="ieee"))
        self.kernels_s: list[tuple[str, float]] = []
        self.waits = 0
        self.fails_at: int | None = None
        self.error: RuntimeError | None = None
        self._warm: set[Any] = set()

    def check(self) -> None:
        """Raise the error that it has failed with, as every call to CUDA does from then on."""
        if self.fails_at is not None and len(self.kernels_s) >= self.fails_at:
            self.error = RuntimeError("CUDA error: device-side assert triggered\nCUDA kernel errors might be …")
        if self.error is not None:
            raise self.error

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if any(tensor.is_meta for tensor in inputs):
            return func(*args, **kwargs)
        with self:  # inference mode hands over what is made of other operators as a whole
            if (values := func.decompose(*args, **kwargs)) is not NotImplemented:
                return values
        self.check()
        operator = func.overloadpacket
        if operator in _WAITING:
            self.waits += 1
            self.clock.synchronize()
        values = func(*self._as_computed(operator, args), **kwargs)
        outputs = [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor) and not leaf.is_meta]
        if func.is_view or not outputs:
            return values
        seconds = self._seconds(operator, args, kwargs, inputs, values, outputs)
        self._launch(operator, inputs, seconds)
        for output in outputs:
            self.allocator.keep(output)
        return values

    def _precision(self, operator: Any) -> str:
        return str(self.settings[0 if operator in CONVOLUTIONS else 1].fp32_precision)

    def _as_computed(self, operator: Any, args: Any) -> Any:
        if operator not in flop_registry or self._precision(operator) != TF32:
            return args
        return tree_map_only(Tensor, rounded_to_tf32, args)

    def _seconds(
        self, operator: Any, args: Any, kwargs: Any, inputs: list[Tensor], values: Any, outputs: list[Tensor]
    ) -> float:
        """The roofline: arithmetic or traffic, whichever takes longer."""
        formula = flop_registry.get(operator)
        flops = 0 if formula is None else formula(*args, **kwargs, out_val=values)
        is_fast = inputs and (inputs[0].dtype != torch.float32 or self._precision(operator) == TF32)
        moved = sum(tensor.nbytes for tensor in (*inputs, *outputs))
        rate = (8 if is_fast else 1) * self.spec.flops_per_s
        return max(flops / rate, moved / self.spec.bytes_per_s, self.spec.least_s)

    def _launch(self, operator: Any, inputs: list[Tensor], seconds: float) -> None:
        key = (operator, *((tuple(tensor.shape), tensor.dtype) for tensor in inputs), self._precision(operator))
        if key not in self._warm:
            self._warm.add(key)
            self.clock.host_s += self.spec.cold_s
            if operator in CONVOLUTIONS:
                self.allocator.reserve(self.spec.workspace)
                self.clock.run(10 * self.spec.trials * seconds)
                self.clock.synchronize()
        self.kernels_s.append((str(operator), seconds))
        self.clock.run(seconds, self.spec.enqueue_s)

    def busy_s(self, call: Any) -> float:
        """Device time of the kernels of a warm call."""
        before = len(self.kernels_s)
        call()
        return sum(seconds for _, seconds in self.kernels_s[before:])


class SimulatedGpuBackend(SimulatedBackend):
    """The backend of a simulated GPU."""

    title = "GPU"

    def __init__(self, gpu: SimulatedGpu) -> None:
        super().__init__(gpu.clock, capability=(9, 0), fp32_settings=gpu.settings)
        self.gpu = gpu

    def synchronize(self) -> None:
        self.gpu.check()
        super().synchronize()

    def waits_within(self, call: Callable[[], object]) -> bool | None:
        before = self.gpu.waits
        call()
        return self.gpu.waits > before

    def free_memory(self) -> int | None:
        return self.gpu.allocator.limit - self.gpu.allocator.live

    def reset_peak_memory(self) -> None:
        self.gpu.allocator.peak = self.gpu.allocator.live

    def peak_memory(self) -> tuple[int, str] | None:
        return self.gpu.allocator.peak, "allocated"

    def empty_cache(self) -> None:
        self.gpu.check()


@contextmanager
def simulated_gpu(monkeypatch: pytest.MonkeyPatch, spec: GpuSpec | None = None) -> Iterator[SimulatedGpu]:
    """A simulated GPU in place of the CPU, for all that asks for a device."""
    gpu = SimulatedGpu(spec)

    class Kind(SimulatedGpuBackend):
        def __init__(self, device: torch.device) -> None:
            super().__init__(gpu)

    monkeypatch.setitem(KINDS, "cpu", SimpleNamespace(load=lambda: Kind, indexed=False))
    with gpu:
        yield gpu
