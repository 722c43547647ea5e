"""What a device reaches at best, as measured: the roof that a network's rate is held against.

A rate that is looked up is that of another clock, another number of threads, another library. Here several kernels
run in the network's dtype on its device, and the fastest is the ceiling: no single one is fastest everywhere (on one
processor the BLAS library reaches half of what the convolutions do).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from resnet_cli.measure.bench.device_timer import Clock, timed
from resnet_cli.measure.bench.sampling import Progress
from resnet_cli.measure.roofline.kernels import Candidate, arithmetic, streaming
from resnet_cli.measure.system.devices.registry import device_backend
from resnet_cli.measure.system.silence import silenced
from resnet_cli.results.bench import Ceiling, Kernel

_LONG_S = 1.0  # what takes so long is no ceiling
_PATIENCE = 2  # times the seconds that were asked for are there for first calls
_BANDWIDTH_SHARE = 0.25  # of the time


def measure_ceiling(
    device: torch.device, dtype: torch.dtype, clock: Clock, *, seconds: float = 2.0, progress: Progress
) -> Ceiling | None:
    """The best of several kernels.

    Args:
        device: where.
        dtype: of the numbers.
        clock: of the device.
        seconds: for all kernels; their first calls, which find the algorithms, come on top.
        progress: called with a line of text between two kernels.

    Returns:
        The ceiling; None where no kernel runs.
    """
    backend = device_backend(device)
    accelerator = backend.is_accelerator
    with torch.inference_mode(), silenced():  # of what a dtype or a layout is not made for
        compute = fastest(
            list(arithmetic(device, dtype, accelerator=accelerator)), clock, (1 - _BANDWIDTH_SHARE) * seconds, progress
        )
        free = backend.free_memory()
        bandwidth = fastest(
            list(streaming(device, dtype, free, accelerator=accelerator)), clock, _BANDWIDTH_SHARE * seconds, progress
        )
        clock.empty_cache()
    if not compute or not bandwidth:
        return None
    return Ceiling(
        flops_per_s=compute[0].rate,
        bytes_per_s=bandwidth[0].rate,
        compute=tuple(compute),
        bandwidth=tuple(bandwidth),
    )


@dataclass(slots=True, eq=False)
class _Tried:
    candidate: Candidate
    call: Callable[[], object]
    best_s: float

    @property
    def rate(self) -> float:
        return self.candidate.work / self.best_s


def fastest(candidates: Sequence[Candidate], clock: Clock, seconds: float, progress: Progress) -> list[Kernel]:
    """The rate of each kernel at its best, the fastest first.

    By successive halving (Karnin, Koren and Somekh 2013, "Almost optimal exploration in multi-armed bandits"): in
    each round the kernels that are left share the same time, and the better half of them stays.

    Args:
        candidates: what to try; one that would take longer than is left for first calls, at the rate of the one
            before it, stays untried.
        clock: of the device.
        seconds: for the rounds; the first call of each kernel, which finds its algorithm, comes on top.
        progress: called with a line of text before each first call.
    """
    begin = clock.now()
    tried: list[_Tried] = []
    for candidate in candidates:
        if tried and clock.now() - begin + candidate.work / tried[-1].rate > _PATIENCE * seconds:
            continue
        progress(f"the ceiling: {candidate.name}")
        with _refusals(clock):
            call = candidate.make()
            if (first := _seconds(clock, call)) > 0:
                tried.append(_Tried(candidate, call, first))
    left = tried
    rounds = max(1, len(tried).bit_length() - 1)
    for _ in range(rounds):
        well = []
        for one in left:
            with _refusals(clock):
                _repeat(one, clock, seconds / rounds / len(left))
                well.append(one)
        tried = [one for one in tried if one not in left or one in well]
        left = sorted(well, key=lambda one: -one.rate)[: (len(well) + 1) // 2]
    return sorted((Kernel(one.candidate.name, one.rate) for one in tried), key=lambda kernel: -kernel.rate)


def _repeat(one: _Tried, clock: Clock, seconds: float) -> None:
    """Call a kernel until its time is over; it keeps its best time. A very slow one is not called again."""
    begin = clock.now()
    while one.best_s < _LONG_S:
        one.best_s = min(one.best_s, _seconds(clock, one.call) or one.best_s)
        if clock.now() - begin >= seconds:
            return


def _seconds(clock: Clock, call: Callable[[], object]) -> float:
    """Of the device's own clock where it has one: the way there and back is no part of a rate."""
    one = timed(clock, call)
    return one.device_s or one.wall_s


@contextlib.contextmanager
def _refusals(clock: Clock) -> Iterator[None]:
    """A kernel that the device, the dtype or the memory refuses is left out."""
    try:
        yield
    except Exception:  # torch has a dozen kinds of them
        clock.empty_cache()
