"""Two networks timed call by call in turn: a disturbance affects both, and hardly their ratio."""

from __future__ import annotations

from resnet_cli.measure.bench import batch_timing
from resnet_cli.measure.bench.stats.estimators import describe
from resnet_cli.measure.bench.stats.ratios import paired_ratio, verdict
from resnet_cli.measure.bench.workload import Workload
from resnet_cli.results.bench import Timing, Versus


def interleaved(
    model: Workload,
    reference: Workload,
    names: tuple[str, str],
    batch_size: int,
    context: batch_timing.BatchContext,
) -> tuple[Timing, Versus | None]:
    """The row of the model, and its comparison with the reference; None where one of the two does not run.

    The verdict is SAME where the interval of the ratio is within the target width.

    Args:
        model: the network under test.
        reference: what it is compared with, in the same mode and dtype on the same device.
        names: of both.
        batch_size: images.
        context: of the batch size; its cost is the model's, and the reference is assumed to be as large.

    Raises:
        KeyboardInterrupt: before anything was measured.
    """
    limits = context.limits
    try:
        context.require_memory(batch_size, networks=2)
        with model.running():
            ready = batch_timing.warm_up_batch(model, batch_size, context, reference.held_bytes())
            reference_call = batch_timing.warm_up_batch(reference, batch_size, context)
            sampled = batch_timing.sample_calls([ready, reference_call], batch_size, context)
            row = batch_timing.timing(model, batch_size, context, ready, sampled.series[0], sampled.stopped)
    except batch_timing.NotRunError as failure:
        return batch_timing.not_measured(batch_size, context.cost, failure), None
    walls = sampled.walls
    ratio, low, high = paired_ratio(walls[0], walls[1])
    return row, Versus(
        batch_size=batch_size,
        method="interleaved",
        model=names[0],
        reference=names[1],
        model_time=describe(walls[0]),
        reference_time=describe(walls[1]),
        ratio=ratio,
        ci_low=low,
        ci_high=high,
        margin=limits.ci_width,
        verdict=verdict(low, high, limits.ci_width),
        stopped=sampled.stopped,
        notes=tuple(note for note in reference_call.notes if note not in ready.notes),
    )
