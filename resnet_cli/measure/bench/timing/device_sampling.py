"""Samples of the time that a device itself works on a call."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from resnet_cli.measure.bench.timing.device_timer import Clock, busy_time

_SECONDS = 1.0
_FEWEST, _MOST = 10, 200  # samples
_AHEAD = 2.0  # the device is held for so many times as long as the host takes to enqueue a call …
_LEAST_AHEAD_S = 1e-3
_LONGER = 4.0  # … and so many times longer where that was not enough, …
_TRIES = 3  # … so often


class DeviceSamples(NamedTuple):
    """Samples of a call.

    Args:
        seconds: of each; none where the device cannot be held until it has the whole call.
        fits_queue: the device's queue takes the whole call; else the host waits for places in it.
    """

    seconds: list[float]
    fits_queue: bool = True


def device_samples(clock: Clock, call: Callable[[], object], enqueue_s: float) -> DeviceSamples | None:
    """Samples. Empty where the device cannot be held until a whole call is in its queue; None where such
    devices have no events, or cannot be held at all.

    Args:
        clock: of the device.
        call: warmed up.
        enqueue_s: host time to enqueue it.
    """
    if clock.record_event() is None or not clock.hold_queue(_LEAST_AHEAD_S):
        return None
    ahead_s, tries, never_waits = max(_LEAST_AHEAD_S, _AHEAD * enqueue_s), 1, False
    samples: list[float] = []
    begin = clock.now()
    while len(samples) < _FEWEST or (len(samples) < _MOST and clock.now() - begin < _SECONDS):
        seconds = busy_time(clock, call, ahead_s, never_waits=never_waits)
        if seconds is not None:
            samples.append(seconds)
        elif tries < _TRIES:
            ahead_s, tries = _LONGER * ahead_s, tries + 1
        elif never_waits or clock.waits_within(call) is not False:
            return DeviceSamples([])
        else:
            never_waits = True
    return DeviceSamples(samples, not never_waits)
