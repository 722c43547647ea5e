"""Conditions of a benchmark: background load, steal time, throttling and clock rate while it ran."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

from resnet_cli.measure.system import cgroups
from resnet_cli.measure.system.devices.backend import DeviceBackend
from resnet_cli.results.common import Note

_ROOT = Path("/")
_BACKGROUND_LOAD = 0.1  # cores; less is not worth a note
_STEAL_SHARE = 0.02  # of the time
DISTURBANCES = ("background-load", "steal-time", "throttled")  # keys of notes on what happened during a measurement


@dataclass(frozen=True, slots=True)
class Interference:
    """Disturbances between start and stop; None where the system does not tell."""

    background_cpu_load: float | None = None  # cores that other processes kept busy
    steal_share: float | None = None  # steal time (of the hypervisor, for other guests) over all time
    clock_hz: float | None = None  # median of the accelerators' clock rates
    throttled: tuple[str, ...] = ()  # reasons
    cpu_quota: float | None = None  # cores that the control group grants
    missing: str | None = None  # why the accelerator's clock rate is not known


@dataclass(frozen=True, slots=True)
class _Counters:
    """Counters that only grow, in seconds where they are times."""

    wall: float
    total: float  # CPU time of all cores, idle or not
    busy: float
    steal: float | None
    own: float  # CPU time of this process and of its children that have ended
    quota_hits: int | None
    thermal_throttles: int | None


class ConditionMonitor:
    """Reads counters before and after a benchmark, and the accelerator's clock rate in between.

    Args:
        backends: of the devices under test.
        root: of the file system.
    """

    def __init__(self, *backends: DeviceBackend, root: Path = _ROOT) -> None:
        self._root = root
        self._before = _counters(root)
        self._clocks = [clock for backend in backends if (clock := backend.clock_monitor()) is not None]

    def sample(self) -> None:
        """Read the accelerator's clock rate; never call it while a sample is taken."""
        for clock in self._clocks:
            clock.sample()

    def stop(self) -> Interference:
        """Disturbances since the start."""
        after, before, clocks = _counters(self._root), self._before, self._clocks
        elapsed, total = after.wall - before.wall, after.total - before.total
        others = after.busy - before.busy - (after.own - before.own)
        steal = None if after.steal is None or before.steal is None else after.steal - before.steal
        reasons: list[str] = []
        if _grew(after.quota_hits, before.quota_hits):
            reasons.append("CPU quota of the control group")
        if _grew(after.thermal_throttles, before.thermal_throttles):
            reasons.append("CPU temperature")
        for clock in clocks:
            clock.close()
        reasons += sorted({reason for clock in clocks for reason in clock.reasons})
        rates = [rate for clock in clocks for rate in clock.clocks]
        return Interference(
            background_cpu_load=max(0.0, others / elapsed) if elapsed > 0 else None,
            steal_share=max(0.0, steal / total) if steal is not None and total > 0 else None,
            clock_hz=median(rates) if rates else None,
            throttled=tuple(reasons),
            cpu_quota=cgroups.cpu_quota(self._root),
            missing=next((clock.missing for clock in clocks if clock.missing is not None), None),
        )


def _grew(after: int | None, before: int | None) -> bool:
    return after is not None and before is not None and after > before


def _counters(root: Path) -> _Counters:
    own, times = os.times(), psutil.cpu_times()
    fields = times._asdict()
    total = sum(seconds for field, seconds in fields.items() if not field.startswith("guest"))  # part of user time
    steal = fields.get("steal")
    throttles = [
        cgroups.number(path) for path in root.glob("sys/devices/system/cpu/cpu*/thermal_throttle/*_throttle_count")
    ]
    return _Counters(
        wall=time.perf_counter(),
        total=total,
        busy=total - times.idle - fields.get("iowait", 0.0) - (steal or 0.0),
        steal=steal,
        own=own.user + own.system + own.children_user + own.children_system,
        quota_hits=cgroups.throttle_count(root),
        thermal_throttles=sum(count or 0 for count in throttles) if throttles else None,
    )


def notes(seen: Interference, threads: int) -> Iterator[Note]:
    """A warning for each disturbance.

    Args:
        seen: by a monitor.
        threads: that the measurement used.
    """
    load, steal, quota = seen.background_cpu_load, seen.steal_share, seen.cpu_quota
    if load is not None and load > _BACKGROUND_LOAD:
        text = f"background load of {load:.1f} cores; close other processes for more precise results"
        yield Note("warning", text, "background-load")
    if steal is not None and steal > _STEAL_SHARE:
        text = f"steal time: the hypervisor gave {100 * steal:.0f}% of the CPU time to other guests"
        yield Note("warning", text, "steal-time")
    if seen.throttled:
        yield Note("warning", f"throttled during the measurement: {', '.join(seen.throttled)}", "throttled")
    if quota is not None and threads > quota:
        text = f"{threads} threads exceed the quota of {quota:g} cores and stop each other; use {max(1, int(quota))}"
        yield Note("warning", text, "threads-above-quota")
    if seen.missing is not None:
        yield Note("note", f"clock rate and throttling of the GPU are unknown: {seen.missing}", "gpu-clock-unknown")
