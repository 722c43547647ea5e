"""Two networks call by call in turn: what disturbs one disturbs the other, and the ratio stays."""

from __future__ import annotations

from resnet_cli.measure.bench import batch_timing
from resnet_cli.measure.bench.device_timer import Clock
from resnet_cli.measure.bench.estimators import describe, paired_ratio, verdict
from resnet_cli.measure.bench.sampling import Limits, Progress, sample
from resnet_cli.measure.bench.workload import Workload
from resnet_cli.measure.bench.workload_cost import WorkloadCost
from resnet_cli.results.bench import Ceiling, Timing, Versus


def interleaved(
    ours: Workload,
    theirs: Workload,
    names: tuple[str, str],
    batch_size: int,
    clock: Clock,
    limits: Limits,
    *,
    demand: WorkloadCost,
    ceiling: Ceiling | None = None,
    available: int | None = None,
    progress: Progress,
) -> tuple[Timing, Versus | None]:
    """Our row, and how it compares; no comparison where one of the two does not run.

    They are the same where the interval of the ratio lies within the width that sampling goes on for.

    Args:
        ours: our network.
        theirs: the other one, with the same mode, dtype and device.
        names: of both.
        batch_size: images.
        clock: of the device.
        limits: when to stop.
        demand: of ours; the other one is taken for as large.
        ceiling: of the device.
        available: bytes that may be taken.
        progress: is told between two rounds.

    Raises:
        KeyboardInterrupt: before anything was measured.
    """
    try:
        batch_timing.require_memory(batch_size, demand, None if available is None else available // 2)
        with ours.running():
            ready = batch_timing.warm_up_batch(ours, batch_size, clock, limits, progress)
            other = batch_timing.warm_up_batch(theirs, batch_size, clock, limits, progress)
            try:
                taken = sample(clock, [ready.call, other.call], limits, progress, f"batch {batch_size}: ")
            except Exception as error:
                raise batch_timing.as_not_run(error, clock) from error
            row = batch_timing.timing(
                ours, batch_size, clock, ready, taken.series[0], taken.stopped, demand, ceiling, limits.confidence
            )
    except batch_timing.NotRunError as failure:
        return batch_timing.not_measured(batch_size, demand, failure), None
    walls = taken.walls
    ratio, low, high = paired_ratio(walls[0], walls[1], limits.confidence)
    return row, Versus(
        batch_size=batch_size,
        method="interleaved",
        model=names[0],
        reference=names[1],
        model_time=describe(walls[0], limits.confidence),
        reference_time=describe(walls[1], limits.confidence),
        ratio=ratio,
        ci_low=low,
        ci_high=high,
        margin=limits.ci_width,
        verdict=verdict(low, high, limits.ci_width),
        stopped=taken.stopped,
        notes=tuple(note for note in other.notes if note not in ready.notes),
    )
