"""The clocks of a device, and how a call is timed with them. A test brings its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch


class Event(Protocol):
    """A mark in the device's queue."""

    def elapsed_time(self, end_event: Any, /) -> float:
        """Milliseconds from this mark to another one; both must have been reached."""


class Clock(Protocol):
    """What timing asks of a device."""

    def now(self) -> float:
        """Seconds on the host."""

    def synchronize(self) -> None:
        """Until the device has done all that it was given."""

    def record_event(self) -> Event | None:
        """A mark in its queue, or None: the device works while the host waits, and has no clock of its own."""

    def reset_peak_memory(self) -> None:
        """Peak memory is from now on."""

    def peak_memory(self) -> tuple[int, str] | None:
        """Peak memory in bytes, and what was counted: "allocated" or "resident". None: it cannot be told."""

    def empty_cache(self) -> None:
        """Give cached memory back to the device."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One call."""

    wall_s: float  # until the device was done
    enqueue_s: float  # until the call returned
    device_s: float | None  # between marks in the device's queue


def timed(clock: Clock, call: Callable[[], object]) -> Sample:
    """Time one call as a request: from an idle device to a result."""
    clock.synchronize()
    begin_mark = clock.record_event()
    begin = clock.now()
    call()
    returned = clock.now()
    end_mark = clock.record_event()
    clock.synchronize()
    end = clock.now()
    device = begin_mark.elapsed_time(end_mark) / 1000 if begin_mark is not None and end_mark is not None else None
    return Sample(end - begin, returned - begin, device)


@dataclass(frozen=True, slots=True)
class BackToBack:
    """Calls in a row, with the device waited for at their end only."""

    calls: int
    wall_s: float
    enqueue_s: float


def time_back_to_back(clock: Clock, call: Callable[[], object], calls: int) -> BackToBack:
    """Time calls in a row, as a server with a queue runs them."""
    clock.synchronize()
    begin = clock.now()
    for _ in range(calls):
        call()
    returned = clock.now()
    clock.synchronize()
    return BackToBack(calls, clock.now() - begin, returned - begin)


class HostClock:
    """A processor: a call has been done when it returns."""

    _resets = False  # whether the peak is of the time since `forget_peak`, and not of the whole life of the process

    def now(self) -> float:
        """Seconds of a clock that never goes back."""
        return time.perf_counter()

    def synchronize(self) -> None:
        """Nothing is queued."""

    def record_event(self) -> Event | None:
        """There is no queue."""
        return None

    def reset_peak_memory(self) -> None:
        """Linux keeps the peak of resident memory and resets it on request."""
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            self._resets = False
        else:
            self._resets = True

    def peak_memory(self) -> tuple[int, str] | None:
        """Of the whole process, since it was reset; None where the system cannot tell."""
        if not self._resets:
            return None
        try:
            lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        except OSError:
            return None
        sizes = [line.split() for line in lines if line.startswith("VmHWM:")]
        return (int(sizes[0][1]) * 1024, "resident") if sizes else None

    def empty_cache(self) -> None:
        """The allocator of the C library does as it likes."""


class CudaClock(HostClock):
    """A GPU: events in its queue, the allocator's own peak."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def synchronize(self) -> None:
        """Until the GPU is idle."""
        torch.cuda.synchronize(self.device)

    def record_event(self) -> Event | None:
        """An event in the current stream."""
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self.device))
        return event

    def reset_peak_memory(self) -> None:
        """What is allocated now counts, what was before does not."""
        torch.cuda.reset_peak_memory_stats(self.device)

    def peak_memory(self) -> tuple[int, str] | None:
        """Of torch's allocator."""
        return int(torch.cuda.max_memory_allocated(self.device)), "allocated"

    def empty_cache(self) -> None:
        """Blocks that no tensor uses."""
        torch.cuda.empty_cache()


class MpsClock(HostClock):
    """Apple's GPU. Its events are not used: its queue is waited for."""

    def synchronize(self) -> None:
        """Until the GPU is idle."""
        torch.mps.synchronize()

    def reset_peak_memory(self) -> None:
        """Metal keeps no peak."""

    def peak_memory(self) -> tuple[int, str] | None:
        """What the driver holds now; torch gives memory back rarely, so it is close to the peak."""
        return int(torch.mps.driver_allocated_memory()), "allocated"

    def empty_cache(self) -> None:
        """Blocks that no tensor uses."""
        torch.mps.empty_cache()


def clock(device: torch.device) -> Clock:
    """The clock of a device."""
    if device.type == "cuda":
        return CudaClock(device)
    return MpsClock() if device.type == "mps" else HostClock()
