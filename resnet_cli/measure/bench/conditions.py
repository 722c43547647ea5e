"""What else went on while a benchmark ran, and what the figures rest on; whatever a system does not tell is None."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from resnet_cli.measure.system import cgroups
from resnet_cli.measure.system.cgroups import number, text
from resnet_cli.measure.system.nvml import Gpu
from resnet_cli.results.common import Note

_ROOT = Path("/")
_BUSY = 0.1  # processors that others keep busy before it is said
_STOLEN = 0.02  # of the time


@dataclass(frozen=True, slots=True)
class Interference:
    """What was seen between start and stop."""

    other_load: float | None = None  # processors that other processes kept busy
    stolen: float | None = None  # share of the time that the hypervisor gave to others
    clock_hz: float | None = None  # median of the GPU
    throttled: tuple[str, ...] = ()
    quota: float | None = None  # processors that the control group grants
    missing: str | None = None  # why the GPU's clocks are not known


@dataclass(frozen=True, slots=True)
class _Counters:
    """Counters that only grow."""

    seconds: float
    busy: float | None  # processor seconds of everybody
    stolen: float | None
    total: float | None
    own: float  # processor seconds of this process and the children that it has waited for
    quota_hits: int | None
    hot: int | None


class ConditionMonitor:
    """Counters before and after, and a look at the GPU whenever there is time.

    Args:
        device: that is measured.
        root: of the file system.
        nvml: NVIDIA's management library as pynvml gives it; None: import it where the device is a GPU.
    """

    def __init__(self, device: torch.device, *, root: Path = _ROOT, nvml: Any = None) -> None:
        self._root = root
        self._before: _Counters | None = None
        self._gpu = Gpu(device, nvml) if device.type == "cuda" else None

    def start(self) -> None:
        """Everything counts from here."""
        self._before = _counters(self._root)

    def look(self) -> None:
        """See how fast the GPU runs now; costs nothing where there is none. Never within a sample."""
        if self._gpu is not None:
            self._gpu.look()

    def stop(self) -> Interference:
        """What happened since the start."""
        after, before = _counters(self._root), self._before
        reasons: list[str] = []
        other = stolen = None
        if before is not None:
            elapsed = after.seconds - before.seconds
            busy, total = _grown(after.busy, before.busy), _grown(after.total, before.total)
            if busy is not None and elapsed > 0:
                other = max(0.0, (busy - (after.own - before.own)) / elapsed)
            lost = _grown(after.stolen, before.stolen)
            if lost is not None and total:
                stolen = max(0.0, lost / total)
            if _grown(after.quota_hits, before.quota_hits):
                reasons.append("processor quota of the control group")
            if _grown(after.hot, before.hot):
                reasons.append("temperature of the processor")
        gpu = self._gpu
        if gpu is not None:
            gpu.close()
            reasons += sorted(gpu.reasons)
        return Interference(
            other_load=other,
            stolen=stolen,
            clock_hz=median(gpu.clocks) if gpu is not None and gpu.clocks else None,
            throttled=tuple(reasons),
            quota=cgroups.cpu_quota(self._root),
            missing=None if gpu is None else gpu.missing,
        )


def _grown(after: float | None, before: float | None) -> float | None:
    return None if after is None or before is None else after - before


def _counters(root: Path) -> _Counters:
    own = os.times()
    busy = stolen = total = None
    first, _, _ = text(root / "proc/stat").partition("\n")
    ticks = [int(word) for word in first.split()[1:] if word.isdecimal()]
    if len(ticks) >= 8:  # user nice system idle iowait irq softirq steal; guests are in user already
        second = os.sysconf("SC_CLK_TCK")
        total, stolen = sum(ticks[:8]) / second, ticks[7] / second
        busy = total - stolen - (ticks[3] + ticks[4]) / second
    hot = [number(path) for path in sorted(root.glob("sys/devices/system/cpu/cpu*/thermal_throttle/*_throttle_count"))]
    return _Counters(
        seconds=time.perf_counter(),
        busy=busy,
        stolen=stolen,
        total=total,
        own=own.user + own.system + own.children_user + own.children_system,
        quota_hits=cgroups.throttle_count(root),
        hot=sum(count or 0 for count in hot) if hot else None,
    )


def available_bytes(device: torch.device, *, root: Path = _ROOT) -> int | None:
    """Memory that may be taken now; None: it cannot be told.

    Of a processor it is what the system and the control group leave, whichever is less; of a GPU what nobody holds,
    and what torch's allocator holds without a tensor in it.
    """
    if device.type == "cuda":
        idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + idle
    if device.type != "cpu":
        return None
    free = number(root / "proc/meminfo", "MemAvailable")  # kB
    known = [one for one in (None if free is None else 1024 * free, cgroups.free_bytes(root)) if one is not None]
    return min(known, default=None)


def precision(dtype: torch.dtype, device: torch.device) -> str:
    """What the arithmetic is really done in: float32 on a GPU need not be."""
    name = str(dtype).removeprefix("torch.")
    if device.type != "cuda" or dtype != torch.float32:
        return name
    convolutions = torch.backends.cudnn.conv.fp32_precision == "tf32"  # type: ignore[attr-defined]
    products = torch.backends.cuda.matmul.fp32_precision == "tf32"
    if not (convolutions or products) or torch.cuda.get_device_capability(device) < (8, 0):
        return name
    which = "all" if convolutions and products else "convolutions" if convolutions else "matrix products"
    return f"{name}, {which} in TF32"


def instructions() -> str | None:
    """The widest instructions that torch's own kernels use: "AVX512", "AVX2"."""
    found = str(torch.backends.cpu.get_cpu_capability())
    return None if found in ("", "DEFAULT", "NO AVX") else found


def libraries() -> tuple[str, ...]:
    """The libraries that do the arithmetic, with their versions."""
    shown = torch.__config__.show()
    found = [
        f"{name} {match[1]}"
        for name, pattern in (
            ("MKL", r"Math Kernel Library Version (\d{4}(?:\.\d+)*)"),
            ("oneDNN", r"(?:MKL-DNN|oneDNN) v(\d+(?:\.\d+)*)"),
        )
        if (match := re.search(pattern, shown))
    ]
    if torch.cuda.is_available() and (version := torch.backends.cudnn.version()):  # type: ignore[no-untyped-call]
        major, rest = divmod(version, 10_000 if version >= 90_000 else 1000)
        found.append(f"cuDNN {major}.{rest // 100}.{rest % 100}")
    return tuple(found)


def notes(seen: Interference, threads: int) -> Iterator[Note]:
    """What disturbed the measurement, in words.

    Args:
        seen: by a watch.
        threads: that the measurement used.
    """
    if seen.other_load is not None and seen.other_load > _BUSY:
        yield Note(
            "warning", f"other processes kept {seen.other_load:.1f} processors busy; close them for sharper figures"
        )
    if seen.stolen is not None and seen.stolen > _STOLEN:
        yield Note(
            "warning", f"the hypervisor gave {100 * seen.stolen:.0f} % of the time to other guests of this machine"
        )
    if seen.throttled:
        yield Note("warning", f"slowed down meanwhile: {', '.join(seen.throttled)}")
    if seen.quota is not None and threads > seen.quota:
        yield Note(
            "warning",
            f"{threads} threads on a quota of {seen.quota:g} processors: they stop each other; use --threads "
            f"{max(1, int(seen.quota))}",
        )
    if seen.missing is not None:
        yield Note("note", f"clocks and throttling of the GPU are not known: {seen.missing}")
