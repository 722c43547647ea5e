"""How a call is timed on any device: one at a time with a wait after each, or back to back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from resnet_cli.measure.system.devices.backend import Event


class Clock(Protocol):
    """What timing asks of a device: a part of `DeviceBackend`, injectable for tests."""

    def now(self) -> float:
        """Seconds on the host."""

    def synchronize(self) -> None:
        """Wait until the device has finished all queued work."""

    def record_event(self) -> Event | None:
        """An event in the device's queue; None where the host itself does the work."""

    def reset_peak_memory(self) -> None:
        """Begin a new peak."""

    def peak_memory(self) -> tuple[int, str] | None:
        """Peak memory in bytes, and what was counted: "allocated" or "resident". None: unknown."""

    def empty_cache(self) -> None:
        """Release cached memory that no tensor uses."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Times of one call."""

    wall_s: float  # from the call until the device has finished
    enqueue_s: float  # until the call returns on the host
    device_s: float | None  # between events in the device's queue


def timed(clock: Clock, call: Callable[[], object]) -> Sample:
    """Time one call as a request: from an idle device to a result."""
    clock.synchronize()
    begin_event = clock.record_event()
    begin = clock.now()
    call()
    returned = clock.now()
    end_event = clock.record_event()
    clock.synchronize()
    end = clock.now()
    device = begin_event.elapsed_time(end_event) / 1000 if begin_event is not None and end_event is not None else None
    return Sample(end - begin, returned - begin, device)


@dataclass(frozen=True, slots=True)
class BackToBack:
    """Calls in a row, with one wait for the device at their end."""

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
