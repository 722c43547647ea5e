"""What is asked of a device, whatever its kind: queue, events, memory, precision, graph capture, communication."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

import torch
from torch.profiler import ProfilerActivity

from resnet_cli.measure.system.precision import Precision


class Event(Protocol):
    """A point in a device's queue."""

    def record(self, stream: Any, /) -> None:
        """Put it at the end of a queue."""

    def query(self) -> bool:
        """Whether the device has reached it."""

    def elapsed_time(self, end_event: Any, /) -> float:
        """Milliseconds from this event to another one; the device must have reached both."""


class GraphCapture(Protocol):
    """Records the kernels of a call so that all of them are launched at once (see "CUDA Graphs" in torch's notes)."""

    def warm_up(self, call: Callable[[], object], times: int) -> None:
        """Call it on a side stream, where workspaces are allocated and algorithms chosen, and wait for it."""

    def record(self, call: Callable[[], object]) -> tuple[Callable[[], None], object]:
        """Record a call: a function that launches the same kernels on the same memory, and where their output is."""


class ClockMonitor(Protocol):
    """Samples of a device's clock rate and of the reasons that lower it."""

    clocks: list[float]  # Hz
    reasons: set[str]
    missing: str | None  # why nothing is known

    def sample(self) -> None:
        """Read them now; rate-limited."""

    def close(self) -> None:
        """Release the library."""


class DeviceBackend(ABC):
    """One device; a subclass for each kind. What a kind does not have is None.

    Args:
        device: with its index where there may be several.
    """

    is_accelerator: ClassVar[bool] = True  # it works off a queue while the host goes on
    has_float64: ClassVar[bool] = True
    collectives: ClassVar[str | None] = None  # backend of torch.distributed; None: not for several processes
    title: ClassVar[str]  # in messages: "GPU"

    def __init__(self, device: torch.device) -> None:
        self.device = device

    @classmethod
    @abstractmethod
    def is_available(cls) -> bool:
        """Whether this machine has one."""

    @classmethod
    @abstractmethod
    def find(cls, index: int) -> torch.device:
        """The device of an index.

        Raises:
            ResnetCliError: there is none; the message says why.
        """

    @classmethod
    def for_rank(cls, local_rank: int, processes: int) -> torch.device:
        """The device of one of several processes on this machine.

        Raises:
            ResnetCliError: there are not enough of them.
        """
        return cls.find(0)

    @abstractmethod
    def name(self) -> str:
        """Model name given by the manufacturer."""

    @abstractmethod
    def total_memory(self) -> int | None:
        """Bytes of memory, used or not; None where the system does not tell."""

    def free_memory(self) -> int | None:
        """Bytes that may be allocated now; None where the system does not tell."""
        return None

    def now(self) -> float:
        """Seconds of the host's monotonic clock."""
        return time.perf_counter()

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until the device has finished all queued work."""

    def record_event(self) -> Event | None:
        """An event in the device's queue; None where the kind has no events."""
        return None

    def hold_queue(self, seconds: float) -> bool:
        """Keep the device busy for about so long, so that the host gets ahead of it; False where that cannot be."""
        return False

    def waits_within(self, call: Callable[[], object]) -> bool | None:
        """Call it, and tell whether it waits for the device before it returns; None where that is not known."""
        return None

    @abstractmethod
    def reset_peak_memory(self) -> None:
        """Begin a new peak."""

    @abstractmethod
    def peak_memory(self) -> tuple[int, str] | None:
        """Peak memory in bytes, and what was counted: "allocated" by torch or "resident". None: unknown."""

    def empty_cache(self) -> None:  # noqa: B027  # a kind without an allocator of its own has nothing to release
        """Release cached memory that no tensor uses."""

    def precision(self, dtype: torch.dtype) -> str:
        """The precision that arithmetic in a dtype really has: "float32, convolutions in TF32"."""
        return str(dtype).removeprefix("torch.")

    def capability(self) -> tuple[int, int] | None:
        """CUDA compute capability, such as (8, 0)."""
        return None

    def emulates_bfloat16(self) -> bool:
        """Whether the device has no bfloat16 arithmetic, so that torch uses another type's."""
        return False

    def fp32_settings(self) -> tuple[Precision, ...]:
        """Of convolutions and of matrix products, where they may be computed in less than float32."""
        return ()

    def graph_capture(self) -> GraphCapture | None:
        """Records graphs of kernels."""
        return None

    def profiler_activity(self) -> ProfilerActivity | None:
        """What torch.profiler has to record so that it sees the device's kernels; None: it cannot see them."""
        return None

    def clock_monitor(self) -> ClockMonitor | None:
        """Watches the device's clock rate."""
        return None
