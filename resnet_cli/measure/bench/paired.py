"""Two networks timed call by call in turn: a disturbance affects both, and hardly their ratio."""

from __future__ import annotations

from resnet_cli.measure.bench import batch_timing
from resnet_cli.measure.bench.device_timer import Clock
from resnet_cli.measure.bench.sampling import Limits, Progress, sample
from resnet_cli.measure.bench.stats.estimators import describe
from resnet_cli.measure.bench.stats.ratios import paired_ratio, verdict
from resnet_cli.measure.bench.workload import Workload
from resnet_cli.measure.bench.workload_cost import WorkloadCost
from resnet_cli.results.bench import Ceiling, Timing, Versus


def interleaved(
    model: Workload,
    reference: Workload,
    names: tuple[str, str],
    batch_size: int,
    clock: Clock,
    limits: Limits,
    *,
    cost: WorkloadCost,
    ceiling: Ceiling | None = None,
    available: int | None = None,
    progress: Progress,
) -> tuple[Timing, Versus | None]:
    """The row of the model, and its comparison with the reference; None where one of the two does not run.

    The verdict is SAME where the interval of the ratio is within the target width.

    Args:
        model: the network under test.
        reference: what it is compared with, in the same mode and dtype on the same device.
        names: of both.
        batch_size: images.
        clock: of the device.
        limits: when to stop.
        cost: of the model; the reference is assumed to be as large.
        ceiling: of the device.
        available: bytes that may be allocated.
        progress: called with a line of text between two rounds.

    Raises:
        KeyboardInterrupt: before anything was measured.
    """
    try:
        batch_timing.require_memory(batch_size, cost, None if available is None else available // 2)
        with model.running():
            beside = reference.held_bytes()
            ready = batch_timing.warm_up_batch(model, batch_size, clock, limits, progress, beside)
            reference_call = batch_timing.warm_up_batch(reference, batch_size, clock, limits, progress)
            try:
                sampled = sample(clock, [ready.call, reference_call.call], limits, progress, f"batch {batch_size}: ")
            except Exception as error:
                raise batch_timing.as_not_run(error, clock) from error
            row = batch_timing.timing(
                model, batch_size, clock, ready, sampled.series[0], sampled.stopped, cost, ceiling, limits.confidence
            )
    except batch_timing.NotRunError as failure:
        return batch_timing.not_measured(batch_size, cost, failure), None
    walls = sampled.walls
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
        stopped=sampled.stopped,
        notes=tuple(note for note in reference_call.notes if note not in ready.notes),
    )
