"""How a call is timed on any device: one at a time with a wait after each, or back to back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from resnet_cli.measure.system.devices.backend import Event

_AHEAD_AT_END = 0.1  # of a call: as much of its work left when the host is done shows that the host was ahead


class Clock(Protocol):
    """What timing asks of a device: a part of `DeviceBackend`, injectable for tests."""

    def now(self) -> float:
        """Seconds on the host."""

    def synchronize(self) -> None:
        """Wait until the device has finished all queued work."""

    def record_event(self) -> Event | None:
        """An event in the device's queue; None where the host itself does the work."""

    def hold_queue(self, seconds: float) -> bool:
        """Keep the device busy for about so long, so that the host gets ahead of it; False where that cannot be."""

    def waits_within(self, call: Callable[[], object]) -> bool | None:
        """Whether a call waits for the device before it returns; None where that is not known."""

    def reset_peak_memory(self) -> None:
        """Begin a new peak."""

    def peak_memory(self) -> tuple[int, str] | None:
        """Peak memory in bytes, and what was counted: "allocated" or "resident". None: unknown."""

    def empty_cache(self) -> None:
        """Release cached memory that no tensor uses."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Times of one call on the host."""

    wall_s: float  # from the call until the device has finished
    enqueue_s: float  # until the call returns


def timed(clock: Clock, call: Callable[[], object]) -> Sample:
    """Time one call as a request: from an idle device to a result."""
    clock.synchronize()
    begin = clock.now()
    call()
    returned = clock.now()
    clock.synchronize()
    return Sample(clock.now() - begin, returned - begin)


def between_events(clock: Clock, call: Callable[[], object], calls: int = 1) -> float | None:
    """Seconds of the device's clock from the first call to the end of the last, begun by an idle device.

    Where the host enqueues more slowly than the device works, the waits for the host are part of it. None: the device
    has no events.
    """
    clock.synchronize()
    begin = clock.record_event()
    for _ in range(calls):
        call()
    end = clock.record_event()
    clock.synchronize()
    return None if begin is None or end is None else begin.elapsed_time(end) / 1000


def busy_time(clock: Clock, call: Callable[[], object], ahead_s: float, *, never_waits: bool = False) -> float | None:
    """Seconds that the device works on one call without waiting for the host.

    The device is held until the whole call is in its queue (as by the blocking kernel of NVIDIA's nvbench).

    Args:
        clock: of the device.
        call: warmed up.
        ahead_s: for which the device is held.
        never_waits: the call is known not to wait for the device. It may then have more kernels than the queue takes,
            as long as the device had some of them left when the last one came: so the host was ahead.

    Returns:
        None where the device may have waited for the host after all, since the call takes longer to enqueue or waits
        for the device itself; or where such a device cannot be held.
    """
    clock.synchronize()
    if not clock.hold_queue(ahead_s):
        return None
    begin = clock.record_event()
    call()
    was_held = begin is not None and not begin.query()
    returned = clock.now()
    end = clock.record_event()
    clock.synchronize()
    if begin is None or end is None:
        return None
    seconds, left_s = begin.elapsed_time(end) / 1000, clock.now() - returned
    return seconds if was_held or (never_waits and left_s >= _AHEAD_AT_END * seconds) else None


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
