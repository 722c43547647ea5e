"""Measured peak FLOP/s and memory bandwidth of a device, the ceilings of the roofline model.

Published peaks assume another clock rate, number of threads or library. Here several kernels run in the network's
dtype on its device, and the fastest is the ceiling: no single kernel is fastest everywhere (on some CPUs the BLAS
library reaches half the rate of the convolutions).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from resnet_cli.errors import attempt
from resnet_cli.measure.bench.timing.device_timer import Clock, between_events, timed
from resnet_cli.measure.bench.timing.sampling import Progress
from resnet_cli.measure.roofline.kernels import Candidate, arithmetic, streaming
from resnet_cli.measure.system.devices.registry import device_backend
from resnet_cli.measure.system.silence import silenced
from resnet_cli.results.bench import Ceiling, Kernel

_LONG_S = 1.0  # a call that takes longer is not repeated
_ONE_CALL_EACH = 2  # time limit for one warm call of each kernel, as a multiple of the requested seconds
_FULL_QUEUE_S = 0.02  # of calls between two events
_BANDWIDTH_SHARE = 0.25  # of the time


def measure_ceiling(
    device: torch.device, dtype: torch.dtype, clock: Clock, *, seconds: float = 2.0, progress: Progress
) -> Ceiling | None:
    """Measure the peak rates with several kernels.

    Args:
        device: to measure.
        dtype: of the tensors.
        clock: of the device.
        seconds: for all kernels, without their first two calls.
        progress: called with a line of text between two kernels.

    Returns:
        The ceiling; None where no kernel runs.
    """
    backend = device_backend(device)
    accelerator = backend.is_accelerator
    with torch.inference_mode(), silenced():  # warnings about unsupported dtypes and layouts
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
class _TimedKernel:
    candidate: Candidate
    call: Callable[[], object]
    best_s: float  # shortest time of a warm call

    @property
    def rate(self) -> float:
        return self.candidate.work / self.best_s


def fastest(candidates: Sequence[Candidate], clock: Clock, seconds: float, progress: Progress) -> list[Kernel]:
    """The best rate of each kernel, in descending order.

    The first call of a kernel is not timed: libraries are loaded in it, algorithms tried and workspaces allocated,
    which can take a thousand times as long as a call. Then by successive halving (Karnin, Koren and Somekh 2013,
    "Almost optimal exploration in multi-armed bandits"): the remaining kernels share the time of each round, and the
    faster half of them goes on to the next.

    Args:
        candidates: kernels; one that would exceed the time limit for one call of each, at the best rate so far, is
            skipped.
        clock: of the device.
        seconds: for the rounds.
        progress: called with a line of text before each first call.
    """
    tried: list[_TimedKernel] = []
    for candidate in candidates:
        best_rate = max((kernel.rate for kernel in tried), default=None)
        warm_s = sum(kernel.best_s for kernel in tried)
        if best_rate is not None and warm_s + candidate.work / best_rate > _ONE_CALL_EACH * seconds:
            continue
        progress(f"the ceiling: {candidate.name}")
        with attempt(candidate.name) as trial:  # unsupported by the device, or for lack of memory
            call = candidate.make()
            call()
            if (warm := _seconds(clock, call)) > 0:
                tried.append(_TimedKernel(candidate, call, warm))
        if trial.error is not None:
            clock.empty_cache()
    left = tried
    rounds = max(1, len(tried).bit_length() - 1)
    for _ in range(rounds):
        succeeded = []
        for kernel in left:
            with attempt(kernel.candidate.name) as trial:
                _repeat(kernel, clock, seconds / rounds / len(left))
                succeeded.append(kernel)
            if trial.error is not None:
                clock.empty_cache()
        tried = [kernel for kernel in tried if kernel not in left or kernel in succeeded]
        left = sorted(succeeded, key=lambda kernel: -kernel.rate)[: (len(succeeded) + 1) // 2]
    return sorted((Kernel(kernel.candidate.name, kernel.rate) for kernel in tried), key=lambda kernel: -kernel.rate)


def _repeat(kernel: _TimedKernel, clock: Clock, seconds: float) -> None:
    """Call a kernel until its time is over and keep its best time. A very slow kernel is not called again."""
    begin = clock.now()
    while kernel.best_s < _LONG_S:
        calls = max(1, int(min(_FULL_QUEUE_S, seconds) / kernel.best_s))
        kernel.best_s = min(kernel.best_s, _seconds(clock, kernel.call, calls) or kernel.best_s)
        if clock.now() - begin >= seconds:
            return


def _seconds(clock: Clock, call: Callable[[], object], calls: int = 1) -> float:
    """Time of a call: on the host alone; on a device with a queue the mean of some between two events.

    An idle device begins a kernel late, so that a single one would seem 10 to 30% slower than it is.
    """
    seconds = between_events(clock, call, calls) if clock.record_event() is not None else None
    return timed(clock, call).wall_s if seconds is None else seconds / calls
