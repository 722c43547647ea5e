"""Times of one batch size: warm-up, samples, statistics; or the reason why it did not run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from resnet_cli.formatting import scaled
from resnet_cli.measure.bench.stats.estimators import describe, quantile
from resnet_cli.measure.bench.timing.device_timer import Clock, Sample
from resnet_cli.measure.bench.timing.further_times import FurtherTimes, further_times
from resnet_cli.measure.bench.timing.sampling import INTERRUPTED, Call, Limits, Progress, Sampled, sample, warm_up
from resnet_cli.measure.bench.workloads.workload import Workload, all_finite
from resnet_cli.measure.bench.workloads.workload_cost import WorkloadCost
from resnet_cli.measure.system.devices.registry import device_backend
from resnet_cli.results.bench import Ceiling, Timing, WarmUp
from resnet_cli.results.common import Note

MEASURED, OUT_OF_MEMORY, FAILED = "measured", "out of memory", "failed"

_NO_MEMORY = re.compile(  # the last one is of cuBLAS and cuDNN
    r"out of memory|can't allocate memory|cannot allocate memory|not enough memory|status_alloc_failed", re.IGNORECASE
)


class NotRunError(Exception):
    """A batch that could not run.

    Args:
        status: "out of memory" or "failed".
        reason: in a sentence.
    """

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class BatchContext:
    """What timing a batch size takes, whatever the network.

    Args:
        clock: of the device.
        limits: when to stop.
        cost: arithmetic and memory of a call.
        ceiling: of this device in this dtype; None: not measured.
        available: bytes that may be allocated; None: unknown.
        progress: called with a line of text between calls, never while a sample is taken.
    """

    clock: Clock
    limits: Limits
    cost: WorkloadCost
    progress: Progress
    ceiling: Ceiling | None = None
    available: int | None = None

    def require_memory(self, batch_size: int, networks: int = 1) -> None:
        """Raise for a batch that cannot fit, before it runs: Linux kills processes rather than refuse memory.

        Raises:
            NotRunError: so many networks of this size need more than is free.
        """
        needed = networks * self.cost.bytes_at(batch_size)
        if self.available is not None and needed > self.available:
            each = "" if networks == 1 else f" for {networks} networks"
            raise NotRunError(
                OUT_OF_MEMORY,
                f"needs {scaled(needed, 'B')}{each}, and {scaled(self.available, 'B')} are free",
            )


@dataclass(frozen=True, slots=True)
class WarmCall:
    """A call that has been warmed up, and the peak memory of one more call."""

    call: Call
    start: WarmUp
    peak_memory_bytes: int | None
    memory_kind: str | None
    notes: tuple[Note, ...]


def warm_up_batch(workload: Workload, batch_size: int, context: BatchContext, beside: int = 0) -> WarmCall:
    """Make the call of a batch size, warm it up, and look at the memory that it takes.

    The peak is that of a warm call: algorithms that were tried in the first one had workspaces of their own.

    Args:
        workload: the network and its input.
        batch_size: images.
        context: of the batch size.
        beside: bytes on the device that belong to another network.

    Raises:
        NotRunError: it does not run.
    """
    name, clock = f"batch {batch_size}: ", context.clock
    try:
        call = workload.call(batch_size)
        start = warm_up(clock, call, context.limits, context.progress, name)
        clock.reset_peak_memory()
        finite = all_finite(call())
        peak = clock.peak_memory()
    except Exception as error:
        raise as_not_run(error, clock) from error
    notes = []
    if not finite:
        text = f"batch {batch_size}: the output has NaN or infinity, so the time may not be that of real inputs"
        notes.append(Note("warning", text, "output-not-finite"))
    if not start.converged:
        text = (
            f"batch {batch_size}: timings had not stabilised after {start.calls} warm-up calls; "
            "the CI includes the remaining drift"
        )
        notes.append(Note("note", text, "warm-up-not-converged"))
    size, kind = (None, None) if peak is None else (peak[0] - beside, peak[1])
    return WarmCall(call, start, size, kind, tuple(notes))


def as_not_run(error: Exception, clock: Clock) -> NotRunError:
    """The reason why a call did not run, in one line; memory that it took is released."""
    no_memory = isinstance(error, (MemoryError, torch.OutOfMemoryError))
    lines = str(error).strip().splitlines()
    text = " ".join(lines[0].split()) if lines else type(error).__name__
    if no_memory or (isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error))):
        clock.empty_cache()
        return NotRunError(OUT_OF_MEMORY, text)
    return NotRunError(FAILED, text)


def time_batch(workload: Workload, batch_size: int, context: BatchContext) -> Timing:
    """Time a batch size.

    Raises:
        KeyboardInterrupt: before anything was measured.
    """
    try:
        context.require_memory(batch_size)
        with workload.running():
            ready = warm_up_batch(workload, batch_size, context)
            taken = sample_calls([ready], batch_size, context)
            return timing(workload, batch_size, context, ready, taken.series[0], taken.stopped)
    except NotRunError as failure:
        return not_measured(batch_size, context.cost, failure)


def sample_calls(ready: Sequence[WarmCall], batch_size: int, context: BatchContext) -> Sampled:
    """Samples of warm calls in turn.

    Raises:
        NotRunError: one of them does not run any more.
    """
    calls = [each.call for each in ready]
    try:
        return sample(context.clock, calls, context.limits, context.progress, f"batch {batch_size}: ")
    except Exception as error:
        raise as_not_run(error, context.clock) from error


def timing(
    workload: Workload,
    batch_size: int,
    context: BatchContext,
    ready: WarmCall,
    samples: Sequence[Sample],
    stopped: str,
) -> Timing:
    """Statistics of samples; on an accelerator the throughput is then measured with a full queue."""
    ceiling = context.ceiling
    wall = describe([taken.wall_s for taken in samples])
    enqueue = quantile(sorted(taken.enqueue_s for taken in samples), 0.5)
    further = FurtherTimes()
    if stopped != INTERRUPTED:
        has_queue = device_backend(workload.device).is_accelerator
        further = further_times(ready.call, wall.median_s, enqueue, context.clock, context.limits, has_queue=has_queue)
    device = describe(further.device.seconds) if further.device is not None and further.device.seconds else None
    # A host that waits for places in the queue is not slow: what it takes to enqueue the call is not known.
    is_known = device is not None and device.median_s > 0 and further.device is not None and further.device.fits_queue
    images_per_s = batch_size / (further.in_a_row_s or sum(wall.samples_s) / len(samples))
    flops = context.cost.flops_at(batch_size)
    rate = None if flops is None else flops * images_per_s / batch_size
    return Timing(
        batch_size=batch_size,
        status=MEASURED,
        reason=None,
        warm_up=ready.start,
        wall=wall,
        stopped=INTERRUPTED if further.interrupted else stopped,
        device=device,
        launch_overhead=enqueue / device.median_s if device is not None and is_known else None,
        images_per_s=images_per_s,
        flops=flops,
        flops_per_s=rate,
        ceiling_share=rate / ceiling.flops_per_s if ceiling is not None and rate is not None else None,
        peak_memory_bytes=ready.peak_memory_bytes,
        memory_kind=ready.memory_kind,
        knee=False,
        notes=(*ready.notes, *_further_notes(batch_size, further, context.clock)),
        phases=further.phases,
    )


def _further_notes(batch_size: int, further: FurtherTimes, clock: Clock) -> Iterator[Note]:
    if further.device is not None and not further.device.seconds:
        text = f"batch {batch_size}: the device's own time is unknown: its queue does not take the call as a whole"
        yield Note("note", text, "device-time-unknown")
    if further.error is not None:
        text = f"batch {batch_size}: after its samples: {as_not_run(further.error, clock).reason}"
        yield Note("warning", text, "failed-after-samples")


def not_measured(batch_size: int, cost: WorkloadCost, failure: NotRunError) -> Timing:
    """The row of a batch that did not run."""
    return Timing(
        batch_size=batch_size,
        status=failure.status,
        reason=failure.reason,
        warm_up=None,
        wall=None,
        stopped=None,
        device=None,
        launch_overhead=None,
        images_per_s=None,
        flops=cost.flops_at(batch_size),
        flops_per_s=None,
        ceiling_share=None,
        peak_memory_bytes=None,
        memory_kind=None,
        knee=False,
        notes=(),
    )
